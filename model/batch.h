/* SPDX-License-Identifier: MIT */
/* batch - packed tokens: several sequences end to end, no padding. Plain data; the owner is whoever built it.
 *
 *      sequence    0 0 0 0 0 0   1 1 1   2 2   3 3 3 3
 *      prefix           -1         0      0      -1
 *      position    0 1 2 3 4 5   6 7 8   6 7   0 1 2 3
 *
 * Sequences that begin alike may share a prefix, which is computed once: they read its keys and values as if it were
 * their own beginning, and have the bits that they would have then. A prefix has none itself; those that share it stand
 * directly after it. */
#pragma once

#include <stdint.h>

typedef struct token_batch {
    int T, S;                 /* tokens, sequences */
    const int32_t *ids;       /* [T] */
    const int32_t *positions; /* [T], counting from 0 in each sequence, or on from its prefix's last */
    const int32_t *starts;    /* [S + 1], starts[0] = 0, starts[S] = T */
    int n_out;                /* rows whose next token has a target: only these go through the head */
    const int32_t *out_rows;  /* [n_out], ascending rows t */
    const int32_t *targets;   /* [n_out], the token that follows row out_rows[i] */
    const int32_t *prefix;    /* [S] the sequence that stands before each one, -1: none; NULL: none has one */
} token_batch;
