/* SPDX-License-Identifier: MIT */
/* isolation - parameters that are left alone for a while, in blocks of a parameter.
 *
 *     half fine-tuning (HFT, arXiv 2404.18466): every so many steps another random share of the blocks is frozen
 *     evolving parameter isolation (EPI, arXiv 2604.14010): what matters most to other tasks is frozen
 *         S_k <- b S_k + (1 - b) g^2      of the block, per parameter, after a step on task k
 *         frozen: the blocks with the largest S_j / (mean of its layer), share `protect`,
 *                 over the tasks j but the current
 *
 * The current task of a step is the data group (a row's "group") most of its episodes are of. A frozen block's weights
 * and moments don't move. EPI's published masks are by element; ours are by block, which costs a number a block instead
 * of one a parameter. */
#pragma once

#include <stdbool.h>

#include "learner/comm.h"
#include "base/state.h"
#include "model/params.h"

enum { ISOLATION_TASKS = 16 };

typedef struct isolation_config {
    double freeze;  /* HFT: share of the blocks; 0: off */
    double protect; /* EPI: share of the blocks an other task protects; 0: off */
    int64_t every;  /* updates between two choices (100) */
    double keep;    /* EPI's b (0.99) */
    uint64_t seed;
} isolation_config;

/* A block: a run of one parameter. */
typedef struct isolation_block {
    int64_t begin, count;
    int layer; /* -1: outside the layers */
} isolation_block;

typedef struct isolation isolation;

/* NULL when neither is asked for. `size`: floats of a block at most, 0: a 4096th of the model and 256 at least. */
isolation *isolation_new(const isolation_config *config, const param_table *table, int64_t size);
void isolation_free(isolation *s);

int isolation_count(const isolation *s);
const isolation_block *isolation_blocks(const isolation *s);
/* The place of a data group among those seen so far; the sixteenth and all after it share one. */
int isolation_task(isolation *s, const char *name);
/* Before update `update` (from 1): [count] which blocks it must not move. `task`: 0 .. ISOLATION_TASKS - 1. */
const bool *isolation_mask(isolation *s, int64_t update, int task);
/* After the gradient of a step on `task`: its squared length in each block. */
void isolation_learn(isolation *s, int task, const double *squares);

/* Section "isolation": what is remembered from update to update. */
void isolation_state(isolation *s, saved_state *to);
