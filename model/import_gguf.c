/* SPDX-License-Identifier: MIT */
#include "model/import_gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "model/gguf_quants.h"
#include "model/import_check.h"
#include "model/import_gguf_inside.h"
#include "model/import_vocab.h"
#include "model/model_folder.h"
#include "model/params.h"
#include "model/safetensors.h"

/* ---- a tensor on its way ---- */

typedef struct conversion {
    const gguf_tensor *from;
    const gguf_quant *quant;
    int64_t part, parts; /* which of the file's tensor it is: one expert of all of a layer; 0 of 1: the whole */
    int64_t heads;       /* rows are put in the order of halves, head by head; 0: they stay */
    float plus;          /* what the file has more than the folder */
    bool spoilt;         /* one of its numbers is none */
} conversion;

typedef struct listing {
    const gguf_model *m;
    tensor_source *tensors;
    conversion *conversions;
    size_t n;
} listing;

/* Rows 2 i and 2 i + 1 of each head become i and i + head_dim/2. */
static void rows_by_halves(float *x, int64_t heads, int64_t rows, int64_t columns)
{
    const int64_t head_dim = rows / heads;
    float *head = xmalloc(sizeof *head * (size_t)(head_dim * columns));

    for (int64_t h = 0; h < heads; h++) {
        float *at = x + h * head_dim * columns;

        memcpy(head, at, sizeof *head * (size_t)(head_dim * columns));
        for (int64_t i = 0; i < head_dim; i++) {
            const int64_t to = i / 2 + i % 2 * (head_dim / 2);
            memcpy(at + to * columns, head + i * columns, sizeof *head * (size_t)columns);
        }
    }
    free(head);
}

static void fill(void *ctx, float *out)
{
    conversion *c = ctx;

    /* An expert's numbers are one run of the tensor's, and whole blocks: experts are its outermost dimension. */
    const int64_t count = c->from->count / c->parts;
    const size_t bytes = c->from->bytes / (size_t)c->parts;
    gguf_to_f32(c->quant, c->from->data + (size_t)c->part * bytes, out, count);
    c->spoilt = !safetensors_finite(out, count);
    const int64_t columns = c->from->rank == 2 ? c->from->shape[1] : 1;
    if (c->heads) rows_by_halves(out, c->heads, c->from->shape[0], columns);
    if (c->plus != 0)
        for (int64_t i = 0; i < count; i++) out[i] -= c->plus;
}

/* ---- which tensor is which parameter ---- */

/* llama.cpp's names of what is in a layer. */
static const char *const NAMES[PARAM_KINDS] = {
    [PARAM_EMBED] = "token_embd.weight",
    [PARAM_FINAL_NORM] = "output_norm.weight",
    [PARAM_HEAD] = "output.weight",
    [PARAM_ATTN_NORM] = "attn_norm.weight",
    [PARAM_Q] = "attn_q.weight",
    [PARAM_Q_BIAS] = "attn_q.bias",
    [PARAM_K] = "attn_k.weight",
    [PARAM_K_BIAS] = "attn_k.bias",
    [PARAM_V] = "attn_v.weight",
    [PARAM_V_BIAS] = "attn_v.bias",
    [PARAM_QKV] = "attn_qkv.weight",
    [PARAM_Q_NORM] = "attn_q_norm.weight",
    [PARAM_K_NORM] = "attn_k_norm.weight",
    [PARAM_O] = "attn_output.weight",
    [PARAM_O_BIAS] = "attn_output.bias",
    [PARAM_ATTN_POST_NORM] = "post_attention_norm.weight",
    [PARAM_MLP_NORM] = "ffn_norm.weight",
    [PARAM_GATE] = "ffn_gate.weight",
    [PARAM_GATE_BIAS] = "ffn_gate.bias",
    [PARAM_UP] = "ffn_up.weight",
    [PARAM_UP_BIAS] = "ffn_up.bias",
    [PARAM_GATE_UP] = "ffn_up.weight",
    [PARAM_DOWN] = "ffn_down.weight",
    [PARAM_DOWN_BIAS] = "ffn_down.bias",
    [PARAM_MLP_POST_NORM] = "post_ffw_norm.weight",
    [PARAM_ROUTER] = "ffn_gate_inp.weight",
    [PARAM_EXPERT_GATE] = "ffn_gate_exps.weight",
    [PARAM_EXPERT_UP] = "ffn_up_exps.weight",
    [PARAM_EXPERT_DOWN] = "ffn_down_exps.weight",
};

static void name_of(const gguf_model *m, const param *p, char out[GGUF_NAME])
{
    if (p->layer < 0)
        snprintf(out, GGUF_NAME, "%s", NAMES[p->kind]);
    else if (p->kind == PARAM_MLP_NORM && m->family->ffn_norm)
        snprintf(out, GGUF_NAME, "blk.%d.%s.weight", p->layer, m->family->ffn_norm);
    else
        snprintf(out, GGUF_NAME, "blk.%d.%s", p->layer, NAMES[p->kind]);
}

static conversion conversion_of(const gguf_model *m, const param *p)
{
    const bool q = p->kind == PARAM_Q || p->kind == PARAM_Q_BIAS, k = p->kind == PARAM_K || p->kind == PARAM_K_BIAS;
    const bool norm = p->rank == 1 && !param_is_bias(p->kind);
    conversion c = { .plus = norm && m->family->norms_plus ? 1 : 0 };
    if (m->family->neighbours && q) c.heads = m->heads;
    if (m->family->neighbours && k) c.heads = m->kv_heads;
    return c;
}

/* "[6, 24, 16]". */
static const char *dims_text(int rank, const int64_t *dims, char out[96])
{
    int len = 0;
    for (int i = 0; i < rank; i++)
        len += snprintf(out + len, 96 - (size_t)len, "%s%" PRId64, i == 0 ? "[" : ", ", dims[i]);
    snprintf(out + len, 96 - (size_t)len, "]");
    return out;
}

static int check_dims(const listing *l, const gguf_tensor *t, int rank, const int64_t *dims, error *err)
{
    char expected[96], found[96];
    if (t->rank == rank && memcmp(t->shape, dims, sizeof *dims * (size_t)rank) == 0) return OK;
    return error_set(err, ERR_PARSE, "%s: tensor %s: expected %s, found %s", gguf_where(l->m->g), t->name,
                     dims_text(rank, dims, expected), dims_text(t->rank, t->shape, found));
}

/* A parameter's tensor must be there, with its shape; an expert's is a part of one. */
static int take(listing *l, const param *p, error *err)
{
    const gguf *g = l->m->g;
    char name[GGUF_NAME];
    name_of(l->m, p, name);
    const gguf_tensor *t = gguf_find(g, name);
    const bool together = p->n_experts > 0;
    if (!t) return error_set(err, ERR_PARSE, "%s: tensor %s is missing", gguf_where(g), name);

    const gguf_quant *quant = gguf_quant_of(t->type);
    if (!quant)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: tensor %s is %s; supported: F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K", gguf_where(g),
                         t->name, gguf_type_name(t->type));

    const int64_t rows = p->rank == 2 ? p->rows : p->cols, columns = p->rank == 2 ? p->cols : 0;
    const int64_t dims[3] = { p->n_experts, rows, columns };
    if (check_dims(l, t, together ? 3 : p->rank, together ? dims : dims + 1, err) != OK) return ERR_PARSE;

    conversion *c = &l->conversions[l->n];
    *c = conversion_of(l->m, p);
    c->from = t;
    c->quant = quant;
    c->part = together ? p->expert : 0;
    c->parts = together ? p->n_experts : 1;
    tensor_source *source = &l->tensors[l->n++];
    *source = (tensor_source){ .name = p->name, .rank = p->rank, .shape = { rows, columns }, .fill = fill, .ctx = c };
    return OK;
}

/* What became part of config.json. */
static bool is_of_rope(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0 || strcmp(name, "rope_factors_short.weight") == 0 ||
           strcmp(name, "rope_factors_long.weight") == 0;
}

/* Every tensor of the file must have been taken: one that is left would have changed what the model computes. */
static int check_all_taken(const listing *l, error *err)
{
    const gguf *g = l->m->g;
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        bool taken = is_of_rope(t->name);
        for (size_t k = 0; !taken && k < l->n; k++) taken = l->conversions[k].from == t;
        if (!taken)
            return error_set(err, ERR_UNSUPPORTED, "%s: tensor %s is not part of a %s model", gguf_where(g), t->name,
                             l->m->family->name);
    }
    return OK;
}

/* Known once all tensors are written. */
static int refuse_spoilt(const listing *l, error *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->conversions[i].spoilt)
            return error_set(err, ERR_PARSE, "%s: tensor %s holds numbers that are not finite", gguf_where(l->m->g),
                             l->conversions[i].from->name);
    return OK;
}

/* ---- the folder ---- */

static int write_weights(const gguf_model *m, const param_table *t, const char *dir, error *err)
{
    char path[MODEL_FOLDER_BYTES + 64];
    listing l = { .m = m };
    l.tensors = xcalloc((size_t)t->n, sizeof *l.tensors);
    l.conversions = xcalloc((size_t)t->n, sizeof *l.conversions);

    int rc = OK;
    for (int i = 0; rc == OK && i < t->n; i++) rc = take(&l, &t->items[i], err);
    if (rc == OK) rc = check_all_taken(&l, err);
    if (rc == OK)
        rc = safetensors_write(path_join(path, sizeof path, dir, "model.safetensors"), l.tensors, l.n, DTYPE_F32,
                               MODEL_METADATA, err);
    if (rc == OK) rc = refuse_spoilt(&l, err);
    free(l.conversions);
    free(l.tensors);
    return rc;
}

/* config.json, and from it, as any reader would, which parameters the model has. */
static param_table *write_config(const gguf_model *m, const char *dir, error *err)
{
    char path[MODEL_FOLDER_BYTES + 64];
    model_config config;
    json_t *j = gguf_model_config(m, err);
    if (!j) return NULL;

    char *text = json_text(j, false);
    json_decref(j);
    int rc = model_config_parse(&config, text, strlen(text), gguf_where(m->g), err);
    if (rc == OK) rc = file_write_atomic(path_join(path, sizeof path, dir, "config.json"), text, strlen(text), err);
    free(text);
    return rc == OK ? param_table_new(&config, err) : NULL;
}

static int write_all(gguf *g, const gguf_model *m, const char *path, const char *dir, error *err)
{
    int64_t tokens = 0;
    param_table *t = write_config(m, dir, err);
    if (!t) return err ? err->code : ERR_PARSE;

    int rc = write_weights(m, t, dir, err);
    if (rc == OK) rc = import_vocab(g, m->vocab, dir, &tokens, err);
    if (rc == OK) rc = import_check(dir, tokens, path, path, err);
    param_table_free(t);
    return rc;
}

int import_gguf(const char *path, const char *out, error *err)
{
    gguf_model m;
    model_folder f = { 0 };
    gguf *g = gguf_open(path, err);
    if (!g) return err ? err->code : ERR_IO;

    int rc = gguf_model_read(&m, g, err);
    if (rc == OK) rc = model_folder_begin(&f, out, NULL, err);
    if (rc != OK) {
        gguf_close(g);
        return rc;
    }

    rc = write_all(g, &m, path, f.part, err);
    const int ended = model_folder_end(&f, rc == OK, rc == OK ? err : NULL);
    gguf_close(g);
    return rc == OK ? ended : rc;
}
