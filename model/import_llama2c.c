/* SPDX-License-Identifier: MIT */
#include "model/import_llama2c.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/import_check.h"
#include "model/import_spm.h"
#include "model/model_folder.h"
#include "model/safetensors.h"

enum {
    HEADER = 7,
    MAX_FILE = 1 << 30,
    MAX_SIZE = 1 << 20,
    MAX_FILE_LAYERS = 256,
    PER_LAYER = 9,
    FIRST_BYTE = 3,
    MAX_TOKEN = 512
};

typedef struct shape {
    int32_t dim, hidden, layers, heads, kv_heads, vocab, length;
    bool tied;
} shape;

/* ---- the checkpoint ---- */

static int read_shape(shape *s, const char *data, size_t len, const char *where, error *err)
{
    int32_t h[HEADER];
    if (len < sizeof h) return error_set(err, ERR_PARSE, "%s: expected a header of 28 bytes, found %zu", where, len);
    memcpy(h, data, sizeof h);

    /* A vocabulary's size below 0 says that the head is a matrix of its own. Far below, it stays what it is: no
     * size. */
    const int32_t vocab = h[5] < 0 && h[5] > -MAX_SIZE ? -h[5] : h[5];
    *s = (shape){ .dim = h[0], .hidden = h[1], .layers = h[2], .heads = h[3], .kv_heads = h[4], .length = h[6] };
    s->vocab = vocab;
    s->tied = h[5] > 0;

    const int32_t sizes[] = { s->dim, s->hidden, s->layers, s->heads, s->kv_heads, s->vocab, s->length };
    for (size_t i = 0; i < HEADER; i++)
        if (sizes[i] < 1 || sizes[i] > MAX_SIZE)
            return error_set(err, ERR_PARSE, "%s: field %zu of its header is %d: not a llama2.c checkpoint", where, i,
                             h[i]);
    if (s->layers > MAX_FILE_LAYERS || s->dim % s->heads != 0 || s->heads % s->kv_heads != 0 ||
        s->dim / s->heads % 2 != 0)
        return error_set(err, ERR_PARSE, "%s: %d layers, width %d, %d heads and %d key/value heads do not fit together",
                         where, s->layers, s->dim, s->heads, s->kv_heads);
    return OK;
}

/* The tensors in the order of the file; each call moves the cursor. */
typedef struct reading {
    shape s;
    const float *at;
    size_t left; /* floats */
    tensor_source *tensors;
    char (*names)[96];
    float **owned; /* turned copies */
    size_t n, n_owned;
} reading;

static const float *take(reading *r, int64_t rows, int64_t columns)
{
    const size_t n = (size_t)rows * (size_t)columns;
    const float *p = r->at;
    const size_t taken = n < r->left ? n : r->left;
    r->at += taken;
    r->left -= taken;
    return p;
}

/* layer < 0: the name stands by itself. */
static void give(reading *r, int layer, const char *name, const float *data, int64_t rows, int64_t columns)
{
    char *full = r->names[r->n];
    if (layer >= 0)
        snprintf(full, sizeof r->names[0], "model.layers.%d.%s.weight", layer, name);
    else
        snprintf(full, sizeof r->names[0], "%s.weight", name);

    tensor_source *t = &r->tensors[r->n++];
    *t = (tensor_source){ .name = full, .rank = rows > 0 ? 2 : 1, .data = data };
    t->shape[0] = rows > 0 ? rows : columns;
    t->shape[1] = columns;
}

/* Rows 2 i and 2 i + 1 of each head become i and i + hd/2: llama2.c rotates neighbours, this transformer the two halves
 * of a head. */
static const float *halves(reading *r, const float *x, int heads)
{
    const int hd = r->s.dim / r->s.heads, dim = r->s.dim;
    float *out = r->owned[r->n_owned++] = xmalloc(sizeof(float) * (size_t)(heads * hd) * (size_t)dim);
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < hd; i++) {
            const int to = h * hd + i / 2 + i % 2 * hd / 2, from = h * hd + i;
            memcpy(out + (size_t)to * (size_t)dim, x + (size_t)from * (size_t)dim, sizeof(float) * (size_t)dim);
        }
    return out;
}

static size_t floats_needed(const shape *s)
{
    assert(s->heads > 0); /* read_shape has seen to it */
    const size_t dim = (size_t)s->dim, kv = dim / (size_t)s->heads * (size_t)s->kv_heads, hidden = (size_t)s->hidden;
    const size_t layer = 2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * hidden * dim;
    const size_t matrices = (size_t)s->vocab * dim * (s->tied ? 1 : 2); /* embedding and head */
    const size_t tables = (size_t)s->length * (dim / (size_t)s->heads); /* cosines and sines */
    return matrices + (size_t)s->layers * layer + dim + tables;
}

/* A matrix [rows, columns] of every layer, or with rows 0 a vector. */
static void give_layers(reading *r, const char *name, int64_t rows, int64_t columns)
{
    for (int l = 0; l < r->s.layers; l++) give(r, l, name, take(r, rows > 0 ? rows : 1, columns), rows, columns);
}

static void give_heads(reading *r, const char *name, int heads)
{
    const int64_t dim = r->s.dim, rows = dim / r->s.heads * heads;
    for (int l = 0; l < r->s.layers; l++) give(r, l, name, halves(r, take(r, rows, dim), heads), rows, dim);
}

/* By kinds, each of all layers: the order in which llama2.c writes them. */
static void read_tensors(reading *r)
{
    const shape *s = &r->s;
    const int dim = s->dim, kv = dim / s->heads * s->kv_heads;
    give(r, -1, "model.embed_tokens", take(r, s->vocab, dim), s->vocab, dim);

    give_layers(r, "input_layernorm", 0, dim);
    give_heads(r, "self_attn.q_proj", s->heads);
    give_heads(r, "self_attn.k_proj", s->kv_heads);
    give_layers(r, "self_attn.v_proj", kv, dim);
    give_layers(r, "self_attn.o_proj", dim, dim);
    give_layers(r, "post_attention_layernorm", 0, dim);
    give_layers(r, "mlp.gate_proj", s->hidden, dim);
    give_layers(r, "mlp.down_proj", dim, s->hidden);
    give_layers(r, "mlp.up_proj", s->hidden, dim);

    give(r, -1, "model.norm", take(r, 1, dim), 0, dim);
    take(r, s->length, dim / s->heads); /* tables of cosines and sines, which are no longer used */
    if (!s->tied) give(r, -1, "lm_head", take(r, s->vocab, dim), s->vocab, dim);
}

/* The tables of cosines and sines are not among them: they are not used. */
static int refuse_spoilt(const reading *r, const char *where, error *err)
{
    for (size_t i = 0; i < r->n; i++) {
        const tensor_source *t = &r->tensors[i];
        const int64_t count = t->shape[0] * (t->rank == 2 ? t->shape[1] : 1);
        if (!safetensors_finite(t->data, count))
            return error_set(err, ERR_PARSE, "%s: tensor %s holds numbers that are not finite", where, t->name);
    }
    return OK;
}

static int write_weights(const shape *s, const char *data, size_t len, const char *where, const char *out, error *err)
{
    char path[1200];
    const size_t bytes = sizeof(int32_t) * HEADER, need = floats_needed(s), max = (size_t)s->layers * PER_LAYER + 3;
    if (len != bytes + need * sizeof(float))
        return error_set(err, ERR_PARSE, "%s: expected %zu bytes for these sizes, found %zu", where,
                         bytes + need * sizeof(float), len);

    reading r = { .s = *s, .at = (const float *)(const void *)(data + bytes), .left = need };
    r.tensors = xcalloc(max, sizeof *r.tensors);
    r.names = xcalloc(max, sizeof *r.names);
    r.owned = xcalloc((size_t)s->layers * 2, sizeof *r.owned);

    read_tensors(&r);
    int rc = refuse_spoilt(&r, where, err);
    if (rc == OK)
        rc = safetensors_write(path_join(path, sizeof path, out, "model.safetensors"), r.tensors, r.n, DTYPE_F32,
                               MODEL_METADATA, err);

    for (size_t i = 0; i < r.n_owned; i++) free(r.owned[i]);
    free(r.owned);
    free(r.names);
    free(r.tensors);
    return rc;
}

static int write_json(const char *out, const char *name, json_t *j, error *err)
{
    char path[1200];
    char *text = json_text(j, false);
    const int rc = file_write_atomic(path_join(path, sizeof path, out, name), text, strlen(text), err);
    free(text);
    json_decref(j);
    return rc;
}

static int write_config(const shape *s, const char *out, error *err)
{
    /* What the checkpoint doesn't say stands as a number in llama2.c's run.c: eps, theta, the ids of bos and eos. */
    json_t *j =
        json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:s, s:i, s:i, s:s}", "architectures",
                  "LlamaForCausalLM", "model_type", "llama", "hidden_size", s->dim, "intermediate_size", s->hidden,
                  "num_hidden_layers", s->layers, "num_attention_heads", s->heads, "num_key_value_heads", s->kv_heads,
                  "vocab_size", s->vocab, "max_position_embeddings", s->length, "rms_norm_eps", 1e-5, "rope_theta",
                  10000.0, "tie_word_embeddings", s->tied, "hidden_act", "silu", "bos_token_id", 1, "eos_token_id", 2,
                  "torch_dtype", "float32");
    return write_json(out, "config.json", j, err);
}

/* ---- the tokenizer ---- */

/* A piece's bytes with the mark of SentencePiece for each space; the special tokens by their names. */
static char *written(const char *bytes, size_t len, int32_t id)
{
    static const char *const SPECIAL[FIRST_BYTE] = { "<unk>", "<s>", "</s>" };
    str s = { 0 };
    if (id < FIRST_BYTE) return xstrdup(SPECIAL[id]);

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == ' ')
            str_puts(&s, "\xe2\x96\x81");
        else
            str_putc(&s, bytes[i]);
    }
    if (!s.data) str_puts(&s, "");
    return s.data;
}

static piece_kind kind_of(int32_t id)
{
    if (id == 0) return PIECE_UNKNOWN;
    if (id < FIRST_BYTE) return PIECE_CONTROL;
    return id < FIRST_BYTE + 256 ? PIECE_BYTE : PIECE_NORMAL;
}

static int read_pieces(spm_piece *pieces, int32_t n, const char *data, size_t len, const char *where, error *err)
{

    size_t at = sizeof(int32_t); /* the longest token's length: not needed */
    for (int32_t i = 0; i < n; i++) {
        int32_t bytes;
        if (len < at + 8)
            return error_set(err, ERR_PARSE, "%s: expected %d tokens, found the end at token %d", where, n, i);

        memcpy(&pieces[i].score, data + at, 4);
        memcpy(&bytes, data + at + 4, 4);
        at += 8;
        if (bytes < 0 || bytes > MAX_TOKEN || len - at < (size_t)bytes)
            return error_set(err, ERR_PARSE, "%s: token %d has %d bytes", where, i, bytes);

        if (!isfinite(pieces[i].score))
            return error_set(err, ERR_PARSE, "%s: the score of token %d is not finite", where, i);

        pieces[i].id = i;
        pieces[i].kind = kind_of(i);
        pieces[i].text = written(data + at, (size_t)bytes, i);
        at += (size_t)bytes;
    }
    return OK;
}

static int write_tokenizer(const shape *s, const char *path, const char *out, error *err)
{
    size_t len;
    char *data = file_read(path, MAX_FILE, &len, err);
    if (!data) return err ? err->code : ERR_IO;

    spm_piece *pieces = xcalloc((size_t)s->vocab, sizeof *pieces);

    int rc = read_pieces(pieces, s->vocab, data, len, path, err);
    if (rc == OK) rc = write_json(out, "tokenizer.json", spm_tokenizer(pieces, s->vocab, true, -1), err);

    for (int32_t i = 0; i < s->vocab; i++) free(pieces[i].text);
    free(pieces);
    free(data);
    return rc;
}

int import_llama2c(const char *model_path, const char *tokenizer_path, const char *out, error *err)
{
    size_t len;
    shape s = { 0 };
    char *data = file_read(model_path, MAX_FILE, &len, err);
    if (!data) return err ? err->code : ERR_IO;

    int rc = read_shape(&s, data, len, model_path, err);
    model_folder f = { 0 };
    if (rc == OK) rc = model_folder_begin(&f, out, NULL, err);
    if (rc == OK) rc = write_weights(&s, data, len, model_path, f.part, err);
    if (rc == OK) rc = write_tokenizer(&s, tokenizer_path, f.part, err);
    if (rc == OK) rc = write_config(&s, f.part, err);
    if (rc == OK) rc = import_check(f.part, s.vocab, model_path, tokenizer_path, err);

    const int ended = model_folder_end(&f, rc == OK, rc == OK ? err : NULL);
    free(data);
    return rc == OK ? ended : rc;
}
