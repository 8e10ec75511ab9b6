/* SPDX-License-Identifier: MIT */
/* decode - forward of new tokens of many sequences over cached pages: prefill chunks and single decode steps are the
 * same call. Bit-equal to model_forward on the same tokens, whatever else is in the batch. */
#pragma once

#include "model/kv_cache.h"
#include "model/weights.h"

typedef struct decode_batch {
    int T;                    /* new tokens (rows) */
    const int32_t *ids;       /* [T] */
    const int32_t *positions; /* [T] place in its sequence; rows of one sequence ascend */
    const int32_t *row_seq;   /* [T] row of `table` */
    const int32_t *table;     /* [n_seqs, max_pages] page numbers */
    int max_pages;
    int n_out;               /* rows whose logits are wanted */
    const int32_t *out_rows; /* [n_out] */
} decode_batch;

/* Writes keys and values of all T rows into the pages, and logits [n_out, V] (device scratch, valid until
 * device_scratch_reset). n_out 0: NULL. */
const float *model_decode(const weights *w, kv_cache *kv, const decode_batch *batch);
/* The most device scratch that it has in use, for T rows of which n_out have logits. */
size_t model_decode_bytes(const device *dev, const param_table *t, int T, int n_out);
