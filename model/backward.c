/* Backward with K right-hand sides, layer by layer in lock-step: all K cotangents pass a layer before the next one, so a
 * parameter's K gradients are complete together and a sink can take them while the rest is still to come. */
#include <string.h>

#include "model/layer.h"

typedef struct backward {
    const weights *w;
    const struct ops *ops;
    device *dev;
    const inner_activations *in;
    const grad_sink *sink;
    float *grads;  /* [K, total] */
    int K, T, D;
    float *dx;     /* [K, T, D] cotangent of the layer's output, then of its input */
    /* one cotangent's way through a layer */
    float *dnorm, *dact, *dgate, *dup, *datt, *dq, *dk, *dv;
} backward;

static float *grad_of(const backward *b, int k, const param *p)
{
    return b->grads + (int64_t)k * b->w->table->total + p->offset;
}

static void done(const backward *b, const param *p)
{
    if (b->sink) b->sink->ready(b->sink->ctx, p, b->grads + p->offset, b->K, b->w->table->total);
}

/* y = x W^T: dW += dy^T x, dx += dy W. */
static void linear_backward(const backward *b, int k, const param *p, const float *dy, const float *x, int T, float *dx)
{
    b->ops->linear_dw(b->dev, dy, x, T, p->rows, p->cols, grad_of(b, k, p));
    b->ops->linear_dx(b->dev, dy, T, param_data(b->w, p), p->rows, p->cols, dx);
}

static void norm_backward(const backward *b, int k, const param *p, const float *dy, const float *x, const float *rstd, int T,
                          float *dx)
{
    b->ops->rmsnorm_backward(b->dev, dy, x, param_data(b->w, p), rstd, T, b->D, dx, grad_of(b, k, p));
}

static void mlp_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dx)
{
    const int64_t n = (int64_t)b->T * b->D, wide = (int64_t)b->T * b->w->table->config.ffn;
    b->ops->zero(b->dev, b->dact, wide);
    linear_backward(b, k, p->down, dx, a->act, b->T, b->dact);
    b->ops->swiglu_backward(b->dev, b->dact, a->gate, a->up, wide, b->dgate, b->dup);
    b->ops->zero(b->dev, b->dnorm, n);
    linear_backward(b, k, p->gate, b->dgate, a->mlp_in, b->T, b->dnorm);
    linear_backward(b, k, p->up, b->dup, a->mlp_in, b->T, b->dnorm);
    /* dx is also the cotangent of mid through the residual: norm's share is added to it. */
    norm_backward(b, k, p->mlp_norm, b->dnorm, a->mid, a->mlp_rstd, b->T, dx);
}

static void attention_backward(const backward *b, int k, const layer_weights *p, const layer_acts *a, float *dx)
{
    const model_config *c = &b->w->table->config;
    const device_batch *batch = &b->in->batch;
    const int T = b->T;
    b->ops->zero(b->dev, b->datt, (int64_t)T * c->heads * c->head_dim);
    linear_backward(b, k, p->o, dx, a->att, T, b->datt);
    b->ops->attention_backward(b->dev, b->datt, a->q, a->k, a->v, a->att, a->lse, batch->starts, batch->S, c->heads, c->kv_heads,
                               c->head_dim, b->dq, b->dk, b->dv);
    b->ops->rope_backward(b->dev, b->dq, batch->positions, b->w->inv_freq, T, c->heads, c->head_dim);
    b->ops->rope_backward(b->dev, b->dk, batch->positions, b->w->inv_freq, T, c->kv_heads, c->head_dim);
    b->ops->zero(b->dev, b->dnorm, (int64_t)T * b->D);
    linear_backward(b, k, p->q, b->dq, a->attn_in, T, b->dnorm);
    linear_backward(b, k, p->k, b->dk, a->attn_in, T, b->dnorm);
    linear_backward(b, k, p->v, b->dv, a->attn_in, T, b->dnorm);
    norm_backward(b, k, p->attn_norm, b->dnorm, a->x, a->attn_rstd, T, dx);
}

static void layer_backward(const backward *b, int layer, const layer_acts *a)
{
    const layer_weights p = layer_weights_of(b->w, layer);
    const param *const order[] = { p.down, p.up, p.gate, p.mlp_norm, p.o, p.v, p.k, p.q, p.attn_norm };
    for (int k = 0; k < b->K; k++) {
        float *dx = b->dx + (size_t)k * (size_t)b->T * (size_t)b->D;
        mlp_backward(b, k, &p, a, dx);
        attention_backward(b, k, &p, a, dx);
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) done(b, order[i]);
}

/* dlogprob [K, n_out] -> dx [K, T, D] below the final norm. */
static void head_part(const backward *b, const float *dlogprob)
{
    const inner_activations *in = b->in;
    const model_config *c = &b->w->table->config;
    const param *head = head_param(b->w), *norm = param_find(b->w->table, PARAM_FINAL_NORM, -1);
    const int n = in->batch.n_out;
    float *dnormed = device_scratch(b->dev, sizeof(float) * (size_t)n * (size_t)b->D);
    float *dout = device_scratch(b->dev, sizeof(float) * (size_t)n * (size_t)b->D);
    b->ops->zero(b->dev, b->dx, (int64_t)b->K * b->T * b->D);
    for (int k = 0; k < b->K; k++) {
        b->ops->zero(b->dev, dnormed, (int64_t)n * b->D);
        b->ops->zero(b->dev, dout, (int64_t)n * b->D);
        b->ops->head_backward(b->dev, dlogprob + (size_t)k * (size_t)n, in->out_normed, param_data(b->w, head),
                              param_packed(b->w, head), in->batch.targets, in->lse, n, c->vocab, b->D, in->temperature,
                              dnormed, grad_of(b, k, head));
        norm_backward(b, k, norm, dnormed, in->out_x, in->out_rstd, n, dout);
        scatter_rows_add(dout, in->batch.out_rows, n, b->D, b->dx + (size_t)k * (size_t)b->T * (size_t)b->D);
    }
    if (!c->tied) done(b, head);
    done(b, norm);
}

static void embed_part(const backward *b)
{
    const param *embed = param_find(b->w->table, PARAM_EMBED, -1);
    for (int k = 0; k < b->K; k++)
        b->ops->embed_backward(b->dev, b->dx + (size_t)k * (size_t)b->T * (size_t)b->D, b->in->batch.ids, b->T, b->D,
                               grad_of(b, k, embed));
    done(b, embed);
}

static backward begin(const weights *w, const activations *acts, int K, float *grads, const grad_sink *sink)
{
    const model_config *c = &w->table->config;
    const inner_activations *in = acts->inner;
    const size_t T = (size_t)in->batch.T, q = (size_t)(c->heads * c->head_dim), kv = (size_t)(c->kv_heads * c->head_dim);
    backward b = { .w = w, .ops = device_ops(w->dev), .dev = w->dev, .in = in, .sink = sink, .grads = grads, .K = K,
                   .T = in->batch.T, .D = c->width };
    b.dx = device_scratch(w->dev, sizeof(float) * (size_t)K * T * (size_t)c->width);
    b.dnorm = device_scratch(w->dev, sizeof(float) * T * (size_t)c->width);
    b.dact = device_scratch(w->dev, sizeof(float) * T * (size_t)c->ffn);
    b.dgate = device_scratch(w->dev, sizeof(float) * T * (size_t)c->ffn);
    b.dup = device_scratch(w->dev, sizeof(float) * T * (size_t)c->ffn);
    b.datt = device_scratch(w->dev, sizeof(float) * T * q);
    b.dq = device_scratch(w->dev, sizeof(float) * T * q);
    b.dk = device_scratch(w->dev, sizeof(float) * T * kv);
    b.dv = device_scratch(w->dev, sizeof(float) * T * kv);
    return b;
}

void model_backward(const weights *w, const token_batch *batch, const activations *acts, const float *dlogprob, int K,
                    float *grads, const grad_sink *sink)
{
    (void)batch;
    const inner_activations *in = acts->inner;
    const backward b = begin(w, acts, K, grads, sink);
    layer_acts again = { 0 };
    float *unused = NULL;
    if (in->recompute) {
        again = layer_acts_new(w, b.T, NULL);
        unused = device_scratch(w->dev, sizeof(float) * (size_t)b.T * (size_t)b.D);
    }
    head_part(&b, dlogprob);
    for (int l = w->table->config.layers - 1; l >= 0; l--) {
        layer_acts a = in->recompute ? again : in->layers[l];
        a.x = in->inputs[l];
        if (in->recompute) layer_forward(w, l, &in->batch, &a, unused);
        layer_backward(&b, l, &a);
    }
    embed_part(&b);
}
