/* SPDX-License-Identifier: MIT */
#include "model/rope.h"

#include <math.h>

/* Llama 3.1's scaling of one frequency: long waves are slowed by `factor`, short ones left alone, in between it is
 * blended. */
static float llama3_frequency(const rope_set *r, float frequency)
{
    const float wave = 2 * (float)M_PI / frequency, context = r->original_max_position;
    if (wave < context / r->high_freq_factor) return frequency;
    if (wave > context / r->low_freq_factor) return frequency / r->factor;

    const float smooth = (context / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

/* YaRN (Peng et al. 2023, section 3.2): which frequency, as a real number, turns so often within the original
 * length. */
static double yarn_dimension(const rope_set *r, double turns, int dims)
{
    return dims * log((double)r->original_max_position / (turns * 2 * M_PI)) / (2 * log((double)r->theta));
}

/* From frequency `low` on, which turns often enough to be left alone, to `high`, from which on all are slowed. */
static void yarn_range(const rope_set *r, int dims, double *low, double *high)
{
    *low = yarn_dimension(r, (double)r->beta_fast, dims);
    *high = yarn_dimension(r, (double)r->beta_slow, dims);
    if (r->truncate) {
        *low = floor(*low);
        *high = ceil(*high);
    }
    *low = fmax(*low, 0);
    *high = fmin(*high, dims - 1);
    if (*low == *high) *high += 0.001; /* a step: the ramp between them would divide by 0 */
}

static void yarn_frequencies(const rope_set *r, int dims, float *f)
{
    double low, high;
    yarn_range(r, dims, &low, &high);
    for (int i = 0; i < dims / 2; i++) {
        const float slowed = (float)fmin(fmax((i - low) / (high - low), 0), 1);
        f[i] = f[i] / r->factor * slowed + f[i] * (1 - slowed);
    }
}

void rope_frequencies(const rope_set *r, int dims, float *out)
{
    for (int i = 0; i < dims / 2; i++) {
        out[i] = 1.0f / powf(r->theta, (float)(2 * i) / (float)dims);
        if (r->kind == ROPE_LINEAR) out[i] /= r->factor;

        /* The product first, as Hugging Face has it: dividing twice would round otherwise. */
        if (r->kind == ROPE_LONGROPE) out[i] = 1.0f / (r->divisors[i] * powf(r->theta, (float)(2 * i) / (float)dims));
        if (r->kind == ROPE_LLAMA3) out[i] = llama3_frequency(r, out[i]);
    }
    if (r->kind == ROPE_YARN) yarn_frequencies(r, dims, out);
}
