/* config - config.json of a Hugging Face folder -> the shapes of a dense decoder.
 *
 * Supported: LlamaForCausalLM with any widths and heads, rope_theta wherever it stands (top level or rope_parameters),
 * a tied or an untied head. Whatever would make the same weights compute something else (another architecture or
 * activation, biases, scaled or partial rotary embeddings, quantization) is refused with key, found and supported. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { MAX_EOS = 8 };

typedef struct model_config {
    char architecture[48]; /* "LlamaForCausalLM" */
    int vocab, width, layers, heads, kv_heads, head_dim, ffn, max_position;
    float rope_theta, norm_eps;
    bool tied; /* the head is the embedding */
    int32_t eos[MAX_EOS];
    int n_eos;
    int32_t bos; /* -1: none */
} model_config;

/* Reads DIR/config.json (and eos from generation_config.json when there). ERR_UNSUPPORTED names key, found, supported;
 * ERR_PARSE: a value is missing, of a wrong type or out of range. */
int model_config_read(model_config *config, const char *dir, error *err);
/* The same from text; `where` names it in errors. Never crashes on hostile text. */
int model_config_parse(model_config *config, const char *text, size_t len, const char *where, error *err);
