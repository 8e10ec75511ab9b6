/* SPDX-License-Identifier: MIT */
/* session - one learner's life: the exchange and the training of a run. Two threads: the caller's does all input and
 * output (loop, server, database), the other trains (run/learner_thread.h).
 *
 *     role (recipe, loop, log) -> the other learners -> inputs -> outputs -> trainer, server -> serve -> close
 *
 * A learner that isn't the first of several has only inputs and a trainer: it follows the first (run/ranks.h).
 * It knows no command line; what the recipe says to server and trainer is session_settings.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "run/role.h"

typedef struct session_options {
    const char *run;     /* folder for checkpoints, rollouts.db and metrics.jsonl; made where there is none */
    const char *address; /* where actors and reward workers connect: ipc:///path or tcp://127.0.0.1:PORT */
    int report_fd;       /* a pipe to the supervisor (show/sinks.h), closed by the process's end; -1: none */
    bool resume;         /* continues from the newest checkpoint that is whole, or from the start where there is none */
    bool mpi;            /* several learners, which MPI has started */
    int64_t rank, of;    /* several learners of this machine: which of how many; -1: not given */
    const char *meet;    /* and the folder they meet in; NULL: not given */
} session_options;

/* Returns after the last step, when a signal stops it (ERR_INTERRUPTED), or with what it failed of. ERR_ARGUMENT: `o`
 * or the recipe is not as it has to be. Texts of both are borrowed until it returns. */
int run_learner(const role_options *as, const session_options *o, error *err);
