/* SPDX-License-Identifier: MIT */
/* A model small enough to train in a test. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "model/weights.h"
#include "tests/support/support.h"

typedef struct tiny {
    device *dev;
    model_config config;
    param_table *table;
    weights *w;
} tiny;

static const char TINY_CONFIG[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\", \"vocab_size\": "
    "32,"
    " \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5,"
    " \"rope_theta\": 10000.0, \"tie_word_embeddings\": true, \"eos_token_id\": 0}";

/* The same with experts, a layer of three without. */
static const char TINY_EXPERTS[] =
    "{\"architectures\": [\"Qwen3MoeForCausalLM\"], \"model_type\": \"qwen3_moe\", \"vocab_size\": 32,"
    " \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 3, \"num_attention_heads\": 4,"
    " \"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 128, \"mlp_only_layers\": [1],"
    " \"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 20, \"norm_topk_prob\": true,"
    " \"tie_word_embeddings\": true, \"eos_token_id\": 0}";

static inline tiny tiny_open_of(const char *config, uint64_t seed)
{
    tiny t = { 0 };
    error err = { 0 };
    t.dev = device_open(getenv("TROUPE_TEST_DEVICE") ? getenv("TROUPE_TEST_DEVICE") : "cpu", 1, &err);
    if (!t.dev) fail_msg("%s", err.text);
    test_ok(model_config_parse(&t.config, config, strlen(config), "tiny", &err), &err);
    t.table = param_table_new(&t.config, &err);
    if (!t.table) fail_msg("%s", err.text);
    t.w = weights_new(t.dev, t.table, &err);
    if (!t.w) fail_msg("%s", err.text);
    weights_init(t.w, seed, 0.08f);
    weights_seal(t.w, 0);
    return t;
}

static inline tiny tiny_open(uint64_t seed) { return tiny_open_of(TINY_CONFIG, seed); }

static inline void tiny_close(tiny *t)
{
    weights_free(t->w);
    param_table_free(t->table);
    device_close(t->dev);
}
