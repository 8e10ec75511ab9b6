/* SPDX-License-Identifier: MIT */
/* LM head fused with log-softmax: blocks of rows go through the vocabulary and are forgotten, [T, V] never exists. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/logits.h"
#include "kernels/cpu/softcap.h"
#include "kernels/head_rows.h"

static float inverse_of(float temperature) { return temperature > 0 ? 1.0f / temperature : 1.0f; }

static float row_entropy(const float *z, int V, float inverse, float lse)
{
    v16 sum = v16_set(0);
    int i = 0;
    for (; i + 16 <= V; i += 16) {
        const v16 s = v16_load(z + i) * v16_set(inverse) - v16_set(lse);
        sum += v16_exp(s) * s;
    }
    float total = v16_sum(sum);
    for (; i < V; i++) total += scalar_exp(z[i] * inverse - lse) * (z[i] * inverse - lse);
    return -total;
}

typedef struct head_block {
    const float *z;  /* [rows, V] */
    float *gradient; /* [rows, V]; may be z */
    int V, first;
    const int32_t *targets;
    const float *dlogprob, *lse_in;
    float inverse, cap; /* of the temperature; of the logits (0: none) */
    float *logprob, *entropy, *lse;
} head_block;

static void score_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const head_block *b = ctx;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *row = b->z + (size_t)r * (size_t)b->V;
        const int64_t t = b->first + r;
        b->lse[t] = row_logsumexp(row, b->V, b->inverse);
        b->logprob[t] = row_logprob(row, b->targets[t], b->lse[t], b->inverse);
        if (b->entropy) b->entropy[t] = row_entropy(row, b->V, b->inverse, b->lse[t]);
    }
}

void cpu_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D, float cap,
              float temperature, float *logprob, float *entropy, float *lse, float *logits, int kept)
{
    if (T == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int rows = head_rows(T, V, HEAD_BLOCK_FLOATS);
    head_block b = { .V = V, .targets = targets, .logprob = logprob, .entropy = entropy, .lse = lse };
    b.inverse = inverse_of(temperature);

    /* The first `kept` rows' logits stay for the backward pass; others share one block. */
    float *spare = kept < T ? device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)V) : NULL;
    for (int n; b.first < T; b.first += n) {
        float *z = b.first < kept ? logits + (size_t)b.first * (size_t)V : spare;
        n = head_block_rows(b.first, T, rows, kept);
        cpu_linear(dev, x + (size_t)b.first * (size_t)D, n, packed, NULL, V, D, z);
        if (cap > 0) cpu_softcap(dev, z, cap, (int64_t)n * V);
        b.z = z;
        cpu_parallel(dev, 20.0 * n * V, n, 0, score_rows, &b);
    }

    cpu_scratch_rewind(dev, mark);
}

/* z -> dL/dz = dlogprob (onehot - p) / temperature; dz may be z. */
static void gradient_row(const float *z, int V, int target, float lse, float dlogprob, float inverse, float *dz)
{
    const float c = dlogprob * inverse;
    int i = 0;
    for (; i + 16 <= V; i += 16)
        v16_store(dz + i, v16_exp(v16_load(z + i) * v16_set(inverse) - v16_set(lse)) * v16_set(-c));
    for (; i < V; i++) dz[i] = scalar_exp(z[i] * inverse - lse) * -c;
    dz[target] += c;
}

/* The same through the cap; padded blocks, as z may be forgotten where its gradient is written. */
static void capped_gradient_row(const head_block *b, const float *z, int64_t t, float *dz)
{
    const float c = b->dlogprob[t] * b->inverse, target = z[b->targets[t]];
    for (int i = 0; i < b->V; i += 16) {
        const int width = b->V - i < 16 ? b->V - i : 16;
        const v16 logits = v16_load_some(z + i, width);
        const v16 d = v16_exp(logits * v16_set(b->inverse) - v16_set(b->lse_in[t])) * v16_set(-c) *
                      v16_softcap_derivative(logits, b->cap);
        memcpy(dz + i, &d, sizeof(float) * (size_t)width);
    }
    dz[b->targets[t]] += c * v16_softcap_derivative(v16_set(target), b->cap)[0];
}

static void gradient_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    const head_block *b = ctx;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t t = b->first + r;
        const size_t at = (size_t)r * (size_t)b->V;
        if (b->cap > 0)
            capped_gradient_row(b, b->z + at, t, b->gradient + at);
        else
            gradient_row(b->z + at, b->V, b->targets[t], b->lse_in[t], b->dlogprob[t], b->inverse, b->gradient + at);
    }
}

void cpu_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                       const int32_t *targets, const float *lse, int T, int V, int D, float cap, float temperature,
                       const float *logits, int kept, float *dx, float *dw)
{
    if (T == 0) return;
    const cpu_mark mark = cpu_scratch_mark(dev);
    const int rows = head_rows(T, V, HEAD_BLOCK_FLOATS);
    head_block b = { .V = V, .targets = targets, .dlogprob = dlogprob, .lse_in = lse, .cap = cap };
    b.inverse = inverse_of(temperature);

    void *transposed = device_scratch(dev, cpu_linear_transposed_bytes(dev, V, D));
    cpu_linear_transpose(dev, w, V, D, transposed);
    b.gradient = device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)V);

    for (int n; b.first < T; b.first += n) {
        const float *xb = x + (size_t)b.first * (size_t)D;
        n = head_block_rows(b.first, T, rows, kept);

        /* Logits that were kept, or else made again where their gradients will stand. */
        b.z = b.first < kept ? logits + (size_t)b.first * (size_t)V : b.gradient;
        if (b.first >= kept) cpu_linear(dev, xb, n, packed, NULL, V, D, b.gradient);
        if (b.first >= kept && cap > 0) cpu_softcap(dev, b.gradient, cap, (int64_t)n * V);

        cpu_parallel(dev, 20.0 * n * V, n, 0, gradient_rows, &b);
        gemm_dx(dev, b.gradient, n, transposed, V, D, dx + (size_t)b.first * (size_t)D);
        if (dw) cpu_linear_dw(dev, b.gradient, xb, n, V, D, dw);
    }

    cpu_scratch_rewind(dev, mark);
}
