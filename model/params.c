#include "model/params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

enum { ALIGN_FLOATS = 16, PER_LAYER = 9, MAX_DIMENSION = 1 << 22, MAX_LAYERS = 1024 };

typedef struct shape {
    param_kind kind;
    const char *name; /* behind "model.layers.N." for what is in a layer */
    int rows, cols, rank;
} shape;

static void add(param_table *t, int layer, const shape *s)
{
    param *p = &t->items[t->n++];
    *p = (param){ .kind = s->kind, .layer = layer, .rows = s->rows, .cols = s->cols, .rank = s->rank };
    if (layer >= 0)
        snprintf(p->name, sizeof p->name, "model.layers.%d.%s", layer, s->name);
    else
        snprintf(p->name, sizeof p->name, "%s", s->name);
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

/* Bounds under which no product below overflows: heads * head_dim an int, the sum of all counts an int64_t. */
static int check_config(const model_config *c, error *err)
{
    const struct {
        const char *what;
        int64_t found, most;
    } sizes[] = {
        { "vocab", c->vocab, MAX_DIMENSION },  { "width", c->width, MAX_DIMENSION },
        { "layers", c->layers, MAX_LAYERS },   { "heads", c->heads, MAX_DIMENSION },
        { "kv_heads", c->kv_heads, c->heads }, { "head_dim", c->head_dim, MAX_DIMENSION },
        { "ffn", c->ffn, MAX_DIMENSION },      { "heads * head_dim", (int64_t)c->heads * c->head_dim, MAX_DIMENSION }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].found < 1 || sizes[i].found > sizes[i].most)
            return error_set(err, ERR_ARGUMENT, "a model's %s: expected 1 to %" PRId64 ", found %" PRId64,
                             sizes[i].what, sizes[i].most, sizes[i].found);
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
