/* SPDX-License-Identifier: MIT */
/* config - config.json of a Hugging Face folder -> the shapes of a dense decoder.
 *
 * Supported: Llama (2, 3.x), Qwen2/2.5 (biases of q, k, v), Qwen3 (norms of q and k), Mistral (sliding window), with
 * any widths and heads; rope_theta and the scaling of rotary frequencies ("default", "linear", "llama3") wherever they
 * stand (top level, rope_scaling, rope_parameters); a tied or an untied head. Whatever would make the same weights
 * compute something else (another architecture or activation, experts, other scalings, quantization) is refused with
 * key, found and supported. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { MAX_EOS = 8 };

/* How the frequencies of the rotary embedding are scaled for longer texts. */
typedef struct rope_scaling {
    enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 } kind;
    float factor;                            /* linear and llama3 */
    float low_freq_factor, high_freq_factor; /* llama3: where scaling begins, and where it is whole */
    float original_max_position;
} rope_scaling;

typedef struct model_config {
    char architecture[48]; /* "LlamaForCausalLM" */
    int vocab, width, layers, heads, kv_heads, head_dim, ffn, max_position;
    float rope_theta, norm_eps;
    rope_scaling rope;
    bool tied;     /* the head is the embedding */
    bool qkv_bias; /* q, k and v have biases */
    bool o_bias;
    bool qk_norm;            /* RMSNorm of each head's query and key */
    int window, window_from; /* a row sees the last `window` keys, from layer window_from on; 0: all of them */
    int32_t eos[MAX_EOS];
    int n_eos;
    int32_t bos; /* -1: none */
} model_config;

/* Reads DIR/config.json (and eos from generation_config.json when there). ERR_UNSUPPORTED names key, found, supported;
 * ERR_PARSE: a value is missing, of a wrong type or out of range. */
int model_config_read(model_config *config, const char *dir, error *err);
/* The same from text; `where` names it in errors. Never crashes on hostile text. */
int model_config_parse(model_config *config, const char *text, size_t len, const char *where, error *err);
