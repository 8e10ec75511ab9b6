/* SPDX-License-Identifier: MIT */
/* web - a test's HTTP server: a Python program that says its port on stdout, and ends with its stdin. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/process.h"
#include "tests/support/support.h"

typedef struct web {
    process process;
    int stdin_of_it;
    int port;
} web;

/* script: below the source folder. port 0: any. */
static inline web web_start(const char *script, int port)
{
    web w = { 0 };
    error err = { 0 };
    int in[2], out[2];
    char path[1024], text[16] = "", number[16];
    snprintf(path, sizeof path, "%s/%s", getenv("TROUPE_SOURCE") ? getenv("TROUPE_SOURCE") : ".", script);
    snprintf(number, sizeof number, "%d", port);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    const char *const argv[] = { "python3", path, number, NULL };
    const process_options options = {
        .fd_in = in[0], .fd_out = out[1], .fd_err = -1, .new_group = true, .die_with_parent = true
    };
    test_ok(process_spawn(&w.process, argv, &options, &err), &err);
    close(in[0]);
    close(out[1]);
    for (size_t n = 0; n < sizeof text - 1 && !strchr(text, '\n'); n++)
        if (read(out[0], text + n, 1) != 1) fail_msg("%s has not started", script);
    close(out[0]);
    w.stdin_of_it = in[1];
    w.port = atoi(text);
    return w;
}

/* At once, as a machine that is switched off. */
static inline void web_end(web *w)
{
    int status;
    if (w->port == 0) return;
    process_kill_group(&w->process, 9);
    process_wait(&w->process, -1, &status);
    close(w->stdin_of_it);
    w->port = 0;
}
