/* SPDX-License-Identifier: MIT */
/* reduce_scatter - a bucket's gradients over several learners, while backward continues with the next bucket.
 *
 * Each rank has gradients of some of the K objectives (of data groups: those whose rows it holds; of reward dimensions:
 * all). By an all-to-all every rank gets its own piece of each, adds up what came from whom in the ranks' order, and
 * has [K, piece]: what a bucket's Gram matrix is the sum of. A rank sends its objectives' other pieces once: with an
 * objective a rank as many bytes as a ring all-reduce of one gradient does (2 (R - 1) / R of the model, gathering the
 * weights included), not K times as many. */
#pragma once

#include "learner/shard.h"

typedef struct reduce_scatter reduce_scatter;

/* `rows` gradients a bucket; shard and device are borrowed. */
reduce_scatter *reduce_scatter_new(const shard *s, device *dev, int rows);
void reduce_scatter_free(reduce_scatter *s);
/* For the next step: which ranks have which rows. has [size, rows]; the same on all ranks. */
void reduce_scatter_begin(reduce_scatter *s, const bool *has);
/* Sends this rank's rows [rows, stride] of a bucket on their way; they are copied. Nothing else is under way. */
void reduce_scatter_send(reduce_scatter *s, int bucket, const float *gradients, int64_t stride);
/* To be called now and then while it is under way: MPI moves only when it is called. */
void reduce_scatter_poll(reduce_scatter *s);
/* Waits for what was sent last: this rank's piece of its rows, [rows, piece.count] on the device,
 * until the next call. */
float *reduce_scatter_receive(reduce_scatter *s);
