/* SPDX-License-Identifier: MIT */
/* curves - how one objective of a run went, over its steps: what its metrics.jsonl has of it. */
#pragma once

#include "base/error.h"
#include "base/vec.h"
#include "rollout/score.h"

typedef struct curve_point {
    double step, value;
} curve_point;
typedef vec(curve_point) curve; /* in the order of the file */

typedef struct run_curves {
    char label[128]; /* the folder's own name */
    curve train;     /* mean reward of the rollouts */
    curve eval;      /* of the evaluations */
    curve shots;     /* mean number of shots in the prompts */
} run_curves;

/* Reads the run in folder `dir` into `r` (zeroed). `objective` names the reward; "": the first that the run has, which
 * is put there for the runs read after it. ERR_NOT_FOUND: the run has no value of it, and the sentence lists those that
 * it has; other errors say why `dir` is no run. run_curves_reset frees, also after an error. */
int run_curves_read(run_curves *r, const char *dir, char objective[OBJECTIVE_NAME + 1], error *err);
void run_curves_reset(run_curves *r);
