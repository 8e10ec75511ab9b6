/* SPDX-License-Identifier: MIT */
/* The metadata of a GGUF model in the words of config.json. What llama.cpp decides by itself for an architecture, and
 * no file says (which layers have a window, which no rotary embedding), stands in the row of its family. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/config.h"
#include "model/import_gguf_inside.h"
#include "model/import_vocab.h"

enum { MAX_SIZE = 1 << 24 };

static const char WINDOW_KEY[] = "attention.sliding_window";

/* A family of several rows: the first whose key is there. */
static const gguf_family FAMILIES[] = {
    { .name = "llama",
      .model_type = "mixtral",
      .architecture = "MixtralForCausalLM",
      .if_key = "expert_count",
      .neighbours = true,
      .biases = BIASES_NONE,
      .experts = true },
    { .name = "llama",
      .model_type = "llama",
      .architecture = "LlamaForCausalLM",
      .neighbours = true,
      .mlp_bias = true },
    { .name = "qwen2", .model_type = "qwen2", .architecture = "Qwen2ForCausalLM", .biases = BIASES_ALWAYS },
    { .name = "qwen3", .model_type = "qwen3", .architecture = "Qwen3ForCausalLM" },
    { .name = "qwen3moe", .model_type = "qwen3_moe", .architecture = "Qwen3MoeForCausalLM", .experts = true },
    { .name = "mistral3",
      .model_type = "ministral3",
      .architecture = "Ministral3ForCausalLM",
      .if_key = "attention.temperature_scale",
      .neighbours = true,
      .biases = BIASES_NONE },
    { .name = "mistral3",
      .model_type = "mistral",
      .architecture = "MistralForCausalLM",
      .neighbours = true,
      .biases = BIASES_NONE },
    { .name = "smollm3",
      .model_type = "smollm3",
      .architecture = "SmolLM3ForCausalLM",
      .neighbours = true,
      .mlp_bias = true,
      .nope_step = 4 },
    { .name = "seed_oss",
      .model_type = "seed_oss",
      .architecture = "SeedOssForCausalLM",
      .biases = BIASES_APART,
      .mlp_bias = true,
      .ffn_norm = "post_attention_norm" },
    { .name = "olmo2",
      .model_type = "olmo3",
      .architecture = "Olmo3ForCausalLM",
      .if_key = WINDOW_KEY,
      .window = WINDOW_BUT_EACH_NTH,
      .nth = 4 },
    { .name = "olmo2", .model_type = "olmo2", .architecture = "Olmo2ForCausalLM" },
    { .name = "granite",
      .model_type = "granite",
      .architecture = "GraniteForCausalLM",
      .neighbours = true,
      .mlp_bias = true,
      .multipliers = true },
    { .name = "phi3",
      .model_type = "phi3",
      .architecture = "Phi3ForCausalLM",
      .biases = BIASES_NONE,
      .window = WINDOW_EVERY_LAYER,
      .partial_rotary = true },
    { .name = "chatglm",
      .model_type = "glm",
      .architecture = "GlmForCausalLM",
      .biases = BIASES_QKV,
      .partial_rotary = true },
    { .name = "glm4",
      .model_type = "glm4",
      .architecture = "Glm4ForCausalLM",
      .biases = BIASES_QKV,
      .partial_rotary = true },
    { .name = "gemma2",
      .model_type = "gemma2",
      .architecture = "Gemma2ForCausalLM",
      .norms_plus = true,
      .window = WINDOW_BUT_EACH_NTH,
      .nth = 2,
      .default_window = 4096,
      .scalar_layers = 46,
      .gemma = true,
      .score_cap = 50,
      .logit_cap = 30 },
    { .name = "gemma3",
      .model_type = "gemma3_text",
      .architecture = "Gemma3ForCausalLM",
      .norms_plus = true,
      .window = WINDOW_BUT_EACH_NTH,
      .nth = 6,
      .local_theta = "rope_local_base_freq",
      .scalar_layers = 62,
      .gemma = true },
};

/* Others, and what each would need: by name, so that a user need not guess. */
static const struct {
    const char *name, *needs;
} NOT_YET[] = {
    { "gemma", "norms of 1 + w with none after the branches" },
    { "gemma3n", "per-layer embeddings and alternating updates" },
    { "gemma-embedding", "attention in both directions" },
    { "qwen2moe", "experts that all tokens share" },
    { "qwen3next", "gated delta nets" },
    { "olmoe", "norms over all heads beside experts" },
    { "granitemoe", "multipliers beside experts" },
    { "granitehybrid", "a state space model" },
    { "phimoe", "LayerNorm, a router that masks its choices" },
    { "glm4moe", "a router of sigmoids, experts that all tokens share" },
    { "llama4", "a router of sigmoids, attention in chunks" },
    { "mistral4", "multi-head latent attention" },
    { "deepseek2", "multi-head latent attention" },
    { "gpt-oss", "attention sinks, experts with biases, MXFP4" },
    { "olmo", "LayerNorm, clamped projections" },
    { "phi2", "LayerNorm, parallel branches" },
    { "qwen", "fused q, k and v of another order" },
    { "qwen2vl", "an image encoder" },
    { "qwen3vl", "an image encoder" },
    { "command-r", "parallel branches, LayerNorm" },
    { "cohere2", "parallel branches, LayerNorm" },
    { "mamba", "a state space model" },
    { "gpt2", "learnt positions, LayerNorm, an ungated feed-forward part" },
};

/* ---- values ---- */

const char *gguf_key(const gguf_model *m, const char *key, char out[GGUF_NAME])
{
    snprintf(out, GGUF_NAME, "%s.%s", m->family->name, key);
    return out;
}

int gguf_real_or(const gguf_model *m, const char *key, double fallback, double *out, error *err)
{
    char name[GGUF_NAME];
    *out = fallback;
    return gguf_has(m->g, gguf_key(m, key, name)) ? gguf_real(m->g, name, out, err) : OK;
}

json_t *gguf_shortest(double v)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v) break;
    }
    return json_real(strtod(text, NULL));
}

/* Reads a key that has to be a size, 1 or more. */
static int read_size(const gguf_model *m, const char *key, int64_t *out, error *err)
{
    char name[GGUF_NAME];
    const int rc = gguf_whole(m->g, gguf_key(m, key, name), out, err);
    if (rc != OK) return rc;
    if (*out < 1 || *out > MAX_SIZE)
        return error_set(err, ERR_PARSE, "%s: %s is %" PRId64 "; expected 1 to %d", gguf_where(m->g), name, *out,
                         MAX_SIZE);
    return OK;
}

static int read_size_or(const gguf_model *m, const char *key, int64_t fallback, int64_t *out, error *err)
{
    char name[GGUF_NAME];
    *out = fallback;
    return gguf_has(m->g, gguf_key(m, key, name)) ? read_size(m, key, out, err) : OK;
}

/* Whether a key of the architecture is there and says something: llama.cpp's 0 is no window, no scale, no cap. */
static bool is_set(const gguf_model *m, const char *key)
{
    char name[GGUF_NAME];
    double v;
    return gguf_has(m->g, gguf_key(m, key, name)) && (gguf_real(m->g, name, &v, NULL) != OK || v != 0.0);
}

/* ---- the family ---- */

static int refuse_family(const gguf *g, gguf_text name, error *err)
{
    for (size_t i = 0; i < sizeof NOT_YET / sizeof *NOT_YET; i++)
        if (gguf_text_is(name, NOT_YET[i].name))
            return error_set(err, ERR_UNSUPPORTED, "%s: general.architecture is '%s', which needs %s: not supported",
                             gguf_where(g), NOT_YET[i].name, NOT_YET[i].needs);

    str known = { 0 };
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++)
        if (i == 0 || strcmp(FAMILIES[i].name, FAMILIES[i - 1].name) != 0) str_item(&known, ", ", FAMILIES[i].name);
    const int rc = error_set(err, ERR_UNSUPPORTED, "%s: general.architecture is '%.*s'; supported: %s", gguf_where(g),
                             (int)(name.len < 60 ? name.len : 60), name.data, known.data);
    str_free(&known);
    return rc;
}

static int find_family(gguf_model *m, error *err)
{
    gguf_text name;
    const int rc = gguf_string(m->g, "general.architecture", &name, err);
    if (rc != OK) return rc;

    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        m->family = &FAMILIES[i];
        const bool holds = gguf_text_is(name, m->family->name) && (!m->family->if_key || is_set(m, m->family->if_key));
        if (holds) return OK;
    }
    return refuse_family(m->g, name, err);
}

/* What would make the same weights compute something else, and has no place in the folder. */
static int refuse_variants(const gguf_model *m, error *err)
{
    static const char TEMPERATURE[] = "attention.temperature_scale";
    const bool scales = m->family->multipliers,
               grows = m->family->if_key && strcmp(m->family->if_key, TEMPERATURE) == 0;
    const struct {
        const char *key, *why;
        bool known;
    } KEYS[] = {
        { "expert_count", "it is a mixture of experts", m->family->experts },
        { "expert_shared_count", "it has experts that all tokens share", false },
        { "expert_shared_feed_forward_length", "it has experts that all tokens share", false },
        { "expert_group_count", "its experts are chosen by groups", false },
        { "expert_weights_scale", "the weights of its experts are scaled", false },
        { "nextn_predict_layers", "it has layers that predict further tokens", false },
        { WINDOW_KEY, "its attention has a window", m->family->window != WINDOW_REFUSED },
        { "attn_logit_softcapping", "its scores are capped", m->family->score_cap > 0 },
        { "final_logit_softcapping", "its logits are capped", m->family->gemma },
        { "attention.scale", "its scores are scaled", scales },
        { "residual_scale", "its residuals are scaled", scales },
        { "embedding_scale", "its embedding is scaled", scales },
        { "logit_scale", "its logits are scaled", scales },
        { TEMPERATURE, "its queries grow with their position", grows },
        { "attention.clamp_kqv", "its projections are clamped", false },
        { "attention.max_alibi_bias", "its scores have a bias by distance", false },
        { "rope.dimension_sections", "its positions have several parts", false },
    };
    char name[GGUF_NAME];

    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!KEYS[i].known && is_set(m, KEYS[i].key))
            return error_set(err, ERR_UNSUPPORTED, "%s: %s is set: %s, which is not supported", gguf_where(m->g),
                             gguf_key(m, KEYS[i].key, name), KEYS[i].why);
    return OK;
}

/* ---- sizes ---- */

static int read_heads(gguf_model *m, error *err)
{
    int64_t values = 0;
    int rc = read_size(m, "attention.head_count", &m->heads, err);
    if (rc == OK) rc = read_size_or(m, "attention.head_count_kv", m->heads, &m->kv_heads, err);
    if (rc == OK) rc = read_size_or(m, "attention.key_length", m->width / m->heads, &m->head_dim, err);
    if (rc == OK) rc = read_size_or(m, "attention.value_length", m->head_dim, &values, err);
    if (rc == OK) rc = read_size_or(m, "rope.dimension_count", m->head_dim, &m->rotary, err);
    if (rc != OK) return rc;

    if (m->heads % m->kv_heads != 0 || m->head_dim % 2 != 0)
        return error_set(err, ERR_PARSE,
                         "%s: %" PRId64 " heads, %" PRId64 " key/value heads of width %" PRId64 " do not fit together",
                         gguf_where(m->g), m->heads, m->kv_heads, m->head_dim);
    if (values != m->head_dim)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: %s.attention.value_length is %" PRId64 ", keys have %" PRId64
                         ": heads of two lengths are not supported",
                         gguf_where(m->g), m->family->name, values, m->head_dim);
    if (m->rotary != m->head_dim && !m->family->partial_rotary)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: %s.rope.dimension_count is %" PRId64 ", heads have %" PRId64
                         ": a rotary embedding of a part of each head is not supported",
                         gguf_where(m->g), m->family->name, m->rotary, m->head_dim);
    return OK;
}

/* Without a width of its own an expert's is what is left of all of them (Qwen), or the layer's (Mixtral). */
static int read_experts(gguf_model *m, error *err)
{
    const bool own = strcmp(m->family->model_type, "qwen3_moe") == 0;
    int rc = read_size(m, "expert_count", &m->n_experts, err);
    if (rc == OK) rc = read_size(m, "expert_used_count", &m->chosen, err);
    if (rc != OK) return rc;
    m->expert_ffn = m->ffn;
    return own ? read_size_or(m, "expert_feed_forward_length", m->ffn / m->chosen, &m->expert_ffn, err) : OK;
}

int gguf_model_read(gguf_model *m, const gguf *g, error *err)
{
    const gguf_tensor *embedding = gguf_find(g, "token_embd.weight");
    *m = (gguf_model){ .g = g };
    int rc = find_family(m, err);
    if (rc == OK) rc = read_size(m, "embedding_length", &m->width, err);
    if (rc == OK) rc = read_size(m, "block_count", &m->layers, err);
    if (rc == OK) rc = read_size(m, "feed_forward_length", &m->ffn, err);
    if (rc == OK) rc = read_size(m, "context_length", &m->max_position, err);
    if (rc == OK) rc = read_heads(m, err);
    if (rc == OK) rc = gguf_real_or(m, "attention.layer_norm_rms_epsilon", 1e-5, &m->eps, err);
    if (rc == OK) rc = gguf_real_or(m, "rope.freq_base", 10000, &m->theta, err);
    if (rc == OK) rc = refuse_variants(m, err);
    if (rc == OK && m->family->experts) rc = read_experts(m, err);
    if (rc != OK) return rc;

    if (m->layers > MAX_LAYERS)
        return error_set(err, ERR_PARSE, "%s: %" PRId64 " layers are more than %d", gguf_where(g), m->layers,
                         MAX_LAYERS);
    if (!embedding || embedding->rank != 2 || embedding->shape[0] > MAX_SIZE)
        return error_set(err, ERR_PARSE, "%s: token_embd.weight is missing, or not a matrix", gguf_where(g));
    m->vocab = embedding->shape[0];
    return OK;
}

/* ---- config.json ---- */

static int write_biases(const gguf_model *m, json_t *config, error *err)
{
    const bool qkv = gguf_find(m->g, "blk.0.attn_q.bias") != NULL;
    const bool out = gguf_find(m->g, "blk.0.attn_output.bias") != NULL;
    if (m->family->biases == BIASES_QKVO && qkv != out)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: only one of q, k and v and the attention's output has biases, which a %s of "
                         "transformers does not allow",
                         gguf_where(m->g), m->family->architecture);

    if (m->family->biases != BIASES_ALWAYS && m->family->biases != BIASES_NONE)
        json_object_set_new(config, "attention_bias", json_boolean(qkv));
    if (m->family->biases == BIASES_APART) json_object_set_new(config, "attention_out_bias", json_boolean(out));
    if (m->family->mlp_bias)
        json_object_set_new(config, "mlp_bias", json_boolean(gguf_find(m->g, "blk.0.ffn_gate.bias") != NULL));
    return OK;
}

/* Which layers have a window: a list of the file's, one layer in so many of it, or of the family's. */
static int read_pattern(const gguf_model *m, bool windowed[MAX_LAYERS], error *err)
{
    static const char KEY[] = "attention.sliding_window_pattern";
    char name[GGUF_NAME];
    double *list = NULL;
    size_t n = 0;
    int64_t nth = m->family->nth;

    const bool given = gguf_has(m->g, gguf_key(m, KEY, name));
    if (given && gguf_reals(m->g, name, &list, &n, NULL) != OK) {
        const int rc = read_size(m, KEY, &nth, err);
        if (rc != OK) return rc;
    }
    if (list && n != (size_t)m->layers) {
        free(list);
        return error_set(err, ERR_PARSE, "%s: %s has %zu values for %" PRId64 " layers", gguf_where(m->g), name, n,
                         m->layers);
    }
    for (int64_t i = 0; i < m->layers; i++) windowed[i] = list ? list[i] != 0 : (i + 1) % nth != 0;
    free(list);
    return OK;
}

static int write_windows(const gguf_model *m, json_t *config, error *err)
{
    int64_t window = 0;
    bool windowed[MAX_LAYERS] = { false };
    int rc = OK;
    if (is_set(m, WINDOW_KEY) || m->family->default_window > 0)
        rc = read_size_or(m, WINDOW_KEY, m->family->default_window, &window, err);
    if (rc == OK && window > 0 && m->family->window == WINDOW_BUT_EACH_NTH) rc = read_pattern(m, windowed, err);
    if (rc != OK) return rc;

    json_object_set_new(config, "sliding_window", window > 0 ? json_integer(window) : json_null());
    if (m->family->window == WINDOW_EVERY_LAYER) return OK;

    json_t *types = json_array();
    for (int64_t i = 0; i < m->layers; i++)
        json_array_append_new(types, json_string(windowed[i] ? "sliding_attention" : "full_attention"));
    json_object_set_new(config, "layer_types", types);
    return OK;
}

/* Writes a soft-cap; where there is none llama.cpp has 0, and config.json null. */
static int write_cap(const gguf_model *m, const char *key, double fallback, json_t *config, error *err)
{
    double cap;
    const int rc = gguf_real_or(m, key, fallback, &cap, err);
    if (rc == OK) json_object_set_new(config, key, cap != 0 ? gguf_shortest(cap) : json_null());
    return rc;
}

/* Gemma's largest models scale scores by width / heads instead of a head's own length. */
static int write_gemma(const gguf_model *m, json_t *config, error *err)
{
    const int64_t scalar = m->layers == m->family->scalar_layers ? m->width / m->heads : m->head_dim;
    json_object_set_new(config, "query_pre_attn_scalar", json_integer(scalar));
    json_object_set_new(config, "hidden_activation", json_string("gelu_pytorch_tanh"));
    const int rc = write_cap(m, "attn_logit_softcapping", m->family->score_cap, config, err);
    return rc == OK ? write_cap(m, "final_logit_softcapping", m->family->logit_cap, config, err) : rc;
}

static int write_multipliers(const gguf_model *m, json_t *config, error *err)
{
    static const char *const KEYS[][2] = { { "attention.scale", "attention_multiplier" },
                                           { "embedding_scale", "embedding_multiplier" },
                                           { "residual_scale", "residual_multiplier" },
                                           { "logit_scale", "logits_scaling" } };
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        double v;
        const double fallback = i == 0 ? 1 / sqrt((double)m->head_dim) : 1;
        const int rc = gguf_real_or(m, KEYS[i][0], fallback, &v, err);
        if (rc != OK) return rc;
        json_object_set_new(config, KEYS[i][1], gguf_shortest(v == 0 ? fallback : v));
    }
    return OK;
}

static void write_nope(const gguf_model *m, json_t *config)
{
    json_t *turned = json_array();
    for (int64_t i = 0; i < m->layers; i++)
        json_array_append_new(turned, json_integer((i + 1) % m->family->nope_step != 0));
    json_object_set_new(config, "no_rope_layers", turned);
}

static void write_experts(const gguf_model *m, json_t *config)
{
    json_object_set_new(config, "num_local_experts", json_integer(m->n_experts));
    json_object_set_new(config, "num_experts_per_tok", json_integer(m->chosen));
    if (strcmp(m->family->model_type, "qwen3_moe") != 0) return;
    json_object_set_new(config, "num_experts", json_integer(m->n_experts));
    json_object_set_new(config, "moe_intermediate_size", json_integer(m->expert_ffn));
    json_object_set_new(config, "norm_topk_prob", json_true());
}

/* The end of a text, and of a turn where that is another token: generation stops at either. */
static int write_ids(const gguf_model *m, json_t *config, error *err)
{
    static const char *const KEYS[] = { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.padding_token_id" };
    int32_t ids[4];
    for (int i = 0; i < 4; i++) {
        const int rc = import_vocab_id(m->g, KEYS[i], m->vocab, &ids[i], err);
        if (rc != OK) return rc;
    }

    const int32_t bos = ids[0], eos = ids[1], turn = ids[2], pad = ids[3];
    if (bos >= 0) json_object_set_new(config, "bos_token_id", json_integer(bos));
    if (eos >= 0 && turn >= 0 && turn != eos)
        json_object_set_new(config, "eos_token_id", json_pack("[i, i]", (int)eos, (int)turn));
    else if (eos >= 0 || turn >= 0)
        json_object_set_new(config, "eos_token_id", json_integer(eos >= 0 ? eos : turn));
    if (pad >= 0) json_object_set_new(config, "pad_token_id", json_integer(pad));
    return OK;
}

static json_t *sizes_json(const gguf_model *m)
{
    json_t *j = json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s}", "architectures",
                          m->family->architecture, "model_type", m->family->model_type, "hidden_size", m->width,
                          "intermediate_size", m->ffn, "num_hidden_layers", m->layers, "num_attention_heads", m->heads,
                          "num_key_value_heads", m->kv_heads, "head_dim", m->head_dim, "vocab_size", m->vocab,
                          "max_position_embeddings", m->max_position, "tie_word_embeddings",
                          gguf_find(m->g, "output.weight") == NULL, "hidden_act",
                          m->family->gemma ? "gelu_pytorch_tanh" : "silu", "torch_dtype", "float32");
    json_object_set_new(j, "rms_norm_eps", gguf_shortest(m->eps));
    return j;
}

json_t *gguf_model_config(const gguf_model *m, error *err)
{
    json_t *config = sizes_json(m);
    int rc = gguf_write_rope(m, config, err);
    if (rc == OK) rc = write_biases(m, config, err);
    if (rc == OK && m->family->window != WINDOW_REFUSED) rc = write_windows(m, config, err);
    if (rc == OK && m->family->multipliers) rc = write_multipliers(m, config, err);
    if (rc == OK && m->family->nope_step > 0) write_nope(m, config);
    if (rc == OK && m->family->experts) write_experts(m, config);
    if (rc == OK && m->family->gemma) rc = write_gemma(m, config, err);
    if (rc == OK) rc = write_ids(m, config, err);
    if (rc == OK) return config;
    json_decref(config);
    return NULL;
}
