/* loss - the policy-gradient loss of a packed batch, token by token: value, dL/dlogprob, and what there is to see.
 *
 *     ratio  r = exp(logprob - old),   old = behaviour logprob, or the current one when stale tokens are corrected
 *     L_t    = -w min(A r, A clip(r, 1 - low, 1 + high)) + kl k3          PPO (2017), clip-higher: DAPO (2503.14476)
 *     w      = min(exp(logprob - behaviour), C), no gradient              token-level truncated importance sampling
 *     k3     = exp(ref - logprob) - (ref - logprob) - 1
 *
 * Aggregation: `token` divides by all unmasked tokens of the global batch, `sequence` gives every episode the same
 * weight, `constant` divides by episodes x constant (Dr.GRPO). Log-ratios are clamped to +-20.
 *
 * Float64 throughout: it is a few thousand numbers a step. No device, no model: plain arrays. */
#pragma once

#include "base/error.h"

typedef enum loss_aggregation { AGGREGATE_TOKEN, AGGREGATE_SEQUENCE, AGGREGATE_CONSTANT } loss_aggregation;
typedef enum loss_correction { CORRECTION_TOKEN_TIS, CORRECTION_NONE } loss_correction;

typedef struct loss_config {
    double clip_low, clip_high; /* 0.2, 0.28 */
    double kl;                  /* coefficient of k3 to the reference; 0: no reference */
    loss_aggregation aggregation;
    double constant; /* tokens an episode, for AGGREGATE_CONSTANT */
    loss_correction correction;
    double tis_cap; /* C = 2 */
} loss_config;

loss_config loss_default(void);

/* The denominators, over the whole step, before any micro-batching. */
typedef struct loss_scale {
    double tokens; /* unmasked tokens of all episodes that count */
    double episodes;
} loss_scale;

typedef struct loss_token {
    double logprob, behaviour, reference; /* reference: read only when kl > 0 */
    double advantage;
    double sequence_tokens; /* unmasked tokens of its episode */
} loss_token;

/* Sums over tokens; loss_metrics turns them into means. Zero-initialise. */
typedef struct loss_sums {
    double tokens, loss, ratio, ratio_max, clipped_low, clipped_high, kl_old, kl_reference;
    double gap_sum, gap_max; /* |exp(logprob) - exp(behaviour)| */
    double differing;        /* tokens whose two logprobs differ in any bit */
    double weight;           /* mean importance weight */
} loss_sums;

/* Returns dL/dlogprob of one token and adds to `sums`. */
double loss_gradient(const loss_config *config, const loss_scale *scale, const loss_token *token, loss_sums *sums);
