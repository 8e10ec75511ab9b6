/* SPDX-License-Identifier: MIT */
/* training - a run on this machine from its first word to its last: what has to hold is checked, its folder is made or
 * taken up again (run/run_dir.h), its processes work (run/fleet.h), and what became of it is said (show/report.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct training_options {
    const char *recipe; /* path; NULL with `resume` */
    const char *resume; /* folder of the run to continue with; NULL: a new one */
    const char *dir;    /* of a new run; NULL: runs/NAME */
    const char *const *overrides;
    int n_overrides;       /* "key=value"; of a resumed run: its changes */
    int64_t every;         /* without a terminal: prints each so-many-th step */
    bool fresh;            /* a new run takes an older one's place */
    bool take_changes;     /* a resumed run takes recipe, scripts and data anew from where they came from */
    bool without_episodes; /* a resumed run continues though rollouts.db is gone or damaged: then it is set aside */
} training_options;

/* Trains, with the live line on standard output. Changes umask, and blocks the signals that stop a run.
 * ERR_INTERRUPTED: stopped by one of them, to be gone on with. */
int run_training(const training_options *o, error *err);
