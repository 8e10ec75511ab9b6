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

struct gpu_blas; /* cuBLASLt's handle and plans (lt.cu), or nothing (emulation) */

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
    if (code && !d->failed) d->failed = code, d->failed_op = op;
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

static inline unsigned gpu_blocks(int64_t n, int64_t a_block) { return (unsigned)((n + a_block - 1) / a_block); }

/* ---- gemm.cu ---- */

/* y [M, N] = a b^T (+ y when add) (+ bias): a [M, K], b [N, K], fp32, row-major; or transposed in memory: a_t: a is
 * [K, M], b_t: b is [K, N]. In the device's precision. */
void gpu_gemm(device *dev, const float *a, bool a_t, const float *b, bool b_t, int M, int N, int K, const float *bias,
              bool add, float *y);

/* lt.cu, or its stand-in in the emulation: the same on numbers that are ready. bf16: a and b hold bf16. Returns an
 * error code. */
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

/* ---- the operations, by file ---- */

void cuda_zero(device *dev, float *x, int64_t n);
void cuda_add(device *dev, float *y, const float *x, int64_t n);
void cuda_scale(device *dev, float *y, float a, int64_t n);
size_t cuda_linear_packed_bytes(const device *dev, int N, int K);
void cuda_linear_pack(device *dev, const float *w, int N, int K, void *packed);
void cuda_linear(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y);
void cuda_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n);
void cuda_linear_dx(device *dev, const float *dy, int M, const float *w, const void *transposed, int N, int K,
                    float *dx);
size_t cuda_linear_transposed_bytes(const device *dev, int N, int K);
void cuda_linear_transpose(device *dev, const float *w, int N, int K, void *transposed);
void cuda_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw);
void cuda_bias_backward(device *dev, const float *dy, int M, int N, float *db);
void cuda_embed(device *dev, const float *e, const int32_t *ids, int T, int D, float *y);
void cuda_embed_backward(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de);
void cuda_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float *y, float *rstd);
void cuda_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T,
                           int D, float *dx, float *dw);
void cuda_rope_turns(device *dev, const int32_t *positions, const float *inv_freq, int T, int hd, float *turns);
void cuda_rope(device *dev, float *x, const float *turns, int T, int H, int hd);
void cuda_rope_backward(device *dev, float *dx, const float *turns, int T, int H, int hd);
void cuda_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts, int S, int H,
                    int Hkv, int hd, int window, float *o, float *lse);
void cuda_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                             const float *o, const float *lse, const int32_t *starts, int S, int H, int Hkv, int hd,
                             int window, float *dq, float *dk, float *dv);
void cuda_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                   const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages);
void cuda_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                          const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                          int H, int Hkv, int hd, int window, float *o);
void cuda_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y);
void cuda_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                          float *dup);
void cuda_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D,
               float temperature, float *logprob, float *entropy, float *lse, float *logits, int kept);
void cuda_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                        const int32_t *targets, const float *lse, int T, int V, int D, float temperature,
                        const float *logits, int kept, float *dx, float *dw);
void cuda_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                 const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob);
void cuda_token_logprob(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                        float *logprob);
void cuda_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1,
                float beta2, float eps, float weight_decay, float grad_scale, int64_t step);
double cuda_sum_squares(device *dev, const float *x, int64_t n);
void cuda_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G);
void cuda_sketch(device *dev, const float *g, int K, int64_t n, int64_t stride, uint64_t seed, double *out);
void cuda_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out);
