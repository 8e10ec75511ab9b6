/* SPDX-License-Identifier: MIT */
/* cpu - what the compute files of the CPU backend share: their functions.
 *
 * These files are compiled once for each instruction set (CPU_ISA is base, avx2, avx512, avx512bf16 or amx:
 * see CMakeLists.txt) and
 * cpu_open takes the best table this processor runs. So each function's name gets the instruction set's behind it. */
#pragma once

#include "kernels/cpu/cpu_device.h"

#if !defined CPU_ISA
#define CPU_ISA base
#endif
#define ISA_NAME_(name, isa) name##_##isa
#define ISA_NAME(name, isa) ISA_NAME_(name, isa)
#define cpu_adamw ISA_NAME(cpu_adamw, CPU_ISA)
#define cpu_add ISA_NAME(cpu_add, CPU_ISA)
#define cpu_attention ISA_NAME(cpu_attention, CPU_ISA)
#define cpu_attention_backward ISA_NAME(cpu_attention_backward, CPU_ISA)
#define cpu_attention_paged ISA_NAME(cpu_attention_paged, CPU_ISA)
#define cpu_bias_backward ISA_NAME(cpu_bias_backward, CPU_ISA)
#define cpu_sketch ISA_NAME(cpu_sketch, CPU_ISA)
#define cpu_combine ISA_NAME(cpu_combine, CPU_ISA)
#define cpu_embed ISA_NAME(cpu_embed, CPU_ISA)
#define cpu_embed_backward ISA_NAME(cpu_embed_backward, CPU_ISA)
#define cpu_gram ISA_NAME(cpu_gram, CPU_ISA)
#define cpu_head ISA_NAME(cpu_head, CPU_ISA)
#define cpu_head_backward ISA_NAME(cpu_head_backward, CPU_ISA)
#define cpu_kv_write ISA_NAME(cpu_kv_write, CPU_ISA)
#define cpu_linear ISA_NAME(cpu_linear, CPU_ISA)
#define cpu_linears ISA_NAME(cpu_linears, CPU_ISA)
#define cpu_linear_dw ISA_NAME(cpu_linear_dw, CPU_ISA)
#define cpu_linear_dx ISA_NAME(cpu_linear_dx, CPU_ISA)
#define cpu_linear_transposed_bytes ISA_NAME(cpu_linear_transposed_bytes, CPU_ISA)
#define cpu_linear_transpose ISA_NAME(cpu_linear_transpose, CPU_ISA)
#define cpu_linear_pack ISA_NAME(cpu_linear_pack, CPU_ISA)
#define cpu_linear_packed_bytes ISA_NAME(cpu_linear_packed_bytes, CPU_ISA)
#define cpu_rmsnorm ISA_NAME(cpu_rmsnorm, CPU_ISA)
#define cpu_rmsnorm_backward ISA_NAME(cpu_rmsnorm_backward, CPU_ISA)
#define cpu_rope ISA_NAME(cpu_rope, CPU_ISA)
#define cpu_rope_backward ISA_NAME(cpu_rope_backward, CPU_ISA)
#define cpu_rope_turns ISA_NAME(cpu_rope_turns, CPU_ISA)
#define cpu_sample ISA_NAME(cpu_sample, CPU_ISA)
#define cpu_scale ISA_NAME(cpu_scale, CPU_ISA)
#define cpu_sum_squares ISA_NAME(cpu_sum_squares, CPU_ISA)
#define cpu_swiglu ISA_NAME(cpu_swiglu, CPU_ISA)
#define cpu_swiglu_backward ISA_NAME(cpu_swiglu_backward, CPU_ISA)
#define cpu_token_logprob ISA_NAME(cpu_token_logprob, CPU_ISA)
#define cpu_zero ISA_NAME(cpu_zero, CPU_ISA)

void cpu_zero(device *dev, float *x, int64_t n);
void cpu_add(device *dev, float *y, const float *x, int64_t n);
void cpu_scale(device *dev, float *y, float a, int64_t n);
size_t cpu_linear_packed_bytes(const device *dev, int N, int K);
void cpu_linear_pack(device *dev, const float *w, int N, int K, void *packed);
void cpu_linear(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y);
void cpu_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n);
void cpu_linear_dx(device *dev, const float *dy, int M, const float *w, const void *transposed, int N, int K,
                   float *dx);
size_t cpu_linear_transposed_bytes(const device *dev, int N, int K);
void cpu_linear_transpose(device *dev, const float *w, int N, int K, void *transposed);
void cpu_linear_dw(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw);
void cpu_bias_backward(device *dev, const float *dy, int M, int N, float *db);
void cpu_embed(device *dev, const float *e, const int32_t *ids, int T, int D, float *y);
void cpu_embed_backward(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de);
void cpu_rmsnorm(device *dev, const float *x, const float *w, int T, int D, float eps, float *y, float *rstd);
void cpu_rmsnorm_backward(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T, int D,
                          float *dx, float *dw);
void cpu_rope_turns(device *dev, const int32_t *positions, const float *inv_freq, int T, int hd, float *turns);
void cpu_rope(device *dev, float *x, const float *turns, int T, int H, int hd);
void cpu_rope_backward(device *dev, float *dx, const float *turns, int T, int H, int hd);
void cpu_attention(device *dev, const float *q, const float *k, const float *v, const int32_t *starts, int S, int H,
                   int Hkv, int hd, int window, float *o, float *lse);
void cpu_attention_backward(device *dev, const float *doo, const float *q, const float *k, const float *v,
                            const float *o, const float *lse, const int32_t *starts, int S, int H, int Hkv, int hd,
                            int window, float *dq, float *dk, float *dv);
void cpu_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                  const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages);
void cpu_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                         const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                         int H, int Hkv, int hd, int window, float *o);
void cpu_swiglu(device *dev, const float *gate, const float *up, int64_t n, float *y);
void cpu_swiglu_backward(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                         float *dup);
void cpu_head(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D,
              float temperature, float *logprob, float *entropy, float *lse, float *logits, int kept);
void cpu_head_backward(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                       const int32_t *targets, const float *lse, int T, int V, int D, float temperature,
                       const float *logits, int kept, float *dx, float *dw);
void cpu_sample(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob);
void cpu_token_logprob(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                       float *logprob);
void cpu_adamw(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1, float beta2,
               float eps, float weight_decay, float grad_scale, int64_t step);
double cpu_sum_squares(device *dev, const float *x, int64_t n);
void cpu_gram(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G);
void cpu_sketch(device *dev, const float *g, int K, int64_t n, int64_t stride, uint64_t seed, double *out);
void cpu_combine(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out);
