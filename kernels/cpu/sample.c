/* SPDX-License-Identifier: MIT */
/* Drawing tokens from logits: argmax, or the inverse of the cumulated distribution, over all or the likeliest
 * tokens.
 *
 * Logprobs are those that `head` gives, to the bit: both take their sums from logits.h. */
#include <stdlib.h>

#include "base/str.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/logits.h"

enum { BLOCK = 16 };

typedef struct candidate {
    float p;
    int32_t id;
} candidate;

static int by_probability(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->p != y->p) return x->p > y->p ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static int32_t argmax(const float *z, int V)
{
    int32_t best = 0;
    for (int32_t i = 1; i < V; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

/* The first of p [n] at which the running sum passes u of the whole. Blocks are summed first: only one is walked
 * through. */
static int inverse_cdf(const float *p, int n, double u)
{
    const int blocks = n / BLOCK;
    double total = 0, sum = 0;
    for (int b = 0; b < blocks; b++) total += (double)v16_sum(v16_load(p + b * BLOCK));
    for (int i = blocks * BLOCK; i < n; i++) total += (double)p[i];

    int b = 0;
    for (; b < blocks; b++) {
        const double next = sum + (double)v16_sum(v16_load(p + b * BLOCK));
        if (next > u * total) break;
        sum = next;
    }

    for (int i = b * BLOCK; i < n; i++) {
        sum += (double)p[i];
        if (sum > u * total) return i;
    }
    return n - 1;
}

/* How many of the most likely tokens it takes to hold top_p of the mass; `c` comes back sorted. */
static int nucleus(const float *p, int V, float top_p, candidate *c)
{
    double sum = 0;
    int n = 0;

    for (int32_t i = 0; i < V; i++) c[i] = (candidate){ p[i], i };
    qsort(c, (size_t)V, sizeof *c, by_probability);
    while (n < V && sum < (double)top_p) sum += (double)c[n++].p;
    return n > 0 ? n : 1;
}

typedef struct draw {
    const float *logits;
    int V;
    float temperature, inverse, top_p;
    const rng_key *keys;
    const uint64_t *hi, *position;
    int32_t *token;
    float *logprob;
    float *p;              /* [threads, V] */
    candidate *candidates; /* [threads, V]; NULL: top_p is 1 */
} draw;

static int32_t draw_one(const draw *d, int64_t r, const float *z, float lse, int thread)
{
    const int V = d->V;
    const double u = rng_uniform(d->keys[r], d->hi[r], d->position[r]);
    float *p = d->p + (size_t)thread * (size_t)V;

    int i = 0;
    for (; i + BLOCK <= V; i += BLOCK) v16_store(p + i, v16_exp(v16_load(z + i) * v16_set(d->inverse) - v16_set(lse)));
    for (; i < V; i++) p[i] = scalar_exp(z[i] * d->inverse - lse);
    if (!d->candidates) return inverse_cdf(p, V, u);

    /* Of the nucleus, whose probabilities are drawn from as they stand: inverse_cdf divides by their sum. */
    candidate *c = d->candidates + (size_t)thread * (size_t)V;
    const int n = nucleus(p, V, d->top_p, c);
    for (i = 0; i < n; i++) p[i] = c[i].p;
    return c[inverse_cdf(p, n, u)].id;
}

static void draw_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const draw *d = ctx;
    for (int64_t r = begin; r < end; r++) {
        const float *z = d->logits + (size_t)r * (size_t)d->V, lse = row_logsumexp(z, d->V, d->inverse);
        d->token[r] = d->temperature > 0 ? draw_one(d, r, z, lse, thread) : argmax(z, d->V);
        d->logprob[r] = row_logprob(z, d->token[r], lse, d->inverse);
    }
}

void cpu_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob)
{
    const cpu_mark mark = cpu_scratch_mark(dev);
    const size_t room = (size_t)V * (size_t)device_threads(dev);
    draw d = { .logits = logits, .V = V, .temperature = temperature, .top_p = top_p, .keys = keys, .hi = hi };
    d.inverse = temperature > 0 ? 1.0f / temperature : 1.0f;
    d.position = position;
    d.token = token;
    d.logprob = logprob;
    d.p = device_scratch(dev, sizeof(float) * room);
    if (top_p < 1) d.candidates = device_scratch(dev, sizeof(candidate) * room);

    cpu_parallel(dev, 30.0 * M * V, M, 1, draw_rows, &d);
    cpu_scratch_rewind(dev, mark);
}

void cpu_token_logprob(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                       float *logprob)
{
    (void)dev;
    const float inverse = temperature > 0 ? 1.0f / temperature : 1.0f;
    for (int r = 0; r < M; r++) {
        const float *z = logits + (size_t)r * (size_t)V;
        logprob[r] = row_logprob(z, token[r], row_logsumexp(z, V, inverse), inverse);
    }
}
