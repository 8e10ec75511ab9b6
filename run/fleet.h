/* SPDX-License-Identifier: MIT */
/* fleet - the processes of a run on one machine: learners, actors and reward workers as children of this process, which
 * shows what they do and stops all in order.
 *
 *     fleet_new     signals and the learner's report are this process's business from here on
 *     fleet_start   a child for each of the recipe's roles (run/child_words.h)
 *     fleet_watch   until the run is over, a signal stops it, or it can't continue (run/supervisor.h restarts children)
 *     fleet_free    no child outlives it
 *
 * It computes nothing itself, so that it survives a child's crash and can report it. */
#pragma once

#include "recipe/recipe.h"
#include "run/run_dir.h"
#include "show/progress.h"

typedef struct fleet_config {
    const run_dir *run;
    const recipe *recipe;
    progress *progress; /* gets the learner's lines and what becomes of children */
    bool resumed;       /* the run has been trained before: its learner continues from a checkpoint */
} fleet_config;         /* all of it borrowed */

typedef struct fleet fleet;

/* NULL and `err` without a pipe or a signalfd. One at a time: it blocks the process's signals. */
fleet *fleet_new(const fleet_config *config, error *err);
void fleet_free(fleet *f); /* NULL is allowed */
int fleet_start(fleet *f, error *err);

/* OK: the run is finished. ERR_INTERRUPTED: a signal has stopped it in order; the sentence says how to continue. Else
 * what it failed of. */
int fleet_watch(fleet *f, error *err);
/* After fleet_watch: it failed before a step was done. */
bool fleet_failed_at_once(const fleet *f);
