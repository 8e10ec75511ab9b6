/* SPDX-License-Identifier: MIT */
#include "model/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { ALIGN_FLOATS = 16, MAX_SHAPES = 26, MAX_DIMENSION = 1 << 22 };

typedef struct shape {
    const char *name; /* after "model.layers.N." for what is in a layer */
    param_kind kind;
    int rows, cols, rank;
} shape;

/* The matrices that lie in one, a product each. */
static void cut(param *p, const model_config *c)
{
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    p->n_parts = 1;
    p->part_rows[0] = p->rows;
    if (p->kind == PARAM_QKV) {
        p->n_parts = 3;
        p->part_rows[0] = q;
        p->part_rows[1] = p->part_rows[2] = kv;
    } else if (p->kind == PARAM_GATE_UP) {
        p->n_parts = 2;
        p->part_rows[0] = p->part_rows[1] = c->ffn;
    }
}

/* "%d" in a name becomes the expert's number. */
static void name_in_layer(param *p, const char *name, int expert)
{
    const int len = snprintf(p->name, sizeof p->name, "model.layers.%d.", p->layer);
    const char *number = strstr(name, "%d");
    char *to = p->name + len;
    const size_t room = sizeof p->name - (size_t)len;
    if (number)
        snprintf(to, room, "%.*s%d%s", (int)(number - name), name, expert, number + 2);
    else
        snprintf(to, room, "%s", name);
}

static void add(param_table *t, int layer, int expert, const shape *s)
{
    const bool of_expert = param_is_expert(s->kind);
    param *p = &t->items[t->n++];
    *p = (param){ .kind = s->kind, .layer = layer, .rows = s->rows, .cols = s->cols, .rank = s->rank };
    p->expert = expert;
    p->n_experts = of_expert ? t->config.experts.n : 0;
    cut(p, &t->config);
    if (layer >= 0)
        name_in_layer(p, s->name, expert);
    else
        snprintf(p->name, sizeof p->name, "%s", s->name);
    p->offset = t->total;
    p->count = (int64_t)s->rows * s->cols;
    t->total += (p->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

/* The names of norms, by where they stand; NULL: there is none. */
typedef struct norm_names {
    const char *attn, *attn_post, *mlp, *mlp_post;
} norm_names;

static const norm_names NORM_NAMES[] = {
    [NORMS_BEFORE] = { .attn = "input_layernorm.weight", .mlp = "post_attention_layernorm.weight" },
    [NORMS_AFTER] = { .attn_post = "post_attention_layernorm.weight", .mlp_post = "post_feedforward_layernorm.weight" },
    [NORMS_AROUND] = { .attn = "input_layernorm.weight",
                       .attn_post = "post_attention_layernorm.weight",
                       .mlp = "pre_feedforward_layernorm.weight",
                       .mlp_post = "post_feedforward_layernorm.weight" },
    [NORMS_AROUND_GLM] = { .attn = "input_layernorm.weight",
                           .attn_post = "post_self_attn_layernorm.weight",
                           .mlp = "post_attention_layernorm.weight",
                           .mlp_post = "post_mlp_layernorm.weight" },
};

/* Names of what a layer with experts has; %d: the expert's number. */
static const struct {
    const char *router, *gate, *up, *down;
} EXPERT_NAMES[] = {
    [EXPERTS_NONE] = { NULL },
    [EXPERTS_OF_MLP] = { "mlp.gate.weight", "mlp.experts.%d.gate_proj.weight", "mlp.experts.%d.up_proj.weight",
                         "mlp.experts.%d.down_proj.weight" },
    [EXPERTS_OF_MIXTRAL] = { "block_sparse_moe.gate.weight", "block_sparse_moe.experts.%d.w1.weight",
                             "block_sparse_moe.experts.%d.w3.weight", "block_sparse_moe.experts.%d.w2.weight" },
};

/* What a layer of this model has, in the order of its forward pass; of its experts' shapes, those of one. */
static int layer_shapes(const model_config *c, bool routed, shape out[MAX_SHAPES])
{
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, D = c->width, F = c->ffn;
    const int X = c->experts.ffn;
    const bool normed = c->qk_norm != QK_NORM_NONE, wide = c->qk_norm == QK_NORM_WIDTH, dense = !routed;
    const norm_names *names = &NORM_NAMES[c->norms];

    const struct {
        bool there;
        shape is;
    } all[MAX_SHAPES] = {
        { names->attn, { names->attn, PARAM_ATTN_NORM, 1, D, 1 } },
        { c->qkv_fused, { "self_attn.qkv_proj.weight", PARAM_QKV, q + 2 * kv, D, 2 } },
        { !c->qkv_fused, { "self_attn.q_proj.weight", PARAM_Q, q, D, 2 } },
        { c->qkv_bias, { "self_attn.q_proj.bias", PARAM_Q_BIAS, 1, q, 1 } },
        { !c->qkv_fused, { "self_attn.k_proj.weight", PARAM_K, kv, D, 2 } },
        { c->qkv_bias, { "self_attn.k_proj.bias", PARAM_K_BIAS, 1, kv, 1 } },
        { !c->qkv_fused, { "self_attn.v_proj.weight", PARAM_V, kv, D, 2 } },
        { c->qkv_bias, { "self_attn.v_proj.bias", PARAM_V_BIAS, 1, kv, 1 } },
        { normed, { "self_attn.q_norm.weight", PARAM_Q_NORM, 1, wide ? q : c->head_dim, 1 } },
        { normed, { "self_attn.k_norm.weight", PARAM_K_NORM, 1, wide ? kv : c->head_dim, 1 } },
        { true, { "self_attn.o_proj.weight", PARAM_O, D, q, 2 } },
        { c->o_bias, { "self_attn.o_proj.bias", PARAM_O_BIAS, 1, D, 1 } },
        { names->attn_post, { names->attn_post, PARAM_ATTN_POST_NORM, 1, D, 1 } },
        { names->mlp, { names->mlp, PARAM_MLP_NORM, 1, D, 1 } },
        { dense && c->gate_up_fused, { "mlp.gate_up_proj.weight", PARAM_GATE_UP, 2 * F, D, 2 } },
        { dense && !c->gate_up_fused, { "mlp.gate_proj.weight", PARAM_GATE, F, D, 2 } },
        { dense && c->mlp_bias, { "mlp.gate_proj.bias", PARAM_GATE_BIAS, 1, F, 1 } },
        { dense && !c->gate_up_fused, { "mlp.up_proj.weight", PARAM_UP, F, D, 2 } },
        { dense && c->mlp_bias, { "mlp.up_proj.bias", PARAM_UP_BIAS, 1, F, 1 } },
        { dense, { "mlp.down_proj.weight", PARAM_DOWN, D, F, 2 } },
        { dense && c->mlp_bias, { "mlp.down_proj.bias", PARAM_DOWN_BIAS, 1, D, 1 } },
        { routed, { EXPERT_NAMES[c->experts.names].router, PARAM_ROUTER, c->experts.n, D, 2 } },
        { routed, { EXPERT_NAMES[c->experts.names].gate, PARAM_EXPERT_GATE, X, D, 2 } },
        { routed, { EXPERT_NAMES[c->experts.names].up, PARAM_EXPERT_UP, X, D, 2 } },
        { routed, { EXPERT_NAMES[c->experts.names].down, PARAM_EXPERT_DOWN, D, X, 2 } },
        { names->mlp_post, { names->mlp_post, PARAM_MLP_POST_NORM, 1, D, 1 } },
    };

    int n = 0;
    for (int i = 0; i < MAX_SHAPES; i++)
        if (all[i].there) out[n++] = all[i].is;
    return n;
}

static int check_size(const char *what, int64_t found, int64_t max, error *err)
{
    if (found >= 1 && found <= max) return OK;
    return error_set(err, ERR_ARGUMENT, "a model's %s: expected 1 to %" PRId64 ", found %" PRId64, what, max, found);
}

/* A config.json alone must not cost much memory: so many experts, and their names, no model has. */
static int check_experts(const model_config *c, error *err)
{
    const expert_layers *x = &c->experts;
    if (x->names == EXPERTS_NONE) return OK;
    if (check_size("experts", x->n, MAX_EXPERTS, err) != OK ||
        check_size("experts * layers", (int64_t)x->n * c->layers, MAX_EXPERTS_OF_ALL_LAYERS, err) != OK ||
        check_size("experts * their width", (int64_t)x->n * x->ffn, MAX_DIMENSION, err) != OK)
        return ERR_ARGUMENT;
    return check_size("experts of a token", x->chosen, x->n < MAX_CHOSEN ? x->n : MAX_CHOSEN, err);
}

/* Bounds under which no product below overflows: heads * head_dim an int, the sum of all counts an int64_t. */
static int check_config(const model_config *c, error *err)
{
    const struct {
        const char *what;
        int64_t found, max;
    } sizes[] = {
        { "vocab", c->vocab, MAX_DIMENSION },  { "width", c->width, MAX_DIMENSION },
        { "layers", c->layers, MAX_LAYERS },   { "heads", c->heads, MAX_DIMENSION },
        { "kv_heads", c->kv_heads, c->heads }, { "head_dim", c->head_dim, MAX_DIMENSION },
        { "ffn", c->ffn, MAX_DIMENSION },      { "heads * head_dim", (int64_t)c->heads * c->head_dim, MAX_DIMENSION }
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (check_size(sizes[i].what, sizes[i].found, sizes[i].max, err) != OK) return ERR_ARGUMENT;

    if (check_experts(c, err) != OK) return ERR_ARGUMENT;
    if (c->heads % c->kv_heads != 0)
        return error_set(err, ERR_ARGUMENT, "%d heads don't share %d key/value heads evenly", c->heads, c->kv_heads);
    if (c->head_dim % 2 != 0)
        return error_set(err, ERR_ARGUMENT, "head_dim %d is odd: the rotary embedding rotates pairs", c->head_dim);
    return OK;
}

/* A layer's parameters, expert by expert where it has some, and where those of each kind begin. */
static void add_layer(param_table *t, int layer)
{
    const model_config *c = &t->config;
    shape shapes[MAX_SHAPES];
    const bool routed = c->experts.routed[layer];
    const int n = layer_shapes(c, routed, shapes);
    t->first[layer] = t->n;
    for (int i = 0; i < n; i++) {
        const bool gate = shapes[i].kind == PARAM_EXPERT_GATE;
        t->place[routed][shapes[i].kind] = t->n - t->first[layer];
        if (!param_is_expert(shapes[i].kind)) add(t, layer, 0, &shapes[i]);
        for (int k = 0; gate && k < MATRICES_OF_EXPERT * c->experts.n; k++)
            add(t, layer, k / MATRICES_OF_EXPERT, &shapes[i + k % MATRICES_OF_EXPERT]);
    }
    for (int k = 1; routed && k < MATRICES_OF_EXPERT; k++)
        t->place[routed][PARAM_EXPERT_GATE + k] = t->place[routed][PARAM_EXPERT_GATE] + k;
}

param_table *param_table_new(const model_config *config, error *err)
{
    if (check_config(config, err) != OK) return NULL;
    param_table *t = xcalloc(1, sizeof *t);
    t->config = *config;

    const int n_layers = config->layers, experts = MATRICES_OF_EXPERT * config->experts.n;
    t->first = xcalloc((size_t)n_layers + 1, sizeof *t->first);
    for (int i = 0; i < 2 * PARAM_KINDS; i++) t->place[i / PARAM_KINDS][i % PARAM_KINDS] = -1;
    t->items = xcalloc((size_t)n_layers * (size_t)(MAX_SHAPES + experts) + 3, sizeof *t->items);

    add(t, -1, 0, &(shape){ "model.embed_tokens.weight", PARAM_EMBED, config->vocab, config->width, 2 });
    t->items[0].is_head = config->tied;
    for (int l = 0; l < n_layers; l++) add_layer(t, l);
    t->first[n_layers] = t->n;
    add(t, -1, 0, &(shape){ "model.norm.weight", PARAM_FINAL_NORM, 1, config->width, 1 });
    if (!config->tied) add(t, -1, 0, &(shape){ "lm_head.weight", PARAM_HEAD, config->vocab, config->width, 2 });
    return t;
}

void param_table_free(param_table *t)
{
    if (!t) return;
    free(t->first);
    free(t->items);
    free(t);
}

static const int *places(const param_table *t, int layer) { return t->place[t->config.experts.routed[layer]]; }

const param *param_find(const param_table *t, param_kind kind, int layer)
{
    /* The embedding, then the layers', then the final norm and an untied head. */
    const int above = t->first[t->config.layers];
    int at;

    if (kind == PARAM_EMBED)
        at = 0;
    else if (kind == PARAM_FINAL_NORM)
        at = above;
    else if (kind == PARAM_HEAD)
        at = above + 1;
    else if (places(t, layer)[kind] < 0)
        return NULL; /* this layer has none */
    else
        at = t->first[layer] + places(t, layer)[kind];

    return at < t->n ? &t->items[at] : NULL;
}

const param *param_layer(const param_table *t, int layer, int *n)
{
    *n = t->first[layer + 1] - t->first[layer];
    return &t->items[t->first[layer]];
}

const param *param_expert(const param_table *t, int layer, int expert)
{
    const param *first = param_find(t, PARAM_EXPERT_GATE, layer);
    return first ? first + MATRICES_OF_EXPERT * expert : NULL;
}

bool param_kind_there(const param_table *t, param_kind kind)
{
    return t->place[0][kind] >= 0 || t->place[1][kind] >= 0;
}

bool param_is_expert(param_kind kind)
{
    return kind == PARAM_EXPERT_GATE || kind == PARAM_EXPERT_UP || kind == PARAM_EXPERT_DOWN;
}

bool param_is_bias(param_kind kind)
{
    return kind == PARAM_Q_BIAS || kind == PARAM_K_BIAS || kind == PARAM_V_BIAS || kind == PARAM_O_BIAS ||
           kind == PARAM_GATE_BIAS || kind == PARAM_UP_BIAS || kind == PARAM_DOWN_BIAS;
}

int param_stored_otherwise(const param *p, char name[PARAM_NAME], int64_t dims[3])
{
    const bool down = p->kind == PARAM_EXPERT_DOWN;
    if (p->is_head) {
        snprintf(name, PARAM_NAME, "lm_head.weight");
        dims[0] = p->rows;
        dims[1] = p->cols;
        return 2;
    }
    if (p->kind == PARAM_ROUTER) {
        snprintf(name, PARAM_NAME, "model.layers.%d.mlp.gate.weight", p->layer);
        dims[0] = p->rows;
        dims[1] = p->cols;
        return strcmp(name, p->name) == 0 ? 0 : 2;
    }
    if (!param_is_expert(p->kind)) return 0;

    snprintf(name, PARAM_NAME, "model.layers.%d.mlp.experts.%s", p->layer, down ? "down_proj" : "gate_up_proj");
    dims[0] = p->n_experts;
    dims[1] = down ? p->rows : 2 * p->rows;
    dims[2] = p->cols;
    return 3;
}
