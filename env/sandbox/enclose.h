/* SPDX-License-Identifier: MIT */
/* enclose - a user's own program in a sandbox: it needs files, packages and processes, so it sees the machine as its
 * user does, and can change none of it.
 *
 *     this process, which waits -> process 1 of its namespaces, which waits -> the program
 *
 * The root is read-only, but for a folder of its own in memory (TMPDIR), gone with it. Namespaces hide other processes,
 * and leave it a network of its own, in which it is alone; unless `network`. Landlock, and a list of system calls that
 * are refused (filter.h), hold as well. With process 1 the kernel ends all others: nothing is left of it. Where there
 * are no namespaces Landlock stands alone: then it has no folder to write in. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

typedef struct enclose_config {
    bool network;
    int scratch_mb; /* of its folder, which is memory */
} enclose_config;

/* Runs argv (searched in PATH, NULL-terminated) with this process's descriptors, and waits: *status is its exit status,
 * 128 and the number of a signal. Returns in this process only, or without namespaces not at all: it becomes the
 * program. ERR_UNSUPPORTED: this machine has neither namespaces nor Landlock, or no seccomp. */
int enclose_run(const enclose_config *config, char *const *argv, int *status, error *err);
