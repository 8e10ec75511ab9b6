#include "model/transformer.h"

#include <string.h>

#include "model/layer.h"

const param *head_param(const weights *w)
{
    const param *head = param_find(w->table, PARAM_HEAD, -1);
    return head ? head : param_find(w->table, PARAM_EMBED, -1);
}

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
                            .down = param_find(t, PARAM_DOWN, layer) };
}

static float *floats(device *dev, int rows, int columns)
{
    return device_scratch(dev, sizeof(float) * (size_t)rows * (size_t)columns);
}

layer_acts layer_acts_new(const weights *w, int T, float *x)
{
    const model_config *c = &w->table->config;
    device *dev = w->dev;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    return (layer_acts){ .x = x,
                         .attn_in = floats(dev, T, c->width),
                         .attn_rstd = floats(dev, T, 1),
                         .q = floats(dev, T, q),
                         .k = floats(dev, T, kv),
                         .v = floats(dev, T, kv),
                         .att = floats(dev, T, q),
                         .lse = floats(dev, T, c->heads),
                         .mid = floats(dev, T, c->width),
                         .mlp_in = floats(dev, T, c->width),
                         .mlp_rstd = floats(dev, T, 1),
                         .gate = floats(dev, T, c->ffn),
                         .up = floats(dev, T, c->ffn),
                         .act = floats(dev, T, c->ffn) };
}

static int32_t *ints(device *dev, const int32_t *from, int n)
{
    int32_t *to = device_scratch(dev, sizeof(int32_t) * (size_t)(n + 1));
    if (n > 0) device_copy_in(dev, to, from, sizeof(int32_t) * (size_t)n);
    return to;
}

device_batch device_batch_of(device *dev, const token_batch *b)
{
    return (device_batch){ .T = b->T,
                           .S = b->S,
                           .n_out = b->n_out,
                           .ids = ints(dev, b->ids, b->T),
                           .positions = ints(dev, b->positions, b->T),
                           .starts = ints(dev, b->starts, b->S + 1),
                           .targets = ints(dev, b->targets, b->n_out),
                           .out_rows = ints(dev, b->out_rows, b->n_out) };
}

void gather_rows(const float *x, const int32_t *rows, int n, int D, float *out)
{
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)i * (size_t)D, x + (size_t)rows[i] * (size_t)D, sizeof(float) * (size_t)D);
}

void scatter_rows_add(const float *from, const int32_t *rows, int n, int D, float *to)
{
    for (int i = 0; i < n; i++)
        for (int d = 0; d < D; d++) to[(size_t)rows[i] * (size_t)D + (size_t)d] += from[(size_t)i * (size_t)D + (size_t)d];
}

static void linear(const weights *w, const param *p, const float *x, int T, float *y)
{
    device_ops(w->dev)->linear(w->dev, x, T, param_packed(w, p), p->rows, p->cols, y);
}

void layer_forward(const weights *w, int layer, const device_batch *b, const layer_acts *a, float *out)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const layer_weights p = layer_weights_of(w, layer);
    device *dev = w->dev;
    const int T = b->T, D = c->width;

    ops->rmsnorm(dev, a->x, param_data(w, p.attn_norm), T, D, c->norm_eps, a->attn_in, a->attn_rstd);
    linear(w, p.q, a->attn_in, T, a->q);
    linear(w, p.k, a->attn_in, T, a->k);
    linear(w, p.v, a->attn_in, T, a->v);
    ops->rope(dev, a->q, b->positions, w->inv_freq, T, c->heads, c->head_dim);
    ops->rope(dev, a->k, b->positions, w->inv_freq, T, c->kv_heads, c->head_dim);
    ops->attention(dev, a->q, a->k, a->v, b->starts, b->S, c->heads, c->kv_heads, c->head_dim, a->att, a->lse);
    linear(w, p.o, a->att, T, a->mid);
    ops->add(dev, a->mid, a->x, (int64_t)T * D);
    ops->rmsnorm(dev, a->mid, param_data(w, p.mlp_norm), T, D, c->norm_eps, a->mlp_in, a->mlp_rstd);
    linear(w, p.gate, a->mlp_in, T, a->gate);
    linear(w, p.up, a->mlp_in, T, a->up);
    ops->swiglu(dev, a->gate, a->up, (int64_t)T * c->ffn, a->act);
    linear(w, p.down, a->act, T, out);
    ops->add(dev, out, a->mid, (int64_t)T * D);
}

/* Embedding and layers; fills inputs, layers and last. */
static void run_layers(const weights *w, inner_activations *in, bool keep)
{
    const model_config *c = &w->table->config;
    device *dev = w->dev;
    const int T = in->batch.T;
    /* Without activations to keep, the layers take turns on one set of buffers. */
    const bool share = in->recompute || !keep;
    float *x = floats(dev, T, c->width), *spare = share && !keep ? floats(dev, T, c->width) : NULL;
    layer_acts shared = share ? layer_acts_new(w, T, x) : (layer_acts){ 0 };
    device_ops(dev)->embed(dev, param_data(w, param_find(w->table, PARAM_EMBED, -1)), in->batch.ids, T, c->width, x);
    for (int l = 0; l < c->layers; l++) {
        float *out = spare ? spare : floats(dev, T, c->width);
        layer_acts a = share ? shared : layer_acts_new(w, T, x);
        a.x = in->inputs[l] = x;
        if (!share) in->layers[l] = a;
        layer_forward(w, l, &in->batch, &a, out);
        if (spare) spare = x;
        x = out;
    }
    in->last = x;
}

static inner_activations *begin(const weights *w, const token_batch *batch, const forward_options *o)
{
    device *dev = w->dev;
    inner_activations *in = device_scratch(dev, sizeof *in);
    *in = (inner_activations){ .recompute = o->recompute, .temperature = o->temperature > 0 ? o->temperature : 1 };
    in->batch = device_batch_of(dev, batch);
    in->inputs = device_scratch(dev, sizeof *in->inputs * (size_t)w->table->config.layers);
    in->layers = device_scratch(dev, sizeof *in->layers * (size_t)w->table->config.layers);
    return in;
}

activations *model_forward(const weights *w, const token_batch *batch, const forward_options *options)
{
    static const forward_options DEFAULTS = { .temperature = 1, .keep = true };
    const forward_options *o = options ? options : &DEFAULTS;
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    device *dev = w->dev;
    inner_activations *in = begin(w, batch, o);
    const int n = batch->n_out, D = c->width;
    const param *head = head_param(w);
    run_layers(w, in, o->keep);
    in->out_x = floats(dev, n, D), in->out_normed = floats(dev, n, D), in->out_rstd = floats(dev, n, 1);
    in->logprob = floats(dev, n, 1), in->entropy = floats(dev, n, 1), in->lse = floats(dev, n, 1);
    gather_rows(in->last, in->batch.out_rows, n, D, in->out_x);
    ops->rmsnorm(dev, in->out_x, param_data(w, param_find(w->table, PARAM_FINAL_NORM, -1)), n, D, c->norm_eps, in->out_normed,
                 in->out_rstd);
    ops->head(dev, in->out_normed, param_packed(w, head), in->batch.targets, n, c->vocab, D, in->temperature, in->logprob,
              in->entropy, in->lse);
    in->public = (activations){ .logprob = in->logprob, .entropy = in->entropy, .inner = in };
    return &in->public;
}

void model_last_logits(const weights *w, const token_batch *batch, float *out)
{
    static const forward_options ONCE = { .temperature = 1 };
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    device *dev = w->dev;
    inner_activations *in = begin(w, batch, &ONCE);
    const int S = batch->S, D = c->width;
    float *x = floats(dev, S, D), *normed = floats(dev, S, D), *rstd = floats(dev, S, 1), *logits = floats(dev, S, c->vocab);
    run_layers(w, in, false);
    for (int s = 0; s < S; s++) {
        const int32_t row = batch->starts[s + 1] - 1;
        gather_rows(in->last, &row, 1, D, x + (size_t)s * (size_t)D);
    }
    ops->rmsnorm(dev, x, param_data(w, param_find(w->table, PARAM_FINAL_NORM, -1)), S, D, c->norm_eps, normed, rstd);
    linear(w, head_param(w), normed, S, logits);
    device_copy_out(dev, out, logits, sizeof(float) * (size_t)S * (size_t)c->vocab);
}
