/* SPDX-License-Identifier: MIT */
#include "learner/estimator.h"

#include <math.h>

#include "rollout/signal.h"

/* Alone in its group a reward has nothing to be compared with: it is its own baseline, and the advantage is 0. */

static void group_mean(const comparison *c, double *out)
{
    for (int i = c->at.begin; i < c->at.end; i++) out[i] = c->group.n > 1 ? c->group.mean : c->r[i];
}

static void no_baseline(const comparison *c, double *out)
{
    for (int i = c->at.begin; i < c->at.end; i++) out[i] = 0;
}

static void batch_mean(const comparison *c, double *out)
{
    for (int i = c->at.begin; i < c->at.end; i++) out[i] = c->batch.mean;
}

/* The mean of the others. */
static void leave_one_out(const comparison *c, double *out)
{
    const int n = c->group.n;
    for (int i = c->at.begin; i < c->at.end; i++) out[i] = n > 1 ? (c->group.sum - c->r[i]) / (n - 1) : c->r[i];
}

/* The mean of the group, each episode as heavy as it is long: the baseline of least variance, where a gradient's
 * squared length grows with the tokens. */
static void mean_by_length(const comparison *c, double *out)
{
    double sum = 0, weight = 0;
    for (int i = c->at.begin; i < c->at.end; i++) {
        if (isnan(c->r[i]) || c->of[i] != ORIGIN_SAMPLED) continue;
        sum += c->r[i] * c->length[i];
        weight += c->length[i];
    }

    const double mean = weight > 0 ? sum / weight : 0;
    for (int i = c->at.begin; i < c->at.end; i++) out[i] = c->group.n > 1 ? mean : c->r[i];
}

/* Rejection sampling: the best of its group is learned (1, shared by ties), the rest is not (0); a group in which all
 * are worth the same teaches nothing. */
static void choose_best(const double *worth, const origin *of, const bool *counts, episode_range at, double *scalar)
{
    double best = -INFINITY, worst = INFINITY;
    int ties = 0;

    for (int i = at.begin; i < at.end; i++) {
        if (!counts[i] || of[i] != ORIGIN_SAMPLED) continue;
        best = fmax(best, worth[i]);
        worst = fmin(worst, worth[i]);
    }
    const bool differ = best > worst && signal_between(best, worst) != 0;

    for (int i = at.begin; i < at.end; i++) {
        scalar[i] = differ && counts[i] && of[i] == ORIGIN_SAMPLED && signal_between(best, worth[i]) == 0;
        ties += scalar[i] > 0;
    }
    for (int i = at.begin; i < at.end; i++)
        if (scalar[i] > 0) scalar[i] = 1.0 / ties;
}

static const estimator ESTIMATORS[] = {
    [MEAN_GROUP] = { "GRPO (arXiv 2402.03300)", SCOPE_GROUP, group_mean },
    [MEAN_NONE] = { "REINFORCE (Williams 1992), without its baseline", SCOPE_NONE, no_baseline },
    [MEAN_BATCH] = { "REINFORCE++ (arXiv 2501.03262)", SCOPE_BATCH, batch_mean, .by_tokens = true },
    [MEAN_LOO] = { "RLOO (arXiv 2402.14740)", SCOPE_GROUP, leave_one_out },
    [MEAN_LENGTH] = { "OPO (arXiv 2505.23585)", SCOPE_GROUP, mean_by_length },
    [MEAN_BEST] = { "RAFT (arXiv 2304.06767)", SCOPE_GROUP, group_mean, .choose = choose_best },
};

const estimator *estimator_of(advantage_mean mean) { return &ESTIMATORS[mean]; }
