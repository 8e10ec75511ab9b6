/* SPDX-License-Identifier: MIT */
/* run_files - which files of a run's folder are Troupe's own. Only those are ever deleted: what a person put beside
 * them stays, and nothing is touched behind a symbolic link.
 *
 *     run.json  lock  metrics.jsonl  rollouts.db{,-wal,-shm}
 *     logs/         learner.log learner-2.log actor-1.log reward-1.log ...
 *     checkpoints/  step-N: what its state.json lists (learner/checkpoint.h)
 *
 * A folder is a run when its run.json says so in its line "format", which Troupe writes before anything else. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define RUN_FORMAT "troupe run 2"

bool run_files_is_run(const char *path);
/* Only our lock, or nothing, is in the folder, or there is none. */
bool run_files_is_empty(const char *path);
/* Episodes, metrics or checkpoints: something to lose. */
bool run_files_has_work(const char *path);
/* ERR_STATE names what stands in the place of one of our files and can't be ours: a link, a folder. */
int run_files_check(const char *path, error *err);
/* Deletes what a run has made, so that it begins anew; run.json and lock stay. After run_files_check. */
int run_files_remove(const char *path, error *err);
