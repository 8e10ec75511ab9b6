/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_DIMENSION = 1 << 22, MAX_LAYERS = 1024, MAX_HEAD_DIM = 1024 };

/* The text under way: every reader below gets it first. */
typedef struct source {
    const json_t *j;
    const char *where;
} source;

static int unsupported(const source *s, const char *key, const json_t *found, const char *supported, error *err)
{
    char *text = json_text(found, true);
    const int rc = error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: %s", s->where, key, text, supported);
    free(text);
    return rc;
}

/* ---- the family: what the architecture's name says ---- */

typedef struct family {
    const char *architecture, *model_type;
    bool qkv_bias, qk_norm;
    bool optional_bias;                                /* attention_bias gives q, k, v and o one */
    enum { NEVER, ALWAYS, WHEN_ASKED } sliding_window; /* WHEN_ASKED: use_sliding_window, from max_window_layers on */
    int default_head_dim;                              /* 0: width / heads */
} family;

static const family FAMILIES[] = {
    { .architecture = "LlamaForCausalLM", .model_type = "llama", .optional_bias = true },
    { .architecture = "Qwen2ForCausalLM", .model_type = "qwen2", .qkv_bias = true, .sliding_window = WHEN_ASKED },
    { .architecture = "Qwen3ForCausalLM",
      .model_type = "qwen3",
      .qk_norm = true,
      .optional_bias = true,
      .sliding_window = WHEN_ASKED,
      .default_head_dim = 128 },
    { .architecture = "MistralForCausalLM", .model_type = "mistral", .sliding_window = ALWAYS },
};
static const char KNOWN[] = "LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, MistralForCausalLM";

static const family *family_of(const char *architecture, const char *model_type)
{
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        const family *f = &FAMILIES[i];
        const bool same =
            architecture ? strcmp(architecture, f->architecture) == 0 : strcmp(model_type, f->model_type) == 0;
        if (same) return f;
    }
    return NULL;
}

/* By the architecture's name; files that have none are what their model_type says. */
static int read_family(const family **out, model_config *c, const source *s, error *err)
{
    const json_t *list = json_object_get(s->j, "architectures"), *type = json_object_get(s->j, "model_type");
    const char *name = json_string_value(json_array_get(list, 0)), *kind = json_string_value(type);
    if (!name && (list || !kind))
        return error_set(err, ERR_PARSE, "%s: architectures: expected a list with one name", s->where);

    const family *f = NULL;
    if (!name || json_array_size(list) == 1) f = family_of(name, kind);
    if (!f) return unsupported(s, name ? "architectures" : "model_type", name ? list : type, KNOWN, err);
    if (type && (!kind || strcmp(kind, f->model_type) != 0))
        return unsupported(s, "model_type", type, f->model_type, err);

    snprintf(c->architecture, sizeof c->architecture, "%s", f->architecture);
    c->qkv_bias = f->qkv_bias;
    c->qk_norm = f->qk_norm;
    *out = f;
    return OK;
}

/* Biases where the family leaves the choice, and what a file may say that this transformer doesn't compute. */
static int read_variants(model_config *c, const family *f, const source *s, error *err)
{
    const char *activation;
    bool attention_bias, mlp_bias;
    double rotary_share;
    const json_t *quantization = json_object_get(s->j, "quantization_config");
    if (json_opt_string(s->j, "hidden_act", s->where, "silu", &activation, err) != OK ||
        json_opt_bool(s->j, "attention_bias", s->where, false, &attention_bias, err) != OK ||
        json_opt_bool(s->j, "mlp_bias", s->where, false, &mlp_bias, err) != OK ||
        json_opt_number(s->j, "partial_rotary_factor", s->where, 1, &rotary_share, err) != OK)
        return ERR_PARSE;

    if (strcmp(activation, "silu") != 0)
        return unsupported(s, "hidden_act", json_object_get(s->j, "hidden_act"), "\"silu\"", err);
    if (attention_bias && !f->optional_bias) return unsupported(s, "attention_bias", json_true(), "false", err);
    if (mlp_bias) return unsupported(s, "mlp_bias", json_true(), "false", err);
    if (rotary_share != 1.0)
        return unsupported(s, "partial_rotary_factor", json_object_get(s->j, "partial_rotary_factor"), "1", err);
    if (quantization && !json_is_null(quantization))
        return unsupported(s, "quantization_config", quantization, "null", err);

    c->qkv_bias = c->qkv_bias || attention_bias;
    c->o_bias = attention_bias;
    return OK;
}

/* ---- the rotary embedding ---- */

static int read_llama3(rope_scaling *r, const json_t *rope, const char *where, error *err)
{
    double low, high, original;
    if (json_need_number(rope, "low_freq_factor", where, &low, err) != OK ||
        json_need_number(rope, "high_freq_factor", where, &high, err) != OK ||
        json_need_number(rope, "original_max_position_embeddings", where, &original, err) != OK)
        return ERR_PARSE;
    if (!(low > 0 && high > low && high < 1e6 && original >= 1 && original < 1e9))
        return error_set(err, ERR_PARSE,
                         "%s: expected 0 < low_freq_factor < high_freq_factor and "
                         "original_max_position_embeddings from 1, found %g, %g and %g",
                         where, low, high, original);

    r->low_freq_factor = (float)low;
    r->high_freq_factor = (float)high;
    r->original_max_position = (float)original;
    return OK;
}

/* The kind of a rotary embedding, named where older ("type") and newer files ("rope_type") keep it. Without a name and a
 * factor it is the default one. NULL: none that can be read. */
static const char *rope_kind(const json_t *rope)
{
    const json_t *type = json_object_get(rope, "rope_type");
    if (!type) type = json_object_get(rope, "type");
    if (type) return json_string_value(type);
    return json_object_get(rope, "factor") ? NULL : "default";
}

static bool is_rope_kind(const char *name)
{
    return name && (strcmp(name, "default") == 0 || strcmp(name, "linear") == 0 || strcmp(name, "llama3") == 0);
}

static int read_rope(rope_scaling *r, const char *key, const source *s, error *err)
{
    const json_t *rope = json_object_get(s->j, key);
    if (!rope || json_is_null(rope)) return OK;

    const json_t *share = json_object_get(rope, "partial_rotary_factor");
    const bool whole = !share || (json_is_number(share) && json_number_value(share) == 1.0);
    const char *name = rope_kind(rope);
    if (!json_is_object(rope) || !whole || !is_rope_kind(name))
        return unsupported(s, key, rope, "null, or of type default, linear or llama3 and the whole head", err);
    if (strcmp(name, "default") == 0) return OK;

    char where[PATH_MAX];
    double factor;
    snprintf(where, sizeof where, "%s: %s", s->where, key);
    if (json_need_number(rope, "factor", where, &factor, err) != OK) return ERR_PARSE;
    if (!(factor >= 1 && factor < 1e6))
        return error_set(err, ERR_PARSE, "%s: factor: expected 1 or more, found %g", where, factor);

    r->factor = (float)factor;
    r->kind = strcmp(name, "linear") == 0 ? ROPE_LINEAR : ROPE_LLAMA3;
    return r->kind == ROPE_LLAMA3 ? read_llama3(r, rope, where, err) : OK;
}

/* ---- the sliding window ---- */

/* layer_types, where a file has them, must say what window_from says. */
static int check_layer_types(const model_config *c, const source *s, error *err)
{
    const json_t *types = json_object_get(s->j, "layer_types");
    if (!types || json_is_null(types)) return OK;

    for (int l = 0; l < c->layers; l++) {
        const char *type = json_string_value(json_array_get(types, (size_t)l));
        const char *want = c->window > 0 && l >= c->window_from ? "sliding_attention" : "full_attention";
        if (!type || strcmp(type, want) != 0 || json_array_size(types) != (size_t)c->layers)
            return unsupported(s, "layer_types", types,
                               "one a layer: full_attention below max_window_layers, sliding_attention from there on",
                               err);
    }
    return OK;
}

static int read_window(model_config *c, const family *f, const source *s, error *err)
{
    int64_t window = 0, from = 0;
    bool asked = false;
    const json_t *given = json_object_get(s->j, "sliding_window");
    if (json_opt_bool(s->j, "use_sliding_window", s->where, false, &asked, err) != OK ||
        (f->sliding_window == WHEN_ASKED && json_opt_int(s->j, "max_window_layers", s->where, 28, &from, err) != OK))
        return ERR_PARSE;

    /* A file may say null: the window is off. */
    const bool on = f->sliding_window == ALWAYS || (f->sliding_window == WHEN_ASKED && asked);
    if (on && !json_is_null(given) && json_opt_int(s->j, "sliding_window", s->where, 4096, &window, err) != OK)
        return ERR_PARSE;
    if (window < 0 || window > INT32_MAX || from < 0 || from > INT32_MAX)
        return error_set(err, ERR_PARSE, "%s: sliding_window: expected a number of tokens, found %" PRId64, s->where,
                         window);

    c->window = (int)window;
    c->window_from = (int)from;
    return check_layer_types(c, s, err);
}

/* ---- shapes and numbers ---- */

static int read_dimension(const source *s, const char *key, int64_t max, int *out, error *err)
{
    int64_t v = 0;
    if (json_need_int(s->j, key, s->where, &v, err) != OK) return ERR_PARSE;
    if (v < 1 || v > max)
        return error_set(err, ERR_PARSE, "%s: %s: expected 1 to %" PRId64 ", found %" PRId64, s->where, key, max, v);
    *out = (int)v;
    return OK;
}

static int read_heads(model_config *c, const family *f, const source *s, error *err)
{
    int64_t kv, head_dim;
    if (json_opt_int(s->j, "num_key_value_heads", s->where, c->heads, &kv, err) != OK ||
        json_opt_int(s->j, "head_dim", s->where, f->default_head_dim, &head_dim, err) != OK)
        return ERR_PARSE;

    if (kv < 1 || c->heads % kv != 0)
        return error_set(err, ERR_PARSE, "%s: num_key_value_heads: expected a divisor of %d heads, found %" PRId64,
                         s->where, c->heads, kv);
    if (head_dim == 0 && c->width % c->heads != 0)
        return error_set(err, ERR_PARSE, "%s: hidden_size: expected a multiple of %d heads, found %d", s->where,
                         c->heads, c->width);
    if (head_dim == 0) head_dim = c->width / c->heads;
    if (head_dim < 2 || head_dim > MAX_HEAD_DIM || head_dim % 2 != 0)
        return error_set(err, ERR_PARSE, "%s: head_dim: expected an even number from 2 to %d, found %" PRId64, s->where,
                         MAX_HEAD_DIM, head_dim);

    c->kv_heads = (int)kv;
    c->head_dim = (int)head_dim;
    return OK;
}

static int read_shapes(model_config *c, const family *f, const source *s, error *err)
{
    if (read_dimension(s, "vocab_size", MAX_DIMENSION, &c->vocab, err) != OK ||
        read_dimension(s, "hidden_size", MAX_DIMENSION, &c->width, err) != OK ||
        read_dimension(s, "num_hidden_layers", MAX_LAYERS, &c->layers, err) != OK ||
        read_dimension(s, "num_attention_heads", MAX_DIMENSION, &c->heads, err) != OK ||
        read_dimension(s, "intermediate_size", MAX_DIMENSION, &c->ffn, err) != OK)
        return ERR_PARSE;
    return read_heads(c, f, s, err);
}

static int read_numbers(model_config *c, const source *s, error *err)
{
    double theta, eps;
    int64_t positions;
    const json_t *rope = json_object_get(s->j, "rope_parameters"); /* where newer files keep rope_theta */
    if (json_opt_number(s->j, "rope_theta", s->where, 10000, &theta, err) != OK ||
        (json_is_object(rope) && json_opt_number(rope, "rope_theta", s->where, theta, &theta, err) != OK) ||
        json_opt_number(s->j, "rms_norm_eps", s->where, 1e-6, &eps, err) != OK ||
        json_opt_int(s->j, "max_position_embeddings", s->where, 2048, &positions, err) != OK ||
        json_opt_bool(s->j, "tie_word_embeddings", s->where, false, &c->tied, err) != OK)
        return ERR_PARSE;

    if (!(theta > 1 && theta < 1e30))
        return error_set(err, ERR_PARSE, "%s: rope_theta: expected more than 1, found %g", s->where, theta);
    if (!(eps > 1e-30 && eps < 1))
        return error_set(err, ERR_PARSE, "%s: rms_norm_eps: expected a small number, found %g", s->where, eps);
    if (positions < 1 || positions > INT32_MAX)
        return error_set(err, ERR_PARSE, "%s: max_position_embeddings: expected 1 to %d, found %" PRId64, s->where,
                         INT32_MAX, positions);

    c->rope_theta = (float)theta;
    c->norm_eps = (float)eps;
    c->max_position = (int)positions;
    return OK;
}

static int add_eos(model_config *c, const json_t *v, const char *where, error *err)
{
    const json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || id >= c->vocab)
        return error_set(err, ERR_PARSE, "%s: eos_token_id: expected ids from 0 to %d", where, c->vocab - 1);
    if (c->n_eos == MAX_EOS)
        return error_set(err, ERR_UNSUPPORTED, "%s: eos_token_id names more than %d ids", where, MAX_EOS);
    c->eos[c->n_eos++] = (int32_t)id;
    return OK;
}

static int read_eos(model_config *c, const source *s, error *err)
{
    const json_t *eos = json_object_get(s->j, "eos_token_id");
    if (!eos || json_is_null(eos)) return OK;
    c->n_eos = 0;
    if (!json_is_array(eos)) return add_eos(c, eos, s->where, err);
    for (size_t i = 0; i < json_array_size(eos); i++) {
        const int rc = add_eos(c, json_array_get(eos, i), s->where, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* A bos that the vocabulary doesn't have is no bos: files name one by habit. */
static void read_bos(model_config *c, const source *s)
{
    const json_t *bos = json_object_get(s->j, "bos_token_id");
    const json_int_t id = json_is_integer(bos) ? json_integer_value(bos) : -1;
    c->bos = id >= 0 && id < c->vocab ? (int32_t)id : -1;
}

static int read_all(model_config *c, const source *s, error *err)
{
    if (!json_is_object(s->j)) return error_set(err, ERR_PARSE, "%s: expected an object", s->where);
    const family *f = NULL;

    int rc = read_family(&f, c, s, err);
    if (rc == OK) rc = read_variants(c, f, s, err);
    if (rc == OK) rc = read_shapes(c, f, s, err);
    if (rc == OK) rc = read_rope(&c->rope, "rope_scaling", s, err);
    if (rc == OK) rc = read_rope(&c->rope, "rope_parameters", s, err);
    if (rc == OK) rc = read_window(c, f, s, err);
    if (rc == OK) rc = read_numbers(c, s, err);
    if (rc == OK) rc = read_eos(c, s, err);
    if (rc == OK) read_bos(c, s);
    return rc;
}

int model_config_parse(model_config *config, const char *text, size_t len, const char *where, error *err)
{
    *config = (model_config){ .bos = -1 };
    json_t *j = json_parse(text, len, where, err);
    if (!j) return ERR_PARSE;
    const int rc = read_all(config, &(source){ j, where }, err);
    json_decref(j);
    return rc;
}

/* generation_config.json knows better when to stop; its absence is fine. */
static int read_generation(model_config *c, const char *dir, error *err)
{
    char path[1024];
    path_join(path, sizeof path, dir, "generation_config.json");
    if (!file_exists(path)) return OK;
    json_t *j = json_parse_file(path, err);
    if (!j) return ERR_PARSE;
    const int rc = read_eos(c, &(source){ j, path }, err);
    json_decref(j);
    return rc;
}

int model_config_read(model_config *config, const char *dir, error *err)
{
    char path[1024];
    size_t len;
    char *text = file_read(path_join(path, sizeof path, dir, "config.json"), MAX_CONFIG_BYTES, &len, err);
    if (!text) return err ? err->code : ERR_IO;
    int rc = model_config_parse(config, text, len, path, err);
    free(text);
    if (rc == OK) rc = read_generation(config, dir, err);
    return rc;
}
