/* SPDX-License-Identifier: MIT */
#include "learner/loss.h"

#include <math.h>
#include <stdbool.h>

static const double MAX_LOG_RATIO = 20; /* exp(20) is already absurd; beyond it only infinities wait */

/* verl's. k3 grows without end with a token that has become far less likely than the reference has it. */
static const double MAX_K3 = 10;

static double clamped(double log_ratio) { return fmax(-MAX_LOG_RATIO, fmin(MAX_LOG_RATIO, log_ratio)); }

/* ---- what all tokens of an episode have in common ---- */

typedef struct context {
    const loss_config *config;
    const loss_episode *e;
    int n;                /* tokens that the policy wrote */
    double token_weight;  /* in the aggregate */
    double log_ratio_sum; /* of pi / pi_old */
    double log_stale_sum; /* of pi_old / mu */
} context;

/* With a correction the clip refers to pi_old and staleness is all in w; without, pi_old is mu. */
static double old_logprob(const loss_config *c, const loss_episode *e, int i)
{
    if (c->correction == CORRECTION_NONE) return e->behaviour[i];
    return (double)(e->old ? e->old[i] : e->logprob[i]);
}

double loss_token_weight(const loss_config *c, const loss_scale *scale, int n)
{
    switch (c->aggregation) {
    case AGGREGATE_TOKEN:
        return 1 / scale->tokens;
    case AGGREGATE_SEQUENCE:
        return 1 / (scale->episodes * fmax(1, n));
    case AGGREGATE_CONSTANT:
        return 1 / (scale->episodes * c->constant);
    case AGGREGATE_SEQUENCE_SUM:
        return 1 / scale->episodes;
    }
    return 0;
}

static context context_of(const loss_config *c, const loss_scale *scale, const loss_episode *e)
{
    context x = { .config = c, .e = e, .n = e->n - e->n_imitated };
    x.token_weight = loss_token_weight(c, scale, x.n);
    for (int i = e->n_imitated; i < e->n; i++) {
        const double old = old_logprob(c, e, i);
        x.log_ratio_sum += (double)e->logprob[i] - old;
        x.log_stale_sum += old - e->behaviour[i];
    }
    return x;
}

/* ---- w ---- */

/* w = pi_old / mu, cut or masked: what a token counts that a staler policy, or another sampler, has drawn. It is a
 * constant: no gradient goes through it. */
static double correction(const context *x, int i)
{
    const loss_config *c = x->config;
    const double stale = exp(clamped(old_logprob(c, x->e, i) - x->e->behaviour[i]));

    switch (c->correction) {
    case CORRECTION_NONE:
        return 1;
    case CORRECTION_TOKEN_TIS:
        return fmin(stale, c->tis_cap);
    case CORRECTION_SEQUENCE_TIS:
        return fmin(exp(clamped(x->log_stale_sum)), c->tis_cap);
    case CORRECTION_MASK:
        return stale > c->tis_cap || stale < c->floor ? 0 : stale;
    case CORRECTION_GEOMETRIC:
        return fabs(x->log_stale_sum / x->n) > log1p(c->band) ? 0 : 1;
    }
    return 1;
}

/* ---- the surrogates: value, and its derivative with respect to the token's logprob ---- */

/* PPO: -min(r A, clip(r) A), and no more than dual_clip where a bad token has become likelier (arXiv 1912.09729). */
static double clip_ppo(const loss_config *c, double r, double A, double *gradient, loss_sums *sums)
{
    const bool above = A > 0 && r > 1 + c->clip_high, below = A < 0 && r < 1 - c->clip_low;
    const bool dual = A < 0 && c->dual_clip > 1 && r > c->dual_clip;

    sums->clipped_high += above || dual;
    sums->clipped_low += below;
    *gradient = above || below || dual ? 0 : -A * r; /* a clipped ratio is a constant; dr/dlogprob is r */

    double kept = r;
    if (above) kept = 1 + c->clip_high;
    if (below) kept = 1 - c->clip_low;
    if (dual) kept = c->dual_clip;
    return -A * kept;
}

/* CISPO: REINFORCE with the clipped ratio as a constant weight, so that no token loses its gradient. */
static double clip_cispo(const loss_config *c, double r, double A, double logprob, double *gradient, loss_sums *sums)
{
    const double kept = fmax(1 - c->clip_low, fmin(r, 1 + c->clip_high));
    sums->clipped_high += kept < r;
    sums->clipped_low += kept > r;
    *gradient = -A * kept;
    return -A * kept * logprob;
}

/* How much a group counts by its share q of right answers: all the same, or the rarer the more. */
static double nft_weight(int kind, double q)
{
    if (kind == 0) return 1;
    return kind == 1 ? 1 - q : sqrt((1 - q) / q);
}

/* NFT (arXiv 2505.18116): right answers by -log r, wrong ones by the log of the implicit negative policy's ratio,
 * (1 - q r) / (1 - q). */
static double negative_aware(const loss_config *c, double r, double q, double A, double *gradient)
{
    *gradient = 0;
    if (A == 0) return 0; /* neither right nor wrong: it is here for the KL */

    const double rate = fmax(0.02, fmin(0.98, q)); /* at 0 and 1 the implicit policy would divide by 0 */
    const double weight = nft_weight(c->nft_weight, rate);
    if (A > 0) {
        *gradient = -weight;
        return -weight * log(r);
    }

    /* The clamp lets the gradient through, as the authors' code has it. */
    const double other = (1 - rate * r) / (1 - rate);
    const double kept = fmax(other, 1.0);
    *gradient = weight * rate * r / (1 - rate) / kept;
    return -weight * log(kept);
}

static double surrogate(const context *x, int i, double *gradient, loss_sums *sums)
{
    const loss_config *c = x->config;
    const loss_episode *e = x->e;
    const double logprob = (double)e->logprob[i];
    const double A = e->advantage + (e->credit ? e->credit[i] : 0);
    const double r = exp(clamped(logprob - old_logprob(c, e, i)));

    switch (c->kind) {
    case LOSS_PPO:
        return clip_ppo(c, r, A, gradient, sums);
    case LOSS_GSPO: /* one ratio for the whole episode: the geometric mean of its tokens' */
        return clip_ppo(c, exp(clamped(x->log_ratio_sum / x->n)), A, gradient, sums);
    case LOSS_CISPO:
        return clip_cispo(c, r, A, logprob, gradient, sums);
    case LOSS_REINFORCE:
        *gradient = -A * fmin(r, c->ratio_cap);
        return *gradient * logprob;
    case LOSS_KIMI:
        *gradient = -A; /* and the regulariser, which no weight shortens */
        return -A * logprob;
    case LOSS_NFT:
        return negative_aware(c, r, e->success_rate, A, gradient);
    }
    return 0;
}

/* Kimi's tau/2 (sum of log-ratios)^2 of the whole episode (arXiv 2501.12599): each token has 1/n of its value, and the
 * whole of its gradient, as the sum's derivative with respect to each logprob is 1. */
static double regulariser(const context *x, double *gradient)
{
    const double tau = x->config->kind == LOSS_KIMI ? x->config->tau : 0;
    *gradient = tau * x->log_ratio_sum;
    return tau / 2 * x->log_ratio_sum * x->log_ratio_sum / x->n;
}

/* Estimators of KL(pi || reference) from one token, by k = log pi - log ref: k, k^2/2 and e^-k + k - 1
 * (joschu.net/blog/kl-approx.html). k3_plus shows k3 and has the gradient of k2, which is the KL's own on average. */
static double kl_term(loss_kl kind, double logprob, double reference, double *gradient)
{
    const double k = clamped(logprob - reference), e = exp(-k);

    switch (kind) {
    case KL_K1:
        *gradient = 1;
        return k;
    case KL_K2:
        *gradient = k;
        return k * k / 2;
    case KL_K3: /* the clamp has no gradient outside, as torch.clamp has none */
        *gradient = e + k - 1 > MAX_K3 ? 0 : 1 - e;
        return fmin(MAX_K3, e + k - 1);
    case KL_K3_PLUS:
        *gradient = k;
        return fmin(MAX_K3, e + k - 1);
    }
    return 0;
}

/* ---- an episode ---- */

static void observe(const loss_episode *e, int i, double w, loss_sums *sums)
{
    const double logprob = (double)e->logprob[i];
    const double gap = fabs(exp(logprob) - exp(e->behaviour[i])); /* of probabilities */
    const double ratio = exp(clamped(logprob - e->behaviour[i]));

    sums->tokens++;
    sums->ratio += ratio;
    sums->ratio_max = fmax(sums->ratio_max, ratio);
    sums->kl_old += e->behaviour[i] - logprob;
    sums->gap_sum += gap;
    sums->gap_max = fmax(sums->gap_max, gap);
    sums->differing += logprob != e->behaviour[i];
    sums->weight += w;
    sums->rejected += w == 0;
}

/* The loss of an imitated token, one of a hint or demonstration. DFT (arXiv 2508.05629) weighs -log p by p, taken as a
 * constant; a guide's loss is -A p itself, of which p dlogprob is the gradient. */
static double imitate_token(const context *x, int i, double *gradient)
{
    const loss_config *c = x->config;
    const double logprob = (double)x->e->logprob[i], p = exp(logprob), A = x->e->advantage;
    *gradient = 0;
    if (c->imitation == IMITATION_NONE || A < 0) return 0;

    switch (c->imitation) {
    case IMITATION_SFT:
        *gradient = -c->imitation_weight;
        return *gradient * logprob;
    case IMITATION_DFT:
    case IMITATION_ASFT:
        *gradient = -c->imitation_weight * p;
        return *gradient * logprob;
    case IMITATION_GUIDE:
        *gradient = -c->imitation_weight * A * p;
        return *gradient;
    case IMITATION_NONE:
        break;
    }
    return 0;
}

/* A token of a hint: the policy did not sample it, so there is neither ratio nor correction. */
static void imitated_token(const context *x, int i, float *gradient, loss_sums *sums)
{
    double of_imitation = 0;
    sums->loss += x->token_weight * imitate_token(x, i, &of_imitation);
    gradient[i] = (float)(x->token_weight * of_imitation);
    sums->imitated++;
    sums->imitated_logprob += (double)x->e->logprob[i];
}

/* A sampled token: w x surrogate + regulariser + kl x KL, each with its derivative. */
static void sampled_token(const context *x, int i, float *gradient, loss_sums *sums)
{
    const loss_config *c = x->config;
    const loss_episode *e = x->e;
    double of_policy = 0, of_regulariser = 0, of_kl = 0, kl = 0;

    const double w = correction(x, i), held = regulariser(x, &of_regulariser);
    const double value = w * surrogate(x, i, &of_policy, sums) + held;
    if (c->kl > 0) kl = kl_term(c->kl_kind, (double)e->logprob[i], (double)e->reference[i], &of_kl);

    const double token_weight = x->token_weight * (1 - c->imitation_share);
    gradient[i] = (float)(token_weight * (w * of_policy + of_regulariser + c->kl * of_kl));
    sums->loss += token_weight * (value + c->kl * kl);
    sums->kl_reference += kl;
    observe(e, i, w, sums);
}

void loss_gradient(const loss_config *config, const loss_scale *scale, const loss_episode *episode, float *gradient,
                   loss_sums *sums)
{
    const context x = context_of(config, scale, episode);
    for (int i = 0; i < episode->n_imitated; i++) imitated_token(&x, i, gradient, sums);
    for (int i = episode->n_imitated; i < episode->n; i++) sampled_token(&x, i, gradient, sums);
}

/* log of the sum of exp(z / temperature), less the largest first: exp of a large logit is infinite. */
static double log_sum(int V, const float *z, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (int v = 0; v < V; v++) max = fmax(max, (double)z[v] / temperature);
    for (int v = 0; v < V; v++) sum += exp((double)z[v] / temperature - max);
    return max + log(sum);
}

double loss_anchor(int V, const float *z, const float *reference, double temperature, double weight, float *dz)
{
    const double of_policy = log_sum(V, z, temperature), of_reference = log_sum(V, reference, temperature);
    double kl = 0;
    for (int v = 0; v < V; v++) {
        const double log_p = (double)z[v] / temperature - of_policy;
        const double log_q = (double)reference[v] / temperature - of_reference;
        kl += exp(log_q) * (log_q - log_p);
        dz[v] = (float)(weight * (exp(log_p) - exp(log_q)) / temperature);
    }
    return kl;
}

void loss_sums_add(loss_sums *to, const loss_sums *part)
{
    to->tokens += part->tokens;
    to->loss += part->loss;
    to->ratio += part->ratio;
    to->ratio_max = fmax(to->ratio_max, part->ratio_max);
    to->clipped_low += part->clipped_low;
    to->clipped_high += part->clipped_high;
    to->kl_old += part->kl_old;
    to->kl_reference += part->kl_reference;

    to->gap_sum += part->gap_sum;
    to->gap_max = fmax(to->gap_max, part->gap_max);
    to->differing += part->differing;
    to->weight += part->weight;
    to->rejected += part->rejected;

    to->imitated += part->imitated;
    to->imitated_logprob += part->imitated_logprob;
    to->imitated_kl += part->imitated_kl;
}
