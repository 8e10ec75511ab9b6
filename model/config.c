#include "model/config.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_DIMENSION = 1 << 22, MAX_LAYERS = 1024, MAX_HEAD_DIM = 1024 };

static int unsupported(error *err, const char *where, const char *key, const char *found, const char *supported)
{
    return error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: %s", where, key, found, supported);
}

static int read_dimension(const json_t *j, const char *key, const char *where, int64_t most, int *out, error *err)
{
    int64_t v = 0;
    if (json_need_int(j, key, where, &v, err) != OK) return ERR_PARSE;
    if (v < 1 || v > most) return error_set(err, ERR_PARSE, "%s: %s: expected 1 to %lld, found %lld", where, key, (long long)most, (long long)v);
    *out = (int)v;
    return OK;
}

static int read_architecture(model_config *c, const json_t *j, const char *where, error *err)
{
    const json_t *name = json_array_get(json_object_get(j, "architectures"), 0);
    const char *text = json_is_string(name) ? json_string_value(name) : NULL;
    if (!text) return error_set(err, ERR_PARSE, "%s: architectures: expected a list with one name", where);
    if (strcmp(text, "LlamaForCausalLM") != 0) return unsupported(err, where, "architectures", text, "LlamaForCausalLM");
    snprintf(c->architecture, sizeof c->architecture, "%s", text);
    return OK;
}

/* What a Llama may say that this transformer doesn't compute. */
static int refuse_variants(const json_t *j, const char *where, error *err)
{
    const char *act;
    bool attention_bias, mlp_bias;
    if (json_opt_string(j, "hidden_act", where, "silu", &act, err) != OK ||
        json_opt_bool(j, "attention_bias", where, false, &attention_bias, err) != OK ||
        json_opt_bool(j, "mlp_bias", where, false, &mlp_bias, err) != OK)
        return ERR_PARSE;
    if (strcmp(act, "silu") != 0) return unsupported(err, where, "hidden_act", act, "silu");
    if (attention_bias) return unsupported(err, where, "attention_bias", "true", "false");
    if (mlp_bias) return unsupported(err, where, "mlp_bias", "true", "false");
    const char *const must_be_null[] = { "rope_scaling", "quantization_config" };
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_object_get(j, must_be_null[i]);
        if (v && !json_is_null(v)) return unsupported(err, where, must_be_null[i], "set", "null");
    }
    return OK;
}

static int read_shapes(model_config *c, const json_t *j, const char *where, error *err)
{
    int64_t kv, head_dim;
    if (read_dimension(j, "vocab_size", where, MAX_DIMENSION, &c->vocab, err) != OK ||
        read_dimension(j, "hidden_size", where, MAX_DIMENSION, &c->width, err) != OK ||
        read_dimension(j, "num_hidden_layers", where, MAX_LAYERS, &c->layers, err) != OK ||
        read_dimension(j, "num_attention_heads", where, MAX_DIMENSION, &c->heads, err) != OK ||
        read_dimension(j, "intermediate_size", where, MAX_DIMENSION, &c->ffn, err) != OK ||
        json_opt_int(j, "num_key_value_heads", where, c->heads, &kv, err) != OK ||
        json_opt_int(j, "head_dim", where, c->width / c->heads, &head_dim, err) != OK)
        return ERR_PARSE;
    if (kv < 1 || kv > c->heads || c->heads % kv != 0)
        return error_set(err, ERR_PARSE, "%s: num_key_value_heads: expected a divisor of %d heads, found %lld", where, c->heads, (long long)kv);
    if (head_dim < 2 || head_dim > MAX_HEAD_DIM || head_dim % 2 != 0)
        return error_set(err, ERR_PARSE, "%s: head_dim: expected an even number up to %d, found %lld", where, MAX_HEAD_DIM, (long long)head_dim);
    c->kv_heads = (int)kv;
    c->head_dim = (int)head_dim;
    return OK;
}

static int read_numbers(model_config *c, const json_t *j, const char *where, error *err)
{
    double theta, eps;
    int64_t positions;
    const json_t *rope = json_object_get(j, "rope_parameters"); /* where newer configs keep rope_theta */
    if (json_opt_number(json_is_object(rope) ? rope : j, "rope_theta", where, 10000, &theta, err) != OK ||
        json_opt_number(j, "rms_norm_eps", where, 1e-6, &eps, err) != OK ||
        json_opt_int(j, "max_position_embeddings", where, 2048, &positions, err) != OK ||
        json_opt_bool(j, "tie_word_embeddings", where, false, &c->tied, err) != OK)
        return ERR_PARSE;
    if (!(theta > 1) || !(eps > 0 && eps < 1) || positions < 1 || positions > MAX_DIMENSION)
        return error_set(err, ERR_PARSE, "%s: rope_theta %g, rms_norm_eps %g or max_position_embeddings %lld is out of range", where, theta,
                         eps, (long long)positions);
    c->rope_theta = (float)theta;
    c->norm_eps = (float)eps;
    c->max_position = (int)positions;
    return OK;
}

static int add_eos(model_config *c, const json_t *v, const char *where, error *err)
{
    const json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || id >= c->vocab) return error_set(err, ERR_PARSE, "%s: eos_token_id: expected an id below %d", where, c->vocab);
    if (c->n_eos < (int)(sizeof c->eos / sizeof *c->eos)) c->eos[c->n_eos++] = (int32_t)id;
    return OK;
}

static int read_eos(model_config *c, const json_t *j, const char *where, error *err)
{
    const json_t *eos = json_object_get(j, "eos_token_id");
    if (!eos || json_is_null(eos)) return OK;
    c->n_eos = 0;
    if (!json_is_array(eos)) return add_eos(c, eos, where, err);
    for (size_t i = 0; i < json_array_size(eos); i++)
        if (add_eos(c, json_array_get(eos, i), where, err) != OK) return ERR_PARSE;
    return OK;
}

static int read_all(model_config *c, const json_t *j, const char *where, error *err)
{
    int64_t bos = -1;
    const int rc = read_architecture(c, j, where, err);
    if (rc != OK) return rc;
    const int refused = refuse_variants(j, where, err);
    if (refused != OK) return refused;
    if (read_shapes(c, j, where, err) != OK || read_numbers(c, j, where, err) != OK || read_eos(c, j, where, err) != OK)
        return ERR_PARSE;
    if (json_is_integer(json_object_get(j, "bos_token_id"))) bos = json_integer_value(json_object_get(j, "bos_token_id"));
    c->bos = bos >= 0 && bos < c->vocab ? (int32_t)bos : -1;
    return OK;
}

int model_config_parse(model_config *config, const char *text, size_t len, const char *where, error *err)
{
    error own = { 0 };
    error *e = err ? err : &own;
    *config = (model_config){ .bos = -1 };
    json_t *j = json_parse(text, len, where, e);
    if (!j) return ERR_PARSE;
    const int rc = json_is_object(j) ? read_all(config, j, where, e) : error_set(e, ERR_PARSE, "%s: expected an object", where);
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
    const int rc = read_eos(c, j, path, err);
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
