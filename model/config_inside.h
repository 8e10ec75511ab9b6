/* SPDX-License-Identifier: MIT */
/* config_inside - what the readers of config.json share: the text under way, and what its family may ask for. Internal
 * to config*.c. */
#pragma once

#include "base/json.h"
#include "model/config.h"

/* The text under way: every reader gets it first. */
typedef struct source {
    const json_t *j;
    const char *where;
} source;

/* What the architecture's name says. A key that a row doesn't allow must have the value it has where it is left out. */
typedef struct family {
    const char *architecture, *model_type;

    bool qkv_bias;                                             /* always */
    enum { BIAS_REFUSED, BIAS_QKV, BIAS_QKVO } attention_bias; /* what attention_bias gives one */
    bool attention_bias_default;
    bool attention_out_bias; /* the key of that name gives o one */
    bool mlp_bias;           /* the key may be true */

    norm_places norms;
    qk_norm_kind qk_norm;
    bool qkv_fused, gate_up_fused;
    bool gemma;                  /* GELU, norms of 1 + w, an embedding times sqrt(width), query_pre_attn_scalar */
    float score_cap, logit_cap;  /* soft-caps where a file says nothing */
    bool score_caps, logit_caps; /* a file may ask for one */
    bool multipliers;            /* Granite's four keys, without which it computes as a Llama */

    enum { WINDOW_NEVER, WINDOW_ALWAYS, WINDOW_WHEN_ASKED } window; /* WHEN_ASKED: use_sliding_window */
    int default_window;
    enum { LAYERS_ALL, LAYERS_FROM_MAX, LAYERS_WITHOUT_ROPE, LAYERS_BUT_EACH_NTH } windowed; /* without layer_types */
    int nth;
    const char *nth_key; /* by which a file may say another; NULL: none */
    bool layer_types;    /* a file's layer_types decide; else they must say what is computed anyway */

    expert_names experts;

    bool nope_layers;           /* no_rope_layers, or each no_rope_layer_interval-th */
    bool partial_rotary;        /* partial_rotary_factor may be below 1 */
    float default_rotary_share; /* 0: 1 */
    bool rotary_neighbours;
    const char *window_theta; /* the key of theta of layers with a window (10000 without it); NULL: the others' */
    bool rope_of_window; /* layers with a window have a set of their own, unscaled where a file doesn't say otherwise */
    float default_theta;
    int default_head_dim; /* 0: width / heads */
    bool default_tied;
} family;

/* ERR_UNSUPPORTED "WHERE: KEY is FOUND; supported: SUPPORTED". */
int config_unsupported(const source *s, const char *key, const json_t *found, const char *supported, error *err);
/* A key that is there and not null; NULL else. */
const json_t *config_given(const json_t *object, const char *key);
/* A number from 1 to max that must be there. */
int config_read_dimension(const source *s, const char *key, int64_t max, int *out, error *err);

/* Wants heads and max_position; fills ropes. (config_rope.c) */
int config_read_ropes(model_config *c, const family *f, const source *s, error *err);
/* Fills attention. (config_layers.c) */
int config_read_layers(model_config *c, const family *f, const source *s, error *err);
/* Wants layers and ffn; fills experts but for their names. (config_experts.c) */
int config_read_experts(model_config *c, const source *s, error *err);
