/* SPDX-License-Identifier: MIT */
/* What the tests of this room share: small models, random packed batches, and the same transformer in float64, written
 * from the formulas and a row at a time, so that it shares neither code nor shape with what it checks. */
#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/transformer.h"
#include "tests/support/support.h"

/* ---- models ---- */

/* Every size differs, H hd isn't D, two query heads share a key head, nothing is a multiple of a vector's width. */
static inline model_config tiny_config(bool tied)
{
    return (model_config){ .architecture = "LlamaForCausalLM",
                           .vocab = 17,
                           .width = 6,
                           .layers = 2,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 4,
                           .ffn = 10,
                           .max_position = 256,
                           .ropes = { { .theta = 10000 } },
                           .norm_eps = 1e-5f,
                           .tied = tied,
                           .bos = -1 };
}

/* 0 and 1: an untied and a tied head; 2 and 3: the same with soft-caps where scores and logits bend. */
enum { TINY_FORMS = 4 };
static inline model_config tiny_form(int form)
{
    model_config c = tiny_config(form % 2);
    if (form >= 2) c.score_cap = 0.05f, c.logit_cap = 0.3f;
    return c;
}

/* Large enough for several panels, tiles and threads. */
static inline model_config small_config(bool tied)
{
    model_config c = tiny_config(tied);
    c.vocab = 203, c.width = 48, c.layers = 3, c.heads = 6, c.head_dim = 8, c.ffn = 88;
    return c;
}

/* What layers may be beside Llama's, each mixed with something else: windows, layers that aren't turned, norms and
 * biases in other places, multipliers. */
enum { VARIANTS = 9 };

static inline model_config variant_config(int variant)
{
    model_config c = small_config(variant % 2);
    switch (variant) {
    case 0: /* as Qwen3, with biases; a layer without a rotary embedding */
        c.qkv_bias = true;
        c.qk_norm = QK_NORM_HEAD;
        c.attention[1].rope = ROPE_NONE;
        break;
    case 1: /* as Mistral */
        for (int l = 0; l < c.layers; l++) c.attention[l].window = 11;
        break;
    case 2: /* as OLMo 3: a window, with frequencies of its own */
        c.norms = NORMS_AFTER;
        c.qk_norm = QK_NORM_WIDTH;
        c.attention[1] = (layer_attention){ .window = 9, .rope = 1 };
        c.ropes[1] = (rope_set){ .theta = 500, .kind = ROPE_LINEAR, .factor = 3, .magnitude = 1.1f };
        break;
    case 3: /* as Granite */
        c.mlp_bias = c.o_bias = true;
        c.embedding_scale = 2.5f, c.residual_scale = 0.6f, c.score_scale = 0.4f, c.logit_scale = 0.7f;
        break;
    case 4: /* as Phi-4-mini: fused matrices, a part of a head turned */
        c.qkv_fused = c.gate_up_fused = true;
        c.rotary_dims = 4;
        break;
    case 5: /* as Gemma 3, with GLM's pairs */
        c.norms = NORMS_AROUND;
        c.norm_plus = 1, c.gate = GATE_GELU, c.embedding_scale = 3, c.rotary_neighbours = true;
        c.attention[1].window = 9;
        break;
    case 6: /* as Qwen3-MoE, a layer of the three without experts */
        c.qk_norm = QK_NORM_HEAD;
        c.experts = (expert_layers){ .names = EXPERTS_OF_MLP, .n = 7, .chosen = 3, .ffn = 20 };
        c.experts.routed[0] = c.experts.routed[2] = true;
        break;
    case 7: /* as Mixtral, with norms around the branches */
        c.norms = NORMS_AROUND;
        c.experts = (expert_layers){ .names = EXPERTS_OF_MIXTRAL, .n = 4, .chosen = 2, .ffn = 36, .sum_to_one = true };
        for (int l = 0; l < c.layers; l++) c.experts.routed[l] = true;
        break;
    case 8: /* as Gemma 2 */
        c.norms = NORMS_AROUND;
        c.norm_plus = 1, c.gate = GATE_GELU, c.embedding_scale = 3, c.score_scale = 0.3f;
        c.score_cap = 0.5f, c.logit_cap = 2;
        c.attention[1].window = 9;
        break;
    }
    return c;
}

typedef struct small_model {
    device *dev;
    param_table *table;
    weights *w;
} small_model;

static inline small_model small_model_open(model_config config, int threads, uint64_t seed)
{
    error err = { 0 };
    small_model m = { .dev = device_open("cpu", threads, &err) };
    if (!m.dev || !(m.table = param_table_new(&config, &err)) || !(m.w = weights_new(m.dev, m.table, &err)))
        fail_msg("%s", err.text);
    weights_init(m.w, seed, 0.3f);
    test_random rnd = test_random_seed(seed);
    for (int i = 0; i < m.table->n; i++) { /* norms of 1 would hide a norm that is left out of a gradient */
        const param *p = &m.table->items[i];
        for (int64_t j = 0; p->rank == 1 && j < p->count; j++)
            m.w->data[p->offset + j] = 1 + 0.3f * test_random_normal(&rnd);
    }
    weights_seal(m.w, 0);
    return m;
}

static inline void small_model_close(small_model *m)
{
    weights_free(m->w);
    param_table_free(m->table);
    device_close(m->dev);
}

/* ---- batches ---- */

enum { MAX_ROWS = 512, MAX_SEQUENCES = 16 };

typedef struct test_batch {
    token_batch b; /* points into this very struct: don't copy */
    int32_t ids[MAX_ROWS], positions[MAX_ROWS], starts[MAX_SEQUENCES + 1], out_rows[MAX_ROWS], targets[MAX_ROWS];
} test_batch;

/* S sequences of 1..longest random tokens; a row is an out row with probability `share`. */
static inline test_batch *test_batch_new(test_random *rnd, int vocab, int S, int longest, double share)
{
    test_batch *t = xcalloc(1, sizeof *t);
    token_batch *b = &t->b;
    *b = (token_batch){ .S = S,
                        .ids = t->ids,
                        .positions = t->positions,
                        .starts = t->starts,
                        .out_rows = t->out_rows,
                        .targets = t->targets };
    for (int s = 0; s < S; s++) {
        const int n = 1 + (int)test_random_below(rnd, (uint64_t)longest);
        for (int i = 0; i < n; i++) {
            const int row = b->T++;
            assert_true(b->T <= MAX_ROWS);
            t->ids[row] = (int32_t)test_random_below(rnd, (uint64_t)vocab);
            t->positions[row] = i;
            if (test_random_unit(rnd) >= share) continue;
            t->out_rows[b->n_out] = row;
            t->targets[b->n_out++] = (int32_t)test_random_below(rnd, (uint64_t)vocab);
        }
        t->starts[s + 1] = b->T;
    }
    return t;
}

/* ---- the float64 transformer ---- */

typedef struct reference {
    const param_table *table;
    const double *params;  /* [table->total] */
    double *keys, *values; /* [L, T, Hkv hd] of the batch at hand */
} reference;

static inline double *reference_params(const weights *w)
{
    double *p = xmalloc(sizeof *p * (size_t)w->table->total);
    for (int64_t i = 0; i < w->table->total; i++) p[i] = (double)w->data[i];
    return p;
}

static inline const double *reference_of(const reference *r, param_kind kind, int layer)
{
    return r->params + param_find(r->table, kind, layer)->offset;
}

/* y [N] (+)= W [N, K] x. */
static inline void reference_linear(const double *w, const double *x, int N, int K, double *y, bool add)
{
    for (int n = 0; n < N; n++) {
        double sum = add ? y[n] : 0;
        for (int k = 0; k < K; k++) sum += w[n * K + k] * x[k];
        y[n] = sum;
    }
}

static inline void reference_norm(const double *x, const double *scale, int D, double eps, double *y)
{
    double mean = 0;
    for (int d = 0; d < D; d++) mean += x[d] * x[d] / D;
    for (int d = 0; d < D; d++) y[d] = x[d] / sqrt(mean + eps) * scale[d];
}

/* Each head's halves are the real and imaginary parts of hd/2 numbers, turned by position * theta^(-2i/hd). */
static inline void reference_rope(double *x, int heads, int hd, int position, double theta)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < hd / 2; i++) {
            double *re = &x[h * hd + i], *im = &x[h * hd + i + hd / 2];
            const double angle = position * pow(theta, -2.0 * i / hd), a = *re, b = *im;
            *re = a * cos(angle) - b * sin(angle);
            *im = a * sin(angle) + b * cos(angle);
        }
}

/* Head h of row `row`, whose sequence starts at row `first`. */
static inline void reference_attention(const double *q, const double *keys, const double *values, int first, int row,
                                       int stride, int hd, double cap, double *out)
{
    double *p = xmalloc(sizeof *p * (size_t)(row - first + 1)), max = -INFINITY, sum = 0;
    for (int j = first; j <= row; j++) {
        double s = 0;
        for (int d = 0; d < hd; d++) s += q[d] * keys[j * stride + d];
        p[j - first] = cap > 0 ? cap * tanh(s / sqrt(hd) / cap) : s / sqrt(hd);
        max = fmax(max, p[j - first]);
    }
    for (int j = 0; j <= row - first; j++) sum += p[j] = exp(p[j] - max);
    for (int d = 0; d < hd; d++) {
        out[d] = 0;
        for (int j = first; j <= row; j++) out[d] += p[j - first] / sum * values[j * stride + d];
    }
    free(p);
}

static inline void reference_layer(const reference *r, int layer, const token_batch *b, int first, int row, double *x)
{
    const model_config *c = &r->table->config;
    const int D = c->width, F = c->ffn, hd = c->head_dim, stride = c->kv_heads * hd;
    double normed[64], q[64], att[64], gate[128], up[128];
    double *keys = r->keys + (size_t)layer * (size_t)(b->T * stride), *values = r->values + (keys - r->keys);
    assert_true(D <= 64 && c->heads * hd <= 64 && F <= 128);
    reference_norm(x, reference_of(r, PARAM_ATTN_NORM, layer), D, (double)c->norm_eps, normed);
    reference_linear(reference_of(r, PARAM_Q, layer), normed, c->heads * hd, D, q, false);
    reference_linear(reference_of(r, PARAM_K, layer), normed, stride, D, keys + row * stride, false);
    reference_linear(reference_of(r, PARAM_V, layer), normed, stride, D, values + row * stride, false);
    reference_rope(q, c->heads, hd, b->positions[row], (double)c->ropes[0].theta);
    reference_rope(keys + row * stride, c->kv_heads, hd, b->positions[row], (double)c->ropes[0].theta);
    for (int h = 0; h < c->heads; h++) {
        const int at = h / (c->heads / c->kv_heads) * hd;
        reference_attention(q + h * hd, keys + at, values + at, first, row, stride, hd, (double)c->score_cap,
                            att + h * hd);
    }
    reference_linear(reference_of(r, PARAM_O, layer), att, D, c->heads * hd, x, true);
    reference_norm(x, reference_of(r, PARAM_MLP_NORM, layer), D, (double)c->norm_eps, normed);
    reference_linear(reference_of(r, PARAM_GATE, layer), normed, F, D, gate, false);
    reference_linear(reference_of(r, PARAM_UP, layer), normed, F, D, up, false);
    for (int f = 0; f < F; f++) gate[f] = gate[f] / (1 + exp(-gate[f])) * up[f];
    reference_linear(reference_of(r, PARAM_DOWN, layer), gate, D, F, x, true);
}

/* Logits [T, V] of every row; the caller frees. */
static inline double *reference_logits(const param_table *table, const double *params, const token_batch *b)
{
    const model_config *c = &table->config;
    const size_t cache = (size_t)c->layers * (size_t)(b->T * c->kv_heads * c->head_dim);
    reference r = { .table = table, .params = params };
    r.keys = xmalloc(sizeof(double) * cache), r.values = xmalloc(sizeof(double) * cache);
    double *logits = xmalloc(sizeof(double) * (size_t)(b->T * c->vocab)), x[64], normed[64];
    for (int s = 0; s < b->S; s++)
        for (int t = b->starts[s]; t < b->starts[s + 1]; t++) {
            memcpy(x, reference_of(&r, PARAM_EMBED, -1) + b->ids[t] * c->width, sizeof(double) * (size_t)c->width);
            for (int l = 0; l < c->layers; l++) reference_layer(&r, l, b, b->starts[s], t, x);
            reference_norm(x, reference_of(&r, PARAM_FINAL_NORM, -1), c->width, (double)c->norm_eps, normed);
            reference_linear(reference_of(&r, c->tied ? PARAM_EMBED : PARAM_HEAD, -1), normed, c->vocab, c->width,
                             logits + t * c->vocab, false);
            const double cap = (double)c->logit_cap;
            for (int v = 0; cap > 0 && v < c->vocab; v++)
                logits[t * c->vocab + v] = cap * tanh(logits[t * c->vocab + v] / cap);
        }
    free(r.keys);
    free(r.values);
    return logits;
}

/* Log-softmax of one row of logits / temperature, in place. */
static inline void reference_log_softmax(double *z, int V, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (int v = 0; v < V; v++) max = fmax(max, z[v] /= temperature);
    for (int v = 0; v < V; v++) sum += exp(z[v] - max);
    for (int v = 0; v < V; v++) z[v] -= max + log(sum);
}

/* ---- comparing ---- */

/* Bits, not values: the first difference is named. */
static inline void test_same_bits(const float *got, const float *want, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof(float)) != 0)
            fail_msg("%s: element %lld: %.9g is not %.9g to the bit", what, (long long)i, (double)got[i],
                     (double)want[i]);
}
