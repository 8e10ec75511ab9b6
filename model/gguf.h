/* SPDX-License-Identifier: MIT */
/* gguf - the file format of llama.cpp's models, versions 2 and 3, little-endian.
 *
 *     "GGUF"  version  tensors  keys
 *     key, type, value          ...            general.architecture = "llama", tokenizer.ggml.tokens = [...], ...
 *     name, rank, shape, type, offset  ...     offsets count from `data`
 *     data, aligned (general.alignment, 32)
 *
 * The file is mapped; nothing is copied but the places of keys, tensors and texts. Every length is held against what is
 * left of the file before it is believed. A shape is written innermost first: a matrix of [rows, columns] stands as
 * { columns, rows }, and in `shape` here as { rows, columns }. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct gguf_text {
    const char *data; /* in the file: no NUL after it */
    size_t len;
} gguf_text;

bool gguf_text_is(gguf_text text, const char *word);

typedef struct gguf_tensor {
    char name[96];
    uint32_t type; /* of model/gguf_quants.h */
    int rank;
    int64_t shape[4], count;
    const unsigned char *data;
    size_t bytes;
} gguf_tensor;

typedef struct gguf gguf;
/* ERR_PARSE: no GGUF file, or one that contradicts itself; ERR_UNSUPPORTED: another version or byte order. */
gguf *gguf_open(const char *path, error *err);
/* From bytes that stay the caller's and outlive the result. */
gguf *gguf_from_bytes(const void *data, size_t len, const char *where, error *err);
void gguf_close(gguf *g);
const char *gguf_where(const gguf *g); /* the file's name, for messages */

size_t gguf_tensors(const gguf *g);
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i);
const gguf_tensor *gguf_find(const gguf *g, const char *name); /* NULL: not there */

/* Values by key. OK and the value; where the key is missing ERR_NOT_FOUND and the sentence that says so; ERR_PARSE for
 * another type. Whole numbers of any width are whole numbers, and real ones where a real one is asked for. */
bool gguf_has(const gguf *g, const char *key);
int gguf_whole(const gguf *g, const char *key, int64_t *out, error *err);
int gguf_real(const gguf *g, const char *key, double *out, error *err);
int gguf_bool(const gguf *g, const char *key, bool *out, error *err);
int gguf_string(const gguf *g, const char *key, gguf_text *out, error *err);
/* Lists: `out` is g's own, [n]. */
int gguf_strings(gguf *g, const char *key, const gguf_text **out, size_t *n, error *err);
/* Lists of numbers, or of true and false as 1 and 0, copied: the caller frees. */
int gguf_reals(const gguf *g, const char *key, double **out, size_t *n, error *err);
