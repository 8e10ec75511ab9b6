/* SPDX-License-Identifier: MIT */
/* config - config.json of a Hugging Face folder -> the shapes of a dense decoder, and what each of its layers does.
 *
 * A family is a row of data (config.c): which biases, norms, windows and multipliers its files may ask for, and what
 * holds where they say nothing. After this reader no code asks for a family's name: layers are described.
 *
 * Supported: Llama (2, 3.x), Qwen2/2.5, Qwen3, Mistral, Ministral, SmolLM3, SeedOss, OLMo 2 and 3, Granite 3, Phi-3
 * and 4, GLM-4, Gemma 2 and 3, and with a router and experts Qwen3-MoE and Mixtral, with any
 * widths and heads, a tied or an untied head. Whatever would make the same weights compute something else (another
 * architecture or activation, other rotary scalings, quantization) is refused with key, found and supported. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { MAX_EOS = 8, MAX_LAYERS = 1024, MAX_HEAD_DIM = 1024, MAX_ROPES = 2, ROPE_NONE = -1 };
enum { MAX_EXPERTS = 1024, MAX_CHOSEN = 64, MAX_EXPERTS_OF_ALL_LAYERS = 1 << 16 };

/* A set of rotary frequencies: theta^(-2i/hd), scaled for longer texts. */
typedef struct rope_set {
    float theta;
    enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE } kind;
    float factor;                            /* linear, llama3, yarn */
    float low_freq_factor, high_freq_factor; /* llama3: where scaling begins, and where it is whole */
    float original_max_position;             /* llama3, yarn */
    float beta_fast, beta_slow;              /* yarn: turns within it, above which and below which ... */
    bool truncate;                           /* ... rounded to whole frequencies */
    float magnitude;                         /* cosines and sines are multiplied by it; 0: 1 */
    float divisors[MAX_HEAD_DIM / 2];        /* longrope: of each frequency */
} rope_set;

/* How a layer's rows look at each other. */
typedef struct layer_attention {
    int window; /* a row sees the last `window` keys; 0: all of them */
    int rope;   /* which of the model's sets turns queries and keys; ROPE_NONE: none does */
} layer_attention;

/* Where RMSNorms stand. A branch is attention, or the feed-forward part. */
typedef enum norm_places {
    NORMS_BEFORE,     /* x + branch(norm(x)) */
    NORMS_AFTER,      /* x + norm(branch(x)): OLMo 2 */
    NORMS_AROUND,     /* x + norm(branch(norm(x))): Gemma 2 */
    NORMS_AROUND_GLM, /* the same under GLM's names */
} norm_places;

typedef enum qk_norm_kind {
    QK_NORM_NONE,
    QK_NORM_HEAD,  /* RMSNorm of each head's query and key: Qwen3 */
    QK_NORM_WIDTH, /* of all heads together: OLMo 2 */
} qk_norm_kind;

/* Under which names a layer's router and experts are stored. */
typedef enum expert_names {
    EXPERTS_NONE,
    EXPERTS_OF_MLP,     /* mlp.gate, mlp.experts.N.gate_proj, up_proj, down_proj */
    EXPERTS_OF_MIXTRAL, /* block_sparse_moe.gate, block_sparse_moe.experts.N.w1, w3, w2 */
} expert_names;

/* The feed-forward part of routed layers: a router's softmax over the experts chooses some for each token, and what
 * they make is added up, weighted by it. */
typedef struct expert_layers {
    expert_names names; /* EXPERTS_NONE: no layer is routed */
    int n, chosen, ffn; /* experts of a layer; those of a token; the width of each */
    bool sum_to_one;    /* the chosen ones' weights are divided by their sum */
    bool routed[MAX_LAYERS];
} expert_layers;

typedef struct model_config {
    char architecture[48]; /* "LlamaForCausalLM" */
    int vocab, width, layers, heads, kv_heads, head_dim, ffn, max_position;
    float norm_eps;
    bool tied; /* the head is the embedding */

    rope_set ropes[MAX_ROPES];
    layer_attention attention[MAX_LAYERS]; /* [layers] */

    int rotary_dims;        /* the first dimensions of a head, which are turned; 0: all */
    bool rotary_neighbours; /* pairs (2i, 2i + 1), GLM's, instead of (i, i + dims / 2) */

    bool qkv_bias, o_bias, mlp_bias;    /* of q, k and v; of o; of gate, up and down */
    bool qkv_fused, gate_up_fused;      /* q, k and v, or gate and up, are one matrix of the checkpoint */
    enum { GATE_SILU, GATE_GELU } gate; /* GELU: tanh's */
    norm_places norms;
    float norm_plus; /* norms multiply by this + w: 0, or Gemma's 1 */
    qk_norm_kind qk_norm;

    expert_layers experts;

    /* Multipliers. 0 means that the model has none, and is the same as 1. */
    float embedding_scale; /* of the embedding's rows */
    float residual_scale;  /* of what a branch adds */
    float score_scale;     /* of q . k, in place of 1 / sqrt(hd) */
    float logit_scale;

    /* Soft-caps of scaled scores and of logits: x becomes cap tanh(x / cap) (Gemma 2). 0: they are not capped. */
    float score_cap, logit_cap;

    int32_t eos[MAX_EOS];
    int n_eos;
    int32_t bos; /* -1: none */
} model_config;

int model_rotary_dims(const model_config *config);
/* Whether norms stand before the branches. */
bool model_norms_before(const model_config *config);
/* Whether what a branch adds is normed or scaled: then it needs memory of its own. */
bool model_branches_stand_apart(const model_config *config);
bool model_has_experts(const model_config *config);

/* Reads DIR/config.json (and eos from generation_config.json when there). ERR_UNSUPPORTED names key, found, supported;
 * ERR_PARSE: a value is missing, of a wrong type or out of range. */
int model_config_read(model_config *config, const char *dir, error *err);
/* The same from text; `where` names it in errors. Never crashes on hostile text. */
int model_config_parse(model_config *config, const char *text, size_t len, const char *where, error *err);
