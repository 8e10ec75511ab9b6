/* SPDX-License-Identifier: MIT */
/* The two models that are measured, and how much of them is usual. bench/torch_peer.py has the same models. */
#include <stdbool.h>
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
                                    .ropes = { { .theta = 10000 } },
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
                                    .ropes = { { .theta = 10000 } },
                                    .norm_eps = 1e-5f,
                                    .bos = -1 };

const word_row BENCH_KIND_WORDS[] = { BENCH_KINDS(WORDS_ROW){ 0 } };

typedef struct usual {
    int batch, length;
} usual;

static const usual USUAL_SMALL[N_BENCH_KINDS] = {
    [BENCH_TRAIN] = { 16, 256 },
    [BENCH_DECODE] = { 1, 128 },
    [BENCH_MOO] = { 16, 256 },
    [BENCH_OPS] = { 1, 128 },
};
static const usual USUAL_LARGE[N_BENCH_KINDS] = {
    [BENCH_TRAIN] = { 2, 512 },
    [BENCH_DECODE] = { 1, 128 },
    [BENCH_MOO] = { 8, 256 },
    [BENCH_OPS] = { 1, 128 },
};

static bool is_large(const char *size) { return strcmp(size, "large") == 0; }

const model_config *bench_config(const char *size)
{
    if (strcmp(size, "small") == 0) return &SMALL;
    return is_large(size) ? &LARGE : NULL;
}

void bench_fill(bench_request *r, bench_kind kind)
{
    const usual *u = is_large(r->size) ? &USUAL_LARGE[kind] : &USUAL_SMALL[kind];
    if (r->batch == 0) r->batch = u->batch;
    if (r->length == 0) r->length = u->length;
}
