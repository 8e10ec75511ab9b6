/* SPDX-License-Identifier: MIT */
/* step - one training step on random tokens, as the learner does them: what `train` and `moo` measure. */
#pragma once

#include "bench/bench.h"
#include "learner/bucket.h"
#include "learner/optimizer.h"
#include "model/transformer.h"

typedef struct bench_run {
    device *dev;
    param_table *table;
    weights *w;
    optimizer *opt;
    int32_t *ids, *positions, *starts, *out_rows, *targets; /* of `random` */
    token_batch random;
    const token_batch *batches; /* [n] a step's micro-batches */
    int n;
    float *dlogprob, *grads; /* on the device; dlogprob [sides, n_out] of any of the batches */
} bench_run;

/* The model and its optimizer, for who brings batches. */
int bench_run_open(bench_run *t, const bench_request *r, error *err);
/* A step goes through batches[n], borrowed, with `sides` cotangents each. */
void bench_run_take(bench_run *t, const token_batch *batches, int n, int sides);
/* Takes one batch of random tokens, as the request says. */
void bench_run_take_random(bench_run *t, const bench_request *r, int sides);
void bench_run_close(bench_run *t); /* also after a failed open */

/* Forward, backward, clipping, AdamW, packing the new weights -> *us. buckets may be NULL: the first of the split's
 * gradients is the step's. */
int bench_run_step(bench_run *t, const grad_split *split, bucket_set *buckets, int64_t *us, error *err);
