/* SPDX-License-Identifier: MIT */
/* logits - what head, sample and token_logprob share: one logsumexp, so that an actor's logprob and a learner's are the
 * same float. */
#pragma once

#include "kernels/cpu/simd.h"

/* A NaN is not above anything: it shows in the sum of exponentials. */
static inline float row_max(const float *z, int V)
{
    reg highest[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) highest[j] = reg_set(-INFINITY);
    int i = 0;
    for (; i + 4 * REG <= V; i += 4 * REG)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) highest[j] = reg_max(reg_load(z + i + j * REG), highest[j]);

    float largest = -INFINITY;
    for (int j = 0; j < 4 * REG; j++)
        largest = highest[j / REG][j % REG] > largest ? highest[j / REG][j % REG] : largest;
    for (; i < V; i++) largest = z[i] > largest ? z[i] : largest;
    return largest;
}

/* log sum_i exp(z[i] * inverse_temperature) over V. */
static inline float row_logsumexp(const float *z, int V, float inverse_temperature)
{
    const float top = row_max(z, V) * inverse_temperature;

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
