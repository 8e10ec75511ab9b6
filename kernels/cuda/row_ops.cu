/* SPDX-License-Identifier: MIT */
/* Row by row: embedding, RMSNorm, rotary embedding. */
#include <math.h>

#include "kernels/cuda/cuda_device.h"

enum { THREADS = 256, ROWS_A_PART = 64 };

/* ---- embedding: a block a row; backward by columns, so that rows which repeat are added in the batch's order ---- */

GPU_KERNEL void fetch_rows(const float *e, const int32_t *ids, int D, float *y)
{
    const float *from = e + (size_t)ids[blockIdx.x] * (size_t)D;
    float *to = y + (size_t)blockIdx.x * (size_t)D;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) to[d] = from[d];
}

void cuda_embed(device *dev, const float *e, const int32_t *ids, int T, int D, float *y)
{
    if (T > 0) GPU_LAUNCH(dev, fetch_rows, (unsigned)T, THREADS, 0, e, ids, D, y);
}

GPU_KERNEL void scatter_columns(const float *dy, const int32_t *ids, int T, int D, float *de)
{
    const int d = (int)(blockIdx.x * WARP + threadIdx.x);
    if (d >= D) return;
    for (int t = 0; t < T; t++) de[(size_t)ids[t] * (size_t)D + (size_t)d] += dy[(size_t)t * (size_t)D + (size_t)d];
}

void cuda_embed_backward(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de)
{
    if (T > 0) GPU_LAUNCH(dev, scatter_columns, gpu_blocks(D, WARP), WARP, 0, dy, ids, T, D, de);
}

/* ---- RMSNorm: a block a row. The order of a row's sum depends on D alone. ---- */

GPU_KERNEL void norm_rows(const float *x, const float *w, int D, float eps, float plus, float *y, float *rstd)
{
    const float *row = x + (size_t)blockIdx.x * (size_t)D;
    float *out = y + (size_t)blockIdx.x * (size_t)D, squares = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) squares += row[d] * row[d];
    const float inverse = 1.0f / sqrtf(block_sum<THREADS>(squares) / (float)D + eps);
    const float r = inverse > 0 ? inverse : NAN; /* squares too large for fp32 are not 0: see kernels/cpu/norm.c */
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) out[d] = row[d] * r * (plus + w[d]);
}

void cuda_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float plus, float *y,
                  float *rstd)
{
    if (T > 0) GPU_LAUNCH(dev, norm_rows, (unsigned)T, THREADS, 0, x, w, D, eps, plus, y, rstd);
}

GPU_KERNEL void norm_gradients(const float *dy, const float *x, const float *w, const float *rstd, int D, float plus,
                               float *dx)
{
    const size_t at = (size_t)blockIdx.x * (size_t)D;
    const float r = rstd[blockIdx.x];
    float sum = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) sum += dy[at + d] * (plus + w[d]) * x[at + d];

    const float c = r * r * r * block_sum<THREADS>(sum) / (float)D;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) dx[at + d] += r * dy[at + d] * (plus + w[d]) - c * x[at + d];
}

/* Sums over parts of the rows, then over the parts in order. */
GPU_KERNEL void scale_parts(const float *dy, const float *x, const float *rstd, int T, int D, float *parts)
{
    const int d = (int)(blockIdx.x * THREADS + threadIdx.x), begin = (int)blockIdx.y * ROWS_A_PART;
    const int end = begin + ROWS_A_PART < T ? begin + ROWS_A_PART : T;
    if (d >= D) return;

    float sum = 0;
    for (int t = begin; t < end; t++) sum += dy[(size_t)t * (size_t)D + d] * x[(size_t)t * (size_t)D + d] * rstd[t];
    parts[(size_t)blockIdx.y * (size_t)D + d] = sum;
}

GPU_KERNEL void add_parts(const float *parts, int n, int D, float *dw)
{
    const int d = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (d >= D) return;
    float sum = dw[d];
    for (int i = 0; i < n; i++) sum += parts[(size_t)i * (size_t)D + d];
    dw[d] = sum;
}

void cuda_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T,
                           int D, float plus, float *dx, float *dw)
{
    if (T == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    const unsigned n = gpu_blocks(T, ROWS_A_PART), columns = gpu_blocks(D, THREADS);
    float *parts = gpu_scratch<float>(dev, (size_t)n * (size_t)D);
    GPU_LAUNCH(dev, norm_gradients, (unsigned)T, THREADS, 0, dy, x, w, rstd, D, plus, dx);
    GPU_LAUNCH(dev, scale_parts, dim3(columns, n), THREADS, 0, dy, x, rstd, T, D, parts);
    GPU_LAUNCH(dev, add_parts, columns, THREADS, 0, parts, (int)n, D, dw);
    gpu_rewind(dev, mark);
}

/* ---- rotary embedding ---- */

GPU_KERNEL void make_rope_table(const int32_t *positions, const float *inv_freq, int half, float *cos_sin)
{
    float *row = cos_sin + (size_t)blockIdx.x * (size_t)(2 * half);
    for (int i = (int)threadIdx.x; i < half; i += (int)blockDim.x) {
        const float angle = (float)positions[blockIdx.x] * inv_freq[i];
        row[i] = cosf(angle);
        row[half + i] = sinf(angle);
    }
}

void cuda_rope_table(device *dev, const int32_t *positions, const float *inv_freq, int T, int n, float *cos_sin)
{
    if (T > 0) GPU_LAUNCH(dev, make_rope_table, (unsigned)T, 64, 0, positions, inv_freq, n / 2, cos_sin);
}

GPU_KERNEL void rotate_rows(float *x, const float *cos_sin, int H, int hd, rope_turn turn, float sign)
{
    const int half = turn.dims / 2, step = turn.neighbours ? 2 : 1, away = turn.neighbours ? 1 : half;
    const float *c = cos_sin + (size_t)blockIdx.x * (size_t)turn.dims, *s = c + half;
    float *row = x + (size_t)blockIdx.x * (size_t)(H * hd);
    for (int i = (int)threadIdx.x; i < H * half; i += THREADS) {
        float *a = row + (i / half) * hd + (i % half) * step, *b = a + away;
        const float u = *a, v = *b, cosine = c[i % half], sine = sign * s[i % half];
        *a = u * cosine - v * sine;
        *b = v * cosine + u * sine;
    }
}

void cuda_rope(device *dev, float *x, const float *cos_sin, int T, int H, int hd, rope_turn turn)
{
    if (T > 0) GPU_LAUNCH(dev, rotate_rows, (unsigned)T, THREADS, 0, x, cos_sin, H, hd, turn, 1.0f);
}

void cuda_rope_backward(device *dev, float *dx, const float *cos_sin, int T, int H, int hd, rope_turn turn)
{
    if (T > 0) GPU_LAUNCH(dev, rotate_rows, (unsigned)T, THREADS, 0, dx, cos_sin, H, hd, turn, -1.0f);
}
