/* SPDX-License-Identifier: MIT */
/* micro_tokens - how many tokens a forward and backward pass holds activations of, where the recipe doesn't say.
 *
 * A pass keeps, for each token, what backward needs of every layer: about a megabyte for 135 M parameters, so that
 * 16,384 tokens are 16 GB. The gradient is the same sum over all tokens for any size, but added up in another order:
 * the last bits of the weights depend on it. So it is derived from what doesn't change from run to run (the model, the
 * size of the machine or control group), never from what happens to be free. */
#pragma once

#include "model/weights.h"

/* Bytes a token takes on the device during a pass. */
int64_t micro_token_bytes(const model_config *c, bool recompute);
/* 16384, or as many halves of it as it takes to fit into half of `memory` bytes (base/memory.h), shared by `learners`
 * processes, beside weights, gradient and moments; never below 256. On a GPU 16384. */
int micro_tokens_for(const weights *w, uint64_t memory, int learners, bool recompute);
