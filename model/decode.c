#include "model/decode.h"

#include "model/layer.h"

typedef struct decode_arrays {
    const int32_t *ids, *positions, *row_seq, *table;
} decode_arrays;

static const int32_t *ints(device *dev, const int32_t *from, size_t n)
{
    int32_t *to = device_scratch(dev, sizeof(int32_t) * n);
    device_copy_in(dev, to, from, sizeof(int32_t) * n);
    return to;
}

static decode_arrays arrays_of(device *dev, const decode_batch *b)
{
    int32_t sequences = 0;
    for (int t = 0; t < b->T; t++) sequences = b->row_seq[t] >= sequences ? b->row_seq[t] + 1 : sequences;
    return (decode_arrays){ .ids = ints(dev, b->ids, (size_t)b->T),
                            .positions = ints(dev, b->positions, (size_t)b->T),
                            .row_seq = ints(dev, b->row_seq, (size_t)b->T),
                            .table = ints(dev, b->table, (size_t)sequences * (size_t)b->max_pages) };
}

static void linear(const weights *w, const param *p, const float *x, int T, float *y)
{
    device_ops(w->dev)->linear(w->dev, x, T, param_packed(w, p), p->rows, p->cols, y);
}

/* The layer of transformer.c, operation for operation, but for where keys and values lie. */
static void decode_layer(const weights *w, kv_cache *kv, int layer, const decode_batch *b, const decode_arrays *in,
                         const layer_acts *a, float *x)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const layer_weights p = layer_weights_of(w, layer);
    const size_t pages = (size_t)layer * (size_t)kv->n_pages * KV_PAGE * (size_t)(c->kv_heads * c->head_dim);
    device *dev = w->dev;
    const int T = b->T, D = c->width;

    ops->rmsnorm(dev, x, param_data(w, p.attn_norm), T, D, c->norm_eps, a->attn_in, a->attn_rstd);
    linear(w, p.q, a->attn_in, T, a->q);
    linear(w, p.k, a->attn_in, T, a->k);
    linear(w, p.v, a->attn_in, T, a->v);
    ops->rope(dev, a->q, in->positions, w->inv_freq, T, c->heads, c->head_dim);
    ops->rope(dev, a->k, in->positions, w->inv_freq, T, c->kv_heads, c->head_dim);
    ops->kv_write(dev, a->k, a->v, in->row_seq, in->positions, in->table, b->max_pages, T, c->kv_heads, c->head_dim,
                  kv->k + pages, kv->v + pages);
    ops->attention_paged(dev, a->q, kv->k + pages, kv->v + pages, in->row_seq, in->positions, in->table, b->max_pages, T,
                         c->heads, c->kv_heads, c->head_dim, a->att);
    linear(w, p.o, a->att, T, a->mid);
    ops->add(dev, a->mid, x, (int64_t)T * D);
    ops->rmsnorm(dev, a->mid, param_data(w, p.mlp_norm), T, D, c->norm_eps, a->mlp_in, a->mlp_rstd);
    linear(w, p.gate, a->mlp_in, T, a->gate);
    linear(w, p.up, a->mlp_in, T, a->up);
    ops->swiglu(dev, a->gate, a->up, (int64_t)T * c->ffn, a->act);
    linear(w, p.down, a->act, T, x);
    ops->add(dev, x, a->mid, (int64_t)T * D);
}

const float *model_decode(const weights *w, kv_cache *kv, const decode_batch *batch)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    device *dev = w->dev;
    const int T = batch->T, D = c->width, n = batch->n_out;
    const decode_arrays in = arrays_of(dev, batch);
    float *x = device_scratch(dev, sizeof(float) * (size_t)T * (size_t)D);
    const layer_acts a = layer_acts_new(w, T, x);
    ops->embed(dev, param_data(w, param_find(w->table, PARAM_EMBED, -1)), in.ids, T, D, x);
    for (int l = 0; l < c->layers; l++) decode_layer(w, kv, l, batch, &in, &a, x);
    if (n == 0) return NULL;

    float *out = device_scratch(dev, sizeof(float) * (size_t)n * (size_t)D);
    float *normed = device_scratch(dev, sizeof(float) * (size_t)n * (size_t)D);
    float *rstd = device_scratch(dev, sizeof(float) * (size_t)n);
    float *logits = device_scratch(dev, sizeof(float) * (size_t)n * (size_t)c->vocab);
    gather_rows(x, batch->out_rows, n, D, out);
    ops->rmsnorm(dev, out, param_data(w, param_find(w->table, PARAM_FINAL_NORM, -1)), n, D, c->norm_eps, normed, rstd);
    linear(w, head_param(w), normed, n, logits);
    return logits;
}
