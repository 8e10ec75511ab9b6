/* SPDX-License-Identifier: MIT */
/* A router over experts, a warp a row; and rows that are weighted and added up, a block a row. A row's bits depend on
 * the row alone. */
#include <math.h>

#include "kernels/cuda/cuda_device.h"

enum { THREADS = 256 };

/* ---- the router ---- */

struct ranked {
    float z;
    int expert; /* -1: none */
};

/* The order of the choice: the largest first, of equal ones the lower. */
GPU_DEVICE bool before(ranked a, ranked b) { return a.z > b.z || (a.z == b.z && a.expert < b.expert); }

GPU_DEVICE ranked first_of(ranked a, ranked b)
{
    if (a.expert < 0) return b;
    return b.expert < 0 || before(a, b) ? a : b;
}

/* NaN counts as the smallest: what is chosen is k different experts, whatever came out of broken weights. */
GPU_DEVICE ranked rank_of(const float *z, int e)
{
    const ranked r = { z[e] == z[e] ? z[e] : -INFINITY, e };
    return r;
}

/* The first after `last` (expert -1: of all), in every lane of the warp. */
GPU_DEVICE ranked next_chosen(const float *z, int E, ranked last)
{
    ranked best = { 0, -1 };
    for (int e = (int)threadIdx.x; e < E; e += WARP) {
        const ranked r = rank_of(z, e);
        if (last.expert < 0 || before(last, r)) best = first_of(best, r);
    }
    for (int away = WARP / 2; away > 0; away /= 2) {
        ranked other;
        other.z = __shfl_xor_sync(0xffffffffu, best.z, away);
        other.expert = __shfl_xor_sync(0xffffffffu, best.expert, away);
        best = first_of(best, other);
    }
    return best;
}

GPU_KERNEL void route_row(float *z, int E, int k, bool sum_to_one, int32_t *chosen, float *weight)
{
    const int lane = (int)threadIdx.x;
    z += (size_t)blockIdx.x * (size_t)E;
    chosen += (size_t)blockIdx.x * (size_t)k;
    weight += (size_t)blockIdx.x * (size_t)k;

    ranked last = { 0, -1 };
    float max = 0, sum = 0;
    for (int j = 0; j < k; j++) {
        last = next_chosen(z, E, last);
        if (j == 0) max = z[last.expert];
        if (lane == 0) chosen[j] = last.expert;
    }
    __syncthreads(); /* all have read the logits, which become p now */

    for (int e = lane; e < E; e += WARP) sum += z[e] = expf(z[e] - max);
    sum = warp_sum(sum);
    for (int e = lane; e < E; e += WARP) z[e] /= sum;
    __syncthreads();

    float of_chosen = 0;
    for (int j = 0; j < k; j++) of_chosen += z[chosen[j]];
    for (int j = lane; j < k; j += WARP) weight[j] = sum_to_one ? z[chosen[j]] / of_chosen : z[chosen[j]];
}

void cuda_route(device *dev, float *z, int T, int E, int k, bool sum_to_one, int32_t *chosen, float *weight)
{
    if (T > 0) GPU_LAUNCH(dev, route_row, (unsigned)T, WARP, 0, z, E, k, sum_to_one, chosen, weight);
}

/* The formula: kernels/cpu/experts.c. */
GPU_KERNEL void route_gradient(const float *dweight, const float *p, const int32_t *chosen, const float *weight, int E,
                               int k, bool sum_to_one, float *dz)
{
    const int lane = (int)threadIdx.x;
    const size_t at = (size_t)blockIdx.x * (size_t)k;
    const float *dw = dweight + at, *w = weight + at;
    p += (size_t)blockIdx.x * (size_t)E;
    dz += (size_t)blockIdx.x * (size_t)E;

    float mean = 0;
    for (int j = 0; j < k; j++) mean += w[j] * dw[j];
    for (int e = lane; e < E; e += WARP) dz[e] = sum_to_one ? 0 : -p[e] * mean;
    __syncthreads();
    for (int j = lane; j < k; j += WARP) dz[chosen[at + j]] = w[j] * (dw[j] - mean);
}

void cuda_route_backward(device *dev, const float *dweight, const float *p, const int32_t *chosen, const float *weight,
                         int T, int E, int k, bool sum_to_one, float *dz)
{
    if (T > 0) GPU_LAUNCH(dev, route_gradient, (unsigned)T, WARP, 0, dweight, p, chosen, weight, E, k, sum_to_one, dz);
}

/* ---- rows ---- */

GPU_KERNEL void weigh_row(float *x, const float *s, int D)
{
    float *row = x + (size_t)blockIdx.x * (size_t)D;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) row[d] *= s[blockIdx.x];
}

void cuda_weigh_rows(device *dev, float *x, const float *s, int T, int D)
{
    if (T > 0) GPU_LAUNCH(dev, weigh_row, (unsigned)T, THREADS, 0, x, s, D);
}

GPU_KERNEL void dot_row(const float *x, const float *y, int D, float *out)
{
    const size_t at = (size_t)blockIdx.x * (size_t)D;
    float sum = 0;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) sum += x[at + d] * y[at + d];
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

void cuda_dot_rows(device *dev, const float *x, const float *y, int T, int D, float *out)
{
    if (T > 0) GPU_LAUNCH(dev, dot_row, (unsigned)T, THREADS, 0, x, y, D, out);
}

GPU_KERNEL void add_row(const float *x, const int32_t *ids, int D, float *y)
{
    const float *from = x + (size_t)blockIdx.x * (size_t)D;
    float *to = y + (size_t)ids[blockIdx.x] * (size_t)D;
    for (int d = (int)threadIdx.x; d < D; d += THREADS) to[d] += from[d];
}

void cuda_add_rows(device *dev, const float *x, const int32_t *ids, int T, int D, float *y)
{
    if (T > 0) GPU_LAUNCH(dev, add_row, (unsigned)T, THREADS, 0, x, ids, D, y);
}
