/* SPDX-License-Identifier: MIT */
/* logits - what head, sample and token_logprob share: one logsumexp, so that an actor's logprob and a learner's are the
 * same float. */
#pragma once

#include "kernels/cpu/simd.h"

/* log sum_i exp(z[i] * inverse_temperature) over V. */
static inline float row_logsumexp(const float *z, int V, float inverse_temperature)
{
    float largest = -INFINITY;
    for (int i = 0; i < V; i++) largest = z[i] > largest ? z[i] : largest;
    const float top = largest * inverse_temperature;

    v16 sum = v16_set(0);
    int i = 0;
    for (; i + 16 <= V; i += 16) sum += v16_exp(v16_load(z + i) * v16_set(inverse_temperature) - v16_set(top));
    float total = v16_sum(sum);
    for (; i < V; i++) total += scalar_exp(z[i] * inverse_temperature - top);
    return top + logf(total);
}

static inline float row_logprob(const float *z, int target, float lse, float inverse_temperature)
{
    return z[target] * inverse_temperature - lse;
}
