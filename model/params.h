/* SPDX-License-Identifier: MIT */
/* params - the parameter table of a model: name, shape and place of every parameter in one flat fp32 array.
 *
 * The order is the one in which backward finishes gradients, reversed: embedding first, then layer 0..L-1, then the
 * final norm and an untied head; so a bucket is a contiguous run and the tied embedding closes last. */
#pragma once

#include <stdint.h>

#include "model/config.h"

typedef enum param_kind {
    PARAM_EMBED,
    PARAM_ATTN_NORM,
    PARAM_Q,
    PARAM_Q_BIAS,
    PARAM_K,
    PARAM_K_BIAS,
    PARAM_V,
    PARAM_V_BIAS,
    PARAM_Q_NORM, /* of queries, before the rotary embedding: each head's (Qwen3) or all together */
    PARAM_K_NORM,
    PARAM_O,
    PARAM_O_BIAS,
    PARAM_ATTN_POST_NORM, /* of what attention adds to the residual (OLMo 2) */
    PARAM_MLP_NORM,
    PARAM_GATE,
    PARAM_GATE_BIAS,
    PARAM_UP,
    PARAM_UP_BIAS,
    PARAM_DOWN,
    PARAM_DOWN_BIAS,
    PARAM_MLP_POST_NORM,
    PARAM_FINAL_NORM,
    PARAM_HEAD,
    PARAM_QKV,     /* q, k and v in one matrix (Phi-3), in place of the three */
    PARAM_GATE_UP, /* gate and up in one */
    PARAM_ROUTER,  /* of a layer with experts, in place of gate, up and down */
    PARAM_EXPERT_GATE,
    PARAM_EXPERT_UP,
    PARAM_EXPERT_DOWN,
    PARAM_KINDS,
} param_kind;

enum { MAX_PARTS = 3, MATRICES_OF_EXPERT = 3, PARAM_NAME = 96 };

typedef struct param {
    char name[PARAM_NAME]; /* the checkpoint's name: "model.layers.0.self_attn.q_proj.weight" */
    param_kind kind;
    int layer;      /* -1: outside the layers */
    int rows, cols; /* [rows, cols] as in the checkpoint; a vector has rows 1 and rank 1 there */
    int rank;
    bool is_head;             /* a tied embedding */
    int expert, n_experts;    /* which of its layer's, and how many there are; 0 and 0: it is of none */
    int n_parts;              /* products that forward makes of a matrix: one, or one of each matrix that lies in it */
    int part_rows[MAX_PARTS]; /* their rows, which add up to `rows` */
    int64_t offset, count;    /* in floats */
} param;

typedef struct param_table {
    model_config config;
    param *items;
    int n;
    int *first;                /* [layers + 1] each layer's first item; the last: what is above them */
    int place[2][PARAM_KINDS]; /* of a kind within a layer without experts, and with; -1: it has none */
    int64_t total;             /* floats; offsets are multiples of 16 floats, the gaps stay zero */
} param_table;

/* Keeps a copy of `config`. NULL and ERR_ARGUMENT for sizes that no model has. */
param_table *param_table_new(const model_config *config, error *err);
void param_table_free(param_table *t);
/* `layer` counts only for what is in a layer. */
const param *param_find(const param_table *t, param_kind kind, int layer); /* NULL: the model has none */
/* The parameters of a layer, *n of them, in the order of its forward pass. */
const param *param_layer(const param_table *t, int layer, int *n);
/* An expert's gate, up and down, one after the other; NULL: the layer has no experts. */
const param *param_expert(const param_table *t, int layer, int expert);
/* Whether some layer has a parameter of this kind. */
bool param_kind_there(const param_table *t, param_kind kind);
/* Whether it is an expert's: of those a layer has many. */
bool param_is_expert(param_kind kind);
bool param_is_bias(param_kind kind);

/* Where some programs store a parameter, other than under its own name. A tied embedding may be stored as the head
 * that it also is. A layer's experts may lie as transformers holds them in memory, in a tensor of rank 3, of which
 * [rows, cols] of expert `expert` are a part (gate and up together, one after the other); Mixtral's router has another
 * name there. Gives that tensor's name, dimensions and rank; 0: it is stored under its own name alone. */
int param_stored_otherwise(const param *p, char name[PARAM_NAME], int64_t dims[3]);
