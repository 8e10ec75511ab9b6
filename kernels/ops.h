/* SPDX-License-Identifier: MIT */
/* ops - the table of operations: everything a decoder of Llama's kind needs, forward and backward, on one device.
 * ops.def has them, each with its formula and shapes.
 *
 * fp32, row-major, contiguous unless a stride is named. T tokens (rows) of a packed batch, S sequences, D width, H
 * query heads, Hkv key/value heads (H % Hkv == 0), hd head dimension (even), F feed-forward width, V vocabulary, L
 * layers.
 * `+=` in a formula means the result is added to what is there; `=` overwrites. Arrays must not overlap unless said.
 *
 * Two promises hold for every operation of a backend:
 *   - batch invariance: the bits of a row don't depend on how many other rows there are, nor on the number of threads.
 *     Sums over K or over keys run in one fixed order. This is why an actor that decodes one token and a learner that
 *     recomputes the whole batch get the same logprob to the last bit.
 *   - repeatability: the same call gives the same bits (sums over rows run in row order, never by atomics).
 * Every operation is tested against a float64 reference, every backward against finite differences. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/device.h"
#include "base/rng.h"

enum { KV_PAGE = 16 }; /* tokens a KV page; attention visits keys in blocks of this size, paged or packed */

/* One of several linear products of the same x: y = add + x W^T + bias. */
typedef struct linear_part {
    const void *packed; /* linear_pack of W [N, K] */
    const float *bias;  /* [N], or NULL */
    const float *add;   /* [M, N], or NULL; may be y itself */
    int N;
    float *y; /* [M, N] */
} linear_part;
enum { MAX_LINEAR_PARTS = 3 };
enum { SKETCH_BINS = 64 };

/* Which dimensions of a head the rotary embedding turns, and which of them together. */
typedef struct rope_turn {
    int dims;        /* the first `dims` of hd, even */
    bool neighbours; /* pairs (2i, 2i + 1) instead of (i, i + dims/2) */
} rope_turn;

#define OP(type, name, parameters) type(*name) parameters;
struct ops {
#include "kernels/ops.def"
};
#undef OP
