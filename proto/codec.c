/* SPDX-License-Identifier: MIT */
#include "proto/codec.h"

#include <inttypes.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays travel as this machine has them: little-endian");

/* MAX_VALUES: msgpack-c takes 24 to 48 bytes for a value that may be one byte long; no message of ours has a tenth. */
enum { MAX_DEPTH = 16, MAX_VALUES = 1 << 18 };

/* ---- encoding ---- */

static int append(void *to, const char *data, size_t len)
{
    str_add(to, data, len);
    return 0;
}

static void pack_text(msgpack_packer *pk, const char *s)
{
    if (!s) {
        msgpack_pack_nil(pk);
        return;
    }
    msgpack_pack_str(pk, strlen(s));
    msgpack_pack_str_body(pk, s, strlen(s));
}

static void pack_bin(msgpack_packer *pk, const void *data, size_t len)
{
    msgpack_pack_bin(pk, len);
    if (len > 0) msgpack_pack_bin_body(pk, data, len);
}

static void pack_record(msgpack_packer *pk, const field *table, const char *record);

static void pack_list(msgpack_packer *pk, const field *f, const char *items, uint32_t n)
{
    msgpack_pack_array(pk, n);
    for (uint32_t i = 0; i < n; i++) pack_record(pk, f->table, items + (size_t)i * f->size);
}

static uint32_t count_of(const field *f, const char *record)
{
    uint32_t n;
    memcpy(&n, record + f->count, sizeof n);
    return n;
}

static void pack_field(msgpack_packer *pk, const field *f, const char *record)
{
    const char *at = record + f->offset;
    size_t len;

    switch (f->kind) {
    case F_U64:
        msgpack_pack_uint64(pk, *(const uint64_t *)(const void *)at);
        break;
    case F_I64:
        msgpack_pack_int64(pk, *(const int64_t *)(const void *)at);
        break;
    case F_U32:
        msgpack_pack_uint32(pk, *(const uint32_t *)(const void *)at);
        break;
    case F_I32:
        msgpack_pack_int32(pk, *(const int32_t *)(const void *)at);
        break;
    case F_BOOL:
        if (*(const bool *)at)
            msgpack_pack_true(pk);
        else
            msgpack_pack_false(pk);
        break;
    case F_F32:
        msgpack_pack_float(pk, *(const float *)(const void *)at);
        break;
    case F_F64:
        msgpack_pack_double(pk, *(const double *)(const void *)at);
        break;
    case F_TEXT:
        pack_text(pk, *(char *const *)(const void *)at);
        break;
    case F_NAME:
        pack_text(pk, at);
        break;
    case F_BYTES:
        memcpy(&len, record + f->count, sizeof len);
        pack_bin(pk, *(void *const *)(const void *)at, len);
        break;
    case F_ARRAY:
        pack_bin(pk, *(void *const *)(const void *)at, count_of(f, record) * f->size);
        break;
    case F_LIST:
        pack_list(pk, f, *(char *const *)(const void *)at, count_of(f, record));
        break;
    case F_INLINE:
        pack_list(pk, f, at, count_of(f, record));
        break;
    case F_RECORD:
        pack_record(pk, f->table, at);
        break;
    case F_OWNED:
        pack_record(pk, f->table, *(char *const *)(const void *)at);
        break;
    }
}

static void pack_record(msgpack_packer *pk, const field *table, const char *record)
{
    size_t n = 0;
    while (table[n].name) n++;

    msgpack_pack_map(pk, n);
    for (const field *f = table; f->name; f++) {
        pack_text(pk, f->name);
        pack_field(pk, f, record);
    }
}

void codec_encode(const field *table, const void *record, str *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, append);
    pack_record(&pk, table, record);
}

/* ---- the check before decoding ---- */

typedef struct walker {
    const unsigned char *p, *end;
    uint64_t left[MAX_DEPTH + 1]; /* values still to come, by depth */
    uint64_t values;              /* seen or announced so far */
    int depth;
} walker;

static bool take_count(walker *w, int bytes, uint64_t *n)
{
    if (w->end - w->p < bytes) return false;
    *n = 0;
    for (int i = 0; i < bytes; i++) *n = *n << 8 | *w->p++;
    return true;
}

static bool skip(walker *w, uint64_t n)
{
    if ((uint64_t)(w->end - w->p) < n) return false;
    w->p += n;
    return true;
}

static bool enter(walker *w, uint64_t values)
{
    if (values == 0) return true;
    if (values > (uint64_t)(w->end - w->p)) return false; /* each value takes a byte at least */
    if (w->depth == MAX_DEPTH) return false;

    w->values += values;
    if (w->values > MAX_VALUES) return false;
    w->left[++w->depth] = values;
    return true;
}

/* After a type byte whose length, or whose number, follows in bytes of its own. */
static bool step_long(walker *w, unsigned char t)
{
    uint64_t n;

    switch (t) {
    case 0xc4: /* bin 8, str 8 */
    case 0xd9:
        return take_count(w, 1, &n) && skip(w, n);
    case 0xc5: /* bin 16, str 16 */
    case 0xda:
        return take_count(w, 2, &n) && skip(w, n);
    case 0xc6: /* bin 32, str 32 */
    case 0xdb:
        return take_count(w, 4, &n) && skip(w, n);
    case 0xcc: /* integers of 8, then 16 bits */
    case 0xd0:
        return skip(w, 1);
    case 0xcd:
    case 0xd1:
        return skip(w, 2);
    case 0xca: /* float and integers of 32, then 64 bits */
    case 0xce:
    case 0xd2:
        return skip(w, 4);
    case 0xcb:
    case 0xcf:
    case 0xd3:
        return skip(w, 8);
    case 0xdc: /* array 16, array 32 */
        return take_count(w, 2, &n) && enter(w, n);
    case 0xdd:
        return take_count(w, 4, &n) && enter(w, n);
    case 0xde: /* map 16, map 32 */
        return take_count(w, 2, &n) && enter(w, 2 * n);
    case 0xdf:
        return take_count(w, 4, &n) && enter(w, 2 * n);
    default:
        return false; /* extension types are not used here */
    }
}

/* Past one value of the msgpack format (github.com/msgpack/msgpack/blob/master/spec.md); the values inside it come
 * next. */
static bool step(walker *w)
{
    if (w->p == w->end) return false;
    const unsigned char t = *w->p++;
    const bool small_integer = t <= 0x7f || t >= 0xe0;
    const bool nil_or_bool = t == 0xc0 || t == 0xc2 || t == 0xc3;

    if (small_integer || nil_or_bool) return true;
    if (t <= 0x8f) return enter(w, 2u * (t & 15u)); /* a map: keys and values */
    if (t <= 0x9f) return enter(w, t & 15u);
    if (t <= 0xbf) return skip(w, t & 31u);
    return step_long(w, t);
}

/* Past one value and all that is in it. left[0] is 1: the one value. */
static bool walk_value(walker *w)
{
    do {
        w->left[w->depth]--;
        if (!step(w)) return false;
        while (w->depth > 0 && w->left[w->depth] == 0) w->depth--;
    } while (w->left[w->depth] > 0);
    return true;
}

int codec_validate(const void *data, size_t len, error *err)
{
    const unsigned char *bytes = data;
    walker w = { .p = bytes, .end = bytes + len, .left = { 1 } };

    if (!walk_value(&w))
        return error_set(err, ERR_PARSE, "malformed msgpack at byte %zu of %zu", (size_t)(w.p - bytes), len);
    if (w.p != w.end)
        return error_set(err, ERR_PARSE, "%zu bytes after the end of a msgpack value", (size_t)(w.end - w.p));
    return OK;
}

/* ---- one number, read in place ---- */

static bool skip_value(walker *w)
{
    w->depth = 0;
    w->left[0] = 1;
    return walk_value(w);
}

static bool take_map(walker *w, uint64_t *pairs)
{
    if (w->p == w->end) return false;
    const unsigned char t = *w->p++;

    *pairs = t & 15u;
    if ((t & 0xf0u) == 0x80) return true;
    if (t == 0xde) return take_count(w, 2, pairs);
    return t == 0xdf && take_count(w, 4, pairs);
}

static bool take_unsigned(walker *w, uint64_t *out)
{
    if (w->p == w->end) return false;
    const unsigned char t = *w->p++;

    *out = t;
    if (t <= 0x7f) return true;
    return t >= 0xcc && t <= 0xcf && take_count(w, 1 << (t - 0xcc), out); /* 1, 2, 4 or 8 bytes */
}

/* Past the next key, a short text; true when it is `name`. *good is false when it is no short text. */
static bool is_key(walker *w, const char *name, bool *good)
{
    uint64_t len = 0;
    *good = false;
    if (w->p == w->end) return false;

    const unsigned char t = *w->p++;
    if ((t & 0xe0u) == 0xa0)
        len = t & 31u;
    else if (t != 0xd9 || !take_count(w, 1, &len))
        return false;

    const unsigned char *text = w->p;
    *good = skip(w, len);
    return *good && len == strlen(name) && memcmp(text, name, len) == 0;
}

bool codec_peek_u64(const void *data, size_t len, const char *const *path, uint64_t *out)
{
    walker w = { .p = data, .end = (const unsigned char *)data + len };

    for (; *path; path++) {
        uint64_t pairs;
        bool good = true, found = false;

        if (!take_map(&w, &pairs)) return false;
        for (; !found && pairs > 0; pairs--) {
            found = is_key(&w, *path, &good);
            if (!good || (!found && !skip_value(&w))) return false;
        }
        if (!found) return false;
    }
    return take_unsigned(&w, out);
}

/* ---- decoding ---- */

static int wrong(const field *f, const char *expected, error *err)
{
    return error_set(err, ERR_PARSE, "field '%s': expected %s", f->name, expected);
}

static int read_record(const field *table, const msgpack_object *o, char *record, error *err);

static int read_unsigned(const field *f, const msgpack_object *o, uint64_t max, uint64_t *out, error *err)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max) return wrong(f, "a whole number in range", err);
    *out = o->via.u64;
    return OK;
}

static int read_signed(const field *f, const msgpack_object *o, int64_t min, int64_t max, int64_t *out, error *err)
{
    const bool positive = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= (uint64_t)max;
    const bool negative = o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER && o->via.i64 >= min;

    if (!positive && !negative) return wrong(f, "a whole number in range", err);
    *out = positive ? (int64_t)o->via.u64 : o->via.i64;
    return OK;
}

static int read_number(const field *f, const msgpack_object *o, double *out, error *err)
{
    if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
        *out = o->via.f64;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        *out = (double)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = (double)o->via.i64;
    else
        return wrong(f, "a number", err);
    return OK;
}

static int read_text(const field *f, const msgpack_object *o, char **out, error *err)
{
    if (o->type == MSGPACK_OBJECT_NIL) return OK;
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size > f->limit || memchr(o->via.str.ptr, 0, o->via.str.size))
        return wrong(f, "a text within its limit", err);
    *out = xstrndup(o->via.str.ptr, o->via.str.size);
    return OK;
}

/* Into an array of f->limit bytes, which are 0: the end is there already. */
static int read_name(const field *f, const msgpack_object *o, char *at, error *err)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= f->limit || memchr(o->via.str.ptr, 0, o->via.str.size))
        return wrong(f, "a short text", err);
    memcpy(at, o->via.str.ptr, o->via.str.size);
    return OK;
}

static int read_bin(const field *f, const msgpack_object *o, size_t size, size_t *n, error *err)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size % size != 0 || o->via.bin.size / size > f->limit)
        return wrong(f, "bytes within their limit", err);
    *n = o->via.bin.size / size;
    return OK;
}

static void *copy_of(const msgpack_object *o)
{
    void *p = xmalloc(o->via.bin.size + 1);
    if (o->via.bin.size) memcpy(p, o->via.bin.ptr, o->via.bin.size);
    return p;
}

/* Arrays that share a count (a trajectory's) must agree on it. */
static int set_count(const field *f, char *record, uint32_t n, bool first, error *err)
{
    if (!first && count_of(f, record) != n) return wrong(f, "as many elements as the arrays beside it", err);
    memcpy(record + f->count, &n, sizeof n);
    return OK;
}

static int read_list(const field *f, const msgpack_object *o, char *record, error *err)
{
    char *at = record + f->offset;
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > f->limit)
        return wrong(f, "a list within its limit", err);

    if (f->kind == F_LIST) {
        char *items = xcalloc(o->via.array.size + 1, f->size);
        memcpy(at, &items, sizeof items);
        at = items;
    }

    for (uint32_t i = 0; i < o->via.array.size; i++) {
        const uint32_t n = i + 1; /* counted as they come: a reset after an error frees just these */
        memcpy(record + f->count, &n, sizeof n);
        if (read_record(f->table, &o->via.array.ptr[i], at + (size_t)i * f->size, err) != OK)
            return error_within(err, "%s[%" PRIu32 "]", f->name, i);
    }
    return OK;
}

static int read_inner(const field *f, const msgpack_object *o, char *record, error *err)
{
    if (read_record(f->table, o, record, err) == OK) return OK;
    return error_within(err, "%s", f->name);
}

static int read_field(const field *f, const msgpack_object *o, char *record, bool first_array, error *err)
{
    void *at = record + f->offset;
    uint64_t u = 0;
    int64_t s = 0;
    double d = 0;
    size_t n = 0;
    int rc = OK;

    switch (f->kind) {
    case F_U64:
        return read_unsigned(f, o, UINT64_MAX, at, err);
    case F_I64:
        return read_signed(f, o, INT64_MIN, INT64_MAX, at, err);
    case F_U32:
        rc = read_unsigned(f, o, UINT32_MAX, &u, err);
        *(uint32_t *)at = (uint32_t)u;
        return rc;
    case F_I32:
        rc = read_signed(f, o, INT32_MIN, INT32_MAX, &s, err);
        *(int32_t *)at = (int32_t)s;
        return rc;
    case F_BOOL:
        if (o->type != MSGPACK_OBJECT_BOOLEAN) return wrong(f, "true or false", err);
        *(bool *)at = o->via.boolean;
        return OK;
    case F_F32:
        rc = read_number(f, o, &d, err);
        *(float *)at = (float)d;
        return rc;
    case F_F64:
        return read_number(f, o, at, err);
    case F_TEXT:
        return read_text(f, o, at, err);
    case F_NAME:
        return read_name(f, o, at, err);
    case F_BYTES:
        if (read_bin(f, o, 1, &n, err) != OK) return ERR_PARSE;
        *(void **)at = copy_of(o);
        memcpy(record + f->count, &n, sizeof n);
        return OK;
    case F_ARRAY:
        if (read_bin(f, o, f->size, &n, err) != OK) return ERR_PARSE;
        *(void **)at = copy_of(o);
        return set_count(f, record, (uint32_t)n, first_array, err);
    case F_LIST:
    case F_INLINE:
        return read_list(f, o, record, err);
    case F_RECORD:
        return read_inner(f, o, at, err);
    case F_OWNED:
        *(void **)at = xcalloc(1, f->size);
        return read_inner(f, o, *(char **)at, err);
    }
    return OK;
}

static const msgpack_object *find(const msgpack_object *map, const char *name)
{
    const size_t len = strlen(name);

    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == len && memcmp(key->via.str.ptr, name, len) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static int read_record(const field *table, const msgpack_object *o, char *record, error *err)
{
    bool first_array = true; /* it sets the count that the others share */

    if (o->type != MSGPACK_OBJECT_MAP) return error_set(err, ERR_PARSE, "expected a map of fields");
    for (const field *f = table; f->name; f++) {
        const msgpack_object *v = find(o, f->name);
        if (!v) return error_set(err, ERR_PARSE, "field '%s' is missing", f->name);

        if (read_field(f, v, record, first_array, err) != OK) return ERR_PARSE;
        if (f->kind == F_ARRAY) first_array = false;
    }
    return OK;
}

static void free_fields(const field *table, char *record);

static void free_items(const field *f, char *items, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) free_fields(f->table, items + (size_t)i * f->size);
}

/* A field that is a pointer to memory of its own. */
static void free_owned(const field *f, const char *record)
{
    char *owned;
    memcpy(&owned, record + f->offset, sizeof owned);
    if (!owned) return;

    if (f->kind == F_OWNED) free_fields(f->table, owned);
    if (f->kind == F_LIST) free_items(f, owned, count_of(f, record));
    free(owned);
}

static void free_fields(const field *table, char *record)
{
    for (const field *f = table; f->name; f++) {
        switch (f->kind) {
        case F_RECORD:
            free_fields(f->table, record + f->offset);
            break;
        case F_INLINE:
            free_items(f, record + f->offset, count_of(f, record));
            break;
        case F_TEXT:
        case F_BYTES:
        case F_ARRAY:
        case F_LIST:
        case F_OWNED:
            free_owned(f, record);
            break;
        default:
            break; /* a number, or a name in place */
        }
    }
}

void codec_reset(const field *table, size_t record_size, void *record)
{
    free_fields(table, record);
    memset(record, 0, record_size);
}

int codec_decode(const field *table, size_t record_size, const void *data, size_t len, void *record, error *err)
{
    msgpack_unpacked u;
    size_t at = 0;
    int rc = OK;

    memset(record, 0, record_size);
    if (len > MAX_MESSAGE_BYTES)
        return error_set(err, ERR_LIMIT, "message of %zu bytes (at most %d are allowed)", len, (int)MAX_MESSAGE_BYTES);
    if (codec_validate(data, len, err) != OK) return ERR_PARSE;

    msgpack_unpacked_init(&u);
    if (msgpack_unpack_next(&u, data, len, &at) != MSGPACK_UNPACK_SUCCESS)
        rc = error_set(err, ERR_PARSE, "malformed msgpack");
    if (rc == OK) rc = read_record(table, &u.data, record, err);
    msgpack_unpacked_destroy(&u);

    if (rc != OK) codec_reset(table, record_size, record);
    return rc;
}
