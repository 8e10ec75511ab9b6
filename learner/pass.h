/* SPDX-License-Identifier: MIT */
/* pass - one micro-batch of a step: forward, loss, backward. Its gradient is added to the step's. */
#pragma once

#include "learner/bucket.h"
#include "learner/pack.h"
#include "learner/trainer_config.h"

/* What a pass works with; all borrowed from the trainer. */
typedef struct pass {
    const trainer_config *config;
    weights *w;
    weights *reference;  /* NULL without a KL */
    bucket_set *buckets; /* where K gradients go; NULL: one gradient, to `grads` */
    float *grads;        /* [total] on the device */
    moo_state *by_token;
    arena *step;
    double mixture; /* mu of L = (1 - mu) L_reward + mu L_given; negative: both count in full */
    bool by_part;   /* the gradients of both keep apart, by owners: MIXTURE_ROWS of them */
} pass;

typedef struct step_sums {
    loss_sums loss;
    double entropy;
    int64_t forward_us, backward_us; /* forward: with the loss */
} step_sums;

/* What is remembered of a micro-batch from the step's first update; NULL until then. */
typedef struct first_look {
    float *old;   /* [n_out] logprobs, of ERA's scaled logits where there is ERA */
    float *scale; /* [n_out] what ERA multiplies the logits by; NULL without ERA */
    float *raw;   /* [n_out] logprobs without ERA */
} first_look;

typedef struct micro_batch {
    const packed_batch *b;
    const loss_scale *scale;
    const advantage_table *table;
    first_look *first;
    bool learns; /* false: only the logprobs are looked at */
    bool last;   /* of the step's */
} micro_batch;

/* Logprobs of the reference policy for the batch's targets, [n_out] in the arena; NULL and `err`. */
const float *pass_reference(const pass *p, const packed_batch *b, error *err);
int pass_micro(const pass *p, const micro_batch *m, step_sums *sums, error *err);
