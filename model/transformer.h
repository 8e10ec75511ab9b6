/* SPDX-License-Identifier: MIT */
/* transformer - forward of a packed batch: tokens in, logprobs of given targets out. Activations are kept for backward,
 * or recomputed layer by layer when memory is short. RL words don't occur here. */
#pragma once

#include <stdbool.h>

#include "model/batch.h"
#include "model/weights.h"

typedef struct forward_options {
    float temperature; /* logprobs are of logits / temperature; 0 means 1 */
    bool recompute;    /* keep only each layer's input; backward runs the layer's forward again */
    bool keep;         /* false: no backward will follow, nothing is kept */
} forward_options;

typedef struct activations {
    const float *logprob; /* [n_out] on the device: device_copy_out after device_sync */
    const float *entropy; /* [n_out] likewise, in nats */
    void *inner;          /* the layers' own, in the device's scratch memory */
} activations;

/* All memory is device scratch: valid until device_scratch_reset. `options` NULL: temperature 1, keep, no recompute.
 * Only the batch's out_rows go through the last layer's feed-forward part and the head: prompts cost little more than
 * their keys and values. */
activations *model_forward(const weights *w, const token_batch *batch, const forward_options *options);

/* The head once more, with row i's logits times scale[i] (scale [n_out] on the host): logprobs and entropies are then
 * of the scaled logits, and so are the gradients of model_backward. `acts` of a forward over the same batch. */
void model_scale_logits(const weights *w, const activations *acts, const float *scale);

/* Logits [n, V] of the outputs [begin, begin + n), to the host: before the temperature, after model_scale_logits. */
void model_logits(const weights *w, const activations *acts, int begin, int n, float *out);
/* Further gradients for model_backward: dz [n, V] (host) with respect to those logits, added to the first
 * cotangent's. */
void model_add_logit_gradients(const weights *w, const activations *acts, int begin, int n, const float *dz);

/* How the routers of a model with experts shared out the rows. To p and chosen [experts], on the host, it adds the
 * routers' probabilities and the number of rows that each expert got, summed over layers and rows (in the last layer
 * only the out_rows go through experts). */
void model_router_use(const weights *w, const activations *acts, double *p, double *chosen);

/* A gradient sink: told when the K gradients of a parameter are complete, in backward order (last layer first,
 * embedding last: the parameter table backwards). g [K, count], rows `stride` floats apart. */
typedef struct grad_sink {
    void *ctx;
    /* Where a parameter's K gradients are added up: [K, count], rows *stride floats apart, zeroed. Asked as often as
     * something is to be added, from its first gradient until it is ready. NULL: they lie in `grads`. */
    float *(*place)(void *ctx, const param *p, int64_t *stride);
    void (*ready)(void *ctx, const param *p, const float *g, int K, int64_t stride);
} grad_sink;

/* K gradients of one forward. Either K cotangents of all rows (objectives that every episode has: they share the
 * activations, each costs a backward pass), or one cotangent whose sequences belong to K partitions (languages,
 * tasks): one pass, in which only the sums over rows are taken apart. Or both: K / n_partitions cotangents, and
 * gradient c * n_partitions + p is of cotangent c and partition p. */
typedef struct grad_split {
    int K;
    const int *sequences; /* [n_partitions + 1]: from sequences[p] to sequences[p + 1] are p's; NULL: K cotangents */
    int n_partitions;     /* of sequences; 0: K */
} grad_split;

/* Backward. `acts` are those of a forward with `keep` over the same batch. On the device: dlogprob [K, n_out], or
 * [K / n_partitions, n_out] for split sequences, and grads [K, table->total], to which the gradients are added (zero it
 * before the first micro-batch; NULL when the sink has places). sink may be NULL. The gradients of K cotangents are to
 * the bit those of K calls with one each. */
void model_backward(const weights *w, const token_batch *batch, const activations *acts, const float *dlogprob,
                    const grad_split *split, float *grads, const grad_sink *sink);

/* Logits [V] of the last row of each sequence: for probes and evaluation. out [S, V] on the host; the batch's own
 * out_rows and targets are not read. */
void model_last_logits(const weights *w, const token_batch *batch, float *out);

/* A pass, for what it takes. */
typedef struct pass_size {
    int T, n_out;
    int sides; /* cotangents of the backward pass; 0: none follows, nothing is kept */
    bool recompute;
} pass_size;
/* The device scratch that model_forward leaves in use. */
size_t model_forward_bytes(const param_table *t, const pass_size *s);
/* The most device scratch that model_forward and model_backward have in use, in a batch of this size. */
size_t model_pass_bytes(const device *dev, const param_table *t, const pass_size *s);
