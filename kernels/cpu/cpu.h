/* cpu - what the files of the CPU backend share: the device, the parallel loop's rule, their functions. */
#pragma once

#include "kernels/ops.h"

/* Opening a parallel region costs up to 50 us when the other threads sleep: less work than this stays on one thread. */
enum { PARALLEL_FLOPS = 400000 };

static inline int threads_for(const device *dev, double flops)
{
    return flops < PARALLEL_FLOPS ? 1 : device_threads(dev);
}

void cpu_zero(device *dev, float *x, int64_t n);
void cpu_add(device *dev, float *y, const float *x, int64_t n);
void cpu_scale(device *dev, float *y, float a, int64_t n);
size_t cpu_linear_packed_bytes(int N, int K);
void cpu_linear_pack(device *dev, const float *w, int N, int K, void *packed);
void cpu_linear(device *dev, const float *x, int M, const void *packed, int N, int K, float *y);
void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, int N, int K, float *dx);
void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw);
void cpu_embed(device *dev, const float *e, const int32_t *ids, int T, int D, float *y);
void cpu_embed_backward(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de);
void cpu_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float *y, float *rstd);
void cpu_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T, int D,
                          float *dx, float *dw);
void cpu_rope(device *dev, float *x, const int32_t *positions, const float *inv_freq, int T, int H, int hd);
void cpu_rope_backward(device *dev, float *dx, const int32_t *positions, const float *inv_freq, int T, int H, int hd);
void cpu_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts, int S, int H,
                   int Hkv, int hd, float *o, float *lse);
void cpu_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                            const float *o, const float *lse, const int32_t *starts, int S, int H, int Hkv, int hd,
                            float *dq, float *dk, float *dv);
void cpu_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                  const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages);
void cpu_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                         const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                         int H, int Hkv, int hd, float *o);
void cpu_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y);
void cpu_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup);
void cpu_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D,
              float temperature, float *logprob, float *entropy, float *lse);
void cpu_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                       const int32_t *targets, const float *lse, int T, int V, int D, float temperature, float *dx,
                       float *dw);
void cpu_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob);
void cpu_token_logprob(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                       float *logprob);
void cpu_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1, float beta2,
               float eps, float weight_decay, float grad_scale, int64_t step);
double cpu_sum_squares(device *dev, const float *x, int64_t n);
void cpu_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G);
void cpu_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out);
