/* SPDX-License-Identifier: MIT */
/* bucket - runs of parameters whose K gradients are reconciled together, while backward continues.
 *
 *     backward: a parameter's K gradients  ->  its bucket's slab [K, bucket]          (place)
 *               the bucket's last parameter ->  G [K, K], gate, weights, one gradient; the slab is free again  (ready)
 *
 * A bucket is a contiguous run of the parameter table. So what K gradients cost in memory is K buckets, not K models:
 * of the largest bucket, and of the embedding when it is tied to the head (its bucket opens first and closes last).
 * Gradients that are summed over several micro-batches have to wait for the last one: then it is K models, unless
 * `by_micro_batch` has each micro-batch reconciled by itself.
 *
 * The gate (on by default): an objective that doesn't depend on a bucket has noise there, a short gradient of a new
 * direction each step, and methods that look for a vector of least norm follow it: the bucket freezes. So an objective
 * is active in a bucket only where its gradients of the last steps agree: ||mean g||^2 / mean ||g||^2 >= gate, both
 * running means (0.9) over 64-number sketches. Pure noise is at 0.05, a steady gradient at 1. When none passes, all do.
 *
 * One thread owns a set. The same gradients in the same order give the same bits; what is remembered from step to step
 * can be saved and restored. */
#pragma once

#include "base/words.h"
#include "base/metrics.h"
#include "base/state.h"
#include "learner/moo/moo.h"
#include "learner/reduce_scatter.h"
#include "model/transformer.h"

/* BUCKET_BYTES has no word of its own: recipes write a number of bytes. */
#define BUCKET_SCOPES(X)                                                                                               \
    X(BUCKET_LAYER, "layer", "the parameters of one layer")                                                            \
    X(BUCKET_TENSOR, "tensor", "one parameter tensor")                                                                 \
    X(BUCKET_GLOBAL, "global", "all parameters together")

typedef enum bucket_scope { BUCKET_SCOPES(WORDS_MEMBER) BUCKET_BYTES } bucket_scope;

typedef struct bucket_config {
    moo_config moo;
    bucket_scope scope;
    int64_t bytes;       /* of one gradient, at least; for BUCKET_BYTES */
    double gate;         /* least signal-to-noise ratio of an objective in a bucket; 0: no gate */
    int refresh;         /* weights are solved anew every so many steps (1) */
    bool only_conflicts; /* where no pair of gradients has a negative product, the plain sum (or average) */
    bool keep_norm;      /* the direction is made as long as the average gradient, at most ten times as long as it is */
    bool by_micro_batch;
} bucket_config;

typedef struct bucket_set bucket_set;

/* K objectives and `extra` further gradients (of a KL term, one a partition) that are added as they are; each at most
 * MOO_MAX. */
bucket_set *bucket_set_new(const bucket_config *config, const param_table *table, device *dev, int K, int extra);
void bucket_set_free(bucket_set *s);
/* The slabs of one gradient at most: the model's, or with by_micro_batch those of its two largest buckets. */
uint64_t bucket_slab_bytes(const bucket_config *config, const param_table *table);

/* A step begins: what is combined goes to `combined` [total], which the caller has zeroed. */
void bucket_begin(bucket_set *s, int64_t step, uint64_t seed, float *combined);
/* Several learners: the buckets in pieces of `c`'s ranks; the caller frees it after the set. From now on gradients are
 * exchanged, each rank reconciles its own piece of every bucket, and only those of `combined` are filled.
 * by_micro_batch is not possible then: ranks have different micro-batches. */
shard *bucket_set_shard(bucket_set *s, comm *c);
/* After bucket_begin: which ranks have gradients of which objectives (and of the extra), has [size, K + extra]. */
void bucket_contributions(bucket_set *s, const bool *has);
/* Instead of micro-batches, on a rank that has none in this step. */
void bucket_nothing(bucket_set *s);

/* The sink of a micro-batch; `last`: no other follows in this step. Valid until the next call. */
const grad_sink *bucket_sink(bucket_set *s, bool last);
/* ERR_STATE: a gradient of the step was not finite (named by its bucket). */
int bucket_finish(bucket_set *s, error *err);

/* ---- statistics of the last step ---- */

typedef struct bucket_view {
    const char *name; /* "layer.3", "embed", a tensor's name */
    int64_t params;
    const double *G;    /* [K, K] */
    const double *w;    /* [K] */
    const double *snr;  /* [K]; 1 where the gate is off */
    const bool *active; /* [K] */
    double norm_average, norm_after;
} bucket_view;

int bucket_count(const bucket_set *s);
int bucket_rows(const bucket_set *s); /* K + extra */
bucket_view bucket_at(const bucket_set *s, int i);
/* moo/...: per pair of objectives the mean cosine and the share of buckets in conflict; per objective weight, gradient
 * norm, share of buckets that don't hear it; norms; hidden conflicts; and the same by bucket where they are few. */
void bucket_metrics(const bucket_set *s, const char *const *names, metrics *out);
/* Time of the step that went into reconciling: Gram matrices, gate, weights, combination. */
int64_t bucket_step_us(const bucket_set *s);
/* Most bytes of slabs at once, since the set was made. */
size_t bucket_peak_bytes(const bucket_set *s);

/* ---- what is remembered from step to step, for checkpoints ---- */

/* Section "buckets". Whose gradients they are, and in which order, is the caller's to hold against the file. */
void bucket_state(bucket_set *s, saved_state *to);
