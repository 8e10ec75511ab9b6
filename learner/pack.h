/* SPDX-License-Identifier: MIT */
/* pack - trajectories -> packed micro-batches: tokens end to end, and for each sampled token what the loss needs.
 *
 * Without a KL only episodes with a signal are packed: the others have no gradient (their tokens still count in the
 * denominators). A signal is an advantage, or tokens to imitate; what makes an advantage is
 * advantage.h's affair, and it has exact zeros where rewards are equal (rollout/signal.h). A KL to the reference acts
 * on every token that counts, so with one all of them are packed, whatever their rewards. Sequences are cut after
 * their last sampled token, since nothing follows from what comes after. A prompt that several episodes of a
 * micro-batch have is packed once, as their prefix (learner/shared_prompts.h). */
#pragma once

#include "base/arena.h"
#include "learner/advantage.h"
#include "model/batch.h"

typedef struct packed_batch {
    token_batch tokens;
    double *behaviour; /* [n_out] behaviour logprob (a float, widened); 0 of a given token */
    int *episode;      /* [n_out] its episode's place in the advantage table */
    int *token;        /* [n_out] its place in the episode's trajectory */
    bool *imitated;    /* [n_out] a token of a hint or demonstration; these are an episode's first */
    int *sequences;    /* [n_partitions + 1] where each one's sequences begin; NULL without partitions */
    int unshared;      /* tokens it would have if each episode had its own prompt; tokens.T are computed */
} packed_batch;

typedef struct pack_plan {
    packed_batch *batches; /* [n] micro-batches of at most max_tokens (a longer episode is a batch of its own) */
    int n;
    int episodes;   /* packed */
    int trained;    /* packed by all ranks together */
    bool signal;    /* some episode has one */
    bool learns;    /* there may be a gradient: a signal, or a KL on tokens that count */
    bool *has_rows; /* [ranks, n_partitions (1 without)] whether the rank has packed an episode of the partition */
    double tokens;  /* sampled (supervised: given) tokens of all that count, packed or not */
    double counted; /* episodes that count */
} pack_plan;

typedef struct pack_options {
    int max_tokens;       /* of a micro-batch */
    bool shared_prompts;  /* a prompt that several episodes of a micro-batch have is computed once */
    int check;            /* episodes packed when there is nothing to learn, so that the distance between behaviour and
                          learner logprobs is measured at every step */
    bool everything;      /* episodes without a signal, too; by itself nothing to learn from */
    bool kl;              /* the loss has a KL: everything, and to learn from */
    bool regulariser;     /* the loss holds episodes to the policy before (Kimi): everything, beside a signal */
    bool imitation;       /* tokens of hints and demonstrations are packed, too */
    bool supervised;      /* they are all there is: plan->tokens counts them */
    int64_t oldest;       /* tokens of versions before this one are not trained on; they count in no denominator */
    bool by_objective;    /* an advantage in a single objective is one: they may cancel in the scalar */
    const int *partition; /* [S] each episode's, in [0, n_partitions): a data group or a half; NULL: none */
    int n_partitions;
    int rank, ranks; /* of several learners: only this one's part is packed, about as many tokens each; 0 ranks: 1 */
} pack_options;

/* Memory is the arena's. */
pack_plan *pack_groups(arena *a, const advantage_table *table, const pack_options *options);
