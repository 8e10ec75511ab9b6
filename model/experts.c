/* SPDX-License-Identifier: MIT */
/* The feed-forward part of a layer with experts (Shazeer et al. 2017; Fedus et al. 2021).
 *
 *      mlp_in [n, D] --router--> p = softmax(z) [n, E] --> each row's k experts, and their weights
 *      for each expert, by number: its rows are gathered, go through gate, up and down as in any layer, are weighted
 *      and added to what the experts before it made of them
 *
 * Products are made expert by expert, of however many rows it has; a row's bits don't depend on that number, and its
 * experts are added in the order of their numbers. So a row has the same bits in any batch, as everywhere.
 *
 * The host learns the choice, to know each expert's rows: on a GPU one wait a layer. */
#include <string.h>

#include "model/layer.h"

static bool some_layer(const model_config *c, bool routed)
{
    for (int l = 0; l < c->layers; l++)
        if (c->experts.routed[l] == routed) return true;
    return false;
}

static int larger(int a, int b) { return a > b ? a : b; }

int layer_gated_width(const model_config *c, int layer)
{
    const int chosen = c->experts.chosen * c->experts.ffn;
    if (layer != ANY_LAYER) return c->experts.routed[layer] ? chosen : c->ffn;
    return larger(some_layer(c, false) ? c->ffn : 0, chosen);
}

int layer_product_width(const model_config *c) { return larger(some_layer(c, false) ? c->ffn : 0, c->experts.ffn); }

matrix expert_matrix(const layer_weights *p, int expert, param_kind kind)
{
    return matrix_whole(&p->experts[expert * MATRICES_OF_EXPERT + (int)(kind - PARAM_EXPERT_GATE)]);
}

/* ---- memory ---- */

int64_t expert_room_floats(const model_config *c, int T)
{
    return model_has_experts(c) ? (int64_t)T * 2 * c->width : 0;
}

expert_room expert_room_new(const weights *w, int n)
{
    const int D = w->table->config.width;
    if (!model_has_experts(&w->table->config)) return (expert_room){ NULL };
    return (expert_room){ .in = scratch_floats(w->dev, n, D), .out = scratch_floats(w->dev, n, D) };
}

int64_t expert_acts_floats(const model_config *c, int n) { return (int64_t)n * (c->experts.n + 5 * c->experts.chosen); }

expert_acts expert_acts_new(const weights *w, int n)
{
    const expert_layers *x = &w->table->config.experts;
    const size_t choices = sizeof(int32_t) * (size_t)n * (size_t)x->chosen;
    device *dev = w->dev;

    expert_groups *g = device_host_scratch(dev, sizeof *g);
    *g = (expert_groups){ .begin = device_host_scratch(dev, sizeof *g->begin * (size_t)(x->n + 1)),
                          .chosen = device_host_scratch(dev, choices),
                          .rows = device_host_scratch(dev, choices),
                          .choices = device_host_scratch(dev, choices),
                          .rows_on_device = device_scratch(dev, choices),
                          .choices_there = device_scratch(dev, choices) };
    return (expert_acts){ .p = scratch_floats(dev, n, x->n),
                          .chosen = device_scratch(dev, choices),
                          .weight = scratch_floats(dev, n, x->chosen),
                          .grouped_weight = scratch_floats(dev, n, x->chosen),
                          .groups = g };
}

/* ---- who goes where ---- */

/* Counting sort of the choices by their expert. */
static void group_choices(const expert_groups *g, int n, int k, int E)
{
    memset(g->begin, 0, sizeof *g->begin * (size_t)(E + 1));
    for (int i = 0; i < n * k; i++) {
        if (g->chosen[i] < 0 || g->chosen[i] >= E) g->chosen[i] = i % k; /* a GPU that has failed says anything */
        g->begin[g->chosen[i] + 1]++;
    }
    for (int e = 0; e < E; e++) g->begin[e + 1] += g->begin[e];

    /* While they are placed begin[e] is where e's next goes; then it is e's end. */
    for (int i = 0; i < n * k; i++) {
        const int at = g->begin[g->chosen[i]]++;
        g->rows[at] = i / k;
        g->choices[at] = i;
    }
    for (int e = E; e > 0; e--) g->begin[e] = g->begin[e - 1];
    g->begin[0] = 0;
}

static void route(const weights *w, const layer_weights *p, const layer_acts *a)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const expert_layers *x = &c->experts;
    const expert_acts *ex = &a->experts;
    const expert_groups *g = ex->groups;
    const int n_choices = a->n * x->chosen;
    const size_t bytes = sizeof(int32_t) * (size_t)n_choices;

    const matrix router = matrix_whole(p->router);
    const linear_part logits = linear_part_of(w, &router, NULL, NULL, ex->p);
    ops->linears(w->dev, a->mlp_in, a->n, c->width, &logits, 1);
    ops->route(w->dev, ex->p, a->n, x->n, x->chosen, x->sum_to_one, ex->chosen, ex->weight);

    device_copy_out(w->dev, g->chosen, ex->chosen, bytes);
    group_choices(g, a->n, x->chosen, x->n);
    device_copy_in(w->dev, g->rows_on_device, g->rows, bytes);
    device_copy_in(w->dev, g->choices_there, g->choices, bytes);
    ops->embed(w->dev, ex->weight, g->choices_there, n_choices, 1, ex->grouped_weight);
}

/* ---- the experts ---- */

static void expert_forward(const weights *w, const layer_weights *p, const layer_acts *a, int expert, float *to)
{
    const model_config *c = &w->table->config;
    const struct ops *ops = device_ops(w->dev);
    const expert_groups *g = a->experts.groups;
    const expert_room *room = &a->experts.room;
    const int first = g->begin[expert], m = g->begin[expert + 1] - first, F = c->experts.ffn, D = c->width;
    const size_t at = (size_t)first * (size_t)F;
    const int32_t *rows = g->rows_on_device + first;
    if (m == 0) return;

    const matrix gate = expert_matrix(p, expert, PARAM_EXPERT_GATE), up = expert_matrix(p, expert, PARAM_EXPERT_UP);
    const linear_part wide[] = { linear_part_of(w, &gate, NULL, NULL, a->gate + at),
                                 linear_part_of(w, &up, NULL, NULL, a->up + at) };
    ops->embed(w->dev, a->mlp_in, rows, m, D, room->in);
    ops->linears(w->dev, room->in, m, D, wide, 2);
    (c->gate == GATE_GELU ? ops->geglu : ops->swiglu)(w->dev, a->gate + at, a->up + at, (int64_t)m * F, a->act + at);
    if (!to) return;

    const matrix down = expert_matrix(p, expert, PARAM_EXPERT_DOWN);
    const linear_part narrow = linear_part_of(w, &down, NULL, NULL, room->out);
    ops->linears(w->dev, a->act + at, m, F, &narrow, 1);
    ops->weigh_rows(w->dev, room->out, a->experts.grouped_weight + first, m, D);
    ops->add_rows(w->dev, room->out, rows, m, D, to);
}

void experts_forward(const weights *w, const layer_weights *p, const layer_acts *a, float *to)
{
    const model_config *c = &w->table->config;
    route(w, p, a);
    if (to) device_ops(w->dev)->zero(w->dev, to, (int64_t)a->n * c->width);
    for (int e = 0; e < c->experts.n; e++) expert_forward(w, p, a, e, to);
}
