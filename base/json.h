/* SPDX-License-Identifier: MIT */
/* json - a thin face over jansson: strict parsing, and getters that name the key, the file and what was found.
 *
 * Values are jansson's `json_t` (json_decref and friends apply). Every getter borrows from `object`. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* Parses exactly one JSON text (no trailing bytes, depth limited, no number that would be read as 0 and isn't). `where`
 * names the source in the error sentence. */
json_t *json_parse(const char *text, size_t len, const char *where, error *err);
json_t *json_parse_file(const char *path, error *err);

/* Has `answer` answer each line of `in` that is not blank; `number` counts from 1. The first error ends it, with the
 * line's number. ERR_NOT_FOUND: there is no line but blank ones. */
int json_each_line(FILE *in, int (*answer)(void *ctx, uint64_t number, const json_t *line, error *err), void *ctx,
                   error *err);

/* Getters: OK and *out, or ERR_PARSE "WHERE: KEY: expected a string, found 12". A missing key is an error for
 * json_need_* and gives `fallback` for json_opt_*; a wrong type is an error for both. */
int json_need_string(const json_t *object, const char *key, const char *where, const char **out, error *err);
int json_need_int(const json_t *object, const char *key, const char *where, int64_t *out, error *err);
int json_need_number(const json_t *object, const char *key, const char *where, double *out, error *err);
int json_opt_string(const json_t *object, const char *key, const char *where, const char *fallback, const char **out,
                    error *err);
int json_opt_int(const json_t *object, const char *key, const char *where, int64_t fallback, int64_t *out, error *err);
int json_opt_number(const json_t *object, const char *key, const char *where, double fallback, double *out, error *err);
int json_opt_bool(const json_t *object, const char *key, const char *where, bool fallback, bool *out, error *err);

/* A string of any bytes: what is not UTF-8 (a policy may write anything) becomes U+FFFD, a byte each. NULL:
 * json null. */
json_t *json_bytes(const char *text);

/* Compact, sorted keys when `sorted`: the caller frees. Never NULL. */
char *json_text(const json_t *value, bool sorted);
/* Whether a text in it holds a NUL byte: C would read it as shorter than it is. */
bool json_has_nul(const json_t *value);

/* A file that vouches for itself: "hash" is that of everything else in the object. json_seal sets it;
 * json_check_seal: ERR_PARSE "WHERE is not as it was written: ..." for another hash, or none. */
void json_seal(json_t *object);
int json_check_seal(const json_t *object, const char *where, error *err);
