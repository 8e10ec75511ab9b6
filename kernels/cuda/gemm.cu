/* SPDX-License-Identifier: MIT */
/* Linear products: cuBLASLt for many rows, an own kernel for few.
 *
 * Packed weights are the matrix as it is, in the device's precision. From FEW_ROWS rows on cuBLASLt is best; below, a
 * product is as fast as the weights come from memory: a warp an output column reads its row of W in 16-byte pieces.
 * There a row's bits don't depend on the other rows; cuBLASLt promises no such thing, so on a GPU the logprobs of an
 * actor and a learner agree to rounding, not to the bit (the importance ratio sees the difference, and corrects it). */
#include "kernels/cuda/cuda_device.h"

enum { THREADS = 256, WARPS = THREADS / WARP, FEW_ROWS = 8 };

GPU_KERNEL void to_bf16(const float *x, int64_t n, __nv_bfloat16 *y)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) y[i] = __float2bfloat16(x[i]);
}

static __nv_bfloat16 *converted(device *dev, const float *x, int64_t n)
{
    __nv_bfloat16 *y = gpu_scratch<__nv_bfloat16>(dev, (size_t)n);
    GPU_LAUNCH(dev, to_bf16, gpu_blocks(n, THREADS), THREADS, 0, x, n, y);
    return y;
}

static void multiply(device *dev, const gpu_product *p)
{
    if (p->M == 0 || p->N == 0) return;
    gpu_note(dev, gpu_blas_multiply(cuda_of(dev)->blas, p, cuda_of(dev)->stream), "a matrix product");
}

void gpu_gemm(device *dev, const float *a, bool a_t, const float *b, bool b_t, int M, int N, int K, const float *bias,
              bool add, float *y)
{
    const gpu_mark mark = gpu_mark_here(dev);
    const bool bf16 = dev->precision == PRECISION_BF16;
    gpu_product p = { a, b, a_t, b_t, bf16, add, M, N, K, bias, y };
    if (bf16) {
        p.a = converted(dev, a, (int64_t)M * K);
        p.b = converted(dev, b, (int64_t)N * K);
    }

    multiply(dev, &p);
    gpu_rewind(dev, mark);
}

size_t cuda_linear_packed_bytes(const device *dev, int N, int K)
{
    return (dev->precision == PRECISION_BF16 ? 2 : 4) * (size_t)N * (size_t)K;
}

void cuda_linear_pack(device *dev, const float *w, int N, int K, void *packed)
{
    const int64_t n = (int64_t)N * K;
    if (dev->precision == PRECISION_BF16)
        GPU_LAUNCH(dev, to_bf16, gpu_blocks(n, THREADS), THREADS, 0, w, n, (__nv_bfloat16 *)packed);
    else
        gpu_note(dev, gpu_copy(packed, w, sizeof(float) * (size_t)n, cuda_of(dev)->stream), "packing");
}

/* ---- few rows ---- */

struct piece { /* of 16 bytes */
    uint32_t word[4];
};

/* The numbers of a piece times those of x, whose k-th is x[k]: four fp32 or eight bf16. */
GPU_DEVICE float piece_dot(piece w, const float *x, bool bf16)
{
    float sum = 0;

    for (int i = 0; i < 4; i++) {
        float low, high;
        if (bf16) {
            const uint32_t l = w.word[i] << 16, h = w.word[i] & 0xffff0000u; /* bf16 is the upper half of an fp32 */
            memcpy(&low, &l, 4);
            memcpy(&high, &h, 4);
            sum += low * x[2 * i] + high * x[2 * i + 1];
        } else {
            memcpy(&low, &w.word[i], 4);
            sum += low * x[i];
        }
    }

    return sum;
}

GPU_DEVICE float one_number(const void *w, size_t i, bool bf16)
{
    return bf16 ? __bfloat162float(((const __nv_bfloat16 *)w)[i]) : ((const float *)w)[i];
}

/* y[m, n] for all m: a warp an n. Rows whose length is no multiple of a piece are read number by number. */
template <int M, bool BF16>
GPU_KERNEL void few_rows(const float *x, const void *w, const float *bias, const float *add, int N, int K, float *y)
{
    enum { A_PIECE = BF16 ? 8 : 4 };
    const int n = (int)(blockIdx.x * WARPS + threadIdx.x / WARP), lane = (int)threadIdx.x % WARP;
    if (n >= N) return;

    float sum[M] = { 0 };
    const size_t row = (size_t)n * (size_t)K;
    if (K % A_PIECE == 0) {
        const piece *pieces = (const piece *)((const char *)w + row * (BF16 ? 2 : 4));
        for (int i = lane; i < K / A_PIECE; i += WARP) {
            const piece p = pieces[i];
            for (int m = 0; m < M; m++) sum[m] += piece_dot(p, x + (size_t)m * (size_t)K + (size_t)i * A_PIECE, BF16);
        }
    } else {
        for (int k = lane; k < K; k += WARP)
            for (int m = 0; m < M; m++)
                sum[m] += one_number(w, row + (size_t)k, BF16) * x[(size_t)m * (size_t)K + (size_t)k];
    }

    for (int m = 0; m < M; m++) {
        float v = warp_sum(sum[m]);
        const size_t at = (size_t)m * (size_t)N + (size_t)n;
        if (lane == 0) y[at] = v + (bias ? bias[n] : 0) + (add ? add[at] : 0);
    }
}

GPU_KERNEL void round_in_place(const float *x, int64_t n, float *y)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) y[i] = __bfloat162float(__float2bfloat16(x[i]));
}

template <bool BF16> static void few(device *dev, const float *x, int M, const linear_part *p, int K)
{
    const unsigned blocks = gpu_blocks(p->N, WARPS);

    for (int m = 0; m < M;) { /* rows in turns of 4, 2 and 1: a row's sum is the same in each */
        const float *xm = x + (size_t)m * (size_t)K, *add = p->add ? p->add + (size_t)m * (size_t)p->N : NULL;
        float *y = p->y + (size_t)m * (size_t)p->N;

        if (M - m >= 4) {
            GPU_LAUNCH(dev, (few_rows<4, BF16>), blocks, THREADS, 0, xm, p->packed, p->bias, add, p->N, K, y);
            m += 4;
        } else if (M - m >= 2) {
            GPU_LAUNCH(dev, (few_rows<2, BF16>), blocks, THREADS, 0, xm, p->packed, p->bias, add, p->N, K, y);
            m += 2;
        } else {
            GPU_LAUNCH(dev, (few_rows<1, BF16>), blocks, THREADS, 0, xm, p->packed, p->bias, add, p->N, K, y);
            m += 1;
        }
    }
}

/* ---- the operations ---- */

static void many(device *dev, const void *x, int M, const linear_part *p, int K, bool bf16)
{
    const size_t bytes = sizeof(float) * (size_t)M * (size_t)p->N;
    if (p->add && p->add != p->y) gpu_note(dev, gpu_copy(p->y, p->add, bytes, cuda_of(dev)->stream), "a residual");
    const gpu_product g = { x, p->packed, false, false, bf16, p->add != NULL, M, p->N, K, p->bias, p->y };
    multiply(dev, &g);
}

void cuda_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n)
{
    if (M == 0) return;
    const gpu_mark mark = gpu_mark_here(dev);
    const bool bf16 = dev->precision == PRECISION_BF16;
    const int64_t numbers = (int64_t)M * K;

    if (M <= FEW_ROWS && bf16) {
        float *rounded = gpu_scratch<float>(dev, (size_t)numbers); /* what many rows' products see, as fp32 */
        GPU_LAUNCH(dev, round_in_place, gpu_blocks(numbers, THREADS), THREADS, 0, x, numbers, rounded);
        for (int i = 0; i < n; i++) few<true>(dev, rounded, M, &parts[i], K);
    } else if (M <= FEW_ROWS) {
        for (int i = 0; i < n; i++) few<false>(dev, x, M, &parts[i], K);
    } else {
        const void *ready = bf16 ? (const void *)converted(dev, x, numbers) : (const void *)x;
        for (int i = 0; i < n; i++) many(dev, ready, M, &parts[i], K, bf16);
    }

    gpu_rewind(dev, mark);
}

void cuda_linear(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y)
{
    const linear_part part = { packed, bias, NULL, N, y };
    cuda_linears(dev, x, M, K, &part, 1);
}

/* cuBLASLt takes a matrix either way round. */
size_t cuda_linear_transposed_bytes(const device *, int, int) { return 0; }
void cuda_linear_transpose(device *, const float *, int, int, void *) {}

void cuda_linear_dx(device *dev, const float *dy, int M, const float *w, const void *, int N, int K, float *dx)
{
    gpu_gemm(dev, dy, false, w, true, M, K, N, NULL, true, dx); /* w [N, K]: the sum runs over its rows */
}

void cuda_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw)
{
    if (M > 0) gpu_gemm(dev, dy, true, x, true, N, K, M, NULL, true, dw);
}

/* A thread a column: the sum's order is the rows'. */
GPU_KERNEL void sum_rows(const float *dy, int M, int N, float *db)
{
    const int n = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (n >= N) return;

    float sum = db[n];
    for (int m = 0; m < M; m++) sum += dy[(size_t)m * (size_t)N + (size_t)n];
    db[n] = sum;
}

void cuda_bias_backward(device *dev, const float *dy, int M, int N, float *db)
{
    GPU_LAUNCH(dev, sum_rows, gpu_blocks(N, THREADS), THREADS, 0, dy, M, N, db);
}
