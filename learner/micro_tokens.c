/* SPDX-License-Identifier: MIT */
#include "learner/micro_tokens.h"

enum {
    MAX_TOKENS = 16384,
    MIN_TOKENS = 256,
    ARRAYS = 7, /* weights, panels, transposed panels, gradient, two moments, and the copy that is published */
    LOGITS = 3  /* blocks of 64 to 128 MB: kept, made again, their gradients */
};

static const int64_t LOGIT_BYTES = (int64_t)128 << 20;

/* In the order of model/layer.h; backward has the gradients of a layer and a half beside them. */
int64_t micro_token_bytes(const model_config *c, bool recompute)
{
    const int64_t D = c->width, Q = (int64_t)c->heads * c->head_dim, KV = (int64_t)c->kv_heads * c->head_dim;
    const int64_t raw = c->qk_norm != QK_NORM_NONE ? Q + KV : 0, apart = model_branches_stand_apart(c) ? 3 * D : 0;
    const int64_t a_layer = 4 * D + 2 * Q + 2 * KV + raw + apart + 3 * (int64_t)c->ffn + 2 * c->heads + 2;
    const int64_t kept = recompute ? D * c->layers + a_layer : a_layer * c->layers;
    return (int64_t)sizeof(float) * (kept + a_layer + a_layer / 2 + 4 * D);
}

int micro_tokens_for(const weights *w, uint64_t memory, int learners, bool recompute)
{
    const int64_t fixed = ARRAYS * (int64_t)sizeof(float) * w->table->total + LOGITS * LOGIT_BYTES;
    const int64_t a_token = micro_token_bytes(&w->table->config, recompute);
    if (!device_view(w->dev, w->data)) return MAX_TOKENS; /* `memory` is the host's, and says nothing of a GPU's */

    const uint64_t a_learner = memory / 2 / (uint64_t)(learners > 1 ? learners : 1);
    const int64_t budget = a_learner > INT64_MAX ? INT64_MAX : (int64_t)a_learner;
    int tokens = MAX_TOKENS;
    while (tokens > MIN_TOKENS && fixed + tokens * a_token > budget) tokens /= 2;
    return tokens;
}
