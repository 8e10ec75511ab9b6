/* SPDX-License-Identifier: MIT */
/* import_gguf_inside - what the readers of a GGUF model share: its family, and what its metadata says in config.json's
 * words. Internal to import_gguf*.c. */
#pragma once

#include "base/json.h"
#include "model/gguf.h"

enum { GGUF_NAME = 96 };

/* What an architecture of llama.cpp is called, and how it differs. */
typedef struct gguf_family {
    const char *name; /* general.architecture */
    const char *model_type, *architecture;
    const char *if_key; /* this row holds where the file has this key of its own, and not 0; NULL: always */

    bool neighbours;      /* q and k are written for a rotation of neighbours, where transformers turns halves */
    bool norms_plus;      /* norms are written as 1 + w */
    const char *ffn_norm; /* the norm before the feed-forward part, where it is not called ffn_norm */

    enum { BIASES_QKVO, BIASES_QKV, BIASES_APART, BIASES_ALWAYS, BIASES_NONE } biases;
    bool mlp_bias;

    enum { WINDOW_REFUSED, WINDOW_EVERY_LAYER, WINDOW_BUT_EACH_NTH } window;
    int64_t nth, default_window;
    const char *local_theta; /* config.json's key for theta of layers with a window; NULL: they have no other */
    int64_t scalar_layers;   /* Gemma: with so many layers q . k is scaled by the width of a head of the embedding */
    double score_cap, logit_cap; /* soft-caps where the file says none; 0: none */
    int64_t nope_step;           /* each such layer has no rotary embedding */
    bool gemma, multipliers, partial_rotary;
    bool experts; /* a router and experts in every layer, weights of the chosen adding up to one */
} gguf_family;

/* What is said of the whole model. */
typedef struct gguf_model {
    const gguf *g;
    const gguf_family *family;
    int64_t width, layers, heads, kv_heads, head_dim, rotary, ffn, max_position, vocab;
    int64_t n_experts, chosen, expert_ffn; /* 0: it has none */
    double eps, theta;
} gguf_model;

/* Reads the metadata. ERR_UNSUPPORTED, by name: another architecture, with what it would need, or a variant of this
 * one that is not computed here. */
int gguf_model_read(gguf_model *m, const gguf *g, error *err);
/* Its config.json; NULL and `err`. */
json_t *gguf_model_config(const gguf_model *m, error *err);

/* "ARCHITECTURE.key", in `out`. */
const char *gguf_key(const gguf_model *m, const char *key, char out[GGUF_NAME]);
/* The number under a key of the architecture, or `fallback` where it is missing. */
int gguf_real_or(const gguf_model *m, const char *key, double fallback, double *out, error *err);
/* A number that the file holds in fp32, by its shortest digits: 1e-05, not 9.99999974737875e-06. */
json_t *gguf_shortest(double v);
/* Writes rope_theta, and how it is scaled. (import_gguf_rope.c) */
int gguf_write_rope(const gguf_model *m, json_t *config, error *err);
