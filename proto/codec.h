/* SPDX-License-Identifier: MIT */
/* codec - structs <-> msgpack maps, by tables of fields: one row says a field's name, kind, place and limit.
 *
 * Decoding is for bytes from anywhere: they are checked as a whole first (depth, counts against the bytes that are
 * left, exact end), so that msgpack-c never allocates for what isn't there; then each field against its row. Unknown
 * keys are skipped, missing or mistyped ones refused by name. Numbers' arrays travel as little-endian bin. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef enum field_kind {
    F_U64,
    F_I64,
    F_U32,
    F_I32,
    F_BOOL,
    F_F32,
    F_F64,
    F_TEXT,   /* char *: owned, NULL travels as nil; limit: bytes */
    F_NAME,   /* char[limit] */
    F_BYTES,  /* void * with its length in size_t at `count`; owned; limit: bytes */
    F_ARRAY,  /* numbers of `size` bytes each behind a pointer; u32 at `count`; owned; limit: elements */
    F_LIST,   /* structs of `size` bytes behind a pointer; u32 (or int) at `count`; table; owned; limit: elements */
    F_INLINE, /* structs of `size` bytes in place, int at `count`; table; limit: elements */
    F_RECORD, /* a struct in place; table */
    F_OWNED,  /* pointer to a struct of `size` bytes; table; owned */
} field_kind;

typedef struct field {
    const char *name; /* NULL ends a table */
    field_kind kind;
    size_t offset;
    uint64_t limit;
    size_t count, size;
    const struct field *table;
} field;

enum { MAX_MESSAGE_BYTES = 64 << 20 };

void codec_encode(const field *table, const void *record, str *out);
/* `record` is zeroed first; on an error what was allocated is freed and it is zero again. */
int codec_decode(const field *table, size_t record_size, const void *data, size_t len, void *record, error *err);
/* Frees what the fields own and zeroes the record. */
void codec_reset(const field *table, size_t record_size, void *record);
/* The check before decoding, alone: exactly one msgpack value, nested at most 16 deep,
 * no count beyond the bytes left. */
int codec_validate(const void *data, size_t len, error *err);
/* The whole number at a path of keys (NULL-terminated) through nested maps, read in place: for bytes that may be
 * refused as a whole. False: there is none, or the bytes before it are malformed. */
bool codec_peek_u64(const void *data, size_t len, const char *const *path, uint64_t *out);
