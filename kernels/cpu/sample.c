#include <stdlib.h>

#include "base/str.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/logits.h"

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

/* The first token at which the running sum passes u of the whole. */
static int32_t inverse_cdf(const candidate *c, int n, double u)
{
    double total = 0, sum = 0;
    for (int i = 0; i < n; i++) total += (double)c[i].p;
    for (int i = 0; i < n; i++) {
        sum += (double)c[i].p;
        if (sum > u * total) return c[i].id;
    }
    return c[n - 1].id;
}

/* How many of the most likely tokens it takes to hold top_p of the mass. Sorts `c`. */
static int nucleus(candidate *c, int V, float top_p)
{
    double sum = 0;
    int n = 0;
    qsort(c, (size_t)V, sizeof *c, by_probability);
    while (n < V && sum < (double)top_p) sum += (double)c[n++].p;
    return n > 0 ? n : 1;
}

void cpu_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob)
{
    const float inverse = temperature > 0 ? 1.0f / temperature : 1.0f;
    const cpu_mark mark = cpu_scratch_mark(dev);
    candidate *all = device_scratch(dev, sizeof *all * (size_t)V);
    for (int r = 0; r < M; r++) {
        const float *z = logits + (size_t)r * (size_t)V, lse = row_logsumexp(z, V, inverse);
        if (temperature > 0) {
            for (int32_t i = 0; i < V; i++) all[i] = (candidate){ scalar_exp(z[i] * inverse - lse), i };
            const int n = top_p < 1 ? nucleus(all, V, top_p) : V;
            token[r] = inverse_cdf(all, n, rng_uniform(keys[r], hi[r], position[r]));
        } else {
            token[r] = argmax(z, V);
        }
        logprob[r] = row_logprob(z, token[r], lse, inverse);
    }
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
