/* SPDX-License-Identifier: MIT */
/* micro_tokens - how many tokens a forward and backward pass holds activations of, where the recipe doesn't say.
 *
 * A pass keeps, for each token, what backward needs of every layer: most of a megabyte for 135 M parameters, so that
 * 16,384 tokens are over 10 GB. The gradient is the same sum over all tokens for any size, but added up in another
 * order: the last bits of the weights depend on it. So it is derived from what doesn't change from run to run (the
 * model, the size of the machine or control group), never from what happens to be free. */
#pragma once

#include "model/weights.h"

typedef struct micro_budget {
    uint64_t memory; /* bytes of the machine (base/memory.h) */
    int learners;    /* processes that share it */
    uint64_t beside; /* bytes that one of them takes beside activations */
    bool recompute;
} micro_budget;

/* 16384, or as many halves of it as it takes for all learners to fit into a sixth of the machine, which leaves room for
 * actors and others; never below 1024 for that, where a pass is hardly faster for more. Below that, to 256, only where
 * they would take more than half of it. On a GPU 16384. */
int micro_tokens_for(const device *dev, const param_table *t, const micro_budget *budget);
/* Weights, gradient and two moments: what is beside activations at least. */
uint64_t micro_tokens_beside(const device *dev, const param_table *t);
