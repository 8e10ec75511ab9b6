/* SPDX-License-Identifier: MIT */
/* estimator - what a reward is compared with: a row an estimator, with its name, its paper and a function of its own.
 *
 *     A = (r - baseline) / (std + eps)       the baseline is the estimator's, std and eps are advantage_config's
 *
 * To add one: its value and word in ADVANTAGE_MEANS, its function and row in estimator.c; a name of algorithm.name that
 * uses it is a row of options_algorithm.c. Parser, help and docs/keys.md read these. */
#pragma once

#include <stdbool.h>

#include "base/words.h"
#include "learner/moments.h"

#define ADVANTAGE_MEANS(X)                                                                                             \
    X(MEAN_GROUP, "group", "the mean of its group")                                                                    \
    X(MEAN_NONE, "none", "0: the reward itself")                                                                       \
    X(MEAN_BATCH, "batch", "the mean of the batch")                                                                    \
    X(MEAN_LOO, "loo", "the mean of the others of its group, leave-one-out")                                           \
    X(MEAN_LENGTH, "length", "the mean of its group, weighed by the answers' lengths")                                 \
    X(MEAN_BEST, "best", "rejection sampling: 1 for the best of its group, 0 for the others")

typedef enum advantage_mean { ADVANTAGE_MEANS(WORDS_MEMBER) } advantage_mean;

/* One group's rewards on one objective, and what is known of them. */
typedef struct comparison {
    const double *r;              /* [S] of the step; NaN: missing */
    const double *length;         /* [S] tokens that the policy wrote */
    const origin *of;             /* [S] */
    episode_range at;             /* the group */
    moments group;                /* of those in it that were sampled without help: what a baseline is made of */
    moments helped, sampled, all; /* of those that were helped; of these and `group`; and with demonstrations */
    moments batch;                /* of the step's */
} comparison;

/* Where a baseline is taken from: rewards on spans of answers (learner/credit.h) are compared there too. */
typedef enum estimator_scope { SCOPE_NONE, SCOPE_GROUP, SCOPE_BATCH } estimator_scope;

typedef struct estimator {
    const char *paper;
    estimator_scope scope;
    /* The baseline of each of the group's rewards -> out [S], at the group's places. */
    void (*baseline)(const comparison *c, double *out);
    /* The batch's moments count an episode as often as it has tokens. */
    bool by_tokens;
    /* In place of the weighted sum of advantages: the scalar itself, from what each of a group's episodes is worth by
     * all objectives together -> scalar [S], at the group's places. counts [S]: episodes that may be chosen. NULL in
     * most rows. */
    void (*choose)(const double *worth, const origin *of, const bool *counts, episode_range at, double *scalar);
} estimator;

const estimator *estimator_of(advantage_mean mean);
