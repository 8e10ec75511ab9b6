/* SPDX-License-Identifier: MIT */
#include "model/transformer.h"

#include <assert.h>
#include <string.h>

#include "kernels/op_scratch.h"
#include "model/layer.h"

enum { KEPT_LOGITS = 32 << 20 }; /* 128 MB */

/* A sequence's prefix is the one before it, or the prefix of that one; and a prefix has none. */
static bool prefixes_fit(const token_batch *b)
{
    for (int s = 0; b->prefix && s < b->S; s++) {
        const int p = b->prefix[s];
        if (p >= 0 && (p >= s || b->prefix[p] >= 0 || (p != s - 1 && b->prefix[s - 1] != p))) return false;
    }
    return true;
}

static device_batch device_batch_of(const weights *w, const token_batch *b)
{
    device *dev = w->dev;

    assert(b->T > 0 && b->starts[0] == 0 && b->starts[b->S] == b->T && b->n_out <= b->T && prefixes_fit(b));

    return (device_batch){ .T = b->T,
                           .S = b->S,
                           .n_out = b->n_out,
                           .ids = scratch_ints(dev, b->ids, (size_t)b->T),
                           .ropes = layer_ropes(w, scratch_ints(dev, b->positions, (size_t)b->T), b->T),
                           .starts = scratch_ints(dev, b->starts, (size_t)b->S + 1),
                           .prefix = b->prefix ? scratch_ints(dev, b->prefix, (size_t)b->S) : NULL,
                           .out_rows = scratch_ints(dev, b->out_rows, (size_t)b->n_out),
                           .targets = scratch_ints(dev, b->targets, (size_t)b->n_out) };
}

void layer_forward(const weights *w, int layer, const device_batch *b, const layer_acts *a, float *out)
{
    const model_config *c = &w->table->config;
    const layer_weights p = layer_weights_of(w, layer);
    layer_project(w, &p, layer_rope(&b->ropes, &p), b->T, a);
    device_ops(w->dev)->attention(w->dev, a->q, a->k, a->v, b->starts, b->prefix, b->S, c->heads, c->kv_heads,
                                  c->head_dim, p.attention.window, c->score_cap, a->att, a->lse);
    layer_finish(w, &p, a, out);
}

/* What the layer's router has chosen, for model_router_use. */
static void count_routes(const weights *w, int layer, const inner_activations *in)
{
    const expert_layers *x = &w->table->config.experts;
    const layer_acts *a = &in->layers[layer];
    if (!x->routed[layer]) return;
    device_ops(w->dev)->bias_backward(w->dev, a->experts.p, a->n, x->n, in->router_p); /* the sum over rows */
    for (int e = 0; e < x->n; e++)
        in->routed[e] += (double)(a->experts.groups->begin[e + 1] - a->experts.groups->begin[e]);
}

static void router_counts_new(const weights *w, inner_activations *in)
{
    const int E = w->table->config.experts.n;
    if (!model_has_experts(&w->table->config)) return;
    in->router_p = scratch_floats(w->dev, 1, E);
    in->routed = memset(device_host_scratch(w->dev, sizeof *in->routed * (size_t)E), 0, sizeof *in->routed * (size_t)E);
    device_ops(w->dev)->zero(w->dev, in->router_p, E);
}

void model_router_use(const weights *w, const activations *acts, double *p, double *chosen)
{
    const inner_activations *in = acts->inner;
    const size_t E = (size_t)w->table->config.experts.n;
    if (E == 0) return;
    float *sums = device_host_scratch(w->dev, sizeof *sums * E);
    device_copy_out(w->dev, sums, in->router_p, sizeof *sums * E);
    for (size_t e = 0; e < E; e++) {
        p[e] += (double)sums[e];
        chosen[e] += in->routed[e];
    }
}

/* Embedding and layers, up to in->top.x. Each layer's activations are kept but for what the first one lends; where they
 * aren't, the layers take turns on one set of buffers. Without a backward pass to follow, their inputs take turns on
 * two. */
static void run_layers(const weights *w, inner_activations *in)
{
    const int T = in->batch.T, n_out = in->batch.n_out, D = w->table->config.width, L = w->table->config.layers;
    const bool share = in->recompute || !in->keep;
    device *dev = w->dev;
    const layer_acts first = layer_acts_new(w, share ? ANY_LAYER : 0, T, share || L > 1 ? T : n_out, NULL);
    float *x = scratch_floats(dev, T, D), *spare = in->keep ? NULL : scratch_floats(dev, T, D);

    layer_embed(w, in->batch.ids, T, x);
    for (int l = 0; l < L; l++) {
        /* Of the last layer only the rows are computed that have an output; they go straight to the top. */
        const bool last = l == L - 1;
        const int n = last ? n_out : T;

        float *out = spare;
        if (last)
            out = in->top.x;
        else if (in->keep)
            out = scratch_floats(dev, T, D);

        in->layers[l] = share || l == 0 ? first : layer_acts_new(w, l, T, n, &first);
        layer_acts_take(w, &in->layers[l], x, n, last ? in->batch.out_rows : NULL);
        layer_forward(w, l, &in->batch, &in->layers[l], out);
        count_routes(w, l, in);

        spare = x;
        x = out;
    }
}

static inner_activations *inner_new(const weights *w, const token_batch *batch, const forward_options *o)
{
    device *dev = w->dev;
    inner_activations *in = device_host_scratch(dev, sizeof *in);
    *in = (inner_activations){ .keep = o->keep,
                               .recompute = o->recompute,
                               .temperature = o->temperature > 0 ? o->temperature : 1,
                               .batch = device_batch_of(w, batch) };
    in->layers = device_host_scratch(dev, sizeof *in->layers * (size_t)w->table->config.layers);
    in->top = top_acts_new(w, batch->n_out);
    router_counts_new(w, in);
    return in;
}

/* Logits for backward, where that is cheap: making them again costs a twentieth of a step. */
static void keep_logits(const weights *w, inner_activations *in)
{
    const int V = w->table->config.vocab, max = KEPT_LOGITS / V, n = in->batch.n_out;
    if (!in->keep || in->recompute) return;
    in->kept = n < max ? n : max;
    in->logits = scratch_floats(w->dev, in->kept, V);
}

static int kept_logits(const model_config *c, const pass_size *s)
{
    const int max = KEPT_LOGITS / c->vocab;
    if (s->sides == 0 || s->recompute) return 0;
    return s->n_out < max ? s->n_out : max;
}

/* Inputs of all layers where they are kept, else two in turn, or one and the top's. */
static int64_t inputs_floats(const model_config *c, const pass_size *s)
{
    const int64_t row = (int64_t)s->T * c->width;
    return row * (s->sides > 0 ? c->layers : 2);
}

size_t model_forward_bytes(const param_table *t, const pass_size *s)
{
    const model_config *c = &t->config;
    const bool share = s->recompute || s->sides == 0;
    int64_t kept = share ? layer_acts_floats(c, ANY_LAYER, s->T, s->T) : 0;
    for (int l = 0; !share && l < c->layers; l++)
        kept += layer_acts_floats(c, l, s->T, l == c->layers - 1 ? s->n_out : s->T);
    const int64_t layers = kept + layer_lent_floats(c, s->T, s->T);
    const int64_t tokens =
        (int64_t)s->T * (MAX_ROPES * c->head_dim + 4) + 5 * (int64_t)s->n_out; /* ids, cosines, logprobs */
    const int64_t logits = (int64_t)kept_logits(c, s) * c->vocab;
    return sizeof(float) * (size_t)(layers + layer_rows_floats(c, s->n_out) + inputs_floats(c, s) +
                                    top_acts_floats(c, s->n_out) + tokens + logits);
}

size_t model_pass_bytes(const device *dev, const param_table *t, const pass_size *s)
{
    const model_config *c = &t->config;
    const size_t forward = model_forward_bytes(t, s);
    size_t more = head_scratch_bytes(dev, s->n_out, c->vocab, c->width, kept_logits(c, s));
    const size_t layer = layer_op_bytes(dev, t, s->T), backward = s->sides > 0 ? model_backward_bytes(dev, t, s) : 0;
    if (layer > more) more = layer;
    if (backward > more) more = backward;
    return forward + more;
}

bool rows_are_scaled(const weights *w, const inner_activations *in)
{
    return in->scale && w->table->config.logit_cap == 0;
}

int head_run_end(const weights *w, const inner_activations *in, int begin, int end)
{
    if (!in->scale || rows_are_scaled(w, in)) return end;
    int at = begin + 1;
    while (at < end && in->scale[at] == in->scale[begin]) at++;
    return at;
}

float head_temperature(const weights *w, const inner_activations *in, int row)
{
    return !in->scale || rows_are_scaled(w, in) ? in->temperature : in->temperature / in->scale[row];
}

static void run_head(const weights *w, inner_activations *in)
{
    const model_config *c = &w->table->config;
    const param *head = head_param(w);

    for (int begin = 0, end; begin < in->batch.n_out; begin = end) {
        end = head_run_end(w, in, begin, in->batch.n_out);
        const int n = end - begin, left = in->kept - begin, kept = left < 0 ? 0 : left;
        float *logits = kept > 0 ? in->logits + (size_t)begin * (size_t)c->vocab : NULL;
        device_ops(w->dev)->head(w->dev, in->top.normed + (size_t)begin * (size_t)c->width, param_packed(w, head),
                                 in->batch.targets + begin, n, c->vocab, c->width, c->logit_cap,
                                 head_temperature(w, in, begin), in->logprob + begin, in->entropy + begin,
                                 in->lse + begin, logits, kept < n ? kept : n);
    }
}

void scale_rows(const weights *w, const float *scale, int n, int columns, float *rows)
{
    const int64_t D = columns;
    for (int begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && scale[end] == scale[begin]; end++) {
        }
        if (scale[begin] != 1) device_ops(w->dev)->scale(w->dev, rows + begin * D, scale[begin], (end - begin) * D);
    }
}

void model_scale_logits(const weights *w, const activations *acts, const float *scale)
{
    inner_activations *in = acts->inner;
    const size_t bytes = sizeof *scale * (size_t)in->batch.n_out;
    in->scale = memcpy(device_host_scratch(w->dev, bytes), scale, bytes);
    if (rows_are_scaled(w, in)) scale_rows(w, scale, in->batch.n_out, w->table->config.width, in->top.normed);
    run_head(w, in);
}

/* Logits of outputs, capped, before their temperature and their scale: [n, V] in device scratch. */
static float *capped_logits(const weights *w, const inner_activations *in, int begin, int n)
{
    const model_config *c = &w->table->config;
    float *z = scratch_floats(w->dev, n, c->vocab);
    device_ops(w->dev)->linear(w->dev, in->top.normed + (size_t)begin * (size_t)c->width, n,
                               param_packed(w, head_param(w)), NULL, c->vocab, c->width, z);
    layer_cap_logits(w, z, n);
    return z;
}

void model_logits(const weights *w, const activations *acts, int begin, int n, float *out)
{
    const inner_activations *in = acts->inner;
    const int V = w->table->config.vocab;
    float *z = capped_logits(w, in, begin, n);
    if (in->scale && !rows_are_scaled(w, in)) scale_rows(w, in->scale + begin, n, V, z);
    device_copy_out(w->dev, out, z, sizeof *z * (size_t)n * (size_t)V);
}

/* Of logits as model_logits has them -> of what the head's product was. */
static void uncap_gradients(const weights *w, const inner_activations *in, int begin, int n, float *dz)
{
    const model_config *c = &w->table->config;
    if (c->logit_cap == 0) return;
    const float *z = capped_logits(w, in, begin, n);
    device_ops(w->dev)->softcap_backward(w->dev, z, c->logit_cap, (int64_t)n * c->vocab, dz);
    if (in->scale) scale_rows(w, in->scale + begin, n, c->vocab, dz);
}

void model_add_logit_gradients(const weights *w, const activations *acts, int begin, int n, const float *dz)
{
    inner_activations *in = acts->inner;
    float *copy = scratch_floats(w->dev, n, w->table->config.vocab);
    device_copy_in(w->dev, copy, dz, sizeof *dz * (size_t)n * (size_t)w->table->config.vocab);
    uncap_gradients(w, in, begin, n, copy);
    logit_gradients *s = device_host_scratch(w->dev, sizeof *s);
    *s = (logit_gradients){ begin, n, copy, in->logit_gradients };
    in->logit_gradients = s;
}

activations *model_forward(const weights *w, const token_batch *batch, const forward_options *options)
{
    static const forward_options DEFAULTS = { .temperature = 1, .keep = true };
    inner_activations *in = inner_new(w, batch, options ? options : &DEFAULTS);

    in->logprob = scratch_floats(w->dev, batch->n_out, 1);
    in->entropy = scratch_floats(w->dev, batch->n_out, 1);
    in->lse = scratch_floats(w->dev, batch->n_out, 1);

    run_layers(w, in);
    keep_logits(w, in);
    top_norm(w, &in->top);
    run_head(w, in);

    in->outside = (activations){ .logprob = in->logprob, .entropy = in->entropy, .inner = in };
    return &in->outside;
}

void model_last_logits(const weights *w, const token_batch *batch, float *out)
{
    static const forward_options ONCE = { .keep = false };
    int32_t *rows = device_host_scratch(w->dev, sizeof *rows * (size_t)batch->S);
    for (int s = 0; s < batch->S; s++) rows[s] = batch->starts[s + 1] - 1;

    token_batch last = *batch;
    last.n_out = batch->S;
    last.out_rows = last.targets = rows; /* targets stay unread: no logprob is asked for */

    inner_activations *in = inner_new(w, &last, &ONCE);
    run_layers(w, in);
    const size_t bytes = sizeof(float) * (size_t)batch->S * (size_t)w->table->config.vocab;
    device_copy_out(w->dev, out, top_logits(w, &in->top), bytes);
}
