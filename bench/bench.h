/* SPDX-License-Identifier: MIT */
/* bench - what the parts of `troupe bench` share: the model that is measured, and one figure. */
#pragma once

#include "base/error.h"
#include "kernels/device.h"
#include "model/config.h"

typedef struct bench_request {
    const char *size; /* "small" or "large" */
    precision precision;
    int threads, batch, length; /* sequences, and tokens of each */
    double seconds;             /* how long to repeat */
} bench_request;

/* A random Llama of 6.84 M parameters (small) or 134 M (large); NULL for another name. */
const model_config *bench_config(const char *size);

/* Tokens a second of whole training steps: forward, backward, clipping, AdamW, packing the new weights. Best of the
 * repeats. */
int bench_train(const bench_request *r, double *tokens_per_second, error *err);
/* Tokens a second of `batch` streams through the engine, sampling included, prompts not. */
int bench_decode(const bench_request *r, double *tokens_per_second, error *err);

/* Steps with K objectives beside a plain one, of the same tokens. */
enum { BENCH_OBJECTIVES = 3 };
typedef struct bench_moo_kind {
    double seconds;     /* a step, best of the repeats */
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
    double seconds; /* best of the repeats */
    double flops;   /* 0: it is bound by memory */
    double bytes;   /* read and written once */
} bench_op;
enum { MAX_BENCH_OPS = 32 };
/* Single operations at the model's shapes; returns how many, or a negative error. */
int bench_ops(const bench_request *r, bench_op out[MAX_BENCH_OPS], error *err);
