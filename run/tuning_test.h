/* SPDX-License-Identifier: MIT */
/* tuning_test - how well a model foretells rows that it is not trained on: nats a token, bits a byte of what is learned
 * of them (tuning_rows.h), for each data group and for all.
 *
 * Bits a byte do not depend on how a tokenizer cuts: they compare models and languages. */
#pragma once

#include "base/metrics.h"
#include "model/weights.h"
#include "rollout/dataset.h"
#include "run/tuning_rows.h"

typedef struct tuning_test {
    const tuning_rows *rows; /* borrowed, as all of it */
    const dataset *data;
    weights *w;
    uint64_t n;       /* the first so many rows; 0: all */
    int micro_tokens; /* of a pass */
} tuning_test;

/* eval/nll, eval/bits_per_byte, the same by group (eval/bits_per_byte/GROUP), the worst group's (eval/worst). Rows of
 * which nothing is learned within sft.max_tokens are passed over. ERR_PARSE names the row that can't be read. */
int tuning_test_run(const tuning_test *t, metrics *out, error *err);
