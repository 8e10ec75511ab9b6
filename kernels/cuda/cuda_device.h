/* SPDX-License-Identifier: MIT */
/* cuda_device - the GPU as a device: one stream, an arena of scratch memory, the first failure. Internal to
 * kernels/cuda/; C++ for two compilers. */
#pragma once

#include <stdlib.h>

extern "C" {
#include "base/memory.h"
#include "base/str.h"
#include "kernels/backend.h"
}
#include "kernels/cuda/gpu.h"

struct gpu_chunk {
    char *data;
    size_t bytes, used;
};

struct gpu_blas; /* cuBLASLt's handle and plans (cublaslt.cu), or nothing (emulation) */

struct cuda_device {
    struct device base;
    int index;
    gpu_stream stream;
    gpu_blas *blas;
    gpu_chunk *chunks; /* as many as the GPU has room for */
    int n_chunks, room, current;
    size_t used, peak, arrays; /* bytes */
    int failed;                /* the first error code, 0: none */
    const char *failed_op;     /* and what was being done */
};

/* Every thread has a current GPU of its own, the first until it is told: this one becomes it. */
void gpu_use(const cuda_device *d);
static inline cuda_device *cuda_of(device *dev)
{
    gpu_use((cuda_device *)dev);
    return (cuda_device *)dev;
}

/* Notes the first failure; device_sync reports it. */
static inline void gpu_note(device *dev, int code, const char *op)
{
    cuda_device *d = cuda_of(dev);
    if (!code || d->failed) return;
    d->failed = code;
    d->failed_op = op;
}

#define GPU_LAUNCH(dev, kernel, grid, block, bytes, ...)                                                               \
    gpu_note(dev, GPU_START(kernel, grid, block, bytes, cuda_of(dev)->stream, __VA_ARGS__), #kernel)

/* Scratch of one operation is given back when it ends: all work goes through one stream, in order. */
struct gpu_mark {
    int chunk;
    size_t in_chunk, used;
};
gpu_mark gpu_mark_here(device *dev);
void gpu_rewind(device *dev, gpu_mark mark);

template <class T> T *gpu_scratch(device *dev, size_t n)
{
    void *p = dev->backend->scratch(dev, sizeof(T) * n, &dev->lack);
    if (!p) dev->no_memory(dev);
    return (T *)p;
}

/* Zeroed memory of the host for what is copied back; free() takes it. */
template <class T> T *gpu_host(size_t n)
{
    void *p = calloc(n, sizeof(T));
    if (!p) memory_exhausted(sizeof(T) * n);
    return (T *)p;
}

/* The first key that row t sees; 0 without a window. */
GPU_DEVICE int first_key(int t, int window) { return window > 0 && t >= window ? t - window + 1 : 0; }

static inline unsigned gpu_blocks(int64_t n, int64_t a_block) { return (unsigned)((n + a_block - 1) / a_block); }

/* ---- gemm.cu ---- */

/* y [M, N] = a b^T (+ y when add) (+ bias): a [M, K], b [N, K], fp32, row-major; or transposed in memory: a_t: a is
 * [K, M], b_t: b is [K, N]. In the device's precision. */
void gpu_gemm(device *dev, const float *a, bool a_t, const float *b, bool b_t, int M, int N, int K, const float *bias,
              bool add, float *y);

/* cublaslt.cu, or its stand-in in the emulation: the same on numbers that are ready. bf16: a and b hold bf16. Returns
 * an error code. */
gpu_blas *gpu_blas_open(void);
void gpu_blas_close(gpu_blas *blas);
struct gpu_product {
    const void *a, *b;
    bool a_t, b_t, bf16, add;
    int M, N, K;
    const float *bias;
    float *y;
};
int gpu_blas_multiply(gpu_blas *blas, const gpu_product *p, gpu_stream stream);

/* ---- the operations ---- */

#define OP(type, name, parameters) type cuda_##name parameters;
#include "kernels/ops.def"
#undef OP
