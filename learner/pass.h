/* SPDX-License-Identifier: MIT */
/* pass - one micro-batch of a step: forward, loss, backward. Its gradient is added to the step's. */
#pragma once

#include "learner/bucket.h"
#include "learner/pack.h"
#include "learner/trainer_config.h"
#include "model/transformer.h"

typedef struct pass pass;
typedef struct micro_batch micro_batch;
typedef struct step_sums step_sums;

/* What a pass works with; all borrowed from the trainer. */
struct pass {
    const trainer_config *config;
    weights *w;
    weights *reference;  /* NULL without a KL */
    bucket_set *buckets; /* where K gradients go; NULL: one gradient, to `grads` */
    float *grads;        /* [total] on the device */
    arena *step;
    double mixture; /* mu of L = (1 - mu) L_reward + mu L_imitation; negative: both count in full */
    bool by_part;   /* the gradients of both keep apart, by partitions: MIXTURE_ROWS of them */

    /* What methods do within a pass; each NULL where no method is wanted that does.
     *
     * scale_logits: logits that the loss is computed with, other than the policy's: scales them by m->first->scale
     * [n_out] (what was before, goes to m->first->raw) and has their logprobs in `logprob` [n_out]. entropy [n_out],
     * in nats.
     *
     * combine: the rows of dL/dlogprob, gradient [K (+ 1 with a KL), n_out], become one, in row 0.
     *
     * anchor: a loss of logits rather than of logprobs: adds its gradient to those of `acts`, itself to `sums`. Where
     * it is, the reference runs in every pass. */
    int (*scale_logits)(const pass *p, const micro_batch *m, const activations *acts, const float *entropy,
                        float *logprob, error *err);
    int (*combine)(const pass *p, int n_out, float *gradient, error *err);
    moo_state *combined; /* combine's memory from pass to pass */
    void (*anchor)(const pass *p, const micro_batch *m, const activations *acts, const activations *reference,
                   step_sums *sums);
};

struct step_sums {
    loss_sums loss;
    double entropy;
    double computed, unshared;       /* tokens of the micro-batches, and what they would be if no prompt was shared */
    double *router_p, *routed;       /* [experts] as model_router_use sums them up; NULL: the model has none */
    int64_t forward_us, backward_us; /* forward: with the loss */
};

/* What is remembered of a micro-batch from the step's first update; NULL until then. */
typedef struct first_look {
    float *old;   /* [n_out] logprobs, of the scaled logits where they are scaled */
    float *scale; /* [n_out] what the logits are multiplied by; NULL: 1 */
    float *raw;   /* [n_out] logprobs of logits that are not */
} first_look;

struct micro_batch {
    const packed_batch *b;
    const loss_scale *scale;
    const advantage_table *table;
    first_look *first;
    bool learns; /* false: only the logprobs are looked at */
    bool last;   /* of the step's */
};

/* The gradients that a pass of this configuration computes side by side. */
int pass_cotangents(const trainer_config *config);
/* Logprobs of the reference policy for the batch's targets, [n_out] in the arena; NULL and `err`. */
const float *pass_reference(const pass *p, const packed_batch *b, error *err);
int pass_micro(const pass *p, const micro_batch *m, step_sums *sums, error *err);
