/* supervisor - the processes of one run on one machine: started, restarted, stopped, none left behind.
 *
 * A child that ends without being asked is started again (its log says how it ended), unless it ends too often: then
 * the run stops and says which child, how, and where its log is. Children die with the supervisor (PDEATHSIG), even
 * by kill -9. One child may be the `principal` (the learner): when it ends by itself with status 0, the run is over;
 * with RANK_AGAIN (another learner is gone) it is started again, as after a crash; with any other it has said why, and
 * the run stops. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

typedef struct supervisor supervisor;

typedef struct child_options {
    const char *name;                /* "actor-1": names its log file too */
    const char *const *argv;         /* borrowed until supervisor_free */
    const char *const *restart_argv; /* for the second start on; NULL: argv */
    const char *log_path;            /* stderr goes there, appended */
    int report_fd;                   /* inherited under its number, or -1 */
    bool principal;
    int max_restarts; /* in any 60 seconds */
} child_options;

supervisor *supervisor_new(logger *lg);
void supervisor_free(supervisor *s);                                         /* kills what still runs */
int supervisor_add(supervisor *s, const child_options *options, error *err); /* starts it */

typedef enum supervisor_state { RUN_GOES_ON, RUN_FINISHED, RUN_FAILED } supervisor_state;
/* Descriptors to wait for (readable: a child ended). Writes up to max; returns how many. */
int supervisor_fds(const supervisor *s, int *fds, int max);
/* Reaps and restarts. RUN_FAILED: `err` says why. */
supervisor_state supervisor_poll(supervisor *s, error *err);
/* SIGTERM to the principal alone (the learner writes its checkpoint and says goodbye to the others), then,
 * `patience_ms` later, SIGKILL to whoever is left. Returns when all are gone. */
void supervisor_stop(supervisor *s, int patience_ms);
