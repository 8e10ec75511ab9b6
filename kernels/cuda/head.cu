/* SPDX-License-Identifier: MIT */
/* LM head fused with log-softmax, and sampling: blocks of rows go through the vocabulary and are forgotten; [T, V]
 * never exists. One block computes a row's log-sum-exp wherever it is asked for: head, sample and token_logprob agree
 * on the same logits to the bit. */
#include <math.h>

extern "C" {
#include "base/rng.h"
}
#include "kernels/cuda/softcap.cuh"
#include "kernels/head_rows.h"

enum { THREADS = 256, BLOCK_FLOATS = 64 << 20, BISECTIONS = 32 };

static float inverse_of(float temperature) { return temperature > 0 ? 1.0f / temperature : 1.0f; }

GPU_DEVICE float row_lse(const float *z, int V, float inverse)
{
    float largest = -INFINITY, sum = 0;
    for (int v = (int)threadIdx.x; v < V; v += THREADS) largest = fmaxf(largest, z[v]);
    largest = block_max<THREADS>(largest) * inverse;
    for (int v = (int)threadIdx.x; v < V; v += THREADS) sum += expf(z[v] * inverse - largest);
    return largest + logf(block_sum<THREADS>(sum));
}

/* ---- logprobs and entropies ---- */

GPU_KERNEL void score_rows(const float *z, const int32_t *targets, int V, float inverse, float *logprob, float *entropy,
                           float *lse)
{
    const float *row = z + (size_t)blockIdx.x * (size_t)V;
    const float l = row_lse(row, V, inverse);
    if (threadIdx.x == 0) {
        if (lse) lse[blockIdx.x] = l;
        logprob[blockIdx.x] = row[targets[blockIdx.x]] * inverse - l;
    }
    if (!entropy) return;

    float sum = 0;
    for (int v = (int)threadIdx.x; v < V; v += THREADS) {
        const float s = row[v] * inverse - l;
        sum += expf(s) * s;
    }
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) entropy[blockIdx.x] = -sum;
}

void cuda_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D, float cap,
               float temperature, float *logprob, float *entropy, float *lse, float *logits, int kept)
{
    if (T == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    const int rows = head_rows(T, V, BLOCK_FLOATS);
    float *spare = kept < T ? gpu_scratch<float>(dev, (size_t)rows * (size_t)V) : NULL;

    for (int t = 0, n; t < T; t += n) {
        float *z = t < kept ? logits + (size_t)t * (size_t)V : spare;
        n = head_block_rows(t, T, rows, kept);
        cuda_linear(dev, x + (size_t)t * (size_t)D, n, packed, NULL, V, D, z);
        if (cap > 0) cuda_softcap(dev, z, cap, (int64_t)n * V);
        GPU_LAUNCH(dev, score_rows, (unsigned)n, THREADS, 0, z, targets + t, V, inverse_of(temperature), logprob + t,
                   entropy ? entropy + t : NULL, lse + t);
    }

    gpu_rewind(dev, mark);
}

/* z -> dL/dz = dlogprob (onehot - p) / temperature, through the cap; dz may be z. */
GPU_KERNEL void gradient_rows(const float *z, const int32_t *targets, const float *lse, const float *dlogprob, int V,
                              float inverse, float cap, float *dz)
{
    const float *row = z + (size_t)blockIdx.x * (size_t)V;
    float *out = dz + (size_t)blockIdx.x * (size_t)V;
    const float c = dlogprob[blockIdx.x] * inverse, l = lse[blockIdx.x];
    for (int v = (int)threadIdx.x; v < V; v += THREADS)
        out[v] = ((v == targets[blockIdx.x] ? c : 0.0f) - c * expf(row[v] * inverse - l)) * cap_derivative(row[v], cap);
}

void cuda_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                        const int32_t *targets, const float *lse, int T, int V, int D, float cap, float temperature,
                        const float *logits, int kept, float *dx, float *dw)
{
    if (T == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    const int rows = head_rows(T, V, BLOCK_FLOATS);
    float *dz = gpu_scratch<float>(dev, (size_t)rows * (size_t)V);

    for (int t = 0, n; t < T; t += n) {
        /* Logits that were kept, or else made again where their gradients will stand. */
        const float *xt = x + (size_t)t * (size_t)D, *z = t < kept ? logits + (size_t)t * (size_t)V : dz;
        n = head_block_rows(t, T, rows, kept);
        if (t >= kept) cuda_linear(dev, xt, n, packed, NULL, V, D, dz);
        if (t >= kept && cap > 0) cuda_softcap(dev, dz, cap, (int64_t)n * V);

        GPU_LAUNCH(dev, gradient_rows, (unsigned)n, THREADS, 0, z, targets + t, lse + t, dlogprob + t, V,
                   inverse_of(temperature), cap, dz);
        cuda_linear_dx(dev, dz, n, w, NULL, V, D, dx + (size_t)t * (size_t)D);
        if (dw) cuda_linear_dw(dev, dz, xt, n, V, D, dw);
    }

    gpu_rewind(dev, mark);
}

/* ---- sampling ---- */

/* The mass of the tokens at least as likely as `floor`. */
GPU_DEVICE float mass_from(const float *z, int V, float inverse, float lse, float floor)
{
    float sum = 0;
    for (int v = (int)threadIdx.x; v < V; v += THREADS) {
        const float p = expf(z[v] * inverse - lse);
        if (p >= floor) sum += p;
    }
    return block_sum<THREADS>(sum);
}

/* The probability of the least likely token that the nucleus of mass top_p needs, by bisection on the probability: the
 * set of tokens at least that likely is the smallest of its kind (tokens of equal probability enter together). */
GPU_DEVICE float nucleus_floor(const float *z, int V, float inverse, float lse, float top_p)
{
    float low = 0, high = 1;
    for (int i = 0; i < BISECTIONS; i++) {
        const float middle = 0.5f * (low + high);
        if (mass_from(z, V, inverse, lse, middle) >= top_p)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first token, in the order of ids, at which the running sum of the kept probabilities passes u of their whole.
 * Each thread sums a range of the vocabulary; thread 0 finds the range and walks through it. */
GPU_DEVICE int draw_token(const float *z, int V, float inverse, float lse, float floor, double u)
{
    __shared__ double of_thread[THREADS];
    __shared__ int token;
    const int range = (V + THREADS - 1) / THREADS, begin = (int)threadIdx.x * range;

    double sum = 0;
    for (int v = begin; v < begin + range && v < V; v++) {
        const float p = expf(z[v] * inverse - lse);
        if (p >= floor) sum += (double)p;
    }
    __syncthreads();
    of_thread[threadIdx.x] = sum;
    __syncthreads();

    if (threadIdx.x == 0) {
        double total = 0, before = 0;
        int i = 0, last = 0;
        for (int k = 0; k < THREADS; k++) total += of_thread[k];
        while (i < THREADS - 1 && before + of_thread[i] <= u * total) before += of_thread[i++];

        token = -1;
        for (int v = i * range; v < V && token < 0; v++) {
            const float p = expf(z[v] * inverse - lse);
            if (p < floor) continue;
            last = v;
            before += (double)p;
            if (before > u * total) token = v;
        }
        if (token < 0) token = last; /* rounding: the walk's sum can end below the ranges' sum */
    }

    __syncthreads();
    return token;
}

GPU_DEVICE int best_token(const float *z, int V)
{
    __shared__ float best[THREADS];
    __shared__ int where[THREADS];
    int at = 0;
    float largest = -INFINITY;
    for (int v = (int)threadIdx.x; v < V; v += THREADS)
        if (z[v] > largest) {
            largest = z[v];
            at = v;
        }
    __syncthreads();
    best[threadIdx.x] = largest;
    where[threadIdx.x] = at;
    __syncthreads();

    /* Every thread looks at all; of equal logits the smallest id wins, as on the CPU. */
    for (int i = 0; i < THREADS; i++)
        if (best[i] > largest || (best[i] == largest && where[i] < at)) {
            largest = best[i];
            at = where[i];
        }
    __syncthreads();
    return at;
}

GPU_KERNEL void draw_rows(const float *z, int V, float temperature, float inverse, float top_p, const double *u,
                          int32_t *token, float *logprob)
{
    const float *row = z + (size_t)blockIdx.x * (size_t)V;
    const float lse = row_lse(row, V, inverse);
    const float floor = temperature > 0 && top_p < 1 ? nucleus_floor(row, V, inverse, lse, top_p) : 0.0f;
    const int t = temperature > 0 ? draw_token(row, V, inverse, lse, floor, u[blockIdx.x]) : best_token(row, V);
    if (threadIdx.x == 0) {
        token[blockIdx.x] = t;
        logprob[blockIdx.x] = row[t] * inverse - lse;
    }
}

void cuda_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                 const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob)
{
    if (M == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    double *u = gpu_scratch<double>(dev, (size_t)M), *host = gpu_host<double>((size_t)M);
    int32_t *tokens = gpu_scratch<int32_t>(dev, (size_t)M);
    float *logprobs = gpu_scratch<float>(dev, (size_t)M);

    /* The uniform numbers come from the host's generator: a GPU draws with the same ones as a CPU. */
    for (int r = 0; r < M; r++) host[r] = rng_uniform(keys[r], hi[r], position[r]);
    dev->backend->copy_in(dev, u, host, sizeof *host * (size_t)M);

    GPU_LAUNCH(dev, draw_rows, (unsigned)M, THREADS, 0, logits, V, temperature, inverse_of(temperature), top_p, u,
               tokens, logprobs);

    dev->backend->copy_out(dev, token, tokens, sizeof *token * (size_t)M);
    dev->backend->copy_out(dev, logprob, logprobs, sizeof *logprob * (size_t)M);
    free(host);
    gpu_rewind(dev, mark);
}

void cuda_token_logprob(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                        float *logprob)
{
    if (M == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    int32_t *tokens = gpu_scratch<int32_t>(dev, (size_t)M);
    float *logprobs = gpu_scratch<float>(dev, (size_t)M);
    dev->backend->copy_in(dev, tokens, token, sizeof *token * (size_t)M);
    GPU_LAUNCH(dev, score_rows, (unsigned)M, THREADS, 0, logits, tokens, V, inverse_of(temperature), logprobs,
               (float *)NULL, (float *)NULL);
    dev->backend->copy_out(dev, logprob, logprobs, sizeof *logprob * (size_t)M);
    gpu_rewind(dev, mark);
}
