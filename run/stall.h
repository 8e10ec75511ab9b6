/* SPDX-License-Identifier: MIT */
/* stall - whether a thread that should compute stands still: for so long it has been given no CPU time.
 *
 * A thread that computes for hours is not one; what it waits for (a lock, a disk that doesn't answer) doesn't matter.
 * Looked at now and then from outside; one that rests, between two pieces of work, begins anew. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct stall {
    int64_t since_ms, cpu_ms; /* when it was last seen to move, with how much CPU time; since_ms 0: it rests */
} stall;

/* CPU time of `thread` so far; -1 where it can't be read. */
int64_t stall_cpu_ms(pthread_t thread);
/* For how long it has stood still, in ms. `cpu_ms`: as of now, -1: it rests. */
int64_t stall_look(stall *s, int64_t cpu_ms, int64_t now_ms);
