/* SPDX-License-Identifier: MIT */
/* shard - which piece of the parameters, their gradients and their moments is whose: each bucket is cut into as many
 * pieces as there are learners, rank r steps the r-th of every bucket (ZeRO-1, arXiv 1910.02054). */
#pragma once

#include "kernels/device.h"
#include "learner/comm.h"

/* A run of floats of the parameter table. */
typedef struct slice {
    int64_t begin, count;
} slice;

typedef struct shard {
    comm *comm;     /* borrowed */
    slice *buckets; /* [n] which together are the whole table */
    int n;
} shard;

/* Takes a copy of the buckets. */
shard *shard_new(comm *c, const slice *buckets, int n);
void shard_free(shard *s);
/* Pieces are multiples of COMM_UNIT floats, and all but the last of 64, so that sketches of pieces add up. */
slice shard_piece(const shard *s, int bucket, int rank);
/* Sends every rank's own pieces of x [total] to all ranks; x on the device. Collective. */
void shard_gather(const shard *s, device *dev, float *x);
