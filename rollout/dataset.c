/* SPDX-License-Identifier: MIT */
#include "rollout/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/vec.h"
#include "rollout/task.h"

static const size_t MAX_BYTES = (size_t)4 << 30;

struct dataset {
    vec(char *) rows;
    char *path;
    uint64_t *order; /* the permutation of one epoch, kept because visits come epoch by epoch */
    uint64_t order_seed, order_epoch;
    bool has_order;
};

static int check_row(const char *line, size_t len, bool bare, const char *where, error *err)
{
    if (len > MAX_ROW_BYTES)
        return error_set(err, ERR_LIMIT,
                         "%s: a row of %zu bytes is above the limit of %d MB; shorten it or take it out", where, len,
                         MAX_ROW_BYTES >> 20);

    json_t *j = json_parse(line, len, where, err);
    if (!j) return ERR_PARSE;
    const json_t *prompt = json_object_get(j, "prompt"), *messages = json_object_get(j, "messages");
    /* Messages come before a prompt. With none of them the policy would read its instruction and no question. */
    const bool asks = json_array_size(messages) > 0; /* 0 of what is no list */
    const bool fits = messages && !json_is_null(messages) ? asks : json_is_string(prompt);
    const bool object = json_is_object(j);
    json_decref(j);

    if (bare && !object) return error_set(err, ERR_PARSE, "%s: expected an object", where);
    if (fits || bare) return OK;
    return error_set(err, ERR_PARSE,
                     "%s: expected an object with \"prompt\" (text) or \"messages\" (a list, not empty)", where);
}

static int read_rows(dataset *d, char *text, size_t len, uint64_t max_rows, bool bare, error *err)
{
    char *const end = text + len, *line = text + utf8_mark(text, len);
    int line_number = 0;
    while (line < end && (max_rows == 0 || d->rows.len < max_rows)) {
        char *const begin = line, *const newline = memchr(line, '\n', (size_t)(end - line));
        char *const line_end = newline ? newline : end;
        size_t n = (size_t)(line_end - begin);
        line = newline ? newline + 1 : end;
        line_number++;

        while (n > 0 && (begin[n - 1] == '\r' || begin[n - 1] == ' ')) n--;
        if (n == 0) continue;

        char where[1100];
        snprintf(where, sizeof where, "%s:%d", d->path, line_number);
        const int rc = check_row(begin, n, bare, where, err);
        if (rc != OK) return rc;
        vec_push(&d->rows, xstrndup(begin, n));
    }
    return d->rows.len ? OK : error_set(err, ERR_PARSE, "%s holds no rows", d->path);
}

static dataset *open_rows(const char *path, uint64_t max_rows, bool bare, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_BYTES, &len, err);
    if (!text) return NULL;

    dataset *d = xcalloc(1, sizeof *d);
    d->path = xstrdup(path);

    const int rc = read_rows(d, text, len, max_rows, bare, err);
    free(text);
    if (rc == OK) return d;
    dataset_free(d);
    return NULL;
}

dataset *dataset_open(const char *path, uint64_t max_rows, error *err) { return open_rows(path, max_rows, false, err); }

dataset *dataset_open_bare(const char *path, uint64_t max_rows, error *err)
{
    return open_rows(path, max_rows, true, err);
}

void dataset_free(dataset *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->rows.len; i++) free(d->rows.data[i]);
    vec_free(&d->rows);
    free(d->order);
    free(d->path);
    free(d);
}

uint64_t dataset_size(const dataset *d) { return d->rows.len; }
const char *dataset_row(const dataset *d, uint64_t row) { return d->rows.data[row]; }

uint64_t dataset_visit(dataset *d, uint64_t seed, uint64_t i)
{
    const uint64_t epoch = i / d->rows.len;
    if (!d->has_order || d->order_seed != seed || d->order_epoch != epoch) {
        d->order = xrealloc(d->order, sizeof *d->order * d->rows.len);
        rng_permutation((rng_key){ .seed = seed, .stream = epoch + 1 }, d->order, d->rows.len);
        d->order_seed = seed;
        d->order_epoch = epoch;
        d->has_order = true;
    }
    return d->order[i % d->rows.len];
}
