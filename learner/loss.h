/* SPDX-License-Identifier: MIT */
/* loss - the policy-gradient losses of the GRPO family, episode by episode: value, dL/dlogprob and
 * statistics.
 *
 * Three policies: mu, which sampled (the actor's, of any version); pi_old, which the clip refers to (the learner's when
 * the batch's first update began); pi, which is trained. r_t = pi / pi_old, and w = sg(correction of pi_old / mu) makes
 * up for stale tokens. Without correction pi_old is mu, as in plain PPO.
 *
 *     ppo        w max(-A r, -A clip(r, 1 - low, 1 + high)), for A < 0 at most -A c      PPO 2017; clip-higher: DAPO
 *                                                                     (2503.14476); dual clip: Ye et al. (1912.09729)
 *     gspo       the same with s = exp(mean_t log r_t) of the episode for every r_t      Qwen (2507.18071)
 *     cispo      -w sg(clip(r, 1 - low, 1 + high)) A log pi                              MiniMax-M1 (2506.13585)
 *     reinforce  -w sg(min(r, C)) A log pi
 *     kimi       -w A log pi + (tau / 2) (sum_t log r_t)^2 / n                           Kimi k1.5 (2501.12599) eq. 3
 *     nft        right: -log R; wrong: -log max((1 - q R) / (1 - q), 1), straight through; R = r, q the share of
 *                right answers in the group, times its weight (1, 1 - q or sqrt((1 - q) / q))      NFT (2505.18116)
 *
 *     KL to a reference, x = log pi - log ref:  k1 = x, k2 = x^2 / 2, k3 = e^-x + x - 1 (Schulman's note);
 *     k3+ has the value of k3 and the gradient of k2, the only one of them that is the KL's. k3 and k3+ are at most 10,
 *     and k3 has no gradient beyond (x < -2.6, x > 11): a token that has left the reference that far is no longer
 *     pulled back by k3, by the others it is. As verl has it; TRL leaves k3 unclamped, and one token's gradient can
 *     be -3,000.
 *
 * Sums over unmasked tokens, denominators over the whole step: `token` / all tokens; `sequence` the episodes' means /
 * all episodes (GRPO as published); `sequence_sum` the episodes' sums / all episodes; `constant` / (episodes x
 * constant) (Dr.GRPO). Log-ratios are clamped to +-20. Nothing but what the policy wrote is ever in here.
 *
 * Float64 throughout: it is a few thousand numbers a step. No device, no model: plain arrays. */
#pragma once

#include "base/words.h"
#include "base/error.h"

/* Each with the words that recipes use. */

#define LOSS_KINDS(X)                                                                                                  \
    X(LOSS_PPO, "ppo", "the clipped ratio of each token")                                                              \
    X(LOSS_GSPO, "gspo", "the clipped ratio of the whole episode, its tokens' geometric mean")                         \
    X(LOSS_CISPO, "cispo", "the clipped ratio weighs log-likelihood: every token has a gradient")                      \
    X(LOSS_REINFORCE, "reinforce", "the ratio, at most ratio_cap, weighs log-likelihood")                              \
    X(LOSS_KIMI, "kimi", "log-likelihood, and tau times the episode's squared log-ratio")                              \
    X(LOSS_NFT, "nft", "likelihood of right answers, and of the complement of wrong ones")

typedef enum loss_kind { LOSS_KINDS(WORDS_MEMBER) } loss_kind;

#define LOSS_AGGREGATIONS(X)                                                                                           \
    X(AGGREGATE_TOKEN, "token", "a mean over all tokens of the step")                                                  \
    X(AGGREGATE_SEQUENCE, "sequence", "a mean over episodes of each one's mean over tokens")                           \
    X(AGGREGATE_CONSTANT, "constant", "a sum over tokens, divided by episodes times rollout.max_tokens")               \
    X(AGGREGATE_SEQUENCE_SUM, "sequence_sum", "a mean over episodes of each one's sum over tokens")

typedef enum loss_aggregation { LOSS_AGGREGATIONS(WORDS_MEMBER) } loss_aggregation;

/* w of a token from pi_old / mu: min(., C) by token; the episode's product, at most C; the token's own, but 0 outside
 * [floor, C]; 1, but 0 for episodes whose geometric mean is outside [1 / (1 + band), 1 + band]. */
#define LOSS_CORRECTIONS(X)                                                                                            \
    X(CORRECTION_TOKEN_TIS, "token_tis", "each token weighs pi_old / mu, at most tis_cap")                             \
    X(CORRECTION_NONE, "none", "weight 1; the clip refers to the policy that sampled, as in plain PPO")                \
    X(CORRECTION_SEQUENCE_TIS, "sequence_tis", "each token weighs its episode's product, at most tis_cap")             \
    X(CORRECTION_MASK, "mask", "each token weighs pi_old / mu, but 0 outside floor to tis_cap")                        \
    X(CORRECTION_GEOMETRIC, "geometric", "weight 1; episodes whose geometric mean leaves the band weigh 0")

typedef enum loss_correction { LOSS_CORRECTIONS(WORDS_MEMBER) } loss_correction;

/* What a given token (of a hint or a demonstration) is trained with, c its weight:
 *     sft    -c log pi
 *     dft    -c sg(pi) log pi: what the policy finds likely already counts more       (arXiv 2508.05629)
 *     asft   dft, and KL(ref || pi) over the whole vocabulary: methods/anchor.c                    (ASFT)
 *     guide  -c A pi, A > 0: an off-policy member of the group, sampled with probability 1 (LUFFY's ratio, 2504.14945)
 * Given tokens of an episode with a negative advantage are not trained on (ADHint's masking, 2512.13095). */
#define LOSS_IMITATIONS(X)                                                                                             \
    X(IMITATION_NONE, "not", "they are context and no more")                                                           \
    X(IMITATION_SFT, "sft", "cross-entropy")                                                                           \
    X(IMITATION_DFT, "dft", "cross-entropy weighed by the token's probability (2508.05629)")                           \
    X(IMITATION_ASFT, "asft", "dft, and anchor times the KL from the base model over the whole vocabulary")            \
    X(IMITATION_GUIDE, "guide", "an off-policy member of the group, sampled with probability 1 (LUFFY, 2504.14945)")

typedef enum loss_imitation { LOSS_IMITATIONS(WORDS_MEMBER) } loss_imitation;

#define LOSS_KLS(X)                                                                                                    \
    X(KL_K3, "k3", "e^-x + x - 1, x = log pi - log ref: never negative, low variance")                                 \
    X(KL_K1, "k1", "x: unbiased, its gradient is 0 on average")                                                        \
    X(KL_K2, "k2", "x^2 / 2: its gradient is the KL's")                                                                \
    X(KL_K3_PLUS, "k3+", "the value of k3 with the gradient of k2")

typedef enum loss_kl { LOSS_KLS(WORDS_MEMBER) } loss_kl;

/* Defaults: the rows of learner/options_algorithm.c and options_imitation.c. */
typedef struct loss_config {
    loss_kind kind;
    double clip_low, clip_high;
    double dual_clip; /* c > 1; 0: none */
    double ratio_cap; /* REINFORCE's C */
    double tau;       /* Kimi's */
    int nft_weight;   /* 0: 1, 1: 1 - q, 2: sqrt((1 - q) / q) */
    double kl;        /* coefficient of the KL term; 0: no reference */
    loss_kl kl_kind;
    loss_aggregation aggregation;
    double constant; /* tokens an episode, for AGGREGATE_CONSTANT */
    loss_correction correction;
    double tis_cap; /* C */
    double floor;   /* of CORRECTION_MASK */
    double band;    /* of CORRECTION_GEOMETRIC */
    loss_imitation imitation;
    double imitation_weight; /* c */
    double imitation_share;  /* mu: what the policy wrote counts 1 - imitation_share */
} loss_config;

/* The denominators, over the whole step, before any micro-batching. */
typedef struct loss_scale {
    double tokens; /* unmasked tokens of all episodes that count */
    double episodes;
} loss_scale;

/* The tokens that the policy wrote in one episode, and those of a hint before them. */
typedef struct loss_episode {
    int n;
    const float *logprob;    /* [n] now */
    const double *behaviour; /* [n] as sampled */
    const float *old;        /* [n] when the batch's first update began; NULL: as now */
    const float *reference;  /* [n]; read only when kl > 0 */
    double advantage;
    double success_rate;  /* of its group, for NFT; the episode is right where advantage > 0 */
    int n_imitated;       /* the first so many tokens are a hint's: their behaviour is not read */
    const double *credit; /* [n] what a token has on top of the advantage (learner/credit.h); NULL: nothing */
} loss_episode;

/* Sums over tokens; the trainer turns them into means. Zero-initialise. */
typedef struct loss_sums {
    double tokens, loss, ratio, ratio_max, clipped_low, clipped_high, kl_old, kl_reference;
    double gap_sum, gap_max;           /* |exp(logprob) - exp(behaviour)| */
    double differing;                  /* tokens whose two logprobs differ in any bit */
    double weight;                     /* importance weights */
    double rejected;                   /* tokens whose weight is 0 */
    double imitated, imitated_logprob; /* imitated tokens, and their logprobs */
    double imitated_kl;                /* of those that are anchored */
} loss_sums;

/* What one given token's whole distribution is held by: KL(ref || pi) of logits z and reference [V], and weight times
 * its gradient with respect to z, weight (pi - ref) / temperature -> dz [V]. */
double loss_anchor(int V, const float *z, const float *reference, double temperature, double weight, float *dz);
/* A token's part of the aggregate of an episode whose policy wrote n tokens. */
double loss_token_weight(const loss_config *config, const loss_scale *scale, int n);

/* to += of another part of the same step. */
void loss_sums_add(loss_sums *to, const loss_sums *part);

/* dL/dlogprob [n] of one episode -> gradient; adds to `sums`. */
void loss_gradient(const loss_config *config, const loss_scale *scale, const loss_episode *episode, float *gradient,
                   loss_sums *sums);
