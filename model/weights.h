/* SPDX-License-Identifier: MIT */
/* weights - the parameters of one policy version on one device: flat fp32 array and packed panels for forward. */
#pragma once

#include <stdint.h>

#include "kernels/ops.h"
#include "model/params.h"
#include "model/safetensors.h"

typedef struct weights {
    device *dev;                /* borrowed */
    const param_table *table;   /* borrowed */
    float *data;                /* [table->total] on the device; to decode alone: what panels don't hold */
    int64_t *places;            /* per param: where it is in data (its offset); -1: in panels alone */
    void *(*packed)[MAX_PARTS]; /* per param: panels of each product of a matrix that forward multiplies by, or NULL */
    float *inv_freq[MAX_ROPES]; /* [rotary dims / 2] frequencies of each set, on the device; NULL: there is none */
    int64_t version;            /* policy version; -1: unknown */
    uint64_t hash;              /* weights_hash of data, set by weights_seal */
} weights;

/* Data zeroed, not packed. NULL and ERR_MEMORY for more than there is room for. */
weights *weights_new(device *dev, const param_table *table, error *err);
/* For model_decode alone: matrices that are only multiplied by have panels and no data, two thirds to half of the
 * memory. weights_take is all that fills them. */
weights *weights_new_to_decode(device *dev, const param_table *table, error *err);
void weights_free(weights *w);
/* What they take on `dev` once they are sealed. */
size_t weights_bytes(const device *dev, const param_table *table);
size_t weights_bytes_to_decode(const device *dev, const param_table *table);
/* Fills data from a file, which has to have every parameter with its shape: else ERR_PARSE names the tensor, what was
 * expected and what was found. After an error data may hold some of the file's numbers. */
int weights_load(weights *w, const safetensors *st, error *err);
/* Loads and seals in one, a tensor at a time. To be called under a guard (kernels/device.h). After an error the weights
 * are not to be used. */
int weights_take(weights *w, const safetensors *st, int64_t version, error *err);
/* What weights_load would say of this file, without the memory for it. */
int weights_check(const param_table *t, const safetensors *st, error *err);
/* ERR_UNSUPPORTED where a tied head that is stored beside its embedding has other numbers. */
int weights_check_tied(const tensor_view *embed, const tensor_view *head, error *err);
/* One parameter of it: what a sharded checkpoint is checked and loaded by. */
int weights_check_one(const param *p, const safetensors *st, error *err);
int weights_load_one(weights *w, const param *p, const safetensors *st, error *err);
/* ERR_UNSUPPORTED for a tensor that the model doesn't have: weights that would be left out compute something else. */
int weights_check_names(const param_table *t, const safetensors *st, error *err);
/* Normal(0, std) initialisation keyed by (seed, parameter name, index); norms multiply by 1, biases are 0. Residual
 * outputs (o, down) are scaled by 1/sqrt(2 L) as in GPT-2. */
void weights_init(weights *w, uint64_t seed, float std);
/* To be called after data changed: packs the panels and computes the hash. The first time it takes memory for the
 * panels: under a guard (kernels/device.h). */
void weights_seal(weights *w, int64_t version);
/* Hash of the parameters' fp32 bits in table order; the same on every process and device. */
uint64_t weights_hash(const weights *w);
/* Writes one safetensors file of `w` as it is (fp32: exact; tied heads are not written twice), from where they lie. */
int weights_save(const weights *w, const char *path, tensor_dtype dtype, error *err);
