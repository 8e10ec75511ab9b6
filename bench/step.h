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
    int32_t *ids, *positions, *starts, *out_rows, *targets;
    float *dlogprob, *grads; /* on the device; dlogprob [sides, n_out] */
    token_batch batch;
} bench_run;

/* Room for `sides` cotangents of the batch. */
int bench_run_open(bench_run *t, const bench_request *r, int sides, error *err);
void bench_run_close(bench_run *t); /* also after a failed open */

/* Forward, backward, clipping, AdamW, packing the new weights -> *us. buckets may be NULL: the first of the split's
 * gradients is the step's. */
int bench_run_step(bench_run *t, const grad_split *split, bucket_set *buckets, int64_t *us, error *err);
