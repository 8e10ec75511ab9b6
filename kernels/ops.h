/* SPDX-License-Identifier: MIT */
/* ops - the table of operations: everything a Llama-style transformer needs, forward and backward, on one device.
 *
 * fp32, row-major, contiguous unless a stride is named. T tokens (rows) of a packed batch, S sequences, D width, H
 * query heads, Hkv key/value heads (H % Hkv == 0), hd head dimension (even), F feed-forward width, V vocabulary, L
 * layers.
 * `+=` in a formula means the result is added to what is there; `=` overwrites. Arrays must not overlap unless said.
 *
 * Two promises hold for every operation of a backend:
 *   - batch invariance: the bits of a row don't depend on how many other rows there are, nor on the number of threads.
 *     Sums over K or over keys run in one fixed order. This is why an actor that decodes one token and a learner that
 *     recomputes the whole batch get the same logprob to the last bit.
 *   - repeatability: the same call gives the same bits (sums over rows run in row order, never by atomics).
 * Every operation is tested against a float64 reference, every backward against finite differences. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/device.h"
#include "base/rng.h"

enum { KV_PAGE = 16 }; /* tokens a KV page; attention visits keys in blocks of this size, paged or packed */

/* One of several linear products of the same x: y = add + x W^T + bias. */
typedef struct linear_part {
    const void *packed; /* linear_pack of W [N, K] */
    const float *bias;  /* [N], or NULL */
    const float *add;   /* [M, N], or NULL; may be y itself */
    int N;
    float *y; /* [M, N] */
} linear_part;
enum { MAX_LINEAR_PARTS = 3 };
enum { SKETCH_BINS = 64 };

struct ops {
    /* ---- memory ---- */
    void (*zero)(device *dev, float *x, int64_t n);
    void (*add)(device *dev, float *y, const float *x, int64_t n); /* y += x */
    void (*scale)(device *dev, float *y, float a, int64_t n);      /* y *= a */

    /* ---- linear: y = x W^T + bias               x [M, K], W [N, K] as in a checkpoint (out, in), bias [N] or NULL,
     * y [M, N] ----
     * The forward product reads W packed, so that M = 1 and M = 4096 share one summation order. With PRECISION_BF16
     * both factors are rounded to bf16 (to nearest even) and the products are summed in fp32, forward and backward. */
    size_t (*linear_packed_bytes)(const device *dev, int N, int K);
    void (*linear_pack)(device *dev, const float *w, int N, int K, void *packed);
    void (*linear)(device *dev, const float *x, int M, const void *packed, const float *bias, int N, int K, float *y);
    /* Up to MAX_LINEAR_PARTS products of one x (query, key and value; gate and up), and what is added to them (the
     * residual): one pass over x, one loop to share out. A part has the bits it has alone. */
    void (*linears)(device *dev, const float *x, int M, int K, const linear_part *parts, int n);
    /* dx += dy W. transposed: linear_transpose of W, for who multiplies by one W several times; NULL:
     * it is made anew. */
    void (*linear_dx)(device *dev, const float *dy, int M, const float *w, const void *transposed, int N, int K,
                      float *dx);
    size_t (*linear_transposed_bytes)(const device *dev, int N, int K); /* 0: this device has no use for it */
    void (*linear_transpose)(device *dev, const float *w, int N, int K, void *transposed);
    void (*linear_dw)(device *dev, const float *dy, const float *x, int M, int N, int K, float *dw); /* dW += dy^T x */
    void (*bias_backward)(device *dev, const float *dy, int M, int N, float *db); /* db += the sum of dy's rows */

    /* ---- embedding: y[t] = E[ids[t]]                                          E [V, D], y [T, D] ---- */
    void (*embed)(device *dev, const float *e, const int32_t *ids, int T, int D, float *y);
    void (*embed_backward)(device *dev, const float *dy, const int32_t *ids, int T, int D, float *de); /* += */

    /* ---- RMSNorm (Zhang & Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * w     rstd [T] is kept for backward ---- */
    void (*rmsnorm)(device *dev, const float *x, const float *w, int T, int D, float eps, float *y, float *rstd);
    void (*rmsnorm_backward)(device *dev, const float *dy, const float *x, const float *w, const float *rstd, int T,
                             int D, float *dx, float *dw); /* dx +=, dw += */

    /* ---- rotary embedding, halves convention of transformers: pairs (i, i + hd/2), angle = positions[t] *
     * inv_freq[i] (inv_freq [hd/2]; scaled frequencies, as Llama 3's, are the model's affair). The cosines and sines of
     * a batch are made once, turns [T, 2, hd/2], and used by every layer. x [T, H, hd] in place; backward rotates by
     * the negative angle. ---- */
    void (*rope_turns)(device *dev, const int32_t *positions, const float *inv_freq, int T, int hd, float *turns);
    void (*rope)(device *dev, float *x, const float *turns, int T, int H, int hd);
    void (*rope_backward)(device *dev, float *dx, const float *turns, int T, int H, int hd);

    /* ---- causal attention over packed sequences      q, o [T, H, hd]; k, v [T, Hkv, hd]; starts [S + 1], starts[S] =
     * T. o[t] = sum_j softmax_j(q[t] . k[j] / sqrt(hd)) v[j] over the j <= t of t's sequence; with window > 0 (Mistral)
     * over those with t - j < window only. lse [T, H] kept for backward. Never holds [T, T]. */
    void (*attention)(device *dev, const float *q, const float *k, const float *v, const int32_t *starts, int S, int H,
                      int Hkv, int hd, int window, float *o, float *lse);
    void (*attention_backward)(device *dev, const float *doo, const float *q, const float *k, const float *v,
                               const float *o, const float *lse, const int32_t *starts, int S, int H, int Hkv, int hd,
                               int window, float *dq, float *dk, float *dv); /* all = */

    /* ---- the same attention over paged keys and values: bit-equal to `attention` on the same tokens.
     * k_pages, v_pages [n_pages, KV_PAGE, Hkv, hd] of one layer. Row t belongs to sequence row_seq[t] and stands at
     * positions[t]; page p of sequence s is table[s * max_pages + p]. Keys 0..positions[t] must have been written.
     * ---- */
    void (*kv_write)(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                     const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages);
    void (*attention_paged)(device *dev, const float *q, const float *k_pages, const float *v_pages,
                            const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages,
                            int T, int H, int Hkv, int hd, int window, float *o);

    /* ---- SwiGLU (Shazeer 2020): y = silu(gate) * up                                    all [T, F] ---- */
    void (*swiglu)(device *dev, const float *gate, const float *up, int64_t n, float *y);
    void (*swiglu_backward)(device *dev, const float *dy, const float *gate, const float *up, int64_t n, float *dgate,
                            float *dup); /* = */

    /* ---- LM head, fused with log-softmax: never holds [T, V] for the batch (rows are done in small blocks)
     * z = (x W^T) / temperature; logprob[t] = z[target] - logsumexp(z); entropy[t] = -sum p log p.
     * x [T, D], W [V, D] (packed for forward), targets [T], logprob/entropy/lse [T]; entropy may be NULL. The first
     * `kept` rows of x W^T stay in logits [kept, V] for backward, which makes the others again. ---- */
    void (*head)(device *dev, const float *x, const void *packed, const int32_t *targets, int T, int V, int D,
                 float temperature, float *logprob, float *entropy, float *lse, float *logits, int kept);
    /* dlogprob [T]: dx += dlogprob (onehot - p) W / temperature, dw += likewise. dw may be NULL. */
    void (*head_backward)(device *dev, const float *dlogprob, const float *x, const float *w, const void *packed,
                          const int32_t *targets, const float *lse, int T, int V, int D, float temperature,
                          const float *logits, int kept, float *dx, float *dw);

    /* ---- sampling from logits [M, V] on the device; all arrays of M lie on the host, and the call waits. Row i uses
     * the random number (keys[i], hi[i], position[i]). token by inverse CDF over softmax(z / temperature) restricted to
     * the smallest set of mass >= top_p; temperature 0: argmax. logprob[i]: log-softmax of z / temperature over the
     * WHOLE vocabulary, the very bits `head` gives for that token (temperature 0: as for 1). ---- */
    void (*sample)(device *dev, const float *logits, int M, int V, float temperature, float top_p, const rng_key *keys,
                   const uint64_t *hi, const uint64_t *position, int32_t *token, float *logprob);
    /* logprob[i] of a given token[i], from logits, the same bits again; token and logprob on the host. */
    void (*token_logprob)(device *dev, const float *logits, int M, int V, float temperature, const int32_t *token,
                          float *logprob);

    /* ---- optimizer and reductions ---- */
    /* AdamW (Loshchilov & Hutter 2019), decoupled decay: g is multiplied by `grad_scale` first (clipping).
     * m, v [n] moments; `step` counts from 1 for the bias correction. */
    void (*adamw)(device *dev, float *w, const float *g, float *m, float *v, int64_t n, float lr, float beta1,
                  float beta2, float eps, float weight_decay, float grad_scale, int64_t step);
    double (*sum_squares)(device *dev, const float *x, int64_t n); /* fp64 accumulation, fixed order */
    /* G[a, b] += sum_i g[a, i] g[b, i]: g [K, n], rows `stride` floats apart; G [K, K] fp64 on the host. */
    void (*gram)(device *dev, const float *g, int K, int64_t n, int64_t stride, double *G);
    /* out[a, j] += sum of +-g[a, i] over i = j (mod 64), the signs drawn from `seed`: K rows' sketches, by which
     * lengths and angles can be told without the rows. out [K, SKETCH_BINS] fp64 on the host. */
    void (*sketch)(device *dev, const float *g, int K, int64_t n, int64_t stride, uint64_t seed, double *out);
    /* out[i] = sum_a w[a] g[a, i]; w [K] on the host. out may be row 0 of g. */
    void (*combine)(device *dev, const float *g, const double *w, int K, int64_t n, int64_t stride, float *out);
};
