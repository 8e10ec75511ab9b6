/* SPDX-License-Identifier: MIT */
/* pool - threads that share out one loop at a time: spinning for a moment after each, asleep when nothing comes.
 *
 * Waking a sleeping thread costs 25-45 us on a virtual machine, a spinning one under 1 us: a decode step has a hundred
 * loops of a few microseconds. A thread that isn't there yet (asleep, or its core lent to another process) never holds
 * a loop up: the others take its share. So which thread runs which items is chance, and results must not depend on it.
 *
 * Workers block all signals: the process's own threads handle those. One thread owns a pool. */
#pragma once

#include <stdint.h>

typedef struct pool pool;

/* `threads` >= 1, the caller's included. Where they are as many as the cores this process may use, each worker is
 * pinned to one. */
pool *pool_new(int threads);
void pool_free(pool *p); /* NULL is allowed */

/* tick(ctx) is called by the owning thread alone, at most ten times a second, before loops and between their pieces.
 * NULL: none. */
void pool_set_tick(pool *p, void (*tick)(void *ctx), void *ctx);

/* fn(ctx, begin, end, thread) over [0, n) in pieces of `grain` items (0: a piece a thread); `thread` < threads
 * names a buffer of one's own. Returns when all is done. Not to be called from within fn. */
typedef void (*pool_fn)(void *ctx, int64_t begin, int64_t end, int thread);
void pool_run(pool *p, int64_t n, int64_t grain, pool_fn fn, void *ctx);
