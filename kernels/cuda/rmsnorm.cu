#include "kernels/cuda/module.h"

#include <cuda_runtime.h>

/* RMSNorm (Zhang & Sennrich 2019): a block a row. Each thread sums its columns in ascending order, then warps and then
 * the block fold by a fixed tree: the order never depends on T, so neither do the bits. */

enum { THREADS = 256, WARP = 32 };

__device__ static float fold_warp(float v)
{
    for (int away = WARP / 2; away > 0; away /= 2) v += __shfl_down_sync(0xffffffffu, v, away);
    return v;
}

/* The sum of v over the block, in every thread. */
__device__ static float fold_block(float v)
{
    __shared__ float of_warp[THREADS / WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    v = fold_warp(v);
    if (lane == 0) of_warp[warp] = v;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < THREADS / WARP; i++) sum += of_warp[i];
    return sum;
}

__global__ static void rmsnorm_rows(const float *x, const float *w, int D, float eps, float *y, float *rstd)
{
    const float *row = x + (size_t)blockIdx.x * D;
    float *out = y + (size_t)blockIdx.x * D;
    float squares = 0;
    for (int i = threadIdx.x; i < D; i += THREADS) squares += row[i] * row[i];
    const float r = rsqrtf(fold_block(squares) / (float)D + eps);
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
    for (int i = threadIdx.x; i < D; i += THREADS) out[i] = row[i] * r * w[i];
}

int troupe_cuda_rmsnorm(const float *x, const float *w, int T, int D, float eps, float *y, float *rstd)
{
    if (T == 0) return cudaSuccess;
    rmsnorm_rows<<<T, THREADS>>>(x, w, D, eps, y, rstd);
    return cudaGetLastError();
}
