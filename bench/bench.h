/* SPDX-License-Identifier: MIT */
/* bench - how fast the parts are that a training is made of, on a random model of a known size.
 *
 * Each function measures for `seconds`, at least a few times, and gives the best of the repeats: other work on the
 * machine only ever makes one slower. bench/report.h prints what they give. */
#pragma once

#include "base/error.h"
#include "base/words.h"
#include "kernels/device.h"
#include "model/config.h"

#define BENCH_KINDS(X)                                                                                                 \
    X(BENCH_TRAIN, "train", "whole training steps")                                                                    \
    X(BENCH_DECODE, "decode", "streams of tokens")                                                                     \
    X(BENCH_MOO, "moo", "steps with many objectives, beside a plain one")                                              \
    X(BENCH_OPS, "ops", "single operations")

typedef enum bench_kind { BENCH_KINDS(WORDS_MEMBER) N_BENCH_KINDS } bench_kind;
extern const word_row BENCH_KIND_WORDS[];

typedef struct bench_request {
    const char *size;  /* "small" or "large" */
    const char *model; /* a folder; NULL: a random one of `size` */
    precision precision;
    int threads;              /* 0: as many as there are */
    int batch, length;        /* sequences, and tokens of each */
    int group, prompt, reply; /* samples of one prompt, and tokens; group 0: not asked for */
    double seconds;           /* how long to repeat */
} bench_request;

/* A random Llama of 6.84 M parameters (small) or 134 M (large); NULL for another name. */
const model_config *bench_config(const char *size);
/* Gives batch and length, where they are 0, what is usual for the kind and size. */
void bench_fill(bench_request *r, bench_kind kind);

/* Tokens a second of whole training steps: forward, backward, clipping, AdamW, packing the new weights. */
int bench_train(const bench_request *r, double *tokens_per_second, error *err);
/* An update by `group` samples of one prompt of `prompt` tokens, with `reply` tokens each, as the learner packs them:
 * the prompt computed once, and once for each. */
typedef struct bench_update {
    double seconds;
    int tokens, micro_batches; /* computed */
} bench_update;
typedef struct bench_group_result {
    bench_update shared, unshared;
} bench_group_result;
int bench_group(const bench_request *r, bench_group_result *out, error *err);
/* Tokens a second of `batch` streams through the engine, sampling included, prompts not. */
int bench_decode(const bench_request *r, double *tokens_per_second, error *err);

/* Steps with K objectives beside a plain one, of the same tokens. */
enum { BENCH_OBJECTIVES = 3 };
typedef struct bench_moo_kind {
    double seconds;     /* a step */
    double ratio;       /* to the plain step */
    double reconciling; /* share of the step: Gram, gate, weights, combination */
    size_t slab_bytes;  /* memory of the K gradients */
} bench_moo_kind;
typedef struct bench_moo_result {
    bench_moo_kind plain, groups, rewards;
    int64_t params;
} bench_moo_result;
int bench_moo(const bench_request *r, bench_moo_result *out, error *err);

typedef struct bench_op {
    char name[40];
    double seconds;
    double flops; /* 0: it is bound by memory */
    double bytes; /* read and written once */
} bench_op;
enum { MAX_BENCH_OPS = 32 };
/* Single operations at the model's shapes; returns how many, or a negative error. */
int bench_ops(const bench_request *r, bench_op out[MAX_BENCH_OPS], error *err);
