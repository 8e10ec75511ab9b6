/* SPDX-License-Identifier: MIT */
#include "model/layer.h"

#include <assert.h>
#include <math.h>

#include "kernels/op_scratch.h"

matrix matrix_whole(const param *p) { return (matrix){ .of = p, .rows = p->rows }; }

/* A layer's matrix of `kind`, or part `part` of the fused one that holds it. Its `of` is NULL where the layer has
 * neither. */
static matrix matrix_of(const param_table *t, int layer, param_kind kind, param_kind fused, int part)
{
    const param *alone = param_find(t, kind, layer);
    if (alone) return matrix_whole(alone);

    const param *p = param_find(t, fused, layer);
    if (!p) return (matrix){ NULL };
    matrix m = { .of = p, .part = part, .rows = p->part_rows[part] };
    for (int i = 0; i < part; i++) m.first += p->part_rows[i];
    return m;
}

layer_weights layer_weights_of(const weights *w, int layer)
{
    const param_table *t = w->table;

    return (layer_weights){ .q = matrix_of(t, layer, PARAM_Q, PARAM_QKV, 0),
                            .k = matrix_of(t, layer, PARAM_K, PARAM_QKV, 1),
                            .v = matrix_of(t, layer, PARAM_V, PARAM_QKV, 2),
                            .o = matrix_whole(param_find(t, PARAM_O, layer)),
                            .gate = matrix_of(t, layer, PARAM_GATE, PARAM_GATE_UP, 0),
                            .up = matrix_of(t, layer, PARAM_UP, PARAM_GATE_UP, 1),
                            .down = matrix_of(t, layer, PARAM_DOWN, PARAM_DOWN, 0),
                            .q_bias = param_find(t, PARAM_Q_BIAS, layer),
                            .k_bias = param_find(t, PARAM_K_BIAS, layer),
                            .v_bias = param_find(t, PARAM_V_BIAS, layer),
                            .o_bias = param_find(t, PARAM_O_BIAS, layer),
                            .gate_bias = param_find(t, PARAM_GATE_BIAS, layer),
                            .up_bias = param_find(t, PARAM_UP_BIAS, layer),
                            .down_bias = param_find(t, PARAM_DOWN_BIAS, layer),
                            .attn_norm = param_find(t, PARAM_ATTN_NORM, layer),
                            .q_norm = param_find(t, PARAM_Q_NORM, layer),
                            .k_norm = param_find(t, PARAM_K_NORM, layer),
                            .attn_post_norm = param_find(t, PARAM_ATTN_POST_NORM, layer),
                            .mlp_norm = param_find(t, PARAM_MLP_NORM, layer),
                            .mlp_post_norm = param_find(t, PARAM_MLP_POST_NORM, layer),
                            .router = param_find(t, PARAM_ROUTER, layer),
                            .experts = param_expert(t, layer, 0),
                            .attention = t->config.attention[layer] };
}

const param *embed_param(const weights *w) { return param_find(w->table, PARAM_EMBED, -1); }

const param *head_param(const weights *w)
{
    const param *head = param_find(w->table, PARAM_HEAD, -1);
    return head ? head : embed_param(w);
}

linear_part linear_part_of(const weights *w, const matrix *m, const param *bias, const float *add, float *y)
{
    const void *packed = w->packed[m->of - w->table->items][m->part];
    assert(packed); /* weights_seal has been forgotten */
    return (
        linear_part){ .packed = packed, .bias = bias ? param_data(w, bias) : NULL, .add = add, .N = m->rows, .y = y };
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

static bool has_experts(const model_config *c, int layer)
{
    return layer == ANY_LAYER ? model_has_experts(c) : c->experts.routed[layer];
}

/* In the order of layer_acts_new, below. */
int64_t layer_acts_floats(const model_config *c, int layer, int T, int n)
{
    const int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    const int64_t raw = c->qk_norm != QK_NORM_NONE ? q + kv + c->heads + c->kv_heads : 0;
    const int64_t apart = model_branches_stand_apart(c) ? 2 * (int64_t)c->width + 2 : 0;
    const int64_t lower = 1 + 2 * q + 2 * kv + raw + c->heads;
    const int64_t upper = c->width + 1 + 2 * (int64_t)layer_gated_width(c, layer) + apart;
    return T * lower + n * upper + (has_experts(c, layer) ? expert_acts_floats(c, n) : 0);
}

int64_t layer_lent_floats(const model_config *c, int T, int n)
{
    const int64_t in = model_norms_before(c) ? c->width : 0, apart = model_branches_stand_apart(c) ? c->width : 0;
    return T * in + n * (in + layer_gated_width(c, ANY_LAYER) + apart) + expert_room_floats(c, n);
}

int64_t layer_rows_floats(const model_config *c, int n) { return (int64_t)n * (c->width + c->heads * c->head_dim); }

size_t layer_op_bytes(const device *dev, const param_table *t, int T)
{
    size_t max = 0;
    for (int i = 0; i < t->n; i++) {
        const param *p = &t->items[i];
        const size_t bytes = p->layer >= 0 && p->rank == 2 ? linear_scratch_bytes(dev, T, p->rows, p->cols) : 0;
        if (bytes > max) max = bytes;
    }
    return max;
}

/* Buffers that all layers can share, since each fills them anew before it reads them (layer_remake). They are as wide
 * as the widest layer needs. */
static void lend(const weights *w, int T, int n, layer_acts *a)
{
    const model_config *c = &w->table->config;
    const bool before = model_norms_before(c);
    a->attn_in = before ? scratch_floats(w->dev, T, c->width) : NULL;
    a->mlp_in = before ? scratch_floats(w->dev, n, c->width) : NULL;
    a->act = scratch_floats(w->dev, n, layer_gated_width(c, ANY_LAYER));
    a->added = model_branches_stand_apart(c) ? scratch_floats(w->dev, n, c->width) : NULL;
    a->experts.room = expert_room_new(w, n);
}

layer_acts layer_acts_new(const weights *w, int layer, int T, int n, const layer_acts *lender)
{
    const model_config *c = &w->table->config;
    device *dev = w->dev;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, D = c->width;
    const bool normed = c->qk_norm != QK_NORM_NONE;
    const int F = layer_gated_width(c, layer);

    layer_acts a = { .attn_rstd = scratch_floats(dev, T, 1),
                     .q = scratch_floats(dev, T, q),
                     .k = scratch_floats(dev, T, kv),
                     .q_raw = normed ? scratch_floats(dev, T, q) : NULL,
                     .k_raw = normed ? scratch_floats(dev, T, kv) : NULL,
                     .q_rstd = normed ? scratch_floats(dev, T, c->heads) : NULL,
                     .k_rstd = normed ? scratch_floats(dev, T, c->kv_heads) : NULL,
                     .v = scratch_floats(dev, T, kv),
                     .att = scratch_floats(dev, T, q),
                     .lse = scratch_floats(dev, T, c->heads),
                     .mid = scratch_floats(dev, n, D),
                     .mlp_rstd = scratch_floats(dev, n, 1),
                     .gate = scratch_floats(dev, n, F),
                     .up = scratch_floats(dev, n, F) };
    if (has_experts(c, layer)) a.experts = expert_acts_new(w, n);
    if (lender) {
        a.attn_in = lender->attn_in;
        a.mlp_in = lender->mlp_in;
        a.act = lender->act;
        a.added = lender->added;
        a.experts.room = lender->experts.room;
    } else
        lend(w, T, n, &a);

    /* Without norms before them the branches read the residual itself. */
    if (!model_norms_before(c)) a.mlp_in = a.mid;
    if (!model_branches_stand_apart(c)) return a;

    a.att_out = scratch_floats(dev, n, D);
    a.mlp_out = scratch_floats(dev, n, D);
    a.att_out_rstd = scratch_floats(dev, n, 1);
    a.mlp_out_rstd = scratch_floats(dev, n, 1);
    return a;
}

void layer_acts_take(const weights *w, layer_acts *a, float *x, int n, const int32_t *rows)
{
    const model_config *c = &w->table->config;
    a->x = x;
    a->n = n;
    a->rows = rows;
    a->x_rows = rows ? scratch_floats(w->dev, n, c->width) : x;
    a->att_rows = rows ? scratch_floats(w->dev, n, c->heads * c->head_dim) : a->att;
    if (!model_norms_before(c)) a->attn_in = x;
}

rope_tables layer_ropes(const weights *w, const int32_t *positions, int T)
{
    const model_config *c = &w->table->config;
    const int dims = model_rotary_dims(c);
    rope_tables tables = { { NULL } };
    for (int i = 0; i < MAX_ROPES && w->inv_freq[i]; i++) {
        float *cos_sin = scratch_floats(w->dev, T, dims);
        device_ops(w->dev)->rope_table(w->dev, positions, w->inv_freq[i], T, dims, cos_sin);
        layer_scale(w, c->ropes[i].magnitude, (int64_t)T * dims, cos_sin);
        tables.cos_sin[i] = cos_sin;
    }
    return tables;
}

const float *layer_rope(const rope_tables *tables, const layer_weights *p)
{
    return p->attention.rope == ROPE_NONE ? NULL : tables->cos_sin[p->attention.rope];
}

void layer_scale(const weights *w, float factor, int64_t n, float *x)
{
    if (factor != 0 && factor != 1) device_ops(w->dev)->scale(w->dev, x, factor, n);
}

rope_turn layer_turn(const model_config *c) { return (rope_turn){ model_rotary_dims(c), c->rotary_neighbours }; }

float layer_query_scale(const model_config *c) { return c->score_scale * sqrtf((float)c->head_dim); }

int layer_normed_rows(const model_config *c, int T, int heads) { return c->qk_norm == QK_NORM_WIDTH ? T : T * heads; }

void layer_embed(const weights *w, const int32_t *ids, int T, float *x)
{
    const model_config *c = &w->table->config;
    device_ops(w->dev)->embed(w->dev, param_data(w, embed_param(w)), ids, T, c->width, x);
    layer_scale(w, c->embedding_scale, (int64_t)T * c->width, x);
}

static void norm(const weights *w, const param *scale, const float *x, int rows, float *y, float *rstd)
{
    const model_config *c = &w->table->config;
    device_ops(w->dev)->rmsnorm(w->dev, x, param_data(w, scale), rows, scale->cols, c->norm_eps, c->norm_plus, y, rstd);
}

/* x [T, heads, hd]: normed where the model does so (from raw), and turned. */
static void finish_heads(const weights *w, const param *scale, const float *cos_sin, int T, int heads, const float *raw,
                         float *rstd, float *x)
{
    const model_config *c = &w->table->config;
    if (scale) norm(w, scale, raw, layer_normed_rows(c, T, heads), x, rstd);
    if (cos_sin) device_ops(w->dev)->rope(w->dev, x, cos_sin, T, heads, c->head_dim, layer_turn(c));
}

void layer_project(const weights *w, const layer_weights *p, const float *cos_sin, int T, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const linear_part parts[] = { linear_part_of(w, &p->q, p->q_bias, NULL, p->q_norm ? a->q_raw : a->q),
                                  linear_part_of(w, &p->k, p->k_bias, NULL, p->k_norm ? a->k_raw : a->k),
                                  linear_part_of(w, &p->v, p->v_bias, NULL, a->v) };

    if (p->attn_norm) norm(w, p->attn_norm, a->x, T, a->attn_in, a->attn_rstd);
    /* At once: x is read, and converted to bf16, once. */
    device_ops(w->dev)->linears(w->dev, a->attn_in, T, c->width, parts, 3);
    finish_heads(w, p->q_norm, cos_sin, T, c->heads, a->q_raw, a->q_rstd, a->q);
    finish_heads(w, p->k_norm, cos_sin, T, c->kv_heads, a->k_raw, a->k_rstd, a->k);
    layer_scale(w, layer_query_scale(c), (int64_t)T * c->heads * c->head_dim, a->q);
}

/* Fetching rows of a matrix is what an embedding does: the ids are the row numbers. */
static void choose_rows(const weights *w, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    ops->embed(w->dev, a->x, a->rows, a->n, c->width, a->x_rows);
    ops->embed(w->dev, a->att, a->rows, a->n, c->heads * c->head_dim, a->att_rows);
}

/* The end of a branch: to = residual + what it adds, [n, D]. `branch`, `rstd`: where it stands apart. */
typedef struct branch_end {
    const matrix *matrix; /* it ends in x W^T + bias; NULL: in experts */
    const param *bias, *post_norm;
    const float *x, *residual;
    float *branch, *rstd;
} branch_end;

/* to = add + what the branch makes. add may be NULL: nothing is added; to may be NULL: only what backward needs is
 * computed. */
static void branch_product(const weights *w, const layer_weights *p, const layer_acts *a, const branch_end *e,
                           const float *add, float *to)
{
    const struct ops *ops = device_ops(w->dev);
    if (e->matrix) { /* the residual enters as what the product is added to: mid = x + att W_o^T */
        const linear_part product = linear_part_of(w, e->matrix, e->bias, add, to);
        if (to) ops->linears(w->dev, e->x, a->n, e->matrix->of->cols, &product, 1);
        return;
    }
    experts_forward(w, p, a, to);
    if (to && add) ops->add(w->dev, to, add, (int64_t)a->n * w->table->config.width);
}

/* to may be NULL: only what backward needs is computed. */
static void end_branch(const weights *w, const layer_weights *p, const layer_acts *a, const branch_end *e, float *to)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const int64_t size = (int64_t)a->n * c->width;
    if (!e->branch) {
        branch_product(w, p, a, e, e->residual, to);
        return;
    }

    /* Even without `to` a branch that is normed at its end is computed: backward goes through that norm. */
    branch_product(w, p, a, e, NULL, to || e->post_norm ? e->branch : NULL);
    if (!to && !e->post_norm) return;
    float *added = e->post_norm ? a->added : e->branch;
    if (e->post_norm) norm(w, e->post_norm, e->branch, a->n, added, e->rstd);
    if (!to) return;
    layer_scale(w, c->residual_scale, size, added);
    if (to != e->residual) device_copy(w->dev, to, e->residual, sizeof(float) * (size_t)size);
    ops->add(w->dev, to, added, size);
}

/* act = gate(gate) up */
static void activate(const weights *w, const layer_weights *p, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const int64_t size = (int64_t)a->n * (p->router ? c->experts.chosen * c->experts.ffn : c->ffn);
    (c->gate == GATE_GELU ? ops->geglu : ops->swiglu)(w->dev, a->gate, a->up, size, a->act);
}

void layer_remake(const weights *w, int T, const layer_weights *p, const layer_acts *a)
{
    if (p->attn_norm) norm(w, p->attn_norm, a->x, T, a->attn_in, a->attn_rstd);
    if (p->mlp_norm) norm(w, p->mlp_norm, a->mid, a->n, a->mlp_in, a->mlp_rstd);
    activate(w, p, a);
}

static void gated(const weights *w, const layer_weights *p, const layer_acts *a)
{
    const linear_part wide[] = { linear_part_of(w, &p->gate, p->gate_bias, NULL, a->gate),
                                 linear_part_of(w, &p->up, p->up_bias, NULL, a->up) };
    device_ops(w->dev)->linears(w->dev, a->mlp_in, a->n, w->table->config.width, wide, 2);
    activate(w, p, a);
}

void layer_finish(const weights *w, const layer_weights *p, const layer_acts *a, float *out)
{
    if (a->rows) choose_rows(w, a);

    const branch_end attention = { &p->o,     p->o_bias,  p->attn_post_norm, a->att_rows,
                                   a->x_rows, a->att_out, a->att_out_rstd };
    end_branch(w, p, a, &attention, a->mid);
    if (p->mlp_norm) norm(w, p->mlp_norm, a->mid, a->n, a->mlp_in, a->mlp_rstd);

    if (!p->router) gated(w, p, a);
    const branch_end mlp = {
        p->router ? NULL : &p->down, p->down_bias, p->mlp_post_norm, a->act, a->mid, a->mlp_out, a->mlp_out_rstd
    };
    end_branch(w, p, a, &mlp, out);
}

int64_t top_acts_floats(const model_config *c, int n) { return (int64_t)n * (2 * (int64_t)c->width + 1); }

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
    norm(w, param_find(w->table, PARAM_FINAL_NORM, -1), top->x, top->n, top->normed, top->rstd);
    layer_scale(w, c->logit_scale, (int64_t)top->n * c->width, top->normed); /* k (W x) = W (k x) */
}

void layer_cap_logits(const weights *w, float *logits, int n)
{
    const model_config *c = &w->table->config;
    if (c->logit_cap > 0) device_ops(w->dev)->softcap(w->dev, logits, c->logit_cap, (int64_t)n * c->vocab);
}

const float *top_logits(const weights *w, const top_acts *top)
{
    float *logits = scratch_floats(w->dev, top->n, w->table->config.vocab);
    top_norm(w, top);
    const matrix whole = matrix_whole(head_param(w));
    const linear_part head = linear_part_of(w, &whole, NULL, NULL, logits);
    device_ops(w->dev)->linears(w->dev, top->normed, top->n, w->table->config.width, &head, 1);
    layer_cap_logits(w, logits, top->n);
    return logits;
}
