/* SPDX-License-Identifier: MIT */
/* tuning - supervised fine-tuning (troupe sft): next-token training of a recipe's model on rows, in one process.
 *
 *     rows -> tokens (run/tuning_rows.h) -> the learner's trainer, nothing sampled -> metrics, checkpoints
 *
 * The trainer is that of `troupe train`: packing without padding, AdamW and its schedules, adapters, data groups as
 * objectives with any moo, the same checkpoints. A run continues from its last checkpoint to the bit: which rows a step
 * has is a function of seed and step. Its folder is that of any run (run/run_dir.h), without episodes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct tuning_options {
    const char *recipe, *resume;  /* one of them; resume: a run's folder */
    const char *dir;              /* of a new run; NULL: runs/NAME-sft */
    const char *const *overrides; /* [n_overrides] "key=value" */
    int n_overrides;
    bool fresh, take_changes; /* as for `troupe train` */
    int64_t every;            /* a line each so-many-th step */
} tuning_options;

/* Trains to the last step; lines of progress go to `to`. Takes the signals that ask to stop: ERR_INTERRUPTED after a
 * checkpoint. Other errors are of the recipe, its rows, the run's folder, or of the step that failed. */
int run_tuning(const tuning_options *o, FILE *to, error *err);
