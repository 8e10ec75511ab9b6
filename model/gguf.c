/* SPDX-License-Identifier: MIT */
#include "model/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/map.h"
#include "base/str.h"
#include "model/gguf_quants.h"

enum { MAX_KEYS = 1 << 16, MAX_TENSORS = 1 << 16, MAX_RANK = 4, MAX_ALIGNMENT = 1 << 20, MAX_KEY = 1 << 16 };

typedef enum {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    VALUE_TYPES
} value_type;

/* Bytes of a number; 0: it is none. */
static const unsigned char SIZES[VALUE_TYPES] = {
    [VALUE_U8] = 1,  [VALUE_I8] = 1,   [VALUE_U16] = 2, [VALUE_I16] = 2, [VALUE_U32] = 4, [VALUE_I32] = 4,
    [VALUE_F32] = 4, [VALUE_BOOL] = 1, [VALUE_U64] = 8, [VALUE_I64] = 8, [VALUE_F64] = 8,
};

typedef struct entry {
    char *key;
    uint32_t type, item; /* item: of an array */
    uint64_t n;          /* items of an array, bytes of a string */
    const unsigned char *at;
    gguf_text *texts; /* of an array of strings, once asked for */
} entry;

struct gguf {
    char *where;
    file_map map; /* data NULL: the bytes are the caller's */
    entry *entries;
    gguf_tensor *tensors;
    size_t n_entries, n_tensors;
    map *by_key, *by_name;
};

/* ---- reading, with what is left in view ---- */

typedef struct cursor {
    const unsigned char *at, *end;
    const char *where;
} cursor;

static size_t left(const cursor *c) { return (size_t)(c->end - c->at); }

static int too_short(const cursor *c, error *err)
{
    return error_set(err, ERR_PARSE, "%s: the file ends in the middle of its header", c->where);
}

static int read_number(cursor *c, void *out, size_t bytes, error *err)
{
    if (left(c) < bytes) return too_short(c, err);
    memcpy(out, c->at, bytes);
    c->at += bytes;
    return OK;
}

static int read_u32(cursor *c, uint32_t *out, error *err) { return read_number(c, out, sizeof *out, err); }
static int read_u64(cursor *c, uint64_t *out, error *err) { return read_number(c, out, sizeof *out, err); }

static int read_text(cursor *c, gguf_text *out, error *err)
{
    uint64_t len = 0;
    if (read_u64(c, &len, err) != OK) return ERR_PARSE;
    if (len > left(c)) return too_short(c, err);
    *out = (gguf_text){ (const char *)c->at, (size_t)len };
    c->at += len;
    return OK;
}

/* ---- keys ---- */

static int skip_array(cursor *c, entry *e, error *err)
{
    if (read_u32(c, &e->item, err) != OK || read_u64(c, &e->n, err) != OK) return ERR_PARSE;
    e->at = c->at;

    if (e->item == VALUE_STRING) {
        gguf_text text = { 0 };
        for (uint64_t i = 0; i < e->n; i++)
            if (read_text(c, &text, err) != OK) return ERR_PARSE;
        return OK;
    }
    if (e->item >= VALUE_TYPES || SIZES[e->item] == 0)
        return error_set(err, ERR_PARSE, "%s: key %.80s: a list of values of type %u", c->where, e->key, e->item);
    if (e->n > left(c) / SIZES[e->item]) return too_short(c, err);
    c->at += e->n * SIZES[e->item];
    return OK;
}

static int read_value(cursor *c, entry *e, error *err)
{
    if (e->type == VALUE_ARRAY) return skip_array(c, e, err);

    if (e->type == VALUE_STRING) {
        gguf_text text = { 0 };
        if (read_text(c, &text, err) != OK) return ERR_PARSE;
        e->at = (const unsigned char *)text.data;
        e->n = text.len;
        return OK;
    }

    if (e->type >= VALUE_TYPES)
        return error_set(err, ERR_PARSE, "%s: key %.80s has a value of type %u", c->where, e->key, e->type);
    if (left(c) < SIZES[e->type]) return too_short(c, err);

    e->at = c->at;
    c->at += SIZES[e->type];
    return OK;
}

static int read_entry(gguf *g, cursor *c, error *err)
{
    gguf_text key = { 0 };
    if (read_text(c, &key, err) != OK) return ERR_PARSE;
    if (key.len == 0 || key.len > MAX_KEY || memchr(key.data, 0, key.len))
        return error_set(err, ERR_PARSE, "%s: a key of %zu bytes (expected 1 to %d, and no NUL among them)", c->where,
                         key.len, MAX_KEY);

    entry *e = &g->entries[g->n_entries++];
    e->key = xstrndup(key.data, key.len);
    if (map_get(g->by_key, e->key)) return error_set(err, ERR_PARSE, "%s: key %.80s occurs twice", c->where, e->key);
    map_set(g->by_key, e->key, e);
    return read_u32(c, &e->type, err) == OK ? read_value(c, e, err) : ERR_PARSE;
}

/* ---- tensors ---- */

static int read_shape(gguf_tensor *t, cursor *c, error *err)
{
    uint32_t rank = 0;
    if (read_u32(c, &rank, err) != OK) return ERR_PARSE;
    if (rank == 0 || rank > MAX_RANK)
        return error_set(err, ERR_PARSE, "%s: tensor %s has %u dimensions", c->where, t->name, rank);

    t->rank = (int)rank;
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        uint64_t size = 0;
        if (read_u64(c, &size, err) != OK) return ERR_PARSE;
        if (size == 0 || size > (uint64_t)(INT64_MAX / t->count))
            return error_set(err, ERR_PARSE, "%s: tensor %s has a dimension of %llu", c->where, t->name,
                             (unsigned long long)size);
        t->shape[t->rank - 1 - i] = (int64_t)size; /* GGUF begins with the columns, everything else with the rows */
        t->count *= (int64_t)size;
    }
    return OK;
}

/* Its bytes by its type; `data` is its offset until the data's begin is known. */
static int read_tensor(gguf *g, cursor *c, uint64_t *offset, error *err)
{
    gguf_text name = { 0 };
    if (read_text(c, &name, err) != OK) return ERR_PARSE;
    gguf_tensor *t = &g->tensors[g->n_tensors++];
    if (name.len == 0 || name.len >= sizeof t->name || memchr(name.data, 0, name.len))
        return error_set(err, ERR_PARSE, "%s: a tensor's name has %zu bytes", c->where, name.len);
    memcpy(t->name, name.data, name.len);
    if (map_get(g->by_name, t->name)) return error_set(err, ERR_PARSE, "%s: tensor %s occurs twice", c->where, t->name);
    map_set(g->by_name, t->name, t);

    if (read_shape(t, c, err) != OK || read_u32(c, &t->type, err) != OK || read_u64(c, offset, err) != OK)
        return ERR_PARSE;
    const gguf_quant *quant = gguf_quant_of(t->type);
    if (!quant) return OK; /* said when the tensor is wanted */
    if (t->shape[t->rank - 1] % quant->values != 0)
        return error_set(err, ERR_PARSE, "%s: tensor %s: rows of %lld are not whole blocks of %s", c->where, t->name,
                         (long long)t->shape[t->rank - 1], quant->name);
    if (t->count / quant->values > INT64_MAX / quant->bytes) return too_short(c, err);
    t->bytes = (size_t)(t->count / quant->values) * (size_t)quant->bytes;
    return OK;
}

static int place_tensor(const gguf *g, gguf_tensor *t, uint64_t offset, uint64_t alignment, const cursor *data,
                        error *err)
{
    if (offset % alignment != 0)
        return error_set(err, ERR_PARSE, "%s: tensor %s begins at %llu, not a multiple of %llu", g->where, t->name,
                         (unsigned long long)offset, (unsigned long long)alignment);
    if (offset > left(data) || t->bytes > left(data) - offset)
        return error_set(err, ERR_PARSE, "%s: tensor %s has %zu bytes at %llu, the file's data has %zu", g->where,
                         t->name, t->bytes, (unsigned long long)offset, left(data));
    t->data = data->at + offset;
    return OK;
}

static int by_place(const void *a, const void *b)
{
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Bytes that two tensors claim are those of one alone: the other would be read as numbers that were never trained. */
static int refuse_overlaps(const gguf *g, error *err)
{
    int rc = OK;
    const gguf_tensor **placed = xcalloc(g->n_tensors + 1, sizeof *placed);
    for (size_t i = 0; i < g->n_tensors; i++) placed[i] = &g->tensors[i];
    qsort(placed, g->n_tensors, sizeof *placed, by_place);

    for (size_t i = 1; rc == OK && i < g->n_tensors; i++)
        if (placed[i]->data < placed[i - 1]->data + placed[i - 1]->bytes)
            rc = error_set(err, ERR_PARSE, "%s: tensors %s and %s overlap", g->where, placed[i - 1]->name,
                           placed[i]->name);
    free(placed);
    return rc;
}

static int read_tensors(gguf *g, cursor *c, const unsigned char *begin, error *err)
{
    int64_t alignment = 32;
    uint64_t *offsets = xcalloc(g->n_tensors + 1, sizeof *offsets);
    const size_t n = g->n_tensors;
    int rc = OK;

    /* read_tensor counts them anew: of a file that ends early as many are there as were read. */
    g->n_tensors = 0;
    for (size_t i = 0; rc == OK && i < n; i++) rc = read_tensor(g, c, &offsets[i], err);

    if (rc == OK && gguf_has(g, "general.alignment")) rc = gguf_whole(g, "general.alignment", &alignment, err);
    if (rc == OK && (alignment < 1 || alignment > MAX_ALIGNMENT))
        rc = error_set(err, ERR_PARSE, "%s: general.alignment is %lld", g->where, (long long)alignment);

    /* The data begins at a multiple of the alignment; a file without tensors may end before that. */
    if (rc == OK) {
        const size_t header = (size_t)(c->at - begin), unit = (size_t)alignment;
        const size_t padding = (unit - header % unit) % unit;
        if (n > 0 && padding > left(c)) rc = too_short(c, err);
        c->at += padding < left(c) ? padding : left(c);
    }
    for (size_t i = 0; rc == OK && i < n; i++)
        rc = place_tensor(g, &g->tensors[i], offsets[i], (uint64_t)alignment, c, err);
    free(offsets);
    return rc == OK ? refuse_overlaps(g, err) : rc;
}

/* ---- the whole ---- */

static int read_counts(cursor *c, uint64_t *tensors, uint64_t *keys, error *err)
{
    uint32_t magic = 0, version = 0;
    if (left(c) < 24 || memcmp(c->at, "GGUF", 4) != 0)
        return error_set(err, ERR_PARSE, "%s: not a GGUF file: it doesn't begin with \"GGUF\"", c->where);
    if (read_u32(c, &magic, err) != OK || read_u32(c, &version, err) != OK) return ERR_PARSE;
    if (version == 0x03000000u || version == 0x02000000u) /* 3 and 2, with their bytes the other way round */
        return error_set(err, ERR_UNSUPPORTED, "%s: a big-endian GGUF file; supported: little-endian", c->where);
    if (version != 2 && version != 3)
        return error_set(err, ERR_UNSUPPORTED, "%s: GGUF version %u; supported: 2 and 3", c->where, version);

    if (read_u64(c, tensors, err) != OK || read_u64(c, keys, err) != OK) return ERR_PARSE;
    if (*tensors > MAX_TENSORS || *keys > MAX_KEYS)
        return error_set(err, ERR_PARSE, "%s: %llu tensors and %llu keys are more than %d", c->where,
                         (unsigned long long)*tensors, (unsigned long long)*keys, MAX_KEYS);
    return OK;
}

static int read_all(gguf *g, const unsigned char *data, size_t len, error *err)
{
    cursor c = { data, data + len, g->where };
    uint64_t tensors = 0, keys = 0;
    if (read_counts(&c, &tensors, &keys, err) != OK) return err ? err->code : ERR_PARSE;

    g->by_key = map_new();
    g->by_name = map_new();
    g->entries = xcalloc(keys + 1, sizeof *g->entries);
    g->tensors = xcalloc(tensors + 1, sizeof *g->tensors);
    for (uint64_t i = 0; i < keys; i++)
        if (read_entry(g, &c, err) != OK) return ERR_PARSE;
    g->n_tensors = tensors;
    return read_tensors(g, &c, data, err);
}

gguf *gguf_from_bytes(const void *data, size_t len, const char *where, error *err)
{
    gguf *g = xcalloc(1, sizeof *g);
    g->where = xstrdup(where);
    if (read_all(g, data, len, err) == OK) return g;
    gguf_close(g);
    return NULL;
}

gguf *gguf_open(const char *path, error *err)
{
    file_map file;
    if (file_map_open(&file, path, err) != OK) return NULL;
    gguf *g = gguf_from_bytes(file.data ? (const void *)file.data : "", file.len, path, err);
    if (g)
        g->map = file;
    else
        file_map_close(&file);
    return g;
}

void gguf_close(gguf *g)
{
    if (!g) return;

    for (size_t i = 0; i < g->n_entries; i++) {
        free(g->entries[i].key);
        free(g->entries[i].texts);
    }

    free(g->entries);
    free(g->tensors);
    map_free(g->by_key);
    map_free(g->by_name);

    if (g->map.data) file_map_close(&g->map);
    free(g->where);
    free(g);
}

const char *gguf_where(const gguf *g) { return g->where; }
size_t gguf_tensors(const gguf *g) { return g->n_tensors; }
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i) { return &g->tensors[i]; }
const gguf_tensor *gguf_find(const gguf *g, const char *name) { return map_get(g->by_name, name); }

/* ---- values ---- */

static const entry *find(const gguf *g, const char *key, error *err)
{
    const entry *e = map_get(g->by_key, key);
    if (!e) error_set(err, ERR_NOT_FOUND, "%s: key %s is missing", g->where, key);
    return e;
}

static int wrong_type(const gguf *g, const char *key, const char *expected, error *err)
{
    return error_set(err, ERR_PARSE, "%s: key %s: expected %s", g->where, key, expected);
}

/* A number of any type as a real one; false: it is none. Whole numbers up to 2^53 keep their value. */
static bool number_at(uint32_t type, const unsigned char *at, double *out)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v;

    if (type >= VALUE_TYPES || SIZES[type] == 0 || type == VALUE_BOOL) return false;
    memcpy(&v, at, SIZES[type]);

    switch (type) {
    case VALUE_U8:
        *out = v.u8;
        break;
    case VALUE_I8:
        *out = v.i8;
        break;
    case VALUE_U16:
        *out = v.u16;
        break;
    case VALUE_I16:
        *out = v.i16;
        break;
    case VALUE_U32:
        *out = v.u32;
        break;
    case VALUE_I32:
        *out = v.i32;
        break;
    case VALUE_F32:
        *out = (double)v.f32;
        break;
    case VALUE_U64:
        *out = (double)v.u64;
        break;
    case VALUE_I64:
        *out = (double)v.i64;
        break;
    default:
        *out = v.f64;
        break;
    }
    return true;
}

bool gguf_has(const gguf *g, const char *key) { return map_get(g->by_key, key) != NULL; }

int gguf_real(const gguf *g, const char *key, double *out, error *err)
{
    const entry *e = find(g, key, err);
    if (!e) return ERR_NOT_FOUND;
    if (!number_at(e->type, e->at, out) || !isfinite(*out)) return wrong_type(g, key, "a finite number", err);
    return OK;
}

int gguf_whole(const gguf *g, const char *key, int64_t *out, error *err)
{
    const entry *e = find(g, key, err);
    double v = 0;
    if (!e) return ERR_NOT_FOUND;

    /* Up to 2^53 a double has every whole number. */
    const bool real = e->type == VALUE_F32 || e->type == VALUE_F64;
    if (real || !number_at(e->type, e->at, &v) || fabs(v) > 9007199254740992.0)
        return wrong_type(g, key, "a whole number", err);
    *out = (int64_t)v;
    return OK;
}

int gguf_bool(const gguf *g, const char *key, bool *out, error *err)
{
    const entry *e = find(g, key, err);
    if (!e) return ERR_NOT_FOUND;
    if (e->type != VALUE_BOOL || *e->at > 1) return wrong_type(g, key, "true or false", err);
    *out = *e->at == 1;
    return OK;
}

bool gguf_text_is(gguf_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

int gguf_string(const gguf *g, const char *key, gguf_text *out, error *err)
{
    const entry *e = find(g, key, err);
    if (!e) return ERR_NOT_FOUND;
    if (e->type != VALUE_STRING) return wrong_type(g, key, "a text", err);
    *out = (gguf_text){ (const char *)e->at, (size_t)e->n };
    return OK;
}

int gguf_strings(gguf *g, const char *key, const gguf_text **out, size_t *n, error *err)
{
    entry *e = map_get(g->by_key, key);
    if (!e) return error_set(err, ERR_NOT_FOUND, "%s: key %s is missing", g->where, key);
    if (e->type != VALUE_ARRAY || e->item != VALUE_STRING) return wrong_type(g, key, "a list of texts", err);

    if (!e->texts) {
        const unsigned char *at = e->at; /* skip_array has held every length against the file */
        e->texts = xcalloc(e->n + 1, sizeof *e->texts);
        for (uint64_t i = 0; i < e->n; i++) {
            uint64_t len;
            memcpy(&len, at, sizeof len);
            e->texts[i] = (gguf_text){ (const char *)at + sizeof len, (size_t)len };
            at += sizeof len + len;
        }
    }
    *out = e->texts;
    *n = (size_t)e->n;
    return OK;
}

int gguf_reals(const gguf *g, const char *key, double **out, size_t *n, error *err)
{
    const entry *e = find(g, key, err);
    if (!e) return ERR_NOT_FOUND;
    if (e->type != VALUE_ARRAY || e->item == VALUE_STRING) return wrong_type(g, key, "a list of numbers", err);

    double *values = xcalloc(e->n + 1, sizeof *values);
    for (uint64_t i = 0; i < e->n; i++) {
        const unsigned char *at = e->at + i * SIZES[e->item];
        if (!number_at(e->item, at, &values[i])) values[i] = *at != 0; /* true or false */
    }
    *out = values;
    *n = (size_t)e->n;
    return OK;
}
