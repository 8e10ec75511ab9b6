/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "model/config_inside.h"

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_DIMENSION = 1 << 22 };

int config_unsupported(const source *s, const char *key, const json_t *found, const char *supported, error *err)
{
    char *text = json_text(found, true);
    const int rc = error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: %s", s->where, key, text, supported);
    free(text);
    return rc;
}

const json_t *config_given(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v) ? v : NULL;
}

/* ---- the family: what the architecture's name says ---- */

/* Defaults are those of transformers' configuration classes: what a file means that leaves the key out. */
static const family FAMILIES[] = {
    { .architecture = "LlamaForCausalLM", .model_type = "llama", .attention_bias = BIAS_QKVO, .mlp_bias = true },
    { .architecture = "Qwen2ForCausalLM",
      .model_type = "qwen2",
      .qkv_bias = true,
      .window = WINDOW_WHEN_ASKED,
      .default_window = 4096,
      .windowed = LAYERS_FROM_MAX,
      .layer_types = true },
    { .architecture = "Qwen3ForCausalLM",
      .model_type = "qwen3",
      .qk_norm = QK_NORM_HEAD,
      .attention_bias = BIAS_QKVO,
      .window = WINDOW_WHEN_ASKED,
      .default_window = 4096,
      .windowed = LAYERS_FROM_MAX,
      .layer_types = true,
      .default_head_dim = 128 },
    { .architecture = "Qwen3MoeForCausalLM",
      .model_type = "qwen3_moe",
      .qk_norm = QK_NORM_HEAD,
      .attention_bias = BIAS_QKVO,
      .window = WINDOW_WHEN_ASKED,
      .default_window = 4096,
      .experts = EXPERTS_OF_MLP },
    { .architecture = "MixtralForCausalLM",
      .model_type = "mixtral",
      .window = WINDOW_ALWAYS,
      .default_theta = 1e6f,
      .experts = EXPERTS_OF_MIXTRAL },
    { .architecture = "MistralForCausalLM", .model_type = "mistral", .window = WINDOW_ALWAYS, .default_window = 4096 },
    { .architecture = "MinistralForCausalLM",
      .model_type = "ministral",
      .window = WINDOW_ALWAYS,
      .default_window = 4096,
      .layer_types = true },
    { .architecture = "Ministral3ForCausalLM",
      .model_type = "ministral3",
      .window = WINDOW_ALWAYS,
      .default_head_dim = 128,
      .default_theta = 1e6f },
    { .architecture = "SmolLM3ForCausalLM",
      .model_type = "smollm3",
      .attention_bias = BIAS_QKVO,
      .mlp_bias = true,
      .window = WINDOW_WHEN_ASKED,
      .windowed = LAYERS_WITHOUT_ROPE,
      .layer_types = true,
      .nope_layers = true,
      .default_theta = 2e6f,
      .default_tied = true },
    { .architecture = "SeedOssForCausalLM",
      .model_type = "seed_oss",
      .attention_bias = BIAS_QKV,
      .attention_bias_default = true,
      .attention_out_bias = true,
      .mlp_bias = true,
      .default_head_dim = 128 },
    { .architecture = "Olmo2ForCausalLM",
      .model_type = "olmo2",
      .attention_bias = BIAS_QKVO,
      .norms = NORMS_AFTER,
      .qk_norm = QK_NORM_WIDTH },
    { .architecture = "Olmo3ForCausalLM",
      .model_type = "olmo3",
      .attention_bias = BIAS_QKVO,
      .norms = NORMS_AFTER,
      .qk_norm = QK_NORM_WIDTH,
      .window = WINDOW_ALWAYS,
      .default_window = 4096,
      .windowed = LAYERS_BUT_EACH_NTH,
      .nth = 4,
      .layer_types = true,
      .rope_of_window = true,
      .default_theta = 5e5f },
    { .architecture = "GraniteForCausalLM",
      .model_type = "granite",
      .attention_bias = BIAS_QKVO,
      .mlp_bias = true,
      .multipliers = true },
    { .architecture = "Phi3ForCausalLM",
      .model_type = "phi3",
      .qkv_fused = true,
      .gate_up_fused = true,
      .window = WINDOW_ALWAYS,
      .partial_rotary = true },
    { .architecture = "GlmForCausalLM",
      .model_type = "glm",
      .attention_bias = BIAS_QKV,
      .attention_bias_default = true,
      .gate_up_fused = true,
      .partial_rotary = true,
      .default_rotary_share = 0.5f,
      .rotary_neighbours = true,
      .default_head_dim = 128 },
    { .architecture = "Glm4ForCausalLM",
      .model_type = "glm4",
      .attention_bias = BIAS_QKV,
      .attention_bias_default = true,
      .gate_up_fused = true,
      .norms = NORMS_AROUND_GLM,
      .partial_rotary = true,
      .default_rotary_share = 0.5f,
      .rotary_neighbours = true,
      .default_head_dim = 128 },
    { .architecture = "Gemma2ForCausalLM",
      .model_type = "gemma2",
      .attention_bias = BIAS_QKVO,
      .gemma = true,
      .norms = NORMS_AROUND,
      .score_caps = true,
      .score_cap = 50,
      .logit_caps = true,
      .logit_cap = 30,
      .window = WINDOW_ALWAYS,
      .default_window = 4096,
      .windowed = LAYERS_BUT_EACH_NTH,
      .nth = 2,
      .layer_types = true,
      .default_head_dim = 256,
      .default_tied = true },
    { .architecture = "Gemma3ForCausalLM",
      .model_type = "gemma3_text",
      .attention_bias = BIAS_QKVO,
      .gemma = true,
      .norms = NORMS_AROUND,
      .qk_norm = QK_NORM_HEAD,
      .logit_caps = true,
      .window = WINDOW_ALWAYS,
      .default_window = 4096,
      .windowed = LAYERS_BUT_EACH_NTH,
      .nth = 6,
      .nth_key = "sliding_window_pattern",
      .layer_types = true,
      .rope_of_window = true,
      .window_theta = "rope_local_base_freq",
      .default_theta = 1e6f,
      .default_head_dim = 256,
      .default_tied = true },
};

/* Other architectures, and what each would need: by name, so that a user need not guess. */
static const struct {
    const char *architecture, *needs;
} NOT_YET[] = {
    { "Qwen2MoeForCausalLM", "an expert that all tokens share" },
    { "OlmoeForCausalLM", "a router, norms of q and k over all heads" },
    { "GptOssForCausalLM", "experts with biases and a clamped activation, attention sinks, MXFP4" },
    { "PhimoeForCausalLM", "a router by SparseMixer, LayerNorm" },
    { "Phi4MultimodalForCausalLM", "encoders of images and sound" },
    { "Cohere2ForCausalLM", "parallel branches, LayerNorm" },
    { "Gemma3ForConditionalGeneration", "an image encoder" },
    { "Mistral3ForConditionalGeneration", "an image encoder" },
    { "DeepseekV3ForCausalLM", "multi-head latent attention, a router by groups, an expert that all tokens share" },
    { "Qwen3NextForCausalLM", "gated delta nets, an expert that all tokens share" },
    { "MambaForCausalLM", "a state space model" },
    { "CohereForCausalLM", "parallel branches, LayerNorm" },
    { "GPT2LMHeadModel", "learnt positions, LayerNorm, an ungated feed-forward part" },
};

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

/* With what the architecture would need, where that is known, and with those that there are. */
static int refuse_family(const source *s, const char *key, const json_t *found, const char *name, error *err)
{
    for (size_t i = 0; name && i < sizeof NOT_YET / sizeof *NOT_YET; i++)
        if (strcmp(name, NOT_YET[i].architecture) == 0)
            return error_set(err, ERR_UNSUPPORTED, "%s: %s is %s, which needs %s: not supported", s->where, key, name,
                             NOT_YET[i].needs);

    str known = { 0 };
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) str_item(&known, ", ", FAMILIES[i].architecture);
    const int rc = config_unsupported(s, key, found, known.data, err);
    str_free(&known);
    return rc;
}

/* By the architecture's name; files that have none are what their model_type says. */
static int read_family(const family **out, model_config *c, const source *s, error *err)
{
    const json_t *list = json_object_get(s->j, "architectures"), *type = json_object_get(s->j, "model_type");
    const char *name = json_string_value(json_array_get(list, 0)), *kind = json_string_value(type);
    if (!name && (list || !kind))
        return error_set(err, ERR_PARSE, "%s: architectures: expected a list with one name", s->where);

    const bool one = json_array_size(list) == 1;
    const family *f = !name || one ? family_of(name, kind) : NULL;
    if (!f) return refuse_family(s, name ? "architectures" : "model_type", name ? list : type, one ? name : NULL, err);
    if (type && (!kind || strcmp(kind, f->model_type) != 0))
        return config_unsupported(s, "model_type", type, f->model_type, err);

    snprintf(c->architecture, sizeof c->architecture, "%s", f->architecture);
    c->norms = f->norms;
    c->qk_norm = f->qk_norm;
    c->qkv_fused = f->qkv_fused;
    c->gate_up_fused = f->gate_up_fused;
    c->rotary_neighbours = f->rotary_neighbours;
    c->gate = f->gemma ? GATE_GELU : GATE_SILU;
    c->norm_plus = f->gemma ? 1 : 0;
    c->experts.names = f->experts;
    *out = f;
    return OK;
}

/* ---- biases, and what a file may say that this transformer doesn't compute ---- */

static int read_biases(model_config *c, const family *f, const source *s, error *err)
{
    bool attention, out, mlp;
    if (json_opt_bool(s->j, "attention_bias", s->where, f->attention_bias_default, &attention, err) != OK ||
        json_opt_bool(s->j, "attention_out_bias", s->where, false, &out, err) != OK ||
        json_opt_bool(s->j, "mlp_bias", s->where, false, &mlp, err) != OK)
        return ERR_PARSE;

    if (attention && f->attention_bias == BIAS_REFUSED)
        return config_unsupported(s, "attention_bias", json_true(), "false", err);
    if (out && !f->attention_out_bias) return config_unsupported(s, "attention_out_bias", json_true(), "false", err);
    if (mlp && !f->mlp_bias) return config_unsupported(s, "mlp_bias", json_true(), "false", err);

    c->qkv_bias = f->qkv_bias || attention;
    c->o_bias = out || (attention && f->attention_bias == BIAS_QKVO);
    c->mlp_bias = mlp;
    return OK;
}

/* Gemma's files name the activation by another key, and older ones by both. */
static int check_activation(const model_config *c, const source *s, error *err)
{
    const bool gelu = c->gate == GATE_GELU;
    const char *key = gelu && config_given(s->j, "hidden_activation") ? "hidden_activation" : "hidden_act", *name;
    if (json_opt_string(s->j, key, s->where, gelu ? "gelu_pytorch_tanh" : "silu", &name, err) != OK) return ERR_PARSE;

    const bool silu = strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0; /* two names of one function */
    if (gelu ? strcmp(name, "gelu_pytorch_tanh") == 0 : silu) return OK;
    return config_unsupported(s, key, json_object_get(s->j, key), gelu ? "\"gelu_pytorch_tanh\"" : "\"silu\"", err);
}

/* What would make the same weights compute something else. */
static int refuse_variants(const model_config *c, const source *s, error *err)
{
    const json_t *quantized = config_given(s->j, "quantization_config");
    bool both_ways;
    if (quantized) return config_unsupported(s, "quantization_config", quantized, "null", err);
    if (json_opt_bool(s->j, "use_bidirectional_attention", s->where, false, &both_ways, err) != OK) return ERR_PARSE;
    if (both_ways) return config_unsupported(s, "use_bidirectional_attention", json_true(), "false", err);
    return check_activation(c, s, err);
}

/* ---- multipliers ---- */

static int read_multiplier(const family *f, const source *s, const char *key, float *out, error *err)
{
    double v;
    if (json_opt_number(s->j, key, s->where, 1, &v, err) != OK) return ERR_PARSE;
    if (v == 1) return OK;
    if (!f->multipliers) return config_unsupported(s, key, json_object_get(s->j, key), "1", err);
    if (!(v > 1e-6 && v < 1e6))
        return error_set(err, ERR_PARSE, "%s: %s: expected a number above 0, found %g", s->where, key, v);
    *out = (float)v;
    return OK;
}

/* Granite: logits are divided by logits_scaling, the others multiply. */
static int read_multipliers(model_config *c, const family *f, const source *s, error *err)
{
    float logits = 0;
    if (f->multipliers) c->score_scale = 1; /* in place of 1 / sqrt(hd), also where the file says nothing */
    int rc = read_multiplier(f, s, "embedding_multiplier", &c->embedding_scale, err);
    if (rc == OK) rc = read_multiplier(f, s, "residual_multiplier", &c->residual_scale, err);
    if (rc == OK) rc = read_multiplier(f, s, "attention_multiplier", &c->score_scale, err);
    if (rc == OK) rc = read_multiplier(f, s, "logits_scaling", &logits, err);
    if (logits > 0) c->logit_scale = 1 / logits;
    return rc;
}

/* A soft-cap: null is none, and what a file doesn't mention is the family's. */
static int read_cap(const source *s, const char *key, bool allowed, float fallback, float *out, error *err)
{
    const json_t *given = json_object_get(s->j, key);
    double cap = json_is_null(given) ? 0 : (double)fallback;
    if (given && !json_is_null(given) && !allowed) return config_unsupported(s, key, given, "null", err);
    if (given && !json_is_null(given) && json_need_number(s->j, key, s->where, &cap, err) != OK) return ERR_PARSE;
    if (cap != 0 && !(cap > 1e-3 && cap < 1e6))
        return error_set(err, ERR_PARSE, "%s: %s: expected a number above 0, or null, found %g", s->where, key, cap);
    *out = (float)cap;
    return OK;
}

static int read_caps(model_config *c, const family *f, const source *s, error *err)
{
    const int rc = read_cap(s, "attn_logit_softcapping", f->score_caps, f->score_cap, &c->score_cap, err);
    if (rc != OK) return rc;
    return read_cap(s, "final_logit_softcapping", f->logit_caps, f->logit_cap, &c->logit_cap, err);
}

/* Gemma: rows of the embedding times sqrt(width), scores by query_pre_attn_scalar instead of hd. Wants shapes. */
static int read_gemma(model_config *c, const source *s, error *err)
{
    double scalar;
    if (json_opt_number(s->j, "query_pre_attn_scalar", s->where, 256, &scalar, err) != OK) return ERR_PARSE;
    if (!(scalar > 0 && scalar < 1e6))
        return error_set(err, ERR_PARSE, "%s: query_pre_attn_scalar: expected a number above 0, found %g", s->where,
                         scalar);
    c->embedding_scale = sqrtf((float)c->width);

    /* One that is hd means the usual scale: nothing is multiplied then, and the scores keep their bits. */
    if (scalar != c->head_dim) c->score_scale = (float)(1 / sqrt(scalar));
    return OK;
}

/* ---- shapes and numbers ---- */

int config_read_dimension(const source *s, const char *key, int64_t max, int *out, error *err)
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
    if (config_read_dimension(s, "vocab_size", MAX_DIMENSION, &c->vocab, err) != OK ||
        config_read_dimension(s, "hidden_size", MAX_DIMENSION, &c->width, err) != OK ||
        config_read_dimension(s, "num_hidden_layers", MAX_LAYERS, &c->layers, err) != OK ||
        config_read_dimension(s, "num_attention_heads", MAX_DIMENSION, &c->heads, err) != OK ||
        config_read_dimension(s, "intermediate_size", MAX_DIMENSION, &c->ffn, err) != OK)
        return ERR_PARSE;
    return read_heads(c, f, s, err);
}

static int read_numbers(model_config *c, const family *f, const source *s, error *err)
{
    double eps;
    int64_t positions;
    if (json_opt_number(s->j, "rms_norm_eps", s->where, 1e-6, &eps, err) != OK ||
        json_opt_int(s->j, "max_position_embeddings", s->where, 2048, &positions, err) != OK ||
        json_opt_bool(s->j, "tie_word_embeddings", s->where, f->default_tied, &c->tied, err) != OK)
        return ERR_PARSE;

    if (!(eps > 1e-30 && eps < 1))
        return error_set(err, ERR_PARSE, "%s: rms_norm_eps: expected a small number, found %g", s->where, eps);
    if (positions < 1 || positions > INT32_MAX)
        return error_set(err, ERR_PARSE, "%s: max_position_embeddings: expected 1 to %d, found %" PRId64, s->where,
                         INT32_MAX, positions);

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

    /* A list takes the place of one that was read before: generation_config.json's that of config.json's. */
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

    /* Shapes before what is said in terms of them: Gemma's scales, ropes, layers, experts, and ids within the
     * vocabulary. */
    int rc = read_family(&f, c, s, err);
    if (rc == OK) rc = refuse_variants(c, s, err);
    if (rc == OK) rc = read_biases(c, f, s, err);
    if (rc == OK) rc = read_multipliers(c, f, s, err);
    if (rc == OK) rc = read_caps(c, f, s, err);
    if (rc == OK) rc = read_shapes(c, f, s, err);
    if (rc == OK) rc = read_numbers(c, f, s, err);
    if (rc == OK && f->gemma) rc = read_gemma(c, s, err);
    if (rc == OK) rc = config_read_ropes(c, f, s, err);
    if (rc == OK) rc = config_read_layers(c, f, s, err);
    if (rc == OK && f->experts != EXPERTS_NONE) rc = config_read_experts(c, s, err);
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

int model_rotary_dims(const model_config *config)
{
    return config->rotary_dims > 0 ? config->rotary_dims : config->head_dim;
}

bool model_norms_before(const model_config *config) { return config->norms != NORMS_AFTER; }

bool model_branches_stand_apart(const model_config *config)
{
    return config->norms != NORMS_BEFORE || (config->residual_scale != 0 && config->residual_scale != 1);
}

bool model_has_experts(const model_config *config) { return config->experts.names != EXPERTS_NONE; }
