/* SPDX-License-Identifier: MIT */
/* forgetting - what a run has learned of each data group, evaluation by evaluation, and what it has lost again.
 *
 * forgotten = the best of the evaluations before the last, minus the last (Chaudhry et al., ECCV 2018); below 0 a group
 * is still getting better.
 *
 *     step            it        nl
 *     0            0.200     0.100
 *     40           0.700         -      was not evaluated
 *     80           0.600     0.300
 *     forgotten    0.100    -0.200
 *     mean forgotten:    -0.050 */
#pragma once

#include <stdio.h>

#include "base/error.h"
#include "base/vec.h"

enum { FORGETTING_MAX_GROUPS = 64 }; /* as many as evaluations tell apart (batch_metrics.h) */

typedef struct group_evals {
    char *groups[FORGETTING_MAX_GROUPS]; /* names, in the order in which they came; owned */
    int n;
    vec(double) steps;  /* of the evaluations */
    vec(double) values; /* [steps, FORGETTING_MAX_GROUPS]; NaN: not evaluated */
} group_evals;

typedef struct group_memory {
    double best;      /* of the evaluations before the last */
    double last;      /* of the last */
    double forgotten; /* best - last */
} group_memory;       /* NaN: there is none */

/* Reads the evaluations of `run` into `e` (zeroed). ERR_NOT_FOUND: it has none of data groups; other errors are
 * metrics_file_read's. group_evals_reset frees, also after an error. */
int group_evals_read(group_evals *e, const char *run, error *err);
void group_evals_reset(group_evals *e);

/* What became of group `i`. There has to be an evaluation. */
group_memory group_memory_of(const group_evals *e, int i);
/* The mean of `forgotten` over the groups that have one; NaN: none has. */
double mean_forgotten(const group_evals *e);

/* A row an evaluation, a column a group, and what was forgotten; or the same as one JSON object, keys sorted. */
void forgetting_print_table(FILE *out, const group_evals *e);
void forgetting_print_json(FILE *out, const group_evals *e);
