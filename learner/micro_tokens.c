/* SPDX-License-Identifier: MIT */
#include "learner/micro_tokens.h"

#include "model/transformer.h"

enum { MAX_TOKENS = 16384, GOOD_TOKENS = 1024, MIN_TOKENS = 256, ARRAYS = 3 };

uint64_t micro_tokens_beside(const device *dev, const param_table *t)
{
    return weights_bytes(dev, t) + ARRAYS * sizeof(float) * (uint64_t)t->total;
}

int micro_tokens_for(const device *dev, const param_table *t, const micro_budget *b)
{
    const uint64_t share = b->memory / (uint64_t)(b->learners > 1 ? b->learners : 1);
    int tokens = MAX_TOKENS;
    if (!device_view(dev, t)) return tokens; /* `memory` is the host's, and says nothing of a GPU's */

    for (; tokens > MIN_TOKENS; tokens /= 2) {
        const pass_size pass = { .T = tokens, .n_out = tokens, .sides = 1, .recompute = b->recompute };
        const uint64_t room = tokens > GOOD_TOKENS ? share / 6 : share / 2;
        if (b->beside + model_pass_bytes(dev, t, &pass) <= room) break;
    }
    return tokens;
}
