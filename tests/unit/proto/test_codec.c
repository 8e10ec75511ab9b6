/* SPDX-License-Identifier: MIT */
#include "proto/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

/* A record with a field of every kind, and nothing else. */
typedef struct inner {
    uint32_t a;
    char *text;
} inner;

typedef struct outer {
    uint64_t u64;
    int64_t i64;
    uint32_t u32;
    int32_t i32;
    bool yes;
    float f32;
    double f64;
    char *text, name[8];
    void *bytes;
    size_t bytes_len;
    int32_t *ids;
    float *weights;
    uint32_t n_ids;
    inner *list;
    uint32_t n_list;
    inner in_place[2];
    int n_in_place;
    inner record, *owned;
} outer;

static const field INNER[] = {
    { "a", F_U32, offsetof(inner, a), 0, 0, 0, NULL },
    { "text", F_TEXT, offsetof(inner, text), 5, 0, 0, NULL },
    { 0 },
};

/* clang-format off */
#define AT(name, kind, limit) { #name, kind, offsetof(outer, name), limit, 0, 0, NULL }
/* clang-format on */
static const field OUTER[] = {
    AT(u64, F_U64, 0),
    AT(i64, F_I64, 0),
    AT(u32, F_U32, 0),
    AT(i32, F_I32, 0),
    AT(yes, F_BOOL, 0),
    AT(f32, F_F32, 0),
    AT(f64, F_F64, 0),
    AT(text, F_TEXT, 5),
    AT(name, F_NAME, 8),
    { "bytes", F_BYTES, offsetof(outer, bytes), 6, offsetof(outer, bytes_len), 0, NULL },
    { "ids", F_ARRAY, offsetof(outer, ids), 3, offsetof(outer, n_ids), sizeof(int32_t), NULL },
    { "weights", F_ARRAY, offsetof(outer, weights), 3, offsetof(outer, n_ids), sizeof(float), NULL },
    { "list", F_LIST, offsetof(outer, list), 3, offsetof(outer, n_list), sizeof(inner), INNER },
    { "in_place", F_INLINE, offsetof(outer, in_place), 2, offsetof(outer, n_in_place), sizeof(inner), INNER },
    { "record", F_RECORD, offsetof(outer, record), 0, 0, 0, INNER },
    { "owned", F_OWNED, offsetof(outer, owned), 0, 0, sizeof(inner), INNER },
    { 0 },
};

static outer made(void)
{
    outer o = { .u64 = UINT64_MAX,
                .i64 = INT64_MIN,
                .u32 = UINT32_MAX,
                .i32 = INT32_MIN,
                .yes = true,
                .f32 = -0.1f,
                .f64 = 0.1,
                .text = xstrdup("12345"),
                .name = "1234567",
                .bytes = xstrdup("a\xff\xc1"),
                .bytes_len = 4,
                .ids = xmalloc(3 * sizeof(int32_t)),
                .weights = xmalloc(3 * sizeof(float)),
                .n_ids = 3,
                .list = xcalloc(3, sizeof(inner)),
                .n_list = 3,
                .in_place = { { 1, xstrdup("one") }, { 2, NULL } },
                .n_in_place = 2,
                .record = { 3, xstrdup("") },
                .owned = xcalloc(1, sizeof(inner)) };
    for (uint32_t i = 0; i < 3; i++) {
        o.ids[i] = (int32_t)i - 1;
        o.weights[i] = 0.5f * (float)i;
        o.list[i] = (inner){ 10 + i, i == 1 ? NULL : xstrdup("list") };
    }
    *o.owned = (inner){ 4, xstrdup("owned") };
    return o;
}

static str encoded(const outer *o)
{
    str bytes = { 0 };
    codec_encode(OUTER, o, &bytes);
    return bytes;
}

static void same_inner(const inner *got, uint32_t a, const char *text)
{
    assert_int_equal(got->a, a);
    if (text)
        assert_string_equal(got->text, text);
    else
        assert_null(got->text);
}

static void a_field_of_every_kind_comes_back_at_its_extremes(void **state)
{
    (void)state;
    outer o = made(), back;
    error err = { 0 };
    str bytes = encoded(&o);
    test_ok(codec_decode(OUTER, sizeof back, bytes.data, bytes.len, &back, &err), &err);
    assert_true(back.u64 == UINT64_MAX && back.i64 == INT64_MIN && back.u32 == UINT32_MAX && back.i32 == INT32_MIN);
    assert_true(back.yes && back.f32 == -0.1f && back.f64 == 0.1);
    assert_string_equal(back.text, "12345");
    assert_string_equal(back.name, "1234567");
    assert_int_equal(back.bytes_len, 4);
    assert_memory_equal(back.bytes, o.bytes, 4);
    assert_int_equal(back.n_ids, 3);
    assert_memory_equal(back.ids, o.ids, 3 * sizeof *o.ids);
    assert_memory_equal(back.weights, o.weights, 3 * sizeof *o.weights);
    assert_true(back.n_list == 3 && back.n_in_place == 2);
    for (uint32_t i = 0; i < 3; i++) same_inner(&back.list[i], 10 + i, i == 1 ? NULL : "list");
    same_inner(&back.in_place[0], 1, "one");
    same_inner(&back.in_place[1], 2, NULL);
    same_inner(&back.record, 3, "");
    same_inner(back.owned, 4, "owned");
    codec_reset(OUTER, sizeof back, &back);
    assert_true(back.u64 == 0 && back.text == NULL && back.owned == NULL && back.n_in_place == 0);
    codec_reset(OUTER, sizeof o, &o);
    str_free(&bytes);
}

/* Every length short of the whole is refused, whatever was allocated is freed (the sanitizer looks), zero is left. */
static void half_a_record_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    outer o = made(), back;
    static const outer zero;
    error err = { 0 };
    str bytes = encoded(&o);
    for (size_t len = 0; len < bytes.len; len++) {
        memset(&back, 0xff, sizeof back);
        assert_int_equal(codec_decode(OUTER, sizeof back, bytes.data, len, &back, &err), ERR_PARSE);
        assert_memory_equal(&back, &zero, sizeof back);
    }
    codec_reset(OUTER, sizeof o, &o);
    str_free(&bytes);
}

static void must_refuse(const outer *o, const char *about)
{
    outer back;
    error err = { 0 };
    str bytes = encoded(o);
    if (codec_decode(OUTER, sizeof back, bytes.data, bytes.len, &back, &err) != ERR_PARSE)
        fail_msg("was taken, in spite of %s", about);
    if (!strstr(err.text, about)) fail_msg("'%s' does not name '%s'", err.text, about);
    str_free(&bytes);
}

static void one_more_than_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    outer o = made(), changed;
    inner four[4] = { 0 };
    int32_t ids[4] = { 0 };
    changed = o, changed.text = (char[]){ "123456" }, must_refuse(&changed, "'text'");
    changed = o, changed.bytes_len = 7, changed.bytes = (char[7]){ 0 }, must_refuse(&changed, "'bytes'");
    changed = o, changed.ids = ids, changed.n_ids = 4, changed.weights = (float[4]){ 0 },
    must_refuse(&changed, "'ids'");
    changed = o, changed.list = four, changed.n_list = 4, must_refuse(&changed, "'list'");
    changed = o, changed.record.text = (char[]){ "123456" }, must_refuse(&changed, "record: field 'text'");
    changed = o, changed.in_place[1].text = (char[]){ "123456" }, must_refuse(&changed, "in_place[1]: field 'text'");
    changed = o, changed.list = four, four[2].text = (char[]){ "123456" }, must_refuse(&changed, "list[2]");
    changed = o, changed.owned = &four[2], must_refuse(&changed, "owned: field 'text'");
    codec_reset(OUTER, sizeof o, &o);
}

/* ---- by hand: one field, and any bytes for its value ---- */

typedef struct one {
    uint64_t room[4]; /* of any kind */
    size_t len;
} one;

typedef struct value {
    field_kind kind;
    uint64_t limit;
    const char *bytes;
    size_t len;
} value;
#define VALUE(kind, limit, text)                                                                                       \
    {                                                                                                                  \
        kind, limit, text, sizeof(text) - 1                                                                            \
    }

static int decode_one(const value *v, const char *key, one *out, error *err)
{
    static const field none[] = { { 0 } };
    const field table[] = { { "k", v->kind, 0, v->limit, offsetof(one, len), 4, none }, { 0 } };
    str bytes = { 0 };
    str_putc(&bytes, '\x81');
    str_putc(&bytes, (char)(0xa0 + strlen(key)));
    str_puts(&bytes, key);
    str_add(&bytes, v->bytes, v->len);
    const int rc = codec_decode(table, sizeof *out, bytes.data, bytes.len, out, err);
    str_free(&bytes);
    if (rc == OK) codec_reset(table, sizeof *out, out);
    return rc;
}

static void values_of_another_type_or_size_are_refused_by_name(void **state)
{
    (void)state;
    static const value bad[] = {
        VALUE(F_U64, 0, "\xff"),                                 /* -1 */
        VALUE(F_U64, 0, "\xca\0\0\0\0"),                         /* a float */
        VALUE(F_U64, 0, "\xa1x"),                                /* a text */
        VALUE(F_U64, 0, "\xc0"),                                 /* nil */
        VALUE(F_U64, 0, "\xc3"),                                 /* true */
        VALUE(F_U32, 0, "\xcf\0\0\0\1\0\0\0\0"),                 /* 2^32 */
        VALUE(F_U32, 0, "\xff"),                                 /* -1 */
        VALUE(F_I32, 0, "\xce\x80\0\0\0"),                       /* 2^31 */
        VALUE(F_I32, 0, "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"), /* -2^31 - 1 */
        VALUE(F_I64, 0, "\xcf\x80\0\0\0\0\0\0\0"),               /* 2^63 */
        VALUE(F_BOOL, 0, "\1"),                                  /* 1 is not true */
        VALUE(F_BOOL, 0, "\xc0"),                                /* nil is not false */
        VALUE(F_F32, 0, "\xa1x"),
        VALUE(F_F64, 0, "\xc0"),
        VALUE(F_TEXT, 5, "\xc4\1x"),    /* bytes are no text */
        VALUE(F_TEXT, 5, "\xa3x\0y"),   /* a zero within: what C reads is not what was said */
        VALUE(F_TEXT, 5, "\7"),         /* a number */
        VALUE(F_NAME, 4, "\xc0"),       /* nil */
        VALUE(F_NAME, 4, "\xa4xxxx"),   /* no room for the end */
        VALUE(F_NAME, 4, "\xa3x\0y"),   /* a zero within */
        VALUE(F_BYTES, 5, "\xa1x"),     /* a text is no bytes */
        VALUE(F_BYTES, 5, "\xc0"),      /* nil */
        VALUE(F_ARRAY, 5, "\xc4\3xxx"), /* three bytes are no whole elements of four */
        VALUE(F_ARRAY, 5, "\x91\1"),    /* a list of numbers is no array */
        VALUE(F_LIST, 5, "\x80"),       /* a map */
        VALUE(F_LIST, 5, "\x91\1"),     /* a list of numbers, not of maps */
        VALUE(F_INLINE, 5, "\xc4\0"),
        VALUE(F_RECORD, 0, "\x90"),
        VALUE(F_OWNED, 0, "\xc0"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        one out;
        static const one zero;
        error err = { 0 };
        if (decode_one(&bad[i], "k", &out, &err) != ERR_PARSE) fail_msg("value %zu was taken", i);
        if (!strchr(err.text, 'k')) fail_msg("'%s' names no field", err.text);
        assert_memory_equal(&out, &zero, sizeof out);
    }
}

static void values_at_their_limit_and_in_any_width_are_taken(void **state)
{
    (void)state;
    static const value good[] = {
        VALUE(F_U64, 0, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        VALUE(F_U32, 0, "\xcf\0\0\0\0\xff\xff\xff\xff"),
        VALUE(F_U32, 0, "\xd3\0\0\0\0\0\0\0\1"), /* a signed 1 */
        VALUE(F_I32, 0, "\xce\x7f\xff\xff\xff"),
        VALUE(F_I32, 0, "\xd2\x80\0\0\0"),
        VALUE(F_I64, 0, "\xd3\x80\0\0\0\0\0\0\0"),
        VALUE(F_F32, 0, "\xff"), /* -1 is a number */
        VALUE(F_F64, 0, "\xca\x3f\x80\0\0"),
        VALUE(F_TEXT, 5, "\xa5xxxxx"),
        VALUE(F_TEXT, 5, "\xdb\0\0\0\1x"),
        VALUE(F_TEXT, 5, "\xc0"),
        VALUE(F_NAME, 4, "\xa3xxx"),
        VALUE(F_NAME, 4, "\xa0"),
        VALUE(F_BYTES, 5, "\xc4\5xxxxx"),
        VALUE(F_ARRAY, 1, "\xc4\4xxxx"),
        VALUE(F_LIST, 5, "\x90"),
        VALUE(F_LIST, 1, "\x91\x80"),
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        one out;
        error err = { 0 };
        if (decode_one(&good[i], "k", &out, &err) != OK) fail_msg("value %zu: %s", i, err.text);
    }
}

static void missing_fields_are_refused_and_unknown_ones_skipped(void **state)
{
    (void)state;
    static const value v = VALUE(F_U32, 0, "\1");
    static const field table[] = { { "k", F_U32, 0, 0, 0, 0, NULL }, { 0 } };
    static const char more[] = "\x84\xa3new\x92\1\x81\1\2\xa1k\7\5\5\xa1z\xc4\1x", no_map[] = "\x91\1";
    one out;
    error err = { 0 };
    assert_int_equal(decode_one(&v, "K", &out, &err), ERR_PARSE);
    assert_string_equal(err.text, "field 'k' is missing");
    assert_int_equal(decode_one(&v, "kk", &out, &err), ERR_PARSE);
    test_ok(codec_decode(table, sizeof out, more, sizeof more - 1, &out, &err), &err);
    assert_int_equal(out.room[0], 7);
    assert_int_equal(codec_decode(table, sizeof out, no_map, sizeof no_map - 1, &out, &err), ERR_PARSE);
}

static void arrays_that_share_a_count_must_agree(void **state)
{
    (void)state;
    outer o = made(), back;
    error err = { 0 };
    str bytes = encoded(&o);
    char *weights = memmem(bytes.data, bytes.len, "weights\xc4\x0c", 9);
    assert_non_null(weights);
    weights[8] = 8; /* two floats; the third is cut out */
    memmove(weights + 17, weights + 21, (size_t)(bytes.data + bytes.len - (weights + 21)));
    assert_int_equal(codec_decode(OUTER, sizeof back, bytes.data, bytes.len - 4, &back, &err), ERR_PARSE);
    if (!strstr(err.text, "'weights'")) fail_msg("%s", err.text);
    codec_reset(OUTER, sizeof o, &o);
    str_free(&bytes);
}

/* ---- the check before decoding ---- */

static str nested(int depth, unsigned char bracket)
{
    str s = { 0 };
    for (int i = 0; i < depth; i++) {
        str_putc(&s, (char)bracket);
        if (bracket == 0x81) str_putc(&s, 1); /* its key */
    }
    str_putc(&s, 1);
    return s;
}

static void nesting_deeper_than_16_is_refused(void **state)
{
    (void)state;
    static const unsigned char brackets[] = { 0x91, 0x81 };
    for (int b = 0; b < 2; b++) {
        error err = { 0 };
        str s = nested(16, brackets[b]);
        test_ok(codec_validate(s.data, s.len, &err), &err);
        str_free(&s);
        s = nested(17, brackets[b]);
        assert_int_equal(codec_validate(s.data, s.len, &err), ERR_PARSE);
        str_free(&s);
        s = nested(1000000, brackets[b]);
        assert_int_equal(codec_validate(s.data, s.len, &err), ERR_PARSE);
        str_free(&s);
    }
}

static void counts_beyond_the_bytes_that_are_left_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        { "\xdd\xff\xff\xff\xff\1", 6 }, /* a list of four thousand million */
        { "\xdf\xff\xff\xff\xff\1", 6 }, /* a map of as many */
        { "\xdf\x80\0\0\0\1", 6 },       /* whose keys and values are 2^32 */
        { "\xdc\xff\xff\1", 4 },
        { "\xde\xff\xff\1", 4 },
        { "\xdb\xff\xff\xff\xffx", 6 },
        { "\xc6\xff\xff\xff\xffx", 6 },
        { "\x92\1", 2 },
        { "\x81\1", 2 },
        { "\xa2x", 2 },
        { "\xcf\0\0\0\0\0\0\0", 8 },
        { "\xdb\0\0", 3 },
        { "\xc7\0\1", 3 },
        { "\xd4\1\1", 3 },
        { "\xc1", 1 },
        { "", 0 },
        { "\1\1", 2 },
        { "\x90\x90", 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error err = { 0 };
        if (codec_validate(bad[i].bytes, bad[i].len, &err) != ERR_PARSE) fail_msg("%zu was taken", i);
        assert_true(err.code == ERR_PARSE && *err.text);
    }
}

/* Each of these bytes would cost msgpack-c 24 bytes or more, before any of our limits is looked at. */
static void a_million_tiny_values_are_refused(void **state)
{
    (void)state;
    const size_t n = 1000000;
    char *bytes = xcalloc(n + 5, 1);
    error err = { 0 };
    memcpy(bytes, "\xdd\x00\x0f\x42\x40", 5);
    assert_int_equal(codec_validate(bytes, n + 5, &err), ERR_PARSE);
    free(bytes);
}

static void a_record_longer_than_a_message_is_refused_unread(void **state)
{
    (void)state;
    static const field table[] = { { "k", F_U32, 0, 0, 0, 0, NULL }, { 0 } };
    one out;
    error err = { 0 };
    const char byte = 1; /* nothing after it may be read */
    assert_int_equal(codec_decode(table, sizeof out, &byte, (size_t)MAX_MESSAGE_BYTES + 1, &out, &err), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_of_every_kind_comes_back_at_its_extremes),
        cmocka_unit_test(half_a_record_is_refused_and_leaves_nothing),
        cmocka_unit_test(one_more_than_a_limit_is_refused_by_name),
        cmocka_unit_test(values_of_another_type_or_size_are_refused_by_name),
        cmocka_unit_test(values_at_their_limit_and_in_any_width_are_taken),
        cmocka_unit_test(missing_fields_are_refused_and_unknown_ones_skipped),
        cmocka_unit_test(arrays_that_share_a_count_must_agree),
        cmocka_unit_test(nesting_deeper_than_16_is_refused),
        cmocka_unit_test(counts_beyond_the_bytes_that_are_left_are_refused),
        cmocka_unit_test(a_million_tiny_values_are_refused),
        cmocka_unit_test(a_record_longer_than_a_message_is_refused_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
