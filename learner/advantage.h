/* SPDX-License-Identifier: MIT */
/* advantage - how much better than its group an episode did, objective by objective, and the one number that trains.
 *
 *     per objective k:  A_k = (r_k - mean_k) / (std_k + eps)            mean, std: none | group | batch | leave-one-out
 *     scalar:           A   = sum_k w_k A_k, then (K > 1) whitened over the batch: GDPO, arXiv 2601.05242
 *
 * What a reward is compared with is the estimator's (learner/estimator.h), what it is divided by a switch of its own;
 * papers are pairs of the two (learner/options_algorithm.c): (group, group) is GRPO, (group, none) Dr.GRPO, (loo,
 * none) RLOO, (group, batch) REINFORCE++ with baseline and LitePPO, (batch, batch) REINFORCE++, (length, none) OPO.
 *
 * (batch, batch) is over the batch's tokens, an episode as often as it is long: whitening its tokens' returns, as
 * verl's REINFORCE++ does.
 *
 * What is compared and found equal, up to rounding, has advantage 0, exactly (rollout/signal.h): a reward and its mean,
 * the best and the others, the sum of objectives that cancel, spans of one worth. What is then 0 everywhere has no
 * deviation, and nothing is divided by it. Objectives of weight 0 have statistics, and rows of zeros.
 *
 * MEAN_BEST is rejection sampling (RAFT, arXiv 2304.06767; with a row's own weights DPA, 2402.18571): A = 1 for the
 * best of its group by sum_k w_k r_k (ties share it), 0 for all others; a group in which all are worth the same has
 * none.
 *
 * Constraints ("format >= 0.95, then accuracy"): in a step whose mean is below an objective's `least`, the objectives
 * that have met theirs have advantage 0.
 *
 * Helped episodes, after a hint or with more worked examples than others of their prompt, have a mean of their own
 * and count the less the more the help helps (ADHint, arXiv 2512.13095):
 * A = (r - mean_helped) / std_all * clip((1 - mean_helped) / (1 - mean_own), 0.1, 1). A demonstration, of
 * which nothing was sampled, is compared with the group's other episodes; it is in no mean, and in no std but its
 * own divisor.
 *
 * Rewards on spans (score_add_span) are normalised by themselves and go to tokens (learner/credit.h), after the
 * whitening; the objective's advantage of that episode is 0.
 *
 * A missing score is masked: it is in no mean and no std, and its own advantage is 0. An episode with every objective
 * missing is not trained on (`counts` is false). */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/words.h"
#include "learner/estimator.h"
#include "learner/objective.h"
#include "learner/length_shaping.h"
#include "rollout/group.h"

#define ADVANTAGE_STDS(X)                                                                                              \
    X(STD_GROUP, "group", "the standard deviation of its group")                                                       \
    X(STD_NONE, "none", "1: rewards keep their scale")                                                                 \
    X(STD_BATCH, "batch", "the standard deviation of the batch")

typedef enum advantage_std { ADVANTAGE_STDS(WORDS_MEMBER) } advantage_std;

/* Which tokens a reward on a span of the answer is for: learner/credit.h. */
#define CREDIT_TOS(X)                                                                                                  \
    X(CREDIT_SPAN, "span", "each span's tokens get its own advantage")                                                 \
    X(CREDIT_RETURN, "return", "a token gets the sum of its own span's and all later ones'")                           \
    X(CREDIT_WHOLE, "whole", "the mean of the spans is one reward for the whole answer")

typedef enum credit_to { CREDIT_TOS(WORDS_MEMBER) } credit_to;

typedef struct advantage_config {
    advantage_mean mean;
    advantage_std std;
    double eps;     /* 0: 1e-6 with one objective that weighs (GRPO), 1e-4 with several (GDPO) */
    bool whiten;    /* over the batch, after the weighted sum */
    bool drop_dead; /* groups whose heaviest objective is the same for all don't count, not even in denominators */
    length_shaping_config length_shaping;
    credit_to credit;
} advantage_config;

typedef struct objective_stats {
    double mean, std;    /* of the raw reward over the batch */
    double dead_groups;  /* share of groups in which all rewards are equal: they teach nothing */
    int scored, missing; /* episodes */
    bool unmet;          /* a constraint, and the batch's mean is below it */
} objective_stats;

typedef struct advantage_table {
    int S, K;
    const episode **episodes;     /* [S], groups in order, samples in order */
    double *scalar;               /* [S] what trains */
    double *by_objective;         /* [K, S] normalised, unweighted */
    bool has_spans;               /* some score has spans that count: the two below are there, otherwise NULL */
    double **tokens;              /* [S] what its tokens get on top of the scalar, [trajectory n]; NULL: nothing */
    double **tokens_by_objective; /* [K, S] the same by objective, unweighted */
    bool *counts;                 /* [S] */
    double *success_rate;         /* [S] share of its group with a positive reward on the heaviest objective */
    objective_stats *stats;       /* [K] */
} advantage_table;

/* What else a step knows of its episodes; NULL: nothing. */
typedef struct advantage_extra {
    const double *penalty; /* [S] taken off the heaviest objective's rewards before they are normalised */
    const double *weights; /* [S, K] each episode's own weights of the objectives */
    const bool *drop;      /* [S] episodes that count as if they had no score */
} advantage_extra;

/* The first objective is the heaviest; what statistics show is the raw reward. With weights of their own, by_objective
 * is multiplied by own weight / objective's weight: then every method that weighs it weighs the episode's way. All
 * memory is the arena's; episodes are borrowed from the groups. */
advantage_table *advantage_compute(arena *a, const advantage_config *config, const objective_set *objectives,
                                   const group *const *groups, int n_groups, const advantage_extra *extra);
