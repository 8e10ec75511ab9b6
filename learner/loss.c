#include "learner/loss.h"

#include <math.h>
#include <stdbool.h>

static const double MAX_LOG_RATIO = 20; /* exp(20) is already absurd; beyond it only infinities wait */

loss_config loss_default(void)
{
    return (loss_config){ .clip_low = 0.2,
                          .clip_high = 0.28,
                          .aggregation = AGGREGATE_TOKEN,
                          .constant = 512,
                          .correction = CORRECTION_TOKEN_TIS,
                          .tis_cap = 2 };
}

static double ratio_of(double to, double from) { return exp(fmax(-MAX_LOG_RATIO, fmin(MAX_LOG_RATIO, to - from))); }

static double share_of_token(const loss_config *c, const loss_scale *scale, const loss_token *t)
{
    switch (c->aggregation) {
    case AGGREGATE_TOKEN:
        return 1 / scale->tokens;
    case AGGREGATE_SEQUENCE:
        return 1 / (scale->episodes * t->sequence_tokens);
    case AGGREGATE_CONSTANT:
        return 1 / (scale->episodes * c->constant);
    }
    return 0;
}

/* PPO's pessimistic surrogate; *slope is its derivative with respect to the logprob. */
static double surrogate(const loss_config *c, double r, double advantage, double *slope, loss_sums *sums)
{
    const bool above = advantage > 0 && r > 1 + c->clip_high, below = advantage < 0 && r < 1 - c->clip_low;
    sums->clipped_high += above;
    sums->clipped_low += below;
    *slope = above || below ? 0 : -advantage * r;
    return -advantage * (above ? 1 + c->clip_high : below ? 1 - c->clip_low : r);
}

/* k3 of Schulman's note: never negative, unbiased; its derivative with respect to the logprob is 1 - exp(ref - lp). */
static double k3(double logprob, double reference, double *slope)
{
    const double e = ratio_of(reference, logprob);
    *slope = 1 - e;
    return e - log(e) - 1;
}

double loss_gradient(const loss_config *config, const loss_scale *scale, const loss_token *token, loss_sums *sums)
{
    const double share = share_of_token(config, scale, token);
    const double to_behaviour = ratio_of(token->logprob, token->behaviour);
    const bool corrected = config->correction == CORRECTION_TOKEN_TIS;
    /* One update a batch: the proximal policy is the current one, so with the correction the ratio is 1 by definition
     * and staleness is all in the weight. */
    const double r = corrected ? 1 : to_behaviour;
    const double w = corrected ? fmin(to_behaviour, config->tis_cap) : 1;
    double slope, kl_slope = 0, kl = 0;
    double value = w * surrogate(config, r, token->advantage, &slope, sums);
    slope *= w;
    if (config->kl > 0) kl = k3(token->logprob, token->reference, &kl_slope);

    const double gap = fabs(exp(token->logprob) - exp(token->behaviour));
    sums->tokens++;
    sums->loss += share * (value + config->kl * kl);
    sums->ratio += to_behaviour;
    sums->ratio_max = fmax(sums->ratio_max, to_behaviour);
    sums->kl_old += token->behaviour - token->logprob;
    sums->kl_reference += kl;
    sums->gap_sum += gap;
    sums->gap_max = fmax(sums->gap_max, gap);
    sums->differing += token->logprob != token->behaviour;
    sums->weight += w;
    return share * (slope + config->kl * kl_slope);
}
