/* SPDX-License-Identifier: MIT */
#include "kernels/op_scratch.h"

#include "kernels/head_rows.h"
#include "kernels/ops.h"

/* Rows rounded to bf16, padded to whole tiles (kernels/cpu/gemm_bf16.c). In float32 x is read where it lies. */
static size_t rounded_rows(const device *dev, int M, int K)
{
    enum { TILE = 16, BLOCK = 32, APART = 64, BYTES = 2 };
    if (device_precision(dev) != PRECISION_BF16) return 0;
    const size_t rows = (size_t)(M + TILE - 1) / TILE * TILE, columns = (size_t)(K + BLOCK - 1) / BLOCK * BLOCK + APART;
    return BYTES * rows * columns;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* dW's factors: x in panels and dy turned, over the batch; in float32 a thread's buffers (kernels/cpu/gemm.c). */
static size_t dw_bytes(const device *dev, int M, int N, int K)
{
    enum { BUFFERS = 840 << 10 };
    if (device_precision(dev) != PRECISION_BF16) return (size_t)BUFFERS * (size_t)device_threads(dev);
    return device_ops(dev)->linear_packed_bytes(dev, K, M) + rounded_rows(dev, N, M);
}

size_t linear_scratch_bytes(const device *dev, int M, int N, int K)
{
    const size_t dx = device_ops(dev)->linear_transposed_bytes(dev, N, K) + rounded_rows(dev, M, N);
    return larger(larger(rounded_rows(dev, M, K), dx), dw_bytes(dev, M, N, K));
}

size_t head_scratch_bytes(const device *dev, int T, int V, int D, int kept)
{
    const int rows = head_rows(T, V, HEAD_BLOCK_FLOATS);
    const size_t logits = kept < T ? sizeof(float) * (size_t)rows * (size_t)V : 0;
    return logits + rounded_rows(dev, kept < T ? rows : T, D);
}

size_t head_backward_scratch_bytes(const device *dev, int T, int V, int D)
{
    const int rows = head_rows(T, V, HEAD_BLOCK_FLOATS);
    const size_t factors = larger(rounded_rows(dev, rows, V), dw_bytes(dev, rows, V, D));
    const size_t transposed = device_ops(dev)->linear_transposed_bytes(dev, V, D);
    return transposed + sizeof(float) * (size_t)rows * (size_t)V + factors;
}
