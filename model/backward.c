/* Backward with K right-hand sides, layer by layer in lock-step: all K cotangents pass a layer before the next one, so
 * a parameter's K gradients are complete together and a sink can take them while the rest is still to come. */
#include <assert.h>

#include "model/layer.h"

/* One cotangent's way through a layer; the layers and the K sides take turns on it. */
typedef struct layer_grads {
    float *norm_out;  /* [T, D] of a norm's output */
    float *act;       /* [T, F] */
    float *gate, *up; /* [T, F] */
    float *att;       /* [T, H hd] */
    float *att_rows;  /* [n_out, H hd], in the last layer */
    float *q, *k, *v;
    float *q_raw, *k_raw; /* where heads are normed */
} layer_grads;

typedef struct backward {
    const weights *w;
    const struct ops *ops;
    device *dev;
    const inner_activations *in;
    const grad_sink *sink;
    float *grads; /* [K, total] */
    int K, T, D;
    float *dtop; /* [K, n_out, D] cotangent of the last layer's output */
    float *dx;   /* [K, T, D] of a lower layer's output, then of its input */
    layer_grads d;
} backward;

static float *grad_of(const backward *b, int k, const param *p)
{
    return b->grads + (int64_t)k * b->w->table->total + p->offset;
}

static void complete(const backward *b, const param *p)
{
    if (b->sink) b->sink->ready(b->sink->ctx, p, b->grads + p->offset, b->K, b->w->table->total);
}

/* y = x W^T + bias over n rows: dW += dy^T x, dbias += the sum of dy's rows, dx += dy W. */
static void linear_backward(const backward *b, int k, const param *p, const param *bias, const float *dy,
                            const float *x, int n, float *dx)
{
    b->ops->linear_dw(b->dev, dy, x, n, p->rows, p->cols, grad_of(b, k, p));
    if (bias) b->ops->bias_backward(b->dev, dy, n, p->rows, grad_of(b, k, bias));
    b->ops->linear_dx(b->dev, dy, n, param_data(b->w, p), p->rows, p->cols, dx);
}

static void norm_backward(const backward *b, int k, const param *p, const float *dy, const float *x, const float *rstd,
                          int n, float *dx)
{
    b->ops->rmsnorm_backward(b->dev, dy, x, param_data(b->w, p), rstd, n, b->D, dx, grad_of(b, k, p));
}

/* dy [n, D]: in, the cotangent of the layer's output; out, of mid. It is mid's through the residual already, so the
 * norm's share is added in place. */
static void mlp_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dy)
{
    const int64_t wide = (int64_t)a->n * b->w->table->config.ffn;
    b->ops->zero(b->dev, b->d.act, wide);
    linear_backward(b, k, p->down, NULL, dy, a->act, a->n, b->d.act);
    b->ops->swiglu_backward(b->dev, b->d.act, a->gate, a->up, wide, b->d.gate, b->d.up);
    b->ops->zero(b->dev, b->d.norm_out, (int64_t)a->n * b->D);
    linear_backward(b, k, p->up, NULL, b->d.up, a->mlp_in, a->n, b->d.norm_out);
    linear_backward(b, k, p->gate, NULL, b->d.gate, a->mlp_in, a->n, b->d.norm_out);
    norm_backward(b, k, p->mlp_norm, b->d.norm_out, a->mid, a->mlp_rstd, a->n, dy);
}

/* d.att from dmid [n, D]; where only some rows went on (the last layer), the others get nothing, in d.att and in dx. */
static void output_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, const float *dmid,
                            float *dx)
{
    const int64_t heads = p->o->cols;
    float *datt = a->rows ? b->d.att_rows : b->d.att;
    b->ops->zero(b->dev, datt, a->n * heads);
    linear_backward(b, k, p->o, p->o_bias, dmid, a->att_rows, a->n, datt);
    if (!a->rows) return;
    b->ops->zero(b->dev, dx, (int64_t)b->T * b->D);
    b->ops->zero(b->dev, b->d.att, b->T * heads);
    b->ops->embed_backward(b->dev, dmid, a->rows, a->n, b->D, dx);
    b->ops->embed_backward(b->dev, datt, a->rows, a->n, (int)heads, b->d.att);
}

/* d [T, heads, hd] of turned and normed heads -> of the linear product; returns where that lies. */
static const float *heads_backward(const backward *b, int k, const param *norm, float *d, const float *raw,
                                   const float *rstd, int heads, float *draw)
{
    const int hd = b->w->table->config.head_dim;
    b->ops->rope_backward(b->dev, d, b->in->batch.turns, b->T, heads, hd);
    if (!norm) return d;
    b->ops->zero(b->dev, draw, (int64_t)b->T * heads * hd);
    b->ops->rmsnorm_backward(b->dev, d, raw, param_data(b->w, norm), rstd, b->T * heads, hd, draw, grad_of(b, k, norm));
    return draw;
}

/* dx [T, D]: in, the residual's share of the cotangent of x; out, all of it. */
static void attention_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dx)
{
    const model_config *c = &b->w->table->config;
    const device_batch *batch = &b->in->batch;
    const layer_grads *d = &b->d;
    b->ops->attention_backward(b->dev, d->att, a->q, a->k, a->v, a->att, a->lse, batch->starts, batch->S, c->heads,
                               c->kv_heads, c->head_dim, p->window, d->q, d->k, d->v);
    const float *dq = heads_backward(b, k, p->q_norm, d->q, a->q_raw, a->q_rstd, c->heads, d->q_raw);
    const float *dk = heads_backward(b, k, p->k_norm, d->k, a->k_raw, a->k_rstd, c->kv_heads, d->k_raw);
    b->ops->zero(b->dev, d->norm_out, (int64_t)b->T * b->D);
    linear_backward(b, k, p->v, p->v_bias, d->v, a->attn_in, b->T, d->norm_out);
    linear_backward(b, k, p->k, p->k_bias, dk, a->attn_in, b->T, d->norm_out);
    linear_backward(b, k, p->q, p->q_bias, dq, a->attn_in, b->T, d->norm_out);
    norm_backward(b, k, p->attn_norm, d->norm_out, a->x, a->attn_rstd, b->T, dx);
}

static void layer_backward(const backward *b, int layer)
{
    const layer_acts *a = &b->in->layers[layer];
    const layer_weights p = layer_weights_of(b->w, layer);
    const param *const order[] = { p.down,   p.up, p.gate,   p.mlp_norm, p.o_bias, p.o, p.k_norm,   p.q_norm,
                                   p.v_bias, p.v,  p.k_bias, p.k,        p.q_bias, p.q, p.attn_norm };
    for (int k = 0; k < b->K; k++) {
        float *dx = b->dx + (int64_t)k * b->T * b->D;
        float *dy = a->rows ? b->dtop + (int64_t)k * a->n * b->D : dx;
        mlp_backward(b, k, &p, a, dy);
        output_backward(b, k, &p, a, dy, dx);
        attention_backward(b, k, &p, a, dx);
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i]) complete(b, order[i]);
}

/* dlogprob [K, n_out] -> dtop. */
static void top_backward(const backward *b, const float *dlogprob)
{
    const inner_activations *in = b->in;
    const top_acts *top = &in->top;
    const model_config *c = &b->w->table->config;
    const param *head = head_param(b->w), *norm = param_find(b->w->table, PARAM_FINAL_NORM, -1);
    const int64_t size = (int64_t)top->n * b->D;
    b->ops->zero(b->dev, b->dtop, b->K * size);
    for (int k = 0; k < b->K; k++) {
        b->ops->zero(b->dev, b->d.norm_out, size);
        b->ops->head_backward(b->dev, dlogprob + (int64_t)k * top->n, top->normed, param_data(b->w, head),
                              param_packed(b->w, head), in->batch.targets, in->lse, top->n, c->vocab, b->D,
                              in->temperature, in->logits, in->kept, b->d.norm_out, grad_of(b, k, head));
        norm_backward(b, k, norm, b->d.norm_out, top->x, top->rstd, top->n, b->dtop + k * size);
    }
    if (!c->tied) complete(b, head);
    complete(b, norm);
}

static void embed_backward(const backward *b)
{
    const param *embed = embed_param(b->w);
    for (int k = 0; k < b->K; k++)
        b->ops->embed_backward(b->dev, b->dx + (int64_t)k * b->T * b->D, b->in->batch.ids, b->T, b->D,
                               grad_of(b, k, embed));
    complete(b, embed);
}

static layer_grads layer_grads_new(const weights *w, int T, int n_out)
{
    const model_config *c = &w->table->config;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    return (layer_grads){ .norm_out = scratch_floats(w->dev, T, c->width),
                          .act = scratch_floats(w->dev, T, c->ffn),
                          .gate = scratch_floats(w->dev, T, c->ffn),
                          .up = scratch_floats(w->dev, T, c->ffn),
                          .att = scratch_floats(w->dev, T, q),
                          .att_rows = scratch_floats(w->dev, n_out, q),
                          .q = scratch_floats(w->dev, T, q),
                          .k = scratch_floats(w->dev, T, kv),
                          .v = scratch_floats(w->dev, T, kv),
                          .q_raw = c->qk_norm ? scratch_floats(w->dev, T, q) : NULL,
                          .k_raw = c->qk_norm ? scratch_floats(w->dev, T, kv) : NULL };
}

void model_backward(const weights *w, const token_batch *batch, const activations *acts, const float *dlogprob, int K,
                    float *grads, const grad_sink *sink)
{
    const inner_activations *in = acts->inner;
    const int T = batch->T, D = w->table->config.width, last = w->table->config.layers - 1;
    assert(in->keep && T == in->batch.T && batch->n_out == in->batch.n_out && K > 0);
    const backward b = { .w = w,
                         .ops = device_ops(w->dev),
                         .dev = w->dev,
                         .in = in,
                         .sink = sink,
                         .grads = grads,
                         .K = K,
                         .T = T,
                         .D = D,
                         .dtop = device_scratch(w->dev, sizeof(float) * (size_t)K * (size_t)batch->n_out * (size_t)D),
                         .dx = device_scratch(w->dev, sizeof(float) * (size_t)K * (size_t)T * (size_t)D),
                         .d = layer_grads_new(w, T, batch->n_out) };
    top_backward(&b, dlogprob);
    for (int l = last; l >= 0; l--) {
        /* The last layer's activations are still in the shared buffers; the others' are made again. */
        if (in->recompute && l < last) layer_forward(w, l, &in->batch, &in->layers[l], NULL);
        layer_backward(&b, l);
    }
    embed_backward(&b);
}
