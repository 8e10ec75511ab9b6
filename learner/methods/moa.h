/* SPDX-License-Identifier: MIT */
/* moa - multi-objective alignment (MOA, arXiv 2512.09756): the objective that beats its own trend leads.
 *
 *     u_d = mean reward now - what a line through its last steps foretold        w = softmax(beta u)
 *     pivot = argmax w
 *
 * Conflict elimination: of a group the largest part is kept in which the order by the pivot and the order by
 * R = sum w_d r_d agree; the others are in no mean and are not trained on. (The paper names the step; that it is the
 * longest non-decreasing subsequence of R along the pivot is our reading.) */
#pragma once

#include "base/state.h"
#include "learner/objective.h"
#include "rollout/group.h"

enum { MOA_WINDOW = 32 };

typedef struct moa_config {
    int window;     /* steps the line goes through, 2 .. MOA_WINDOW; 0: off */
    double beta;    /* sharpness of the softmax (10) */
    bool eliminate; /* conflicting episodes */
} moa_config;

/* The last means, the newest last. */
typedef struct moa_state {
    double n;
    double means[MOA_WINDOW][MAX_OBJECTIVES];
} moa_state;

/* The weights w [K] of this step, sum 1, and the step's means [K] join the history. Equal weights until there are two
 * steps to draw a line through; a mean that is missing (NaN) is taken for as foretold.
 * Objectives of weight 0 have 0. */
void moa_weights(const moa_config *config, moa_state *state, const objective_set *objectives, const double *means,
                 double *w);

/* Section "pivot". */
void moa_state_walk(moa_state *p, const moa_config *config, saved_state *s);

/* Marks in drop [S] (episodes in order of the groups) what elimination leaves out. Episodes without a score of some
 * objective are kept. */
void moa_eliminate(const objective_set *objectives, const double *w, const group *const *groups, int n_groups,
                   bool *drop);
/* For one group: pivot [n] and R [n] -> drop [n]; returns how many are kept. */
int moa_keep_agreeing(int n, const double *pivot, const double *R, bool *drop);
