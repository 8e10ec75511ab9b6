/* SPDX-License-Identifier: MIT */
/* batch - packed tokens: several sequences end to end, no padding. Plain data; the owner is whoever built it. */
#pragma once

#include <stdint.h>

typedef struct token_batch {
    int T, S;                 /* tokens, sequences */
    const int32_t *ids;       /* [T] */
    const int32_t *positions; /* [T], counting from 0 in each sequence */
    const int32_t *starts;    /* [S + 1], starts[0] = 0, starts[S] = T */
    int n_out;                /* rows whose next token has a target: only these go through the head */
    const int32_t *out_rows;  /* [n_out], ascending rows t */
    const int32_t *targets;   /* [n_out], the token that follows row out_rows[i] */
} token_batch;
