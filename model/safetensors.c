/* SPDX-License-Identifier: MIT */
#include "model/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"

static const uint64_t MAX_HEADER_BYTES = 100000000; /* the format's own limit */
enum { LENGTH_BYTES = 8, MAX_RANK = 8 };

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored as this machine's numbers are");

struct safetensors {
    file_map file;
    bool mapped;
    json_t *header; /* owns names and metadata */
    tensor_view *tensors;
    size_t n;
    map *by_name;
};

typedef struct dtype_name {
    const char *name;
    tensor_dtype dtype;
    size_t bytes;
} dtype_name;

static const dtype_name DTYPES[] = {
    { "F32", DTYPE_F32, 4 },    { "BF16", DTYPE_BF16, 2 },     { "F16", DTYPE_F16, 2 },       { "I64", DTYPE_I64, 8 },
    { "I32", DTYPE_I32, 4 },    { "U8", DTYPE_U8, 1 },         { "F64", DTYPE_OTHER, 8 },     { "U64", DTYPE_OTHER, 8 },
    { "U32", DTYPE_OTHER, 4 },  { "I16", DTYPE_OTHER, 2 },     { "U16", DTYPE_OTHER, 2 },     { "I8", DTYPE_OTHER, 1 },
    { "BOOL", DTYPE_OTHER, 1 }, { "F8_E4M3", DTYPE_OTHER, 1 }, { "F8_E5M2", DTYPE_OTHER, 1 },
};

static const dtype_name *dtype_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof DTYPES / sizeof *DTYPES; i++)
        if (strcmp(DTYPES[i].name, name) == 0) return &DTYPES[i];
    return NULL;
}

/* ---- reading ---- */

static int read_shape(tensor_view *v, const json_t *shape, const char *where, error *err)
{
    v->rank = (int)json_array_size(shape);
    v->count = 1;
    if (!json_is_array(shape) || json_array_size(shape) > MAX_RANK)
        return error_set(err, ERR_PARSE, "%s: tensor %.80s: expected a shape of at most %d numbers", where, v->name,
                         MAX_RANK);

    for (int i = 0; i < v->rank; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        const json_int_t n = json_integer_value(d);
        if (!json_is_integer(d) || n < 0 || __builtin_mul_overflow(v->count, (int64_t)n, &v->count))
            return error_set(err, ERR_PARSE, "%s: tensor %.80s: dimension %d of its shape is not a size", where,
                             v->name, i);
        v->shape[i] = n;
    }
    return OK;
}

/* "data_offsets": [begin, end], within the `len` bytes of data. */
static int read_offsets(const json_t *offsets, const char *name, size_t len, const char *where, size_t *begin,
                        size_t *end, error *err)
{
    const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e))
        return error_set(err, ERR_PARSE, "%s: tensor %.80s: data_offsets: expected two numbers", where, name);

    const json_int_t from = json_integer_value(b), to = json_integer_value(e);
    if (from < 0 || to < from || (uint64_t)to > len)
        return error_set(err, ERR_PARSE,
                         "%s: tensor %.80s: bytes %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
                         " do not lie in the %zu bytes of data",
                         where, name, from, to, len);
    *begin = (size_t)from;
    *end = (size_t)to;
    return OK;
}

static int read_tensor(tensor_view *v, const char *name, const json_t *j, const unsigned char *data, size_t len,
                       const char *where, error *err)
{
    *v = (tensor_view){ .name = name };
    const char *dtype_found = json_string_value(json_object_get(j, "dtype"));
    const dtype_name *dtype = dtype_of(dtype_found);
    size_t begin = 0, end = 0;
    if (!dtype)
        return error_set(err, ERR_PARSE, "%s: tensor %.80s: dtype '%.20s' is not known", where, name,
                         dtype_found ? dtype_found : "");

    if (read_shape(v, json_object_get(j, "shape"), where, err) != OK ||
        read_offsets(json_object_get(j, "data_offsets"), name, len, where, &begin, &end, err) != OK)
        return ERR_PARSE;

    int64_t bytes;
    if (__builtin_mul_overflow(v->count, (int64_t)dtype->bytes, &bytes) || (uint64_t)bytes != end - begin)
        return error_set(err, ERR_PARSE, "%s: tensor %.80s: expected %" PRId64 " numbers of %zu bytes, found %zu bytes",
                         where, name, v->count, dtype->bytes, end - begin);

    v->dtype = dtype->dtype;
    v->dtype_name = dtype->name;
    v->data = data + begin;
    v->bytes = end - begin;
    return OK;
}

static int by_offset(const void *a, const void *b)
{
    const tensor_view *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* an empty tensor before the one that starts there */
    return 0;
}

/* The format asks for data without holes or overlaps: what is read is all there is. */
static int check_layout(const safetensors *st, const unsigned char *data, size_t len, const char *where, error *err)
{
    const char *at = (const char *)data, *end = at + len;

    for (size_t i = 0; i < st->n; i++) {
        if ((const char *)st->tensors[i].data != at)
            return error_set(err, ERR_PARSE, "%s: tensor %.80s overlaps another or leaves a hole before it", where,
                             st->tensors[i].name);
        at += st->tensors[i].bytes;
    }
    if (at == end) return OK;
    return error_set(err, ERR_PARSE, "%s: %zu bytes of data belong to no tensor", where, (size_t)(end - at));
}

static int read_tensors(safetensors *st, const unsigned char *data, size_t len, const char *where, error *err)
{
    const char *name;
    json_t *value;
    st->tensors = xcalloc(json_object_size(st->header) + 1, sizeof *st->tensors);
    json_object_foreach(st->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        if (read_tensor(&st->tensors[st->n], name, value, data, len, where, err) != OK) return ERR_PARSE;
        st->n++;
    }

    /* Only now that all are in place: the map points into the array. */
    qsort(st->tensors, st->n, sizeof *st->tensors, by_offset);
    if (check_layout(st, data, len, where, err) != OK) return ERR_PARSE;
    for (size_t i = 0; i < st->n; i++) map_set(st->by_name, st->tensors[i].name, &st->tensors[i]);
    return OK;
}

static int parse(safetensors *st, const unsigned char *bytes, size_t len, const char *where, error *err)
{
    uint64_t header = 0;
    if (len < LENGTH_BYTES)
        return error_set(err, ERR_PARSE, "%s: %zu bytes are too few for a safetensors file", where, len);

    for (int i = LENGTH_BYTES - 1; i >= 0; i--) header = header << 8 | bytes[i];
    if (header > MAX_HEADER_BYTES || header > len - LENGTH_BYTES)
        return error_set(err, ERR_PARSE, "%s: its header claims %" PRIu64 " bytes of a file of %zu", where, header,
                         len);

    st->header = json_parse((const char *)bytes + LENGTH_BYTES, (size_t)header, where, err);
    if (!st->header) return ERR_PARSE;
    if (!json_is_object(st->header)) return error_set(err, ERR_PARSE, "%s: header is not a JSON object", where);
    return read_tensors(st, bytes + LENGTH_BYTES + header, len - LENGTH_BYTES - (size_t)header, where, err);
}

static safetensors *empty(void)
{
    safetensors *st = xcalloc(1, sizeof *st);
    st->by_name = map_new();
    return st;
}

safetensors *safetensors_open(const char *path, error *err)
{
    safetensors *st = empty();
    if (file_map_open(&st->file, path, err) == OK) {
        st->mapped = true;
        if (parse(st, st->file.data, st->file.len, path, err) == OK) return st;
    }
    safetensors_close(st);
    return NULL;
}

safetensors *safetensors_from_bytes(const void *data, size_t len, const char *where, error *err)
{
    safetensors *st = empty();
    if (parse(st, data, len, where, err) == OK) return st;
    safetensors_close(st);
    return NULL;
}

void safetensors_of_map(safetensors *st) { st->mapped = true; }

void safetensors_drop(const safetensors *st, const tensor_view *view)
{
    if (st->mapped) file_map_drop(view->data, view->bytes);
}

void safetensors_close(safetensors *st)
{
    if (!st) return;
    file_map_close(&st->file);
    json_decref(st->header);
    map_free(st->by_name);
    free(st->tensors);
    free(st);
}

const tensor_view *safetensors_find(const safetensors *st, const char *name) { return map_get(st->by_name, name); }
size_t safetensors_count(const safetensors *st) { return st->n; }
const tensor_view *safetensors_at(const safetensors *st, size_t i) { return &st->tensors[i]; }

const char *safetensors_metadata(const safetensors *st, const char *key)
{
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

/* ---- numbers ---- */

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest, ties to even; a NaN keeps being one. */
static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);

    /* A NaN may have its only bits in the half that goes, and would then be an infinity: it gets one in the other. */
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int safetensors_check_f32(const tensor_view *view, error *err)
{
    if (view->dtype == DTYPE_F32 || view->dtype == DTYPE_BF16 || view->dtype == DTYPE_F16) return OK;
    return error_set(err, ERR_UNSUPPORTED, "tensor %.80s: dtype %s is not supported (F32, BF16, F16 are)", view->name,
                     view->dtype_name);
}

/* Exponents of all ones are infinities and NaNs. */
bool safetensors_finite(const float *x, int64_t n)
{
    /* All of them, without an early end: so the compiler can look at several at once. */
    uint32_t spoilt = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        spoilt |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !spoilt;
}

int safetensors_to_f32(const tensor_view *view, float *out, error *err)
{
    if (safetensors_check_f32(view, err) != OK) return ERR_UNSUPPORTED;

    if (view->dtype == DTYPE_F32) {
        if (view->bytes) memcpy(out, view->data, view->bytes);
        return OK;
    }

    for (int64_t i = 0; i < view->count; i++) {
        uint16_t h;
        memcpy(&h, (const char *)view->data + 2 * i, sizeof h);
        out[i] = view->dtype == DTYPE_BF16 ? from_bits((uint32_t)h << 16) : half_to_f32(h);
    }
    return OK;
}

/* ---- writing ---- */

static int64_t count_of(const tensor_source *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

static void write_metadata(str *s, const char *const *metadata)
{
    str_puts(s, "\"__metadata__\":{");
    for (int i = 0; metadata[i]; i += 2) {
        if (i) str_putc(s, ',');
        str_json(s, metadata[i], strlen(metadata[i]));
        str_putc(s, ':');
        str_json(s, metadata[i + 1], strlen(metadata[i + 1]));
    }
    str_putc(s, '}');
}

static void write_entry(str *s, const tensor_source *t, tensor_dtype dtype, int64_t *at)
{
    const int64_t bytes = count_of(t) * (dtype == DTYPE_BF16 ? 2 : 4);
    str_json(s, t->name, strlen(t->name));
    str_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", dtype == DTYPE_BF16 ? "BF16" : "F32");
    for (int i = 0; i < t->rank; i++) str_printf(s, i ? ",%" PRId64 : "%" PRId64, t->shape[i]);
    str_printf(s, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", *at, *at + bytes);
    *at += bytes;
}

/* Padded with spaces, so that the data begins on a multiple of 8 bytes. */
static void write_header(str *s, const tensor_source *tensors, size_t n, tensor_dtype dtype,
                         const char *const *metadata)
{
    int64_t at = 0;
    const bool described = metadata && metadata[0];

    str_putc(s, '{');
    if (described) write_metadata(s, metadata);
    for (size_t t = 0; t < n; t++) {
        if (t > 0 || described) str_putc(s, ',');
        write_entry(s, &tensors[t], dtype, &at);
    }

    str_putc(s, '}');
    while (s->len % LENGTH_BYTES) str_putc(s, ' ');
}

/* Where an encoded file goes: into memory or into a file. */
typedef struct sink {
    str *bytes;
    file_writer *file; /* when bytes is NULL */
} sink;

static int put(sink *to, const void *data, size_t len, error *err)
{
    if (!to->bytes) return file_write_all(to->file, data, len, err);
    str_add(to->bytes, data, len);
    return OK;
}

static int put_bf16(sink *to, const float *data, int64_t n, error *err)
{
    enum { BLOCK = 4096 };
    uint16_t block[BLOCK];
    int rc = OK;
    for (int64_t from = 0; rc == OK && from < n; from += BLOCK) {
        const size_t here = (size_t)(n - from < BLOCK ? n - from : BLOCK);
        for (size_t i = 0; i < here; i++) block[i] = to_bf16(data[from + (int64_t)i]);
        rc = put(to, block, sizeof *block * here, err);
    }
    return rc;
}

static int put_numbers(sink *to, const float *data, int64_t n, tensor_dtype dtype, error *err)
{
    if (dtype == DTYPE_BF16) return put_bf16(to, data, n, err);
    return put(to, data, sizeof(float) * (size_t)n, err);
}

static int put_tensor(sink *to, const tensor_source *t, tensor_dtype dtype, error *err)
{
    const int64_t n = count_of(t);
    if (!t->fill) return put_numbers(to, t->data, n, dtype, err);

    float *numbers = xmalloc(sizeof *numbers * (size_t)n);
    t->fill(t->ctx, numbers);
    const int rc = put_numbers(to, numbers, n, dtype, err);
    free(numbers);
    return rc;
}

static int put_all(sink *to, const tensor_source *tensors, size_t n, tensor_dtype dtype, const char *const *metadata,
                   error *err)
{
    str header = { 0 };
    unsigned char length[LENGTH_BYTES];

    assert(dtype == DTYPE_F32 || dtype == DTYPE_BF16);
    write_header(&header, tensors, n, dtype, metadata);
    for (int i = 0; i < LENGTH_BYTES; i++) length[i] = (unsigned char)(header.len >> (8 * i) & 255);

    int rc = put(to, length, sizeof length, err);
    if (rc == OK) rc = put(to, header.data, header.len, err);
    for (size_t t = 0; rc == OK && t < n; t++) rc = put_tensor(to, &tensors[t], dtype, err);
    str_free(&header);
    return rc;
}

void safetensors_encode(const tensor_source *tensors, size_t n, tensor_dtype dtype, const char *const *metadata,
                        str *out)
{
    /* No error: running out of memory ends the process. */
    put_all(&(sink){ .bytes = out }, tensors, n, dtype, metadata, NULL);
}

int safetensors_write(const char *path, const tensor_source *tensors, size_t n, tensor_dtype dtype,
                      const char *const *metadata, error *err)
{
    file_writer file;
    int rc = file_write_begin(&file, path, err);
    if (rc != OK) return rc;

    rc = put_all(&(sink){ .file = &file }, tensors, n, dtype, metadata, err);
    const int ended = file_write_end(&file, rc == OK, rc == OK ? err : NULL);
    return rc == OK ? ended : rc;
}
