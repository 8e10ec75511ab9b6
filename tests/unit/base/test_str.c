/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/support/support.h"

/* The promise: the builder holds what a plain buffer would, whatever the sizes of the pieces. */
static void a_builder_equals_the_sum_of_its_pieces(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        test_random rnd = test_random_seed(seed);
        str s = { 0 };
        char want[20000], piece[300];
        size_t len = 0;
        for (int i = 0; i < 60; i++) {
            size_t n = test_random_below(&rnd, sizeof piece);
            test_random_bytes(&rnd, piece, n);
            memcpy(want + len, piece, n);
            len += n;
            str_add(&s, piece, n);
            if (s.len != len || s.data[len] != '\0') fail_msg("seed %ju", (uintmax_t)seed);
        }
        assert_memory_equal(s.data, want, len);
        str_free(&s);
    }
}

static void printing_appends(void **state)
{
    (void)state;
    str s = { 0 };
    str_puts(&s, "a");
    str_putc(&s, '=');
    str_printf(&s, "%0500d", 7);
    assert_int_equal(s.len, 502);
    assert_memory_equal(s.data, "a=00", 4);
    str_clear(&s);
    assert_string_equal(s.data, "");
    char *taken = str_take(&s);
    assert_string_equal(taken, "");
    assert_null(s.data);
    free(taken);
    taken = str_take(&s); /* of a builder nothing was ever added to */
    assert_string_equal(taken, "");
    free(taken);
}

static void a_run_ends_where_no_character_begins(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t run;
    } CASES[] = { { "", 0 },
                  { "abc", 3 },
                  { "h\xc3\xa9\xff"
                    "x",
                    3 },
                  { "\xff", 0 },
                  { "a\xe2\x82", 1 },
                  { "\xf0\x9f\x98\x80", 4 } };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_int_equal(utf8_run(CASES[i].text, CASES[i].text + strlen(CASES[i].text)), CASES[i].run);
}

static void quoting_escapes_and_mends_bad_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        { "a\"b\\c\n\r\t", 8, "\"a\\\"b\\\\c\\n\\r\\t\"" },
        { "\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "\xc3", 1, "\"\xef\xbf\xbd\"" },                                                 /* cut off */
        { "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                                 /* overlong */
        { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* a surrogate */
        { "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* above U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        str s = { 0 };
        str_json(&s, cases[i].in, cases[i].len);
        assert_string_equal(s.data, cases[i].out);
        str_free(&s);
    }
}

/* The promise: whatever bytes go in, a strict JSON parser takes what comes out. */
static void any_bytes_become_valid_json(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        test_random rnd = test_random_seed(seed);
        char bytes[40];
        size_t n = test_random_below(&rnd, sizeof bytes + 1);
        test_random_bytes(&rnd, bytes, n);
        str s = { 0 };
        error err;
        str_json(&s, bytes, n);
        json_t *value = json_parse(s.data, s.len, "test", &err);
        if (!json_is_string(value)) fail_msg("seed %ju: %s", (uintmax_t)seed, err.text);
        json_decref(value);
        str_free(&s);
    }
}

static void the_nearest_name_is_found_and_far_ones_are_not(void **state)
{
    (void)state;
    static const char *const names[] = { "learning_rate", "seed", "objectives", "steps", NULL };
    assert_string_equal(str_nearest("learning_rat", names), "learning_rate");
    assert_string_equal(str_nearest("objetcives", names), "objectives");
    assert_string_equal(str_nearest("sede", names), "seed");
    assert_string_equal(str_nearest("step", names), "steps");
    assert_null(str_nearest("temperature", names));
    assert_null(str_nearest("zzzz", names));
    char word[200];
    memset(word, 's', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_null(str_nearest(word, names));
}

static void copies_end_where_they_should(void **state)
{
    (void)state;
    char *copy = xstrndup("abcdef", 3);
    assert_string_equal(copy, "abc");
    free(copy);
    copy = xstrdup("abc");
    assert_string_equal(copy, "abc");
    free(copy);
    assert_null(xstrdup(NULL));
}

static void numbers_are_decimal_and_held_by_a_double(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        double value;
    } ALL[] = { { "0", OK, 0 },
                { "-0.0e-999", OK, 0 },
                { "12", OK, 12 },
                { "+3", OK, 3 },
                { ".5", OK, 0.5 },
                { "1.", OK, 1 },
                { "-1.5e+3", OK, -1500 },
                { "5e-324", OK, 5e-324 },
                { "1e-400", ERR_LIMIT, 0 },
                { "-0.000001e-330", ERR_LIMIT, 0 },
                { "1e400", ERR_LIMIT, 0 },
                { "", ERR_PARSE, 0 },
                { "-", ERR_PARSE, 0 },
                { ".", ERR_PARSE, 0 },
                { "e5", ERR_PARSE, 0 },
                { "1e", ERR_PARSE, 0 },
                { "1e+", ERR_PARSE, 0 },
                { "0x10", ERR_PARSE, 0 },
                { "1_000", ERR_PARSE, 0 },
                { "1d3", ERR_PARSE, 0 },
                { " 3", ERR_PARSE, 0 },
                { "3 ", ERR_PARSE, 0 },
                { "nan", ERR_PARSE, 0 },
                { "inf", ERR_PARSE, 0 },
                { "--3", ERR_PARSE, 0 },
                { "1,5", ERR_PARSE, 0 } };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        double value = 0;
        const int rc = str_number(ALL[i].text, strlen(ALL[i].text), &value);
        if (rc != ALL[i].rc || value != ALL[i].value) fail_msg("'%s': %s, %g", ALL[i].text, error_name(rc), value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_builder_equals_the_sum_of_its_pieces),
        cmocka_unit_test(printing_appends),
        cmocka_unit_test(a_run_ends_where_no_character_begins),
        cmocka_unit_test(quoting_escapes_and_mends_bad_utf8),
        cmocka_unit_test(any_bytes_become_valid_json),
        cmocka_unit_test(the_nearest_name_is_found_and_far_ones_are_not),
        cmocka_unit_test(copies_end_where_they_should),
        cmocka_unit_test(numbers_are_decimal_and_held_by_a_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
