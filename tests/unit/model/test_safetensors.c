/* SPDX-License-Identifier: MIT */
#include "model/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/support.h"

/* ---- numbers ---- */

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static tensor_view view_of(tensor_dtype dtype, const void *data, int64_t count, size_t bytes)
{
    return (tensor_view){
        .name = "x", .dtype = dtype, .rank = 1, .shape = { count }, .count = count, .data = data, .bytes = bytes
    };
}

/* All 65536 of each, against their definitions; at an odd address, as files have them. */
static void every_half_and_bfloat_is_read_exactly(void **state)
{
    (void)state;
    static unsigned char raw[2 * 65536 + 1];
    static float got[65536];
    error err = { 0 };
    for (int i = 0; i < 65536; i++) raw[1 + 2 * i] = (unsigned char)i, raw[2 + 2 * i] = (unsigned char)(i >> 8);
    tensor_view v = view_of(DTYPE_BF16, raw + 1, 65536, 2 * 65536);
    test_ok(safetensors_to_f32(&v, got, &err), &err);
    for (uint32_t i = 0; i < 65536; i++) assert_int_equal(bits_of(got[i]), i << 16);
    v.dtype = DTYPE_F16;
    test_ok(safetensors_to_f32(&v, got, &err), &err);
    for (int i = 0; i < 65536; i++) {
        const int exponent = i >> 10 & 31, mantissa = i & 1023;
        const double size = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
        const double want = (i & 0x8000) != 0 ? -size : size;
        if (exponent == 31 && mantissa)
            assert_true(isnan(got[i]));
        else if (exponent == 31)
            assert_true(got[i] == (i & 0x8000 ? -INFINITY : INFINITY));
        else if ((double)got[i] != want || !signbit(got[i]) != !signbit((float)want))
            fail_msg("half %04x: got %a, want %a", i, (double)got[i], want);
    }
}

static float through_bf16(float f)
{
    error err = { 0 };
    str bytes = { 0 };
    float back;
    const tensor_source t = { .name = "x", .rank = 0, .data = &f };
    safetensors_encode(&t, 1, DTYPE_BF16, NULL, &bytes);
    safetensors *st = safetensors_from_bytes(bytes.data, bytes.len, "bytes", &err);
    if (!st) fail_msg("%s", err.text);
    test_ok(safetensors_to_f32(safetensors_find(st, "x"), &back, &err), &err);
    safetensors_close(st);
    str_free(&bytes);
    return back;
}

/* The nearest of the two neighbours; of equally near ones that with an even last bit. */
static void bfloats_are_rounded_to_nearest_even(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(3);
    for (int i = 0; i < 4000; i++) {
        uint32_t bits = (uint32_t)test_random_next(&rnd);
        if (i % 4 == 0) bits = (bits & 0xffff0000u) | 0x8000; /* halfway */
        if (i % 16 == 1) bits &= 0x807fffffu;                 /* denormal */
        if ((bits & 0x7fffffffu) >= 0x7f7f8000u) continue;    /* below */
        const float f = from_bits(bits), down = from_bits(bits & 0xffff0000u),
                    up = from_bits((bits & 0xffff0000u) + 0x10000);
        const double below = fabs((double)f - (double)down), above = fabs((double)up - (double)f);
        const float want = below < above || (below == above && !(bits & 0x10000)) ? down : up;
        if (bits_of(through_bf16(f)) != bits_of(want))
            fail_msg("%a: got %a, want %a", (double)f, (double)through_bf16(f), (double)want);
    }
    assert_true(isinf(through_bf16(from_bits(0x7f7fffff))) && isinf(through_bf16(INFINITY)));
    assert_true(through_bf16(from_bits(0x7f7f7fff)) == from_bits(0x7f7f0000));
    assert_true(isnan(through_bf16(NAN)) && isnan(through_bf16(from_bits(0x7f800001))) &&
                isnan(through_bf16(from_bits(0xffffffff))));
    assert_int_equal(bits_of(through_bf16(-0.0f)), 0x80000000u);
}

static void numbers_we_do_not_compute_with_are_not_converted(void **state)
{
    (void)state;
    float out[8];
    error err = { 0 };
    const char data[16] = { 0 };
    const tensor_view v = view_of(DTYPE_I64, data, 2, 16);
    assert_int_equal(safetensors_to_f32(&v, out, &err), ERR_UNSUPPORTED);
}

/* ---- writing ---- */

static void encode_some(tensor_dtype dtype, str *out)
{
    static const float matrix[6] = { 1, -2, 3.5f, 0, 1e-30f, 6 }, vector[3] = { 7, 8, 9 }, scalar[1] = { 4 };
    static const char *const metadata[] = { "format", "pt", "quote\"and\n", "b\\c", NULL };
    const tensor_source tensors[] = {
        { .name = "z.first", .rank = 2, .shape = { 2, 3 }, .data = matrix },
        { .name = "a \"second\"", .rank = 1, .shape = { 3 }, .data = vector },
        { .name = "empty", .rank = 2, .shape = { 5, 0 }, .data = NULL },
        { .name = "scalar", .rank = 0, .data = scalar },
    };
    safetensors_encode(tensors, 4, dtype, metadata, out);
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    error err = { 0 };
    for (int d = 0; d < 2; d++) {
        str bytes = { 0 };
        float got[6];
        encode_some(d ? DTYPE_BF16 : DTYPE_F32, &bytes);
        safetensors *st = safetensors_from_bytes(bytes.data, bytes.len, "bytes", &err);
        if (!st) fail_msg("%s", err.text);
        assert_int_equal(safetensors_count(st), 4);
        const tensor_view *v = safetensors_find(st, "z.first");
        assert_true(v == safetensors_at(st, 0) && v->rank == 2 && v->shape[0] == 2 && v->shape[1] == 3 &&
                    v->count == 6);
        assert_int_equal(v->dtype, d ? DTYPE_BF16 : DTYPE_F32);
        test_ok(safetensors_to_f32(v, got, &err), &err);
        assert_true(got[1] == -2 && got[2] == 3.5f && (d || got[4] == 1e-30f) && got[5] == 6);
        test_ok(safetensors_to_f32(safetensors_find(st, "a \"second\""), got, &err), &err);
        assert_true(got[0] == 7 && got[2] == 9);
        assert_int_equal(safetensors_find(st, "empty")->count, 0);
        test_ok(safetensors_to_f32(safetensors_find(st, "empty"), got, &err), &err);
        assert_int_equal(safetensors_find(st, "scalar")->count, 1);
        assert_null(safetensors_find(st, "absent"));
        assert_string_equal(safetensors_metadata(st, "quote\"and\n"), "b\\c");
        assert_null(safetensors_metadata(st, "nothing"));
        safetensors_close(st);
        str_free(&bytes);
    }
}

static void the_same_tensors_give_the_same_bytes_in_memory_and_on_disk(void **state)
{
    (void)state;
    error err = { 0 };
    str once = { 0 }, twice = { 0 };
    char path[1024], *folder = test_folder_new();
    float *large = xmalloc(sizeof(float) * 10007); /* more than one block of a bf16 writer */
    for (int i = 0; i < 10007; i++) large[i] = (float)i / 7;
    const tensor_source t = { .name = "large", .rank = 1, .shape = { 10007 }, .data = large };
    for (int d = 0; d < 2; d++) {
        str_clear(&once), str_clear(&twice);
        safetensors_encode(&t, 1, d ? DTYPE_BF16 : DTYPE_F32, NULL, &once);
        safetensors_encode(&t, 1, d ? DTYPE_BF16 : DTYPE_F32, NULL, &twice);
        assert_int_equal(once.len, twice.len);
        assert_memory_equal(once.data, twice.data, once.len);
        path_join(path, sizeof path, folder, "t.safetensors");
        test_ok(safetensors_write(path, &t, 1, d ? DTYPE_BF16 : DTYPE_F32, NULL, &err), &err);
        size_t len;
        char *file = file_read(path, 1 << 20, &len, &err);
        assert_int_equal(len, once.len);
        assert_memory_equal(file, once.data, len);
        free(file);
    }
    free(large);
    str_free(&once);
    str_free(&twice);
    test_folder_remove(folder);
}

/* Readers elsewhere map the file: numbers must lie where machines want them. */
static void data_begins_on_a_multiple_of_eight_bytes(void **state)
{
    (void)state;
    float one = 1;
    for (int n = 1; n < 20; n++) {
        char name[32] = "nnnnnnnnnnnnnnnnnnnnnnnnn";
        str bytes = { 0 };
        name[n] = 0;
        const tensor_source t = { .name = name, .rank = 1, .shape = { 1 }, .data = &one };
        safetensors_encode(&t, 1, DTYPE_F32, NULL, &bytes);
        assert_int_equal((bytes.len - sizeof one) % 8, 0);
        assert_int_equal((size_t)(unsigned char)bytes.data[0] + 8 + sizeof one, bytes.len);
        assert_true(bytes.data[8] == '{' && (bytes.data[bytes.len - 5] == '}' || bytes.data[bytes.len - 5] == ' '));
        str_free(&bytes);
    }
}

static void a_write_that_fails_says_where(void **state)
{
    (void)state;
    error err = { 0 };
    float one = 1;
    const tensor_source t = { .name = "x", .rank = 1, .shape = { 1 }, .data = &one };
    assert_int_equal(safetensors_write("/nowhere/at-all/x.safetensors", &t, 1, DTYPE_F32, NULL, &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nowhere/at-all"));
}

/* ---- reading what others wrote ---- */

/* `header` as it is, then `data_bytes` zero bytes. */
static safetensors *open_header(const char *header, size_t data_bytes, str *bytes, error *err)
{
    const uint64_t len = strlen(header);
    str_clear(bytes);
    for (int i = 0; i < 8; i++) str_putc(bytes, (char)(len >> 8 * i & 255));
    str_puts(bytes, header);
    for (size_t i = 0; i < data_bytes; i++) str_putc(bytes, 0);
    return safetensors_from_bytes(bytes->data, bytes->len, "bytes", err);
}

static void order_and_decoration_of_a_header_do_not_matter(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
    } fine[] = {
        { "{}", 0 },
        { " \n{\"__metadata__\":{}}   ", 0 },
        { "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[],"
          "\"data_offsets\":[0,4]}}",
          8 },
        { "{\"b\":{\"data_offsets\":[3,3],\"dtype\":\"BF16\",\"shape\":[7,0]},\"a\":{\"dtype\":\"I8\",\"shape\":[3],"
          "\"data_offsets\":[0,3]}}",
          3 },
        { "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"F16\",\"shape\":[2,1]"
          ",\"data_offsets\":[2,6]}}",
          6 },
    };
    str bytes = { 0 };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        error err = { 0 };
        safetensors *st = open_header(fine[i].header, fine[i].data, &bytes, &err);
        if (!st) fail_msg("%s: %s", fine[i].header, err.text);
        for (size_t k = 1; k < safetensors_count(st); k++)
            assert_true((const char *)safetensors_at(st, k)->data >= (const char *)safetensors_at(st, k - 1)->data);
        safetensors_close(st);
    }
    str_free(&bytes);
}

static void a_header_that_lies_is_refused_with_the_tensor(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } lies[] = {
        { "", 0, "bytes" },
        { "[]", 0, "object" },
        { "{\"a\":1}", 0, "tensor a" },
        { "{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "F31" },
        { "{\"a\":{\"dtype\":32,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "at most 8" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "dimension 1" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
          "expected 2 numbers of 4 bytes, found 4 bytes" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "3 bytes of data" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[\"0\",\"0\"]}}", 0, "data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "1 bytes" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "hole" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[4,8]}}",
          8, "overlaps" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[0,4]}}",
          4, "overlaps" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[4,8]}}",
          8, "duplicate" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} x", 4, "JSON" },
    };
    str bytes = { 0 };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        error err = { 0 };
        if (open_header(lies[i].header, lies[i].data, &bytes, &err)) fail_msg("%s was accepted", lies[i].header);
        if (err.code != ERR_PARSE || !strstr(err.text, lies[i].says))
            fail_msg("%s: '%s' does not say '%s'", lies[i].header, err.text, lies[i].says);
    }
    str_free(&bytes);
}

static void a_length_that_is_not_there_is_refused(void **state)
{
    (void)state;
    static const unsigned char lengths[][8] = {
        { 1 }, { 255, 255, 255, 255, 255, 255, 255, 255 }, { 0, 0, 0, 0, 0, 0, 0, 128 }, { 0, 0, 0, 16 }
    };
    error err = { 0 };
    for (size_t len = 0; len <= 8; len++) assert_null(safetensors_from_bytes(lengths[0], len, "bytes", &err));
    for (size_t i = 0; i < 4; i++) {
        assert_null(safetensors_from_bytes(lengths[i], 8, "bytes", &err));
        assert_int_equal(err.code, ERR_PARSE);
    }
}

static void the_formats_own_suite_is_accepted_and_refused_as_it_says(void **state)
{
    (void)state;
    char *folder = test_data("data/suites/safetensors"), path[1024];
    error err = { 0 };
    if (!folder) skip();
    json_t *index = json_parse_file(path_join(path, sizeof path, folder, "index.json"), &err);
    if (!index) fail_msg("%s", err.text);
    assert_true(json_array_size(index) >= 9);
    for (size_t i = 0; i < json_array_size(index); i++) {
        const char *file = json_string_value(json_object_get(json_array_get(index, i), "file"));
        const char *expect = json_string_value(json_object_get(json_array_get(index, i), "expect"));
        safetensors *st = safetensors_open(path_join(path, sizeof path, folder, file), &err);
        if ((st != NULL) != (strcmp(expect, "accept") == 0)) fail_msg("%s: should be: %s", file, expect);
        if (!st) assert_non_null(strstr(err.text, file));
        safetensors_close(st);
    }
    json_decref(index);
    free(folder);
}

/* Written by another program: offsets out of order, no __metadata__, bf16. */
static void an_unsorted_file_from_elsewhere_is_read(void **state)
{
    (void)state;
    char *path = test_data("data/weights/tiny_qwen3/model.safetensors");
    error err = { 0 };
    float out[64];
    if (!path) skip();
    safetensors *st = safetensors_open(path, &err);
    if (!st) fail_msg("%s", err.text);
    const tensor_view *norm = safetensors_find(st, "model.norm.weight"),
                      *embed = safetensors_find(st, "model.embed_tokens.weight");
    assert_true(norm && norm->rank == 1 && norm->count == 64 && norm->dtype == DTYPE_BF16);
    assert_true(embed && embed->shape[0] == 256 && embed->shape[1] == 64);
    test_ok(safetensors_to_f32(norm, out, &err), &err);
    for (int i = 0; i < 64; i++) assert_true(fabsf(out[i]) < 10);
    safetensors_close(st);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_and_bfloat_is_read_exactly),
        cmocka_unit_test(bfloats_are_rounded_to_nearest_even),
        cmocka_unit_test(numbers_we_do_not_compute_with_are_not_converted),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(the_same_tensors_give_the_same_bytes_in_memory_and_on_disk),
        cmocka_unit_test(data_begins_on_a_multiple_of_eight_bytes),
        cmocka_unit_test(a_write_that_fails_says_where),
        cmocka_unit_test(order_and_decoration_of_a_header_do_not_matter),
        cmocka_unit_test(a_header_that_lies_is_refused_with_the_tensor),
        cmocka_unit_test(a_length_that_is_not_there_is_refused),
        cmocka_unit_test(the_formats_own_suite_is_accepted_and_refused_as_it_says),
        cmocka_unit_test(an_unsorted_file_from_elsewhere_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
