/* SPDX-License-Identifier: MIT */
#include "model/layer.h"

#include <assert.h>

layer_weights layer_weights_of(const weights *w, int layer)
{
    const param_table *t = w->table;

    return (layer_weights){ .attn_norm = param_find(t, PARAM_ATTN_NORM, layer),
                            .q = param_find(t, PARAM_Q, layer),
                            .k = param_find(t, PARAM_K, layer),
                            .v = param_find(t, PARAM_V, layer),
                            .o = param_find(t, PARAM_O, layer),
                            .mlp_norm = param_find(t, PARAM_MLP_NORM, layer),
                            .gate = param_find(t, PARAM_GATE, layer),
                            .up = param_find(t, PARAM_UP, layer),
                            .down = param_find(t, PARAM_DOWN, layer),
                            .q_bias = param_find(t, PARAM_Q_BIAS, layer),
                            .k_bias = param_find(t, PARAM_K_BIAS, layer),
                            .v_bias = param_find(t, PARAM_V_BIAS, layer),
                            .o_bias = param_find(t, PARAM_O_BIAS, layer),
                            .q_norm = param_find(t, PARAM_Q_NORM, layer),
                            .k_norm = param_find(t, PARAM_K_NORM, layer),
                            .window = layer >= t->config.window_from ? t->config.window : 0 };
}

const param *embed_param(const weights *w) { return param_find(w->table, PARAM_EMBED, -1); }

const param *head_param(const weights *w)
{
    const param *head = param_find(w->table, PARAM_HEAD, -1);
    return head ? head : embed_param(w);
}

linear_part linear_part_of(const weights *w, const param *p, const param *bias, const float *add, float *y)
{
    assert(param_packed(w, p)); /* weights_seal has been forgotten */
    return (linear_part){
        .packed = param_packed(w, p), .bias = bias ? param_data(w, bias) : NULL, .add = add, .N = p->rows, .y = y
    };
}

float *scratch_floats(device *dev, int rows, int columns)
{
    return device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)columns);
}

const int32_t *scratch_ints(device *dev, const int32_t *from, size_t n)
{
    int32_t *to = device_scratch(dev, sizeof(int32_t) * n);
    if (n > 0) device_copy_in(dev, to, from, sizeof(int32_t) * n);
    return to;
}

layer_acts layer_acts_new(const weights *w, int T, int n)
{
    const model_config *c = &w->table->config;
    device *dev = w->dev;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;

    return (layer_acts){ .attn_in = scratch_floats(dev, T, c->width),
                         .attn_rstd = scratch_floats(dev, T, 1),
                         .q = scratch_floats(dev, T, q),
                         .k = scratch_floats(dev, T, kv),
                         .q_raw = c->qk_norm ? scratch_floats(dev, T, q) : NULL,
                         .k_raw = c->qk_norm ? scratch_floats(dev, T, kv) : NULL,
                         .q_rstd = c->qk_norm ? scratch_floats(dev, T, c->heads) : NULL,
                         .k_rstd = c->qk_norm ? scratch_floats(dev, T, c->kv_heads) : NULL,
                         .v = scratch_floats(dev, T, kv),
                         .att = scratch_floats(dev, T, q),
                         .lse = scratch_floats(dev, T, c->heads),
                         .mid = scratch_floats(dev, n, c->width),
                         .mlp_in = scratch_floats(dev, n, c->width),
                         .mlp_rstd = scratch_floats(dev, n, 1),
                         .gate = scratch_floats(dev, n, c->ffn),
                         .up = scratch_floats(dev, n, c->ffn),
                         .act = scratch_floats(dev, n, c->ffn) };
}

void layer_acts_take(const weights *w, layer_acts *a, float *x, int n, const int32_t *rows)
{
    const model_config *c = &w->table->config;
    a->x = x;
    a->n = n;
    a->rows = rows;
    a->x_rows = rows ? scratch_floats(w->dev, n, c->width) : x;
    a->att_rows = rows ? scratch_floats(w->dev, n, c->heads * c->head_dim) : a->att;
}

const float *layer_rope(const weights *w, const int32_t *positions, int T)
{
    const int hd = w->table->config.head_dim;
    float *cos_sin = scratch_floats(w->dev, T, hd);
    device_ops(w->dev)->rope_table(w->dev, positions, w->inv_freq, T, hd, cos_sin);
    return cos_sin;
}

/* x [T, heads, hd]: each head normed where the model does so (from raw), and turned. */
static void finish_heads(const weights *w, const param *norm, const float *cos_sin, int T, int heads, const float *raw,
                         float *rstd, float *x)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    if (norm) ops->rmsnorm(w->dev, raw, param_data(w, norm), T * heads, c->head_dim, c->norm_eps, x, rstd);
    ops->rope(w->dev, x, cos_sin, T, heads, c->head_dim);
}

void layer_project(const weights *w, const layer_weights *p, const float *cos_sin, int T, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const linear_part parts[] = { linear_part_of(w, p->q, p->q_bias, NULL, p->q_norm ? a->q_raw : a->q),
                                  linear_part_of(w, p->k, p->k_bias, NULL, p->k_norm ? a->k_raw : a->k),
                                  linear_part_of(w, p->v, p->v_bias, NULL, a->v) };

    ops->rmsnorm(w->dev, a->x, param_data(w, p->attn_norm), T, c->width, c->norm_eps, a->attn_in, a->attn_rstd);
    ops->linears(w->dev, a->attn_in, T, c->width, parts, 3); /* at once: x is read, and converted to bf16, once */
    finish_heads(w, p->q_norm, cos_sin, T, c->heads, a->q_raw, a->q_rstd, a->q);
    finish_heads(w, p->k_norm, cos_sin, T, c->kv_heads, a->k_raw, a->k_rstd, a->k);
}

/* Fetching rows of a matrix is what an embedding does: the ids are the row numbers. */
static void choose_rows(const weights *w, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    ops->embed(w->dev, a->x, a->rows, a->n, c->width, a->x_rows);
    ops->embed(w->dev, a->att, a->rows, a->n, c->heads * c->head_dim, a->att_rows);
}

void layer_finish(const weights *w, const layer_weights *p, const layer_acts *a, float *out)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const int n = a->n, D = c->width;
    if (a->rows) choose_rows(w, a);

    /* The residual enters as what the product is added to: mid = x + att W_o^T. */
    const linear_part mid = linear_part_of(w, p->o, p->o_bias, a->x_rows, a->mid);
    ops->linears(w->dev, a->att_rows, n, p->o->cols, &mid, 1);
    ops->rmsnorm(w->dev, a->mid, param_data(w, p->mlp_norm), n, D, c->norm_eps, a->mlp_in, a->mlp_rstd);

    const linear_part wide[] = { linear_part_of(w, p->gate, NULL, NULL, a->gate),
                                 linear_part_of(w, p->up, NULL, NULL, a->up) };

    ops->linears(w->dev, a->mlp_in, n, D, wide, 2);
    ops->swiglu(w->dev, a->gate, a->up, (int64_t)n * c->ffn, a->act);

    if (!out) return;
    const linear_part down = linear_part_of(w, p->down, NULL, a->mid, out);
    ops->linears(w->dev, a->act, n, c->ffn, &down, 1);
}

top_acts top_acts_new(const weights *w, int n)
{
    const int D = w->table->config.width;
    return (top_acts){ .n = n,
                       .x = scratch_floats(w->dev, n, D),
                       .normed = scratch_floats(w->dev, n, D),
                       .rstd = scratch_floats(w->dev, n, 1) };
}

void top_norm(const weights *w, const top_acts *top)
{
    const model_config *c = &w->table->config;
    const float *scale = param_data(w, param_find(w->table, PARAM_FINAL_NORM, -1));
    device_ops(w->dev)->rmsnorm(w->dev, top->x, scale, top->n, c->width, c->norm_eps, top->normed, top->rstd);
}

const float *top_logits(const weights *w, const top_acts *top)
{
    float *logits = scratch_floats(w->dev, top->n, w->table->config.vocab);
    top_norm(w, top);
    const linear_part head = linear_part_of(w, head_param(w), NULL, NULL, logits);
    device_ops(w->dev)->linears(w->dev, top->normed, top->n, w->table->config.width, &head, 1);
    return logits;
}
