/* SPDX-License-Identifier: MIT */
/* safetensors - the file format of weights: 8 bytes length, a JSON header, the tensors' bytes.
 *
 * Reading maps the file; nothing is copied until asked. Accepts unsorted offsets, a missing __metadata__, tensors
 * without numbers; refuses overlaps, holes, bytes past the end, sizes that don't multiply out, headers over 100 MB:
 * with tensor, expected and found. Dtypes we don't compute with are listed (DTYPE_OTHER), not converted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef enum { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_I64, DTYPE_I32, DTYPE_U8, DTYPE_OTHER } tensor_dtype;
typedef struct tensor_view {
    const char *name; /* owned by the file */
    tensor_dtype dtype;
    const char *dtype_name; /* the file's word: "F8_E4M3" */
    int rank;
    int64_t shape[8], count; /* count: product of shape */
    const void *data;        /* may be unaligned: read through safetensors_to_f32 */
    size_t bytes;
} tensor_view;

typedef struct safetensors safetensors;
safetensors *safetensors_open(const char *path, error *err);
/* From bytes that stay the caller's and outlive the result (a fuzz target, a shared-memory file, a received blob). */
safetensors *safetensors_from_bytes(const void *data, size_t len, const char *where, error *err);
/* The bytes are those of a file_map: safetensors_drop may forget their pages. */
void safetensors_of_map(safetensors *st);
void safetensors_close(safetensors *st);
const tensor_view *safetensors_find(const safetensors *st, const char *name); /* NULL: not there */
size_t safetensors_count(const safetensors *st);
const tensor_view *safetensors_at(const safetensors *st, size_t i);       /* in order of offset */
const char *safetensors_metadata(const safetensors *st, const char *key); /* NULL: not there */
int safetensors_check_f32(const tensor_view *view, error *err);           /* OK where the next one can */
/* Converts `view` (F32, BF16, F16) into out[count]. */
int safetensors_to_f32(const tensor_view *view, float *out, error *err);
/* Whether a tensor's x [n] are all finite. A model with one that is not computes nothing else, without a word. */
bool safetensors_finite(const float *x, int64_t n);
/* A tensor of a mapped file has been read for now: its pages stop counting as this process's memory. */
void safetensors_drop(const safetensors *st, const tensor_view *view);

/* Writing. `data` of each tensor is fp32; `dtype` DTYPE_F32 or DTYPE_BF16 (round to nearest even) is what is stored.
 * Tensors are laid out in the order given; the same input gives the same bytes. metadata: NULL-terminated key, value,
 * ... */
typedef struct tensor_source {
    const char *name;
    int rank;
    int64_t shape[8];
    const float *data;
    /* Not NULL: in place of data, writes the tensor's numbers when their turn comes, so that no more than one is in
     * memory. */
    void (*fill)(void *ctx, float *out);
    void *ctx;
} tensor_source;
/* For tests: the file's bytes, appended to `out`. */
void safetensors_encode(const tensor_source *tensors, size_t n, tensor_dtype dtype, const char *const *metadata,
                        str *out);
int safetensors_write(const char *path, const tensor_source *tensors, size_t n, tensor_dtype dtype,
                      const char *const *metadata, error *err);
