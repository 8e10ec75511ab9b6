/* SPDX-License-Identifier: MIT */
/* The two models that are measured. bench/torch_peer.py has the same. */
#include <string.h>

#include "bench/bench.h"

static const model_config SMALL = { .architecture = "LlamaForCausalLM",
                                    .vocab = 4096,
                                    .width = 256,
                                    .layers = 6,
                                    .heads = 8,
                                    .kv_heads = 8,
                                    .head_dim = 32,
                                    .ffn = 688,
                                    .max_position = 4096,
                                    .rope_theta = 10000,
                                    .norm_eps = 1e-5f,
                                    .bos = -1 };
static const model_config LARGE = { .architecture = "LlamaForCausalLM",
                                    .vocab = 32000,
                                    .width = 768,
                                    .layers = 12,
                                    .heads = 12,
                                    .kv_heads = 12,
                                    .head_dim = 64,
                                    .ffn = 2048,
                                    .max_position = 4096,
                                    .rope_theta = 10000,
                                    .norm_eps = 1e-5f,
                                    .bos = -1 };

const model_config *bench_config(const char *size)
{
    if (strcmp(size, "small") == 0) return &SMALL;
    return strcmp(size, "large") == 0 ? &LARGE : NULL;
}
