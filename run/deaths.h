/* SPDX-License-Identifier: MIT */
/* deaths - what it means that a process of a run has ended: start it again, wait a little first, or give the run up.
 *
 *     killed, left, stopped, again
 *                             it was not its fault: again, more and more slowly, until far too often
 *     failed, crashed, short  of memory: again once; the second time for the same reason ends the run, since a third
 *                             would be the same again
 *
 * "Again" counts only while nothing moves: every step that the run finishes wipes the slate clean. A reason is the kind
 * and the last sentence, numbers aside: "3.5 GB in use" and "3.6 GB in use" are one.
 *
 * State only: no process, no clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum death_kind {
    DEATH_LEFT,    /* exit status 0, though the run continues */
    DEATH_KILLED,  /* from outside: SIGKILL, SIGTERM, ..., or by the supervisor itself */
    DEATH_STOPPED, /* it was asked to stop, by a signal, and has */
    DEATH_AGAIN,   /* it asks to be started again: whom it works with is gone */
    DEATH_FAILED,  /* an exit status and, mostly, a sentence */
    DEATH_CRASHED, /* a signal of its own making: SIGSEGV, SIGABRT, ... */
    DEATH_MEMORY,  /* SIGKILL, and the kernel has killed for want of memory meanwhile */
} death_kind;

enum { DEATH_REASON = 600, DEATHS_OF_ONE_REASON = 2, DEATHS_FAILED = 6, DEATHS_KILLED = 40 };

/* One process's, over all its lives; zero-initialise. */
typedef struct deaths {
    uint64_t steps; /* the run's, at the last one */
    int same, failed, all;
    char reason[DEATH_REASON];
} deaths;

typedef enum death_verdict { DEATH_RESTART, DEATH_SAME_AGAIN, DEATH_TOO_MANY } death_verdict;

/* Notes a death after so many `steps` of the run. DEATH_RESTART: start it again *delay_ms from now. */
death_verdict deaths_add(deaths *d, death_kind kind, const char *reason, uint64_t steps, int64_t *delay_ms);
/* Kind of a death by its status as of waitpid; `kills`: strikes of the kernel's out-of-memory
 * killer during its life. */
death_kind death_of_status(int status, uint64_t kills);
