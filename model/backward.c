/* SPDX-License-Identifier: MIT */
/* Backward with K right-hand sides, layer by layer in lock-step: all K cotangents pass a layer before the next one, so
 * a parameter's K gradients are complete together and a sink can take them while the rest is still to come. */
#include <assert.h>

#include "kernels/op_scratch.h"
#include "model/layer.h"

/* One cotangent's way through a layer; the layers and the K sides take turns on it. */
typedef struct layer_grads {
    float *norm_out;  /* [T, D] of a norm's output */
    float *act;       /* [T, F], F the widest product's; of an expert's rows where there are experts */
    float *gate, *up; /* [T, F] */
    float *att;       /* [T, H hd] */
    float *att_rows;  /* [n_out, H hd], in the last layer */
    float *q, *k, *v;
    float *q_raw, *k_raw;  /* where they are normed */
    float *branch, *added; /* [T, D] where branches are normed or scaled */
    /* in layers with experts */
    float *weight;        /* [T k] of the choices' weights, in the groups' order */
    float *choice_weight; /* [T, k] the same, in the choices' */
    float *logits;        /* [T, E] of the router's */
} layer_grads;

typedef struct backward {
    const weights *w;
    const struct ops *ops;
    device *dev;
    const inner_activations *in;
    const grad_sink *sink;
    float *grads;             /* [K, total] */
    int K;                    /* gradients: sides x partitions */
    int sides;                /* cotangents */
    int n_partitions;         /* of their rows */
    const int *tokens, *outs; /* [n_partitions + 1] where each partition's rows begin, of T and of n_out */
    int T, D;
    float *dtop; /* [sides, n_out, D] cotangent of the last layer's output */
    float *dx;   /* [sides, T, D] of a lower layer's output, then of its input */
    layer_grads d;
    int *group_cuts; /* [n_partitions + 1] for an expert's rows */
    void *transposed[PARAM_KINDS]
                    [MAX_PARTS]; /* of the layer under way, for several sides; NULL: made for each product */
} backward;

static float *gradients_of(const backward *b, const param *p, int64_t *stride)
{
    if (b->sink && b->sink->place) return b->sink->place(b->sink->ctx, p, stride);
    *stride = b->w->table->total;
    return b->grads + p->offset;
}

static float *grad_of(const backward *b, int k, const param *p)
{
    int64_t stride;
    float *g = gradients_of(b, p, &stride);
    return g + k * stride;
}

static void complete(const backward *b, const param *p)
{
    int64_t stride;
    if (!b->sink) return;
    const float *g = gradients_of(b, p, &stride);
    b->sink->ready(b->sink->ctx, p, g, b->K, stride);
}

static void zero(const backward *b, float *x, int64_t n) { b->ops->zero(b->dev, x, n); }

/* The rows of one cotangent that go into one gradient. */
typedef struct row_range {
    int k;        /* the gradient */
    int begin, n; /* its rows */
} row_range;

/* Of side k's rows those of the i-th partition. `cuts`: b->tokens or b->outs. */
static bool next_range(const backward *b, int k, const int *cuts, int i, row_range *s)
{
    if (i >= b->n_partitions) return false;
    *s = (row_range){ k * b->n_partitions + i, cuts[i], cuts[i + 1] - cuts[i] };
    return true;
}

/* y = x W^T + bias over the rows of `cuts`: dW += dy^T x, dbias += the sum of dy's rows. */
static void weights_backward(const backward *b, int k, const matrix *m, const param *bias, const float *dy,
                             const float *x, const int *cuts)
{
    const param *p = m->of;
    row_range s;
    for (int i = 0; next_range(b, k, cuts, i, &s); i++) {
        const float *dy_part = dy + (size_t)s.begin * (size_t)m->rows, *x_part = x + (size_t)s.begin * (size_t)p->cols;
        b->ops->linear_dw(b->dev, dy_part, x_part, s.n, m->rows, p->cols, grad_of(b, s.k, p) + matrix_offset(m));
        if (bias) b->ops->bias_backward(b->dev, dy_part, s.n, m->rows, grad_of(b, s.k, bias));
    }
}

/* dx += dy W */
static void input_backward(const backward *b, const matrix *m, const float *dy, int n, float *dx)
{
    const param *p = m->of;
    const void *transposed = p->layer >= 0 ? b->transposed[p->kind][m->part] : NULL;
    b->ops->linear_dx(b->dev, dy, n, param_data(b->w, p) + matrix_offset(m), transposed, m->rows, p->cols, dx);
}

static void linear_backward(const backward *b, int k, const matrix *m, const param *bias, const float *dy,
                            const float *x, const int *cuts, int n, float *dx)
{
    weights_backward(b, k, m, bias, dy, x, cuts);
    input_backward(b, m, dy, n, dx);
}

/* Rows of `width` floats, `each` of them a row of `cuts` (the heads of a token). */
static void norm_backward(const backward *b, int k, const param *p, const float *dy, const float *x, const float *rstd,
                          const int *cuts, int each, int width, float *dx)
{
    row_range s;
    for (int i = 0; next_range(b, k, cuts, i, &s); i++) {
        const size_t row = (size_t)s.begin * (size_t)each, at = row * (size_t)width;
        b->ops->rmsnorm_backward(b->dev, dy + at, x + at, param_data(b->w, p), rstd + row, s.n * each, width,
                                 b->w->table->config.norm_plus, dx + at, grad_of(b, s.k, p));
    }
}

/* The cotangent of a branch [n, D] from dy, that of the sum which it is added to: through its scale and its norm. */
static const float *branch_backward(const backward *b, int k, const param *norm, const float *raw, const float *rstd,
                                    const layer_acts *a, const float *dy)
{
    const float scale = b->w->table->config.residual_scale;
    const int64_t size = (int64_t)a->n * b->D;
    if (!b->d.added) return dy;

    device_copy(b->dev, b->d.added, dy, sizeof *dy * (size_t)size);
    layer_scale(b->w, scale, size, b->d.added);
    if (!norm) return b->d.added;
    zero(b, b->d.branch, size);
    norm_backward(b, k, norm, b->d.added, raw, rstd, a->rows ? b->outs : b->tokens, 1, b->D, b->d.branch);
    return b->d.branch;
}

/* d.gate and d.up from d.act, n numbers. */
static void gate_backward(const backward *b, const float *gate, const float *up, int64_t n)
{
    const bool gelu = b->w->table->config.gate == GATE_GELU;
    (gelu ? b->ops->geglu_backward : b->ops->swiglu_backward)(b->dev, b->d.act, gate, up, n, b->d.gate, b->d.up);
}

/* Adds to dmlp_in what comes back through down, up and gate. */
static void gated_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, const float *dbranch,
                           float *dmlp_in)
{
    const int *cuts = a->rows ? b->outs : b->tokens;
    const int64_t wide = (int64_t)a->n * b->w->table->config.ffn;
    zero(b, b->d.act, wide);
    linear_backward(b, k, &p->down, p->down_bias, dbranch, a->act, cuts, a->n, b->d.act);
    gate_backward(b, a->gate, a->up, wide);
    linear_backward(b, k, &p->up, p->up_bias, b->d.up, a->mlp_in, cuts, a->n, dmlp_in);
    linear_backward(b, k, &p->gate, p->gate_bias, b->d.gate, a->mlp_in, cuts, a->n, dmlp_in);
}

/* Where each partition's rows begin among m rows of an expert, which come in their order. */
static void cut_group(const backward *b, const int *cuts, const int32_t *rows, int m, int *out)
{
    int at = 0;
    for (int p = 0; p <= b->n_partitions; p++) {
        while (at < m && rows[at] < cuts[p]) at++;
        out[p] = at;
    }
}

/* One expert: the gradients of its matrices and of its rows' weights, and what it adds to mlp_in's. A row's weight w
 * multiplies what Down makes of its act, so dw = dy . Down act = (dy Down) . act: nothing that is wide has to be kept
 * for it. */
static void expert_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, int expert,
                            const float *dbranch, float *dmlp_in)
{
    const expert_groups *g = a->experts.groups;
    const int first = g->begin[expert], m = g->begin[expert + 1] - first, F = b->w->table->config.experts.ffn;
    const size_t at = (size_t)first * (size_t)F;
    const float *weight = a->experts.grouped_weight + first;
    const int32_t *rows = g->rows_on_device + first;
    float *in = a->experts.room.in, *out = a->experts.room.out;
    const matrix gate = expert_matrix(p, expert, PARAM_EXPERT_GATE), up = expert_matrix(p, expert, PARAM_EXPERT_UP);
    const matrix down = expert_matrix(p, expert, PARAM_EXPERT_DOWN);
    if (m == 0) return;
    cut_group(b, a->rows ? b->outs : b->tokens, g->rows + first, m, b->group_cuts);

    /* Through Down. Its product with dy as it came gives dw; only then are dy and that product weighed. */
    b->ops->embed(b->dev, dbranch, rows, m, b->D, out);
    zero(b, b->d.act, (int64_t)m * F);
    input_backward(b, &down, out, m, b->d.act);
    b->ops->dot_rows(b->dev, b->d.act, a->act + at, m, F, b->d.weight + first);
    b->ops->weigh_rows(b->dev, b->d.act, weight, m, F);
    b->ops->weigh_rows(b->dev, out, weight, m, b->D);
    weights_backward(b, k, &down, NULL, out, a->act + at, b->group_cuts);

    /* Through gate and up, to the rows of mlp_in. They are fetched again: room.in held another expert's. */
    gate_backward(b, a->gate + at, a->up + at, (int64_t)m * F);
    b->ops->embed(b->dev, a->mlp_in, rows, m, b->D, in);
    zero(b, out, (int64_t)m * b->D);
    linear_backward(b, k, &up, NULL, b->d.up, in, b->group_cuts, m, out);
    linear_backward(b, k, &gate, NULL, b->d.gate, in, b->group_cuts, m, out);
    b->ops->add_rows(b->dev, out, rows, m, b->D, dmlp_in);
}

/* Adds to dmlp_in what comes back through the experts, then through the router. */
static void experts_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a,
                             const float *dbranch, float *dmlp_in)
{
    const expert_layers *x = &b->w->table->config.experts;
    const expert_acts *ex = &a->experts;
    const int n_choices = a->n * x->chosen;
    const matrix router = matrix_whole(p->router);
    for (int e = 0; e < x->n; e++) expert_backward(b, k, p, a, e, dbranch, dmlp_in);

    zero(b, b->d.choice_weight, n_choices);
    b->ops->add_rows(b->dev, b->d.weight, ex->groups->choices_there, n_choices, 1, b->d.choice_weight);
    b->ops->route_backward(b->dev, b->d.choice_weight, ex->p, ex->chosen, ex->weight, a->n, x->n, x->chosen,
                           x->sum_to_one, b->d.logits);
    linear_backward(b, k, &router, NULL, b->d.logits, a->mlp_in, a->rows ? b->outs : b->tokens, a->n, dmlp_in);
}

/* dy [n, D] is the cotangent of the layer's output, and becomes that of mid. Through the residual the first is part of
 * the second as it is, so what comes back through the branch is added in place. */
static void mlp_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dy)
{
    const float *dbranch = branch_backward(b, k, p->mlp_post_norm, a->mlp_out, a->mlp_out_rstd, a, dy);

    /* All products read mlp_in: their cotangents add up, through its norm, if any, onto the residual's. */
    float *dmlp_in = p->mlp_norm ? b->d.norm_out : dy;
    if (p->mlp_norm) zero(b, dmlp_in, (int64_t)a->n * b->D);
    (p->router ? experts_backward : gated_backward)(b, k, p, a, dbranch, dmlp_in);
    if (p->mlp_norm)
        norm_backward(b, k, p->mlp_norm, dmlp_in, a->mid, a->mlp_rstd, a->rows ? b->outs : b->tokens, 1, b->D, dy);
}

/* d.att from dmid [n, D]; where only some rows went on (the last layer), the others get nothing, in d.att and in dx. */
static void output_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, const float *dmid,
                            float *dx)
{
    const int64_t heads = p->o.of->cols;
    float *datt = a->rows ? b->d.att_rows : b->d.att;
    const float *dbranch = branch_backward(b, k, p->attn_post_norm, a->att_out, a->att_out_rstd, a, dmid);
    zero(b, datt, a->n * heads);
    linear_backward(b, k, &p->o, p->o_bias, dbranch, a->att_rows, a->rows ? b->outs : b->tokens, a->n, datt);
    if (!a->rows) return;

    zero(b, dx, (int64_t)b->T * b->D);
    zero(b, b->d.att, b->T * heads);
    b->ops->embed_backward(b->dev, dmid, a->rows, a->n, b->D, dx);
    b->ops->embed_backward(b->dev, datt, a->rows, a->n, (int)heads, b->d.att);
}

/* d [T, heads, hd] of turned and normed heads -> of the linear product; returns where that lies. */
static const float *heads_backward(const backward *b, int k, const param *norm, const float *cos_sin, float *d,
                                   const float *raw, const float *rstd, int heads, float *draw)
{
    const model_config *c = &b->w->table->config;
    const int hd = c->head_dim;
    if (cos_sin) b->ops->rope_backward(b->dev, d, cos_sin, b->T, heads, hd, layer_turn(c));
    if (!norm) return d;
    zero(b, draw, (int64_t)b->T * heads * hd);
    norm_backward(b, k, norm, d, raw, rstd, b->tokens, layer_normed_rows(c, 1, heads), norm->cols, draw);
    return draw;
}

/* dx [T, D] holds what came back to x through the residual; what comes back through attention is added. */
static void attention_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dx)
{
    const model_config *c = &b->w->table->config;
    const device_batch *batch = &b->in->batch;
    const layer_grads *d = &b->d;

    b->ops->attention_backward(b->dev, d->att, a->q, a->k, a->v, a->att, a->lse, batch->starts, batch->prefix, batch->S,
                               c->heads, c->kv_heads, c->head_dim, p->attention.window, c->score_cap, d->q, d->k, d->v);

    /* Steps are undone the last one first: queries were scaled after they had been normed and turned. */
    layer_scale(b->w, layer_query_scale(c), (int64_t)b->T * p->q.rows, d->q);
    const float *cos_sin = layer_rope(&batch->ropes, p);
    const float *dq = heads_backward(b, k, p->q_norm, cos_sin, d->q, a->q_raw, a->q_rstd, c->heads, d->q_raw);
    const float *dk = heads_backward(b, k, p->k_norm, cos_sin, d->k, a->k_raw, a->k_rstd, c->kv_heads, d->k_raw);

    /* q, k and v are products of the same attn_in; without a norm before it, of x. */
    float *dattn_in = p->attn_norm ? d->norm_out : dx;
    if (p->attn_norm) zero(b, dattn_in, (int64_t)b->T * b->D);
    linear_backward(b, k, &p->v, p->v_bias, d->v, a->attn_in, b->tokens, b->T, dattn_in);
    linear_backward(b, k, &p->k, p->k_bias, dk, a->attn_in, b->tokens, b->T, dattn_in);
    linear_backward(b, k, &p->q, p->q_bias, dq, a->attn_in, b->tokens, b->T, dattn_in);
    if (p->attn_norm) norm_backward(b, k, p->attn_norm, dattn_in, a->x, a->attn_rstd, b->tokens, 1, b->D, dx);
}

/* Matrices whose transposes are made once a layer, for all sides: but for experts', of which few rows may make use. */
static bool is_transposed(const param *p) { return p->layer >= 0 && p->rank == 2 && !param_is_expert(p->kind); }

/* The first layer that has one of each kind speaks for all: every layer's are alike. */
static bool is_first_of_kind(const param_table *t, const param *p)
{
    for (int l = 0; l < p->layer; l++)
        if (param_find(t, p->kind, l)) return false;
    return true;
}

/* Room for the transposes of one layer's matrices. */
static void transposes_new(backward *b)
{
    const param_table *t = b->w->table;
    for (int i = 0; b->sides > 1 && i < t->n; i++) {
        const param *p = &t->items[i];
        if (!is_transposed(p) || !is_first_of_kind(t, p)) continue;
        for (int k = 0; k < p->n_parts; k++) {
            const size_t bytes = b->ops->linear_transposed_bytes(b->dev, p->part_rows[k], p->cols);
            if (bytes > 0) b->transposed[p->kind][k] = device_scratch(b->dev, bytes);
        }
    }
}

static void transpose(const backward *b, const param *params, int n)
{
    for (int i = 0; i < n; i++) {
        const param *p = &params[i];
        const float *from = param_data(b->w, p);
        for (int k = 0; k < p->n_parts; k++) {
            void *to = b->transposed[p->kind][k];
            if (to) b->ops->linear_transpose(b->dev, from, p->part_rows[k], p->cols, to);
            from += (size_t)p->part_rows[k] * (size_t)p->cols;
        }
    }
}

/* What stands in buffers that layers share: the last one's is still there, the others' is made again. */
static void make_again(const backward *b, int layer)
{
    const layer_acts *a = &b->in->layers[layer];
    const layer_weights p = layer_weights_of(b->w, layer);
    if (b->in->recompute)
        layer_forward(b->w, layer, &b->in->batch, a, NULL);
    else
        layer_remake(b->w, b->T, &p, a);
}

static void layer_backward(const backward *b, int layer)
{
    const layer_acts *a = &b->in->layers[layer];
    const layer_weights p = layer_weights_of(b->w, layer);
    int n;
    const param *params = param_layer(b->w->table, layer, &n);

    transpose(b, params, n);
    for (int k = 0; k < b->sides; k++) {
        float *dx = b->dx + (int64_t)k * b->T * b->D;
        float *dy = a->rows ? b->dtop + (int64_t)k * a->n * b->D : dx;
        mlp_backward(b, k, &p, a, dy);
        output_backward(b, k, &p, a, dy, dx);
        attention_backward(b, k, &p, a, dx);
    }

    for (int i = n - 1; i >= 0; i--) complete(b, &params[i]);
}

/* Rows of one scale, n from `begin` on: their logits, dlogprob [n] and cotangents all begin at the first. */
static void head_rows_backward(const backward *b, int k, int begin, int n, const float *dlogprob, float *dnormed)
{
    const inner_activations *in = b->in;
    const model_config *c = &b->w->table->config;
    const param *head = head_param(b->w);
    const size_t row = (size_t)begin, at = row * (size_t)b->D;

    /* Of their logits, those that the forward pass kept. */
    int kept = in->kept - begin;
    if (kept < 0) kept = 0;
    if (kept > n) kept = n;
    const float *logits = kept > 0 ? in->logits + row * (size_t)c->vocab : NULL;

    b->ops->head_backward(b->dev, dlogprob + row, in->top.normed + at, param_data(b->w, head), param_packed(b->w, head),
                          in->batch.targets + row, in->lse + row, n, c->vocab, b->D, c->logit_cap,
                          head_temperature(b->w, in, begin), logits, kept, dnormed + at, grad_of(b, k, head));
}

/* The head's gradients by the rows s. */
static void head_range(const backward *b, const row_range *s, const float *dlogprob, float *dnormed)
{
    const int last = s->begin + s->n;
    for (int begin = s->begin, end; begin < last; begin = end) {
        end = head_run_end(b->w, b->in, begin, last);
        head_rows_backward(b, s->k, begin, end - begin, dlogprob, dnormed);
    }
}

/* Gradients with respect to whole logits that lie in the rows s. */
static void logits_range(const backward *b, const row_range *s, float *dnormed)
{
    const param *head = head_param(b->w);
    for (const logit_gradients *l = b->in->logit_gradients; l; l = l->next) {
        const size_t at = (size_t)l->begin * (size_t)b->D;
        if (l->begin < s->begin || l->begin >= s->begin + s->n) continue;
        b->ops->linear_dx(b->dev, l->dz, l->n, param_data(b->w, head), NULL, head->rows, b->D, dnormed + at);
        b->ops->linear_dw(b->dev, l->dz, b->in->top.normed + at, l->n, head->rows, b->D, grad_of(b, s->k, head));
    }
}

/* dlogprob [sides, n_out] -> dtop. */
static void top_backward(const backward *b, const float *dlogprob)
{
    const top_acts *top = &b->in->top;
    const param *head = head_param(b->w), *norm = param_find(b->w->table, PARAM_FINAL_NORM, -1);
    const int64_t size = (int64_t)top->n * b->D;
    row_range s;

    zero(b, b->dtop, b->sides * size);
    for (int k = 0; k < b->sides; k++) {
        zero(b, b->d.norm_out, size);
        for (int i = 0; next_range(b, k, b->outs, i, &s); i++) {
            head_range(b, &s, dlogprob + (int64_t)k * top->n, b->d.norm_out);
            if (k == 0) logits_range(b, &s, b->d.norm_out); /* a loss on whole logits is the first side's */
        }

        if (rows_are_scaled(b->w, b->in)) scale_rows(b->w, b->in->scale, top->n, b->D, b->d.norm_out);
        layer_scale(b->w, b->w->table->config.logit_scale, size, b->d.norm_out);
        norm_backward(b, k, norm, b->d.norm_out, top->x, top->rstd, b->outs, 1, b->D, b->dtop + k * size);
    }

    /* A tied head is the embedding: its gradient is complete only when that one is. */
    if (!b->w->table->config.tied) complete(b, head);
    complete(b, norm);
}

static void embed_backward(const backward *b)
{
    const param *embed = embed_param(b->w);
    row_range s;
    layer_scale(b->w, b->w->table->config.embedding_scale, (int64_t)b->sides * b->T * b->D, b->dx);
    for (int k = 0; k < b->sides; k++)
        for (int i = 0; next_range(b, k, b->tokens, i, &s); i++) {
            const float *dx = b->dx + ((int64_t)k * b->T + s.begin) * b->D;
            b->ops->embed_backward(b->dev, dx, b->in->batch.ids + s.begin, s.n, b->D, grad_of(b, s.k, embed));
        }
    complete(b, embed);
}

/* In the order of layer_grads_new, below. */
static int64_t layer_grads_floats(const model_config *c, int T, int n_out)
{
    const int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    const int64_t raw = c->qk_norm != QK_NORM_NONE ? q + kv : 0;
    const int64_t apart = model_branches_stand_apart(c) ? 2 * (int64_t)c->width : 0;
    const int64_t routed = model_has_experts(c) ? 2 * c->experts.chosen + c->experts.n : 0;
    return T * (c->width + 3 * (int64_t)layer_product_width(c) + 2 * q + 2 * kv + raw + apart + routed) + n_out * q;
}

static layer_grads layer_grads_new(const weights *w, int T, int n_out)
{
    const model_config *c = &w->table->config;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const bool normed = c->qk_norm != QK_NORM_NONE, apart = model_branches_stand_apart(c);
    const bool experts = model_has_experts(c);
    const int F = layer_product_width(c);

    return (layer_grads){ .norm_out = scratch_floats(w->dev, T, c->width),
                          .act = scratch_floats(w->dev, T, F),
                          .gate = scratch_floats(w->dev, T, F),
                          .up = scratch_floats(w->dev, T, F),
                          .att = scratch_floats(w->dev, T, q),
                          .att_rows = scratch_floats(w->dev, n_out, q),
                          .q = scratch_floats(w->dev, T, q),
                          .k = scratch_floats(w->dev, T, kv),
                          .v = scratch_floats(w->dev, T, kv),
                          .q_raw = normed ? scratch_floats(w->dev, T, q) : NULL,
                          .k_raw = normed ? scratch_floats(w->dev, T, kv) : NULL,
                          .branch = apart ? scratch_floats(w->dev, T, c->width) : NULL,
                          .added = apart ? scratch_floats(w->dev, T, c->width) : NULL,
                          .weight = experts ? scratch_floats(w->dev, T, c->experts.chosen) : NULL,
                          .choice_weight = experts ? scratch_floats(w->dev, T, c->experts.chosen) : NULL,
                          .logits = experts ? scratch_floats(w->dev, T, c->experts.n) : NULL };
}

/* Where each partition's rows begin, of the batch's tokens and of its outputs (which come in the sequences' order). */
static void cut_rows(backward *b, const token_batch *batch, const grad_split *split)
{
    const int n_partitions = b->n_partitions;
    int *tokens = device_host_scratch(b->dev, sizeof *tokens * (size_t)(n_partitions + 1));
    int *outs = device_host_scratch(b->dev, sizeof *outs * (size_t)(n_partitions + 1));
    int out = 0;

    for (int k = 0; k <= n_partitions; k++) {
        tokens[k] = split->sequences ? batch->starts[split->sequences[k]] : k * batch->T;
        while (out < batch->n_out && batch->out_rows[out] < tokens[k]) out++;
        outs[k] = out;
    }
    assert(tokens[0] == 0 && tokens[n_partitions] == batch->T && outs[n_partitions] == batch->n_out);

    b->tokens = tokens;
    b->outs = outs;
    b->group_cuts = device_host_scratch(b->dev, sizeof *b->group_cuts * (size_t)(n_partitions + 1));
}

/* One partition without a split by sequences; else as many as the split says, or one a gradient. */
static int partitions_of(const grad_split *split)
{
    if (!split->sequences) return 1;
    return split->n_partitions > 0 ? split->n_partitions : split->K;
}

/* Room of transposes_new. */
static size_t transposes_bytes(const device *dev, const param_table *t, int sides)
{
    size_t bytes = 0;
    for (int i = 0; sides > 1 && i < t->n; i++) {
        const param *p = &t->items[i];
        for (int k = 0; k < p->n_parts && is_transposed(p) && is_first_of_kind(t, p); k++)
            bytes += device_ops(dev)->linear_transposed_bytes(dev, p->part_rows[k], p->cols);
    }
    return bytes;
}

size_t model_backward_bytes(const device *dev, const param_table *t, const pass_size *s)
{
    const model_config *c = &t->config;
    const int64_t cotangents = (int64_t)s->sides * ((int64_t)s->n_out + s->T) * c->width;
    const size_t head = head_backward_scratch_bytes(dev, s->n_out, c->vocab, c->width);
    const size_t layer = layer_op_bytes(dev, t, s->T);
    return sizeof(float) * (size_t)(cotangents + layer_grads_floats(c, s->T, s->n_out)) +
           transposes_bytes(dev, t, s->sides) + (head > layer ? head : layer);
}

void model_backward(const weights *w, const token_batch *batch, const activations *acts, const float *dlogprob,
                    const grad_split *split, float *grads, const grad_sink *sink)
{
    const inner_activations *in = acts->inner;
    const int T = batch->T, D = w->table->config.width, last = w->table->config.layers - 1;
    const int n_partitions = partitions_of(split), sides = split->K / n_partitions;
    assert(in->keep && T == in->batch.T && batch->n_out == in->batch.n_out);
    assert(split->K > 0 && sides * n_partitions == split->K);

    backward b = { .w = w,
                   .ops = device_ops(w->dev),
                   .dev = w->dev,
                   .in = in,
                   .sink = sink,
                   .grads = grads,
                   .K = split->K,
                   .sides = sides,
                   .n_partitions = n_partitions,
                   .T = T,
                   .D = D,
                   .dtop = device_scratch(w->dev, sizeof(float) * (size_t)sides * (size_t)batch->n_out * (size_t)D),
                   .dx = device_scratch(w->dev, sizeof(float) * (size_t)sides * (size_t)T * (size_t)D),
                   .d = layer_grads_new(w, T, batch->n_out) };
    cut_rows(&b, batch, split);
    transposes_new(&b);

    top_backward(&b, dlogprob);
    for (int l = last; l >= 0; l--) {
        if (l < last) make_again(&b, l);
        layer_backward(&b, l);
    }
    embed_backward(&b);
}
