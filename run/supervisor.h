/* SPDX-License-Identifier: MIT */
/* supervisor - the processes of one run on one machine: started, watched, started again, stopped, none left behind.
 *
 *                     ends        deaths.h: again, later
 *      running ------------------------------------------> due ----> running
 *         |  ^                                              |
 *         |  | continues                                    | twice for one reason, or far too often
 *         v  |                                              v
 *      stopped, lost ----- too long: SIGKILL --->  as above, or RUN_FAILED with its last sentence (last_words.h)
 *
 * Alive is not enough: a child that is stopped (SIGSTOP), that the principal doesn't hear of (lost), or a principal
 * that reports nothing and computes nothing, is replaced. One that computes is waited for. Each is said (config.say).
 *
 * Children die with the supervisor (PDEATHSIG), even by kill -9. One child may be the `principal` (the learner): when
 * it ends by itself with status 0, the run is over; with STATUS_INTERRUPTED it was asked to stop by a signal of its
 * own, and the run is stopped; with RANK_AGAIN (another learner is gone) or by a signal that it doesn't handle it is
 * started again; with any other status it has said why, and the run stops. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct supervisor supervisor;

typedef struct supervisor_config {
    void (*say)(void *ctx, const char *sentence); /* for the person at the terminal; NULL: none */
    void *ctx;
    int64_t stopped_ms; /* a child that is stopped is replaced after so long; 0: 15 s */
    int64_t lost_ms;    /* one that lives but isn't connected; 0: 60 s. Not yet connected and computing: five times */
    int64_t silent_ms;  /* a principal that reports nothing and has no CPU time; 0: 60 s */
} supervisor_config;

typedef struct child_options {
    const char *name;                /* "actor-1": names its log file too */
    const char *const *argv;         /* borrowed until supervisor_free */
    const char *const *restart_argv; /* for the second start on; NULL: argv */
    const char *log_path;            /* stderr goes there, appended */
    int report_fd;                   /* inherited under its number, or -1 */
    bool principal;
    bool connects; /* to the principal, which lists it by its name (supervisor_heard) */
} child_options;

supervisor *supervisor_new(const supervisor_config *config);
void supervisor_free(supervisor *s);                                         /* kills what still runs */
int supervisor_add(supervisor *s, const child_options *options, error *err); /* starts it */

typedef enum supervisor_state { RUN_CONTINUES, RUN_FINISHED, RUN_STOPPED, RUN_FAILED } supervisor_state;
/* Descriptors to wait for (readable: a child ended). Writes up to max; returns how many. */
int supervisor_fds(const supervisor *s, int *fds, int max);
/* Reaps, checks all processes, restarts those that are due: to be called at least once a second. RUN_STOPPED
 * (ERR_INTERRUPTED) and RUN_FAILED: `err` says why. */
supervisor_state supervisor_poll(supervisor *s, error *err);
/* The principal has reported who is connected: names with a blank after each, "actor-1 reward-1 ". NULL: it has
 * reported something else. */
void supervisor_heard(supervisor *s, const char *peers);
/* The run has done this step. A new one (not one that is done again after a crash) is progress: what died before
 * doesn't count any more. */
void supervisor_step(supervisor *s, int64_t step);
/* The principal is about to say goodbye: who leaves now isn't started again. */
void supervisor_farewell(supervisor *s);
/* Stops all processes where they stand (SIGSTOP), or lets them continue; the time between counts for nothing. */
void supervisor_pause(supervisor *s, bool pause);
enum { SUPERVISOR_WAITS = -1 }; /* patience_ms: as long as the principal lives and computes */
/* SIGTERM to the principal alone (the learner writes its checkpoint and says goodbye to the others), then,
 * `patience_ms` later, SIGKILL to whoever is left. Returns when all are gone. */
void supervisor_stop(supervisor *s, int patience_ms);
