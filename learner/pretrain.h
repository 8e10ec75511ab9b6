/* SPDX-License-Identifier: MIT */
/* pretrain - next-token training of a base model from a stream of documents.
 *
 *     loss = mean over targets of -log p(next token)
 *
 * Each document is a sequence of its own (no attention between documents), cut at max_sequence tokens; a step takes
 * whole documents until it has tokens_per_step of them. */
#pragma once

#include "learner/optimizer.h"

/* Appends the next document's ids to out[0..*n), at most `max`. progress: share of the training done, [0, 1). */
typedef int (*pretrain_document)(void *ctx, double progress, int32_t *out, int max, int *n, error *err);

typedef struct pretrain_config {
    int64_t steps;
    int tokens_per_step, max_sequence;
    int micro_tokens; /* tokens a pass holds activations of; 0: by learner/micro_tokens.h */
    optim_config optim;
    pretrain_document next;
    void *ctx;
} pretrain_config;

typedef struct pretrain_report {
    double loss, grad_norm, lr;
    int tokens, documents;
} pretrain_report;

typedef struct pretrainer pretrainer;
/* `w` is borrowed, sealed. NULL and ERR_MEMORY when there is no room for gradient and moments. */
pretrainer *pretrainer_new(const pretrain_config *config, weights *w, error *err);
void pretrainer_free(pretrainer *p);
/* One update; the weights are sealed with version + 1. */
int pretrainer_step(pretrainer *p, pretrain_report *report, error *err);
int pretrainer_micro_tokens(const pretrainer *p); /* in use */
