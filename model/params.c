/* SPDX-License-Identifier: MIT */
#include "model/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

enum { ALIGN_FLOATS = 16, MAX_PER_LAYER = 22, MAX_DIMENSION = 1 << 22 };

typedef struct shape {
    const char *name; /* behind "model.layers.N." for what is in a layer */
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

static void add(param_table *t, int layer, const shape *s)
{
    param *p = &t->items[t->n++];
    *p = (param){ .kind = s->kind, .layer = layer, .rows = s->rows, .cols = s->cols, .rank = s->rank };
    cut(p, &t->config);
    if (layer >= 0)
        snprintf(p->name, sizeof p->name, "model.layers.%d.%s", layer, s->name);
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

/* What a layer of this model has, in the order of its forward pass. */
static int layer_shapes(const model_config *c, shape out[MAX_PER_LAYER])
{
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, D = c->width, F = c->ffn;
    const bool normed = c->qk_norm != QK_NORM_NONE, wide = c->qk_norm == QK_NORM_WIDTH;
    const norm_names *names = &NORM_NAMES[c->norms];

    const struct {
        bool there;
        shape is;
    } all[MAX_PER_LAYER] = {
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
        { c->gate_up_fused, { "mlp.gate_up_proj.weight", PARAM_GATE_UP, 2 * F, D, 2 } },
        { !c->gate_up_fused, { "mlp.gate_proj.weight", PARAM_GATE, F, D, 2 } },
        { c->mlp_bias, { "mlp.gate_proj.bias", PARAM_GATE_BIAS, 1, F, 1 } },
        { !c->gate_up_fused, { "mlp.up_proj.weight", PARAM_UP, F, D, 2 } },
        { c->mlp_bias, { "mlp.up_proj.bias", PARAM_UP_BIAS, 1, F, 1 } },
        { true, { "mlp.down_proj.weight", PARAM_DOWN, D, F, 2 } },
        { c->mlp_bias, { "mlp.down_proj.bias", PARAM_DOWN_BIAS, 1, D, 1 } },
        { names->mlp_post, { names->mlp_post, PARAM_MLP_POST_NORM, 1, D, 1 } },
    };

    int n = 0;
    for (int i = 0; i < MAX_PER_LAYER; i++)
        if (all[i].there) out[n++] = all[i].is;
    return n;
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
        if (sizes[i].found < 1 || sizes[i].found > sizes[i].max)
            return error_set(err, ERR_ARGUMENT, "a model's %s: expected 1 to %" PRId64 ", found %" PRId64,
                             sizes[i].what, sizes[i].max, sizes[i].found);

    if (c->heads % c->kv_heads != 0)
        return error_set(err, ERR_ARGUMENT, "%d heads don't share %d key/value heads evenly", c->heads, c->kv_heads);
    if (c->head_dim % 2 != 0)
        return error_set(err, ERR_ARGUMENT, "head_dim %d is odd: the rotary embedding turns pairs", c->head_dim);
    return OK;
}

param_table *param_table_new(const model_config *config, error *err)
{
    if (check_config(config, err) != OK) return NULL;
    param_table *t = xcalloc(1, sizeof *t);
    t->config = *config;

    shape shapes[MAX_PER_LAYER];
    t->per_layer = layer_shapes(config, shapes);
    for (int k = 0; k < PARAM_KINDS; k++) t->place[k] = -1;
    for (int i = 0; i < t->per_layer; i++) t->place[shapes[i].kind] = i;
    t->items = xcalloc((size_t)(config->layers * t->per_layer + 3), sizeof *t->items);

    add(t, -1, &(shape){ "model.embed_tokens.weight", PARAM_EMBED, config->vocab, config->width, 2 });
    for (int l = 0; l < config->layers; l++)
        for (int i = 0; i < t->per_layer; i++) add(t, l, &shapes[i]);
    add(t, -1, &(shape){ "model.norm.weight", PARAM_FINAL_NORM, 1, config->width, 1 });
    if (!config->tied) add(t, -1, &(shape){ "lm_head.weight", PARAM_HEAD, config->vocab, config->width, 2 });
    return t;
}

void param_table_free(param_table *t)
{
    if (!t) return;
    free(t->items);
    free(t);
}

const param *param_find(const param_table *t, param_kind kind, int layer)
{
    /* The embedding, then per_layer parameters for each layer, then the final norm and an untied head. */
    const int above = t->config.layers * t->per_layer + 1;
    int at;

    if (kind == PARAM_EMBED)
        at = 0;
    else if (kind == PARAM_FINAL_NORM)
        at = above;
    else if (kind == PARAM_HEAD)
        at = above + 1;
    else if (t->place[kind] < 0)
        return NULL; /* this model's layers have none */
    else
        at = 1 + layer * t->per_layer + t->place[kind];

    return at < t->n ? &t->items[at] : NULL;
}

const param *param_layer(const param_table *t, int layer) { return &t->items[1 + layer * t->per_layer]; }

bool param_is_bias(param_kind kind)
{
    return kind == PARAM_Q_BIAS || kind == PARAM_K_BIAS || kind == PARAM_V_BIAS || kind == PARAM_O_BIAS ||
           kind == PARAM_GATE_BIAS || kind == PARAM_UP_BIAS || kind == PARAM_DOWN_BIAS;
}
