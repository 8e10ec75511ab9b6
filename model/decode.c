/* SPDX-License-Identifier: MIT */
#include "model/decode.h"

#include <assert.h>

#include "model/layer.h"

/* The arrays of a decode batch, on the device. */
typedef struct decode_arrays {
    const int32_t *ids, *positions, *row_seq, *table, *out_rows;
    rope_tables ropes;
} decode_arrays;

static decode_arrays arrays_of(const weights *w, const decode_batch *b)
{
    device *dev = w->dev;

    /* Rows of the table that are in use. */
    size_t sequences = 0;
    for (int t = 0; t < b->T; t++)
        if ((size_t)b->row_seq[t] >= sequences) sequences = (size_t)b->row_seq[t] + 1;

    const int32_t *positions = scratch_ints(dev, b->positions, (size_t)b->T);
    return (decode_arrays){ .ids = scratch_ints(dev, b->ids, (size_t)b->T),
                            .positions = positions,
                            .ropes = layer_ropes(w, positions, b->T),
                            .row_seq = scratch_ints(dev, b->row_seq, (size_t)b->T),
                            .table = scratch_ints(dev, b->table, sequences * (size_t)b->max_pages),
                            .out_rows = scratch_ints(dev, b->out_rows, (size_t)b->n_out) };
}

/* Keys and values of the new rows go into the layer's pages; the rows then look at all that lies there. */
static void attend_over_pages(const weights *w, const kv_cache *kv, int layer, int window, const decode_batch *b,
                              const decode_arrays *in, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const size_t begin = (size_t)layer * (size_t)kv->n_pages * KV_PAGE * (size_t)(c->kv_heads * c->head_dim);
    float *k = kv->k + begin, *v = kv->v + begin;

    ops->kv_write(w->dev, a->k, a->v, in->row_seq, in->positions, in->table, b->max_pages, b->T, c->kv_heads,
                  c->head_dim, k, v);

    if (a->n == 0) return; /* a prefill chunk's last layer: its rows' results are not used */
    ops->attention_paged(w->dev, a->q, k, v, in->row_seq, in->positions, in->table, b->max_pages, b->T, c->heads,
                         c->kv_heads, c->head_dim, window, c->score_cap, a->att);
}

const float *model_decode(const weights *w, kv_cache *kv, const decode_batch *batch)
{
    const model_config *c = &w->table->config;
    const int T = batch->T, n_out = batch->n_out;
    assert(T > 0 && n_out <= T);
    assert(kv->layers == c->layers && kv->kv_heads == c->kv_heads && kv->head_dim == c->head_dim);

    const decode_arrays in = arrays_of(w, batch);
    const top_acts top = top_acts_new(w, n_out);
    layer_acts a = layer_acts_new(w, ANY_LAYER, T, T, NULL);
    float *x = scratch_floats(w->dev, T, c->width);

    layer_embed(w, in.ids, T, x);

    for (int l = 0; l < c->layers; l++) {
        const bool last = l == c->layers - 1; /* only the rows that logits are asked of go through it */
        const layer_weights p = layer_weights_of(w, l);
        layer_acts_take(w, &a, x, last ? n_out : T, last ? in.out_rows : NULL);
        layer_project(w, &p, layer_rope(&in.ropes, &p), T, &a);
        attend_over_pages(w, kv, l, p.attention.window, batch, &in, &a);
        if (a.n > 0) layer_finish(w, &p, &a, last ? top.x : x);
    }

    return n_out > 0 ? top_logits(w, &top) : NULL;
}

size_t model_decode_bytes(const device *dev, const param_table *t, int T, int n_out)
{
    const model_config *c = &t->config;
    const int64_t acts = layer_acts_floats(c, ANY_LAYER, T, T) + layer_lent_floats(c, T, T);
    const int64_t rows = acts + layer_rows_floats(c, n_out) + (int64_t)T * c->width;
    const int64_t top = top_acts_floats(c, n_out) + (int64_t)n_out * c->vocab;
    const int64_t tokens = (int64_t)T * (MAX_ROPES * c->head_dim + 4);
    return sizeof(float) * (size_t)(rows + top + tokens) + layer_op_bytes(dev, t, T);
}
