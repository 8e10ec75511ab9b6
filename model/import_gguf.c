/* SPDX-License-Identifier: MIT */
#include "model/import_gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/config.h"
#include "model/config.h"
#include "model/gguf.h"
#include "model/gguf_quants.h"
#include "model/import_check.h"
#include "model/import_vocab.h"
#include "model/model_folder.h"
#include "model/safetensors.h"

enum { MAX_SIZE = 1 << 24, NAME = 96 };

/* What an architecture is called, and how it differs. */
typedef struct family {
    const char *name, *model_type, *architecture;
    bool neighbours; /* q and k are written for a rotation of neighbours */
    bool biased;     /* q, k and v have biases, without a word in config.json */
} family;

static const family FAMILIES[] = { { "llama", "llama", "LlamaForCausalLM", true, false },
                                   { "qwen2", "qwen2", "Qwen2ForCausalLM", false, true },
                                   { "qwen3", "qwen3", "Qwen3ForCausalLM", false, false } };

typedef struct sizes {
    const family *family;
    int64_t width, layers, heads, kv_heads, head_dim, ffn, max_position, vocab;
    double eps, theta;
    bool tied, qkv_bias;
} sizes;

/* ---- what the metadata says ---- */

static int find_family(const gguf *g, const family **out, error *err)
{
    gguf_text name;
    if (gguf_string(g, "general.architecture", &name, err) != OK) return err ? err->code : ERR_PARSE;
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++)
        if (strlen(FAMILIES[i].name) == name.len && memcmp(FAMILIES[i].name, name.data, name.len) == 0) {
            *out = &FAMILIES[i];
            return OK;
        }
    return error_set(err, ERR_UNSUPPORTED, "%s: general.architecture is '%.*s'; supported: llama, qwen2, qwen3",
                     gguf_where(g), (int)(name.len < 60 ? name.len : 60), name.data);
}

static const char *key_of(const sizes *s, const char *key, char out[NAME])
{
    snprintf(out, NAME, "%s.%s", s->family->name, key);
    return out;
}

/* A size from 1 on. */
static int read_size(const gguf *g, const sizes *s, const char *key, int64_t *out, error *err)
{
    char name[NAME];
    const int rc = gguf_whole(g, key_of(s, key, name), out, err);
    if (rc != OK) return rc;
    if (*out < 1 || *out > MAX_SIZE)
        return error_set(err, ERR_PARSE, "%s: %s is %" PRId64 "; expected 1 to %d", gguf_where(g), name, *out,
                         MAX_SIZE);
    return OK;
}

static int read_size_or(const gguf *g, const sizes *s, const char *key, int64_t or_else, int64_t *out, error *err)
{
    char name[NAME];
    *out = or_else;
    return gguf_has(g, key_of(s, key, name)) ? read_size(g, s, key, out, err) : OK;
}

static int read_real_or(const gguf *g, const sizes *s, const char *key, double or_else, double *out, error *err)
{
    char name[NAME];
    *out = or_else;
    return gguf_has(g, key_of(s, key, name)) ? gguf_real(g, name, out, err) : OK;
}

/* What would make the same weights compute something else, and has no place in the folder. */
static int refuse_variants(const gguf *g, const sizes *s, error *err)
{
    static const struct {
        const char *key, *why;
    } KEYS[] = {
        { "expert_count", "it is a mixture of experts" },
        { "attention.sliding_window", "its attention has a window" },
        { "attn_logit_softcapping", "its scores are capped" },
        { "final_logit_softcapping", "its logits are capped" },
        { "residual_scale", "its residuals are scaled" },
        { "embedding_scale", "its embedding is scaled" },
        { "logit_scale", "its logits are scaled" },
        { "attention.clamp_kqv", "its projections are clamped" },
    };
    char name[NAME];
    double v;

    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (gguf_has(g, key_of(s, KEYS[i].key, name)) && (gguf_real(g, name, &v, NULL) != OK || v != 0.0))
            return error_set(err, ERR_UNSUPPORTED, "%s: %s is set: %s, which is not supported", gguf_where(g), name,
                             KEYS[i].why);
    return OK;
}

static int read_heads(const gguf *g, sizes *s, error *err)
{
    int64_t rope;
    int rc = read_size(g, s, "attention.head_count", &s->heads, err);
    if (rc == OK) rc = read_size_or(g, s, "attention.head_count_kv", s->heads, &s->kv_heads, err);
    if (rc == OK) rc = read_size_or(g, s, "attention.key_length", s->width / s->heads, &s->head_dim, err);
    if (rc == OK) rc = read_size_or(g, s, "rope.dimension_count", s->head_dim, &rope, err);
    if (rc != OK) return rc;

    if (s->heads % s->kv_heads != 0 || s->head_dim % 2 != 0)
        return error_set(err, ERR_PARSE,
                         "%s: %" PRId64 " heads, %" PRId64 " key/value heads of %" PRId64 " don't go together",
                         gguf_where(g), s->heads, s->kv_heads, s->head_dim);
    if (rope != s->head_dim)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: %s.rope.dimension_count is %" PRId64 ", heads have %" PRId64
                         ": a rotation of part of a head is not supported",
                         gguf_where(g), s->family->name, rope, s->head_dim);
    return OK;
}

static int read_sizes(const gguf *g, sizes *s, error *err)
{
    const gguf_tensor *embedding = gguf_find(g, "token_embd.weight");
    int rc = find_family(g, &s->family, err);
    if (rc == OK) rc = read_size(g, s, "embedding_length", &s->width, err);
    if (rc == OK) rc = read_size(g, s, "block_count", &s->layers, err);
    if (rc == OK) rc = read_size(g, s, "feed_forward_length", &s->ffn, err);
    if (rc == OK) rc = read_size(g, s, "context_length", &s->max_position, err);
    if (rc == OK) rc = read_heads(g, s, err);
    if (rc == OK) rc = read_real_or(g, s, "attention.layer_norm_rms_epsilon", 1e-5, &s->eps, err);
    if (rc == OK) rc = read_real_or(g, s, "rope.freq_base", 10000, &s->theta, err);
    if (rc == OK) rc = refuse_variants(g, s, err);
    if (rc != OK) return rc;

    if (s->layers > MAX_LAYERS)
        return error_set(err, ERR_PARSE, "%s: %" PRId64 " layers are more than %d", gguf_where(g), s->layers,
                         MAX_LAYERS);
    if (!embedding || embedding->rank != 2 || embedding->shape[0] > MAX_SIZE)
        return error_set(err, ERR_PARSE, "%s: token_embd.weight is missing, or not a matrix", gguf_where(g));

    s->vocab = embedding->shape[0];
    s->tied = !gguf_find(g, "output.weight");
    s->qkv_bias = gguf_find(g, "blk.0.attn_q.bias") != NULL;
    if (s->qkv_bias && !s->family->biased && !gguf_find(g, "blk.0.attn_output.bias"))
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: q, k and v have biases and the attention's output has none, which "
                         "a %s of transformers does not allow",
                         gguf_where(g), s->family->architecture);
    return OK;
}

/* ---- tensors ---- */

typedef struct conversion {
    const gguf_tensor *from;
    const gguf_quant *quant;
    int64_t heads; /* rows are put in the order of halves, head by head; 0: they stay */
    bool spoilt;   /* one of its numbers is none */
} conversion;

typedef struct listing {
    const gguf *g;
    const sizes *s;
    tensor_source *tensors;
    conversion *conversions;
    char (*names)[NAME];
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
    gguf_to_f32(c->quant, c->from->data, out, c->from->count);
    c->spoilt = !safetensors_finite(out, c->from->count);
    const int64_t columns = c->from->rank == 2 ? c->from->shape[1] : 1;
    if (c->heads) rows_by_halves(out, c->heads, c->from->shape[0], columns);
}

/* A tensor that must be there with this shape (columns 0: a vector). */
static int take(listing *l, const char *from, const char *to, int64_t rows, int64_t columns, int64_t heads, error *err)
{
    const gguf_tensor *t = gguf_find(l->g, from);
    if (!t) return error_set(err, ERR_PARSE, "%s: tensor %s is missing", gguf_where(l->g), from);
    const gguf_quant *quant = gguf_quant_of(t->type);
    if (!quant)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: tensor %s is %s; supported: F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K", gguf_where(l->g),
                         from, gguf_type_name(t->type));
    const bool fits =
        columns ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == columns : t->rank == 1 && t->shape[0] == rows;
    if (!fits)
        return error_set(err, ERR_PARSE,
                         "%s: tensor %s: expected [%" PRId64 ", %" PRId64 "], found [%" PRId64 ", %" PRId64 "]",
                         gguf_where(l->g), from, rows, columns, t->shape[0], t->rank > 1 ? t->shape[1] : 0);

    conversion *c = &l->conversions[l->n];
    *c = (conversion){ .from = t, .quant = quant, .heads = heads };
    snprintf(l->names[l->n], sizeof l->names[0], "%s", to);
    tensor_source *source = &l->tensors[l->n];
    *source = (tensor_source){ .name = l->names[l->n], .rank = t->rank, .fill = fill, .ctx = c };
    source->shape[0] = rows;
    source->shape[1] = columns;
    l->n++;
    return OK;
}

typedef struct layer_tensor {
    const char *from, *to;
    int64_t rows, columns, heads;
    bool optional;
} layer_tensor;

static int take_layer(listing *l, int64_t layer, error *err)
{
    const sizes *s = l->s;
    const bool turn = s->family->neighbours;
    const int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;

    const layer_tensor parts[] = {
        { "attn_norm.weight", "input_layernorm.weight", s->width, 0, 0, false },
        { "attn_q.weight", "self_attn.q_proj.weight", q, s->width, turn ? s->heads : 0, false },
        { "attn_k.weight", "self_attn.k_proj.weight", kv, s->width, turn ? s->kv_heads : 0, false },
        { "attn_v.weight", "self_attn.v_proj.weight", kv, s->width, 0, false },
        { "attn_output.weight", "self_attn.o_proj.weight", s->width, q, 0, false },
        { "attn_q.bias", "self_attn.q_proj.bias", q, 0, turn ? s->heads : 0, true },
        { "attn_k.bias", "self_attn.k_proj.bias", kv, 0, turn ? s->kv_heads : 0, true },
        { "attn_v.bias", "self_attn.v_proj.bias", kv, 0, 0, true },
        { "attn_output.bias", "self_attn.o_proj.bias", s->width, 0, 0, true },
        { "attn_q_norm.weight", "self_attn.q_norm.weight", s->head_dim, 0, 0, true },
        { "attn_k_norm.weight", "self_attn.k_norm.weight", s->head_dim, 0, 0, true },
        { "ffn_norm.weight", "post_attention_layernorm.weight", s->width, 0, 0, false },
        { "ffn_gate.weight", "mlp.gate_proj.weight", s->ffn, s->width, 0, false },
        { "ffn_up.weight", "mlp.up_proj.weight", s->ffn, s->width, 0, false },
        { "ffn_down.weight", "mlp.down_proj.weight", s->width, s->ffn, 0, false },
    };

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char from[NAME], to[NAME];
        snprintf(from, sizeof from, "blk.%" PRId64 ".%s", layer, parts[i].from);
        snprintf(to, sizeof to, "model.layers.%" PRId64 ".%s", layer, parts[i].to);

        if (parts[i].optional && !gguf_find(l->g, from)) continue;
        const int rc = take(l, from, to, parts[i].rows, parts[i].columns, parts[i].heads, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* Every tensor of the file must have been taken: one that is left would have changed what the model computes. */
static int check_all_taken(const listing *l, error *err)
{
    for (size_t i = 0; i < gguf_tensors(l->g); i++) {
        const gguf_tensor *t = gguf_tensor_at(l->g, i);
        bool taken = strcmp(t->name, "rope_freqs.weight") == 0; /* read by write_config */
        for (size_t k = 0; !taken && k < l->n; k++) taken = l->conversions[k].from == t;
        if (!taken)
            return error_set(err, ERR_UNSUPPORTED, "%s: tensor %s is not part of a %s model", gguf_where(l->g), t->name,
                             l->s->family->name);
    }
    return OK;
}

static int list_tensors(listing *l, error *err)
{
    const sizes *s = l->s;
    int rc = take(l, "token_embd.weight", "model.embed_tokens.weight", s->vocab, s->width, 0, err);
    for (int64_t i = 0; rc == OK && i < s->layers; i++) rc = take_layer(l, i, err);
    if (rc == OK) rc = take(l, "output_norm.weight", "model.norm.weight", s->width, 0, 0, err);
    if (rc == OK && !s->tied) rc = take(l, "output.weight", "lm_head.weight", s->vocab, s->width, 0, err);
    return rc == OK ? check_all_taken(l, err) : rc;
}

/* Known once all tensors are written. */
static int refuse_spoilt(const listing *l, error *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->conversions[i].spoilt)
            return error_set(err, ERR_PARSE, "%s: tensor %s holds numbers that are not finite", gguf_where(l->g),
                             l->conversions[i].from->name);
    return OK;
}

static int write_weights(const gguf *g, const sizes *s, const char *dir, error *err)
{
    char path[MODEL_FOLDER_BYTES + 64];
    const size_t room = gguf_tensors(g) + 1;
    listing l = { .g = g, .s = s };
    l.tensors = xcalloc(room, sizeof *l.tensors);
    l.conversions = xcalloc(room, sizeof *l.conversions);
    l.names = xcalloc(room, sizeof *l.names);

    int rc = list_tensors(&l, err);
    if (rc == OK)
        rc = safetensors_write(path_join(path, sizeof path, dir, "model.safetensors"), l.tensors, l.n, DTYPE_F32,
                               MODEL_METADATA, err);
    if (rc == OK) rc = refuse_spoilt(&l, err);
    free(l.names);
    free(l.conversions);
    free(l.tensors);
    return rc;
}

/* ---- config.json ---- */

/* A number that the file holds in fp32, by its shortest digits: 1e-05, not 9.99999974737875e-06. */
static json_t *shortest(double v)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v) break;
    }
    return json_real(strtod(text, NULL));
}

/* Llama 3.1's stretching, as transformers computes it: what factor a frequency is divided by. */
static double llama3_factor(double frequency, double factor, double original)
{
    const double low = 1, high = 4, length = 2 * 3.14159265358979323846 / frequency;
    if (length < original / high) return 1;
    if (length > original / low) return factor;
    const double smooth = (original / length - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

static bool same_factors(const float *factors, const sizes *s, double factor, double original)
{
    for (int64_t i = 0; i < s->head_dim / 2; i++) {
        const double frequency = pow(s->theta, -2.0 * (double)i / (double)s->head_dim);
        const double expected = llama3_factor(frequency, factor, original);
        if (fabs((double)factors[i] - expected) > 1e-3 * expected) return false;
    }
    return true;
}

/* llama.cpp keeps Llama 3's scaling as a tensor of factors; which of the known ones it is, they say themselves. */
static int rope_of_factors(const gguf *g, const sizes *s, const gguf_tensor *t, json_t *config, error *err)
{
    static const double FACTORS[] = { 8, 32, 16, 4 }, ORIGINAL = 8192;
    if (t->type != 0 || t->count != s->head_dim / 2)
        return error_set(err, ERR_PARSE, "%s: rope_freqs.weight: expected %" PRId64 " numbers in F32", gguf_where(g),
                         s->head_dim / 2);

    float *factors = xcalloc((size_t)t->count, sizeof *factors);
    memcpy(factors, t->data, t->bytes);

    double found = 0;
    for (size_t i = 0; i < sizeof FACTORS / sizeof *FACTORS && found == 0; i++)
        if (same_factors(factors, s, FACTORS[i], ORIGINAL)) found = FACTORS[i];
    free(factors);

    if (found == 0)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: rope_freqs.weight is not a supported scaling (llama3 with "
                         "factors 4, 8, 16, 32 is)",
                         gguf_where(g));

    json_object_set_new(config, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", found,
                                  "low_freq_factor", 1.0, "high_freq_factor", 4.0, "original_max_position_embeddings",
                                  (int)ORIGINAL));
    return OK;
}

static int write_rope(const gguf *g, const sizes *s, json_t *config, error *err)
{
    char key[NAME];
    gguf_text kind;
    double factor;
    json_object_set_new(config, "rope_theta", shortest(s->theta));
    const gguf_tensor *factors = gguf_find(g, "rope_freqs.weight");
    if (factors) return rope_of_factors(g, s, factors, config, err);
    if (!gguf_has(g, key_of(s, "rope.scaling.type", key))) return OK;

    if (gguf_string(g, key, &kind, err) != OK) return ERR_PARSE;
    if (kind.len == 4 && memcmp(kind.data, "none", 4) == 0) return OK;
    if (kind.len != 6 || memcmp(kind.data, "linear", 6) != 0)
        return error_set(err, ERR_UNSUPPORTED, "%s: %s is '%.*s'; supported: none, linear", gguf_where(g), key,
                         (int)(kind.len < 40 ? kind.len : 40), kind.data);
    const int rc = gguf_real(g, key_of(s, "rope.scaling.factor", key), &factor, err);
    if (rc == OK)
        json_object_set_new(config, "rope_scaling",
                            json_pack("{s:s, s:o}", "rope_type", "linear", "factor", shortest(factor)));
    return rc;
}

static int write_ids(const gguf *g, const sizes *s, json_t *config, error *err)
{
    static const char *const KEYS[][2] = { { "tokenizer.ggml.bos_token_id", "bos_token_id" },
                                           { "tokenizer.ggml.eos_token_id", "eos_token_id" },
                                           { "tokenizer.ggml.padding_token_id", "pad_token_id" } };

    for (size_t i = 0; i < 3; i++) {
        int32_t id;
        const int rc = import_vocab_id(g, KEYS[i][0], s->vocab, &id, err);
        if (rc != OK) return rc;
        if (id >= 0) json_object_set_new(config, KEYS[i][1], json_integer(id));
    }
    return OK;
}

static json_t *config_json(const sizes *s)
{
    json_t *j = json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s}", "architectures",
                          s->family->architecture, "model_type", s->family->model_type, "hidden_size", s->width,
                          "intermediate_size", s->ffn, "num_hidden_layers", s->layers, "num_attention_heads", s->heads,
                          "num_key_value_heads", s->kv_heads, "head_dim", s->head_dim, "vocab_size", s->vocab,
                          "max_position_embeddings", s->max_position, "tie_word_embeddings", s->tied, "hidden_act",
                          "silu", "torch_dtype", "float32");
    if (!s->family->biased) json_object_set_new(j, "attention_bias", json_boolean(s->qkv_bias));
    json_object_set_new(j, "rms_norm_eps", shortest(s->eps));
    return j;
}

static int write_config(const gguf *g, const sizes *s, const char *dir, error *err)
{
    char path[MODEL_FOLDER_BYTES + 64];
    json_t *config = config_json(s);

    int rc = write_rope(g, s, config, err);
    if (rc == OK) rc = write_ids(g, s, config, err);
    if (rc == OK) {
        char *text = json_text(config, false);
        rc = file_write_atomic(path_join(path, sizeof path, dir, "config.json"), text, strlen(text), err);
        free(text);
    }

    json_decref(config);
    return rc;
}

int import_gguf(const char *path, const char *out, error *err)
{
    sizes s = { 0 };
    model_folder f = { 0 };
    int64_t tokens = 0;
    gguf *g = gguf_open(path, err);
    if (!g) return err ? err->code : ERR_IO;

    int rc = read_sizes(g, &s, err);
    if (rc == OK) rc = model_folder_begin(&f, out, NULL, err);
    if (rc != OK) {
        gguf_close(g);
        return rc;
    }
    rc = write_weights(g, &s, f.part, err);
    if (rc == OK) rc = import_vocab(g, s.vocab, f.part, &tokens, err);
    if (rc == OK) rc = write_config(g, &s, f.part, err);
    if (rc == OK) rc = import_check(f.part, tokens, path, path, err);

    const int ended = model_folder_end(&f, rc == OK, rc == OK ? err : NULL);
    gguf_close(g);
    return rc == OK ? ended : rc;
}
