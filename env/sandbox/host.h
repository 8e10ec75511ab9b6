/* SPDX-License-Identifier: MIT */
/* host - a box whose calls are functions of ours: the zygote's protocol (sandbox/zygote.py), spoken by a small process
 * that has everything loaded and forks a child for each call. So each call finds the state that was loaded, can be
 * killed, and ends as a call of the python box does (verdict.h). The process has one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct box_host {
    void *ctx;
    /* In the child: does what the request asks for and writes its output to `out_fd`. False: it raised, and said so. */
    bool (*run)(void *ctx, const char *request, size_t len, int out_fd);
} box_host;

/* Serves box_begin's calls until the box is gone. Returns 0. */
int box_host_main(const box_host *h, int sock);
/* What a host that could not be loaded says instead: box_new fails with this sentence. Returns 1. */
int box_host_refuse(const char *sentence, int sock);
