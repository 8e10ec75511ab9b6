/* SPDX-License-Identifier: MIT */
/* loop - one loop a process: sockets, descriptors, timers, signals. Ten lines of phases; everything else is callbacks.
 *
 * Signals in the loop's set (INT, TERM) are read as events, never caught. Time is what loop_now_ms said at the start of
 * the turn. One thread owns a loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct loop loop;

loop *loop_new(error *err);
void loop_free(loop *lp);
int64_t loop_now_ms(const loop *lp);
void *loop_context(loop *lp); /* the libzmq context */

typedef void (*loop_fn)(void *ctx);
/* Calls fn while `fd` is readable (or the zmq socket has messages). The caller removes it before closing it. */
void loop_add_fd(loop *lp, int fd, loop_fn fn, void *ctx);
void loop_add_socket(loop *lp, void *zmq_socket, loop_fn fn, void *ctx);
void loop_remove(loop *lp, void *ctx); /* everything added with this ctx */
/* Calls fn every `every_ms`. */
void loop_add_timer(loop *lp, int64_t every_ms, loop_fn fn, void *ctx);
/* Blocks INT and TERM for this thread (and those it starts) and calls fn when one arrives. */
int loop_on_stop(loop *lp, loop_fn fn, void *ctx, error *err);

/* The same, waking up as well when one of `fds` (the caller's, not called back) is readable. */
struct pollfd;
int loop_wait(loop *lp, const struct pollfd *fds, int n, int wait_ms, error *err);

/* One turn: waits for at most `wait_ms` (0: only looks), then calls whoever has something. */
int loop_once(loop *lp, int wait_ms, error *err);
