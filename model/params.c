#include "model/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

enum { ALIGN_FLOATS = 16, PER_LAYER = 9 };

typedef struct shape {
    param_kind kind;
    const char *name; /* behind "model.layers.N." for what is in a layer */
    int rows, cols, rank;
} shape;

static void add(param_table *t, int layer, const shape *s)
{
    param *p = &t->items[t->n++];
    *p = (param){ .kind = s->kind, .layer = layer, .rows = s->rows, .cols = s->cols, .rank = s->rank };
    if (layer >= 0) snprintf(p->name, sizeof p->name, "model.layers.%d.%s", layer, s->name);
    else snprintf(p->name, sizeof p->name, "%s", s->name);
    p->offset = t->total;
    p->count = (int64_t)s->rows * s->cols;
    t->total += (p->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static void add_layer(param_table *t, int layer)
{
    const model_config *c = &t->config;
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const shape shapes[PER_LAYER] = {
        { PARAM_ATTN_NORM, "input_layernorm.weight", 1, c->width, 1 },
        { PARAM_Q, "self_attn.q_proj.weight", q, c->width, 2 },
        { PARAM_K, "self_attn.k_proj.weight", kv, c->width, 2 },
        { PARAM_V, "self_attn.v_proj.weight", kv, c->width, 2 },
        { PARAM_O, "self_attn.o_proj.weight", c->width, q, 2 },
        { PARAM_MLP_NORM, "post_attention_layernorm.weight", 1, c->width, 1 },
        { PARAM_GATE, "mlp.gate_proj.weight", c->ffn, c->width, 2 },
        { PARAM_UP, "mlp.up_proj.weight", c->ffn, c->width, 2 },
        { PARAM_DOWN, "mlp.down_proj.weight", c->width, c->ffn, 2 },
    };
    for (int i = 0; i < PER_LAYER; i++) add(t, layer, &shapes[i]);
}

param_table *param_table_new(const model_config *config, error *err)
{
    (void)err;
    param_table *t = xcalloc(1, sizeof *t);
    t->config = *config;
    t->items = xcalloc((size_t)(config->layers * PER_LAYER + 3), sizeof *t->items);
    add(t, -1, &(shape){ PARAM_EMBED, "model.embed_tokens.weight", config->vocab, config->width, 2 });
    for (int l = 0; l < config->layers; l++) add_layer(t, l);
    add(t, -1, &(shape){ PARAM_FINAL_NORM, "model.norm.weight", 1, config->width, 1 });
    if (!config->tied) add(t, -1, &(shape){ PARAM_HEAD, "lm_head.weight", config->vocab, config->width, 2 });
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
    /* Parameters of a layer stand at a fixed distance: embedding, then PER_LAYER each, then norm and head. */
    const int at = kind == PARAM_EMBED        ? 0
                   : kind == PARAM_FINAL_NORM ? t->config.layers * PER_LAYER + 1
                   : kind == PARAM_HEAD       ? t->config.layers * PER_LAYER + 2
                                              : 1 + layer * PER_LAYER + (int)kind - PARAM_ATTN_NORM;
    return at < t->n && t->items[at].kind == kind ? &t->items[at] : NULL;
}
