/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

static json_t *parse(const char *text)
{
    error err = { 0 };
    json_t *value = json_parse(text, strlen(text), "test", &err);
    if (!value) fail_msg("%s", err.text);
    return value;
}

static void malformed_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = { "",    "{",        "{\"a\":1} x", "[1,]",  "{\"a\":1,\"a\":2}",
                                       "nul", "\"\xff\"", "01",          "[1 2]", "{'a':1}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error err = { 0 };
        json_t *value = json_parse(bad[i], strlen(bad[i]), "file.json", &err);
        if (value) fail_msg("was taken: %s", bad[i]);
        assert_int_equal(err.code, ERR_PARSE);
        assert_memory_equal(err.text, "file.json:", 10);
    }
}

/* A place reads as those of Lua and compilers do, file:line, wherever the text comes from; the column stands after. */
static void a_place_is_a_file_and_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where, *begins, *ends;
    } TEXTS[] = {
        { "{\"a\": x}", "rows.jsonl:6", "rows.jsonl:6: not JSON: ", " (column 7)" },
        { "{\"a\": x}\n", "rows.jsonl:6", "rows.jsonl:6: not JSON: ", " (column 7)" },
        { "{\n\"a\": x}", "config.json", "config.json:2: not JSON: ", " (column 6)" },
        { "", "rows.jsonl:6", "rows.jsonl:6: not JSON: it is empty", "" },
        { " \n \n", "run.json", "run.json: not JSON: it is empty", "" },
        { "{\"a\": 1e-400}", "rows.jsonl:6", "rows.jsonl:6: 1e-400 is too small", "" },
        { "{\n\"a\": 1e-400}", "config.json", "config.json:2: 1e-400 is too small", "" },
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        error err = { 0 };
        assert_null(json_parse(TEXTS[i].text, strlen(TEXTS[i].text), TEXTS[i].where, &err));
        if (strncmp(err.text, TEXTS[i].begins, strlen(TEXTS[i].begins)) != 0 || !strstr(err.text, TEXTS[i].ends))
            fail_msg("%s", err.text);
    }
}

static void deep_nesting_is_refused_before_the_stack_is(void **state)
{
    (void)state;
    str text = { 0 };
    error err = { 0 };
    for (int i = 0; i < 1000000; i++) str_putc(&text, i % 2 ? '[' : '{');
    assert_null(json_parse(text.data, text.len, "deep", &err));
    assert_int_equal(err.code, ERR_PARSE);
    str_clear(&text);
    for (int i = 0; i < 200; i++) str_putc(&text, '[');
    for (int i = 0; i < 200; i++) str_putc(&text, ']');
    assert_null(json_parse(text.data, text.len, "deep", &err)); /* well-formed, and still too deep */
    str_clear(&text);
    for (int i = 0; i < 100; i++) str_putc(&text, '[');
    for (int i = 0; i < 100; i++) str_putc(&text, ']');
    json_t *value = json_parse(text.data, text.len, "deep", &err);
    assert_non_null(value);
    json_decref(value);
    str_clear(&text); /* brackets inside a string are no nesting */
    str_puts(&text, "\"\\\"");
    for (int i = 0; i < 500; i++) str_putc(&text, '[');
    str_putc(&text, '"');
    value = json_parse(text.data, text.len, "flat", &err);
    assert_non_null(value);
    json_decref(value);
    str_free(&text);
}

static void getters_find_what_is_there(void **state)
{
    (void)state;
    error err;
    json_t *o = parse("{\"s\":\"x\",\"i\":-7,\"whole\":1e6,\"r\":2.5,\"t\":true,\"n\":null}");
    const char *s;
    int64_t i;
    double d;
    bool b;
    test_ok(json_need_string(o, "s", "w", &s, &err), &err);
    assert_string_equal(s, "x");
    test_ok(json_need_int(o, "i", "w", &i, &err), &err);
    assert_int_equal(i, -7);
    test_ok(json_need_int(o, "whole", "w", &i, &err), &err);
    assert_int_equal(i, 1000000);
    test_ok(json_need_number(o, "r", "w", &d, &err), &err);
    assert_true(d == 2.5);
    test_ok(json_need_number(o, "i", "w", &d, &err), &err);
    assert_true(d == -7);
    test_ok(json_opt_bool(o, "t", "w", false, &b, &err), &err);
    assert_true(b);
    json_decref(o);
}

static void what_is_missing_or_null_is_the_fallback(void **state)
{
    (void)state;
    error err;
    json_t *o = parse("{\"n\":null}");
    static const char *const keys[] = { "n", "gone" };
    for (int k = 0; k < 2; k++) {
        const char *s;
        int64_t i;
        double d;
        bool b;
        test_ok(json_opt_string(o, keys[k], "w", "else", &s, &err), &err);
        assert_string_equal(s, "else");
        test_ok(json_opt_int(o, keys[k], "w", 9, &i, &err), &err);
        assert_int_equal(i, 9);
        test_ok(json_opt_number(o, keys[k], "w", 0.5, &d, &err), &err);
        assert_true(d == 0.5);
        test_ok(json_opt_bool(o, keys[k], "w", true, &b, &err), &err);
        assert_true(b);
        assert_int_equal(json_need_string(o, keys[k], "w", &s, &err), ERR_PARSE);
        assert_int_equal(json_need_int(o, keys[k], "w", &i, &err), ERR_PARSE);
    }
    json_decref(o);
}

static void a_wrong_type_names_source_key_and_value(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *o =
        parse("{\"a\":12,\"f\":1.5,\"long\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
              "0123456789012345678901234567890123456789\"}");
    const char *s;
    int64_t i;
    bool b;
    assert_int_equal(json_need_string(o, "a", "config.json", &s, &err), ERR_PARSE);
    assert_string_equal(err.text, "config.json: a: expected a string, found 12");
    assert_int_equal(json_opt_string(o, "a", "config.json", "x", &s, &err), ERR_PARSE);
    assert_int_equal(json_need_int(o, "f", "w", &i, &err), ERR_PARSE);
    assert_string_equal(err.text, "w: f: expected an integer, found 1.5");
    assert_int_equal(json_opt_bool(o, "a", "w", false, &b, &err), ERR_PARSE);
    assert_int_equal(json_need_int(o, "long", "w", &i, &err), ERR_PARSE);
    assert_true(strlen(err.text) < 150);
    assert_int_equal(json_need_int(o, "none", "w", &i, &err), ERR_PARSE);
    assert_string_equal(err.text, "w: none: expected an integer, found nothing");
    json_t *array = parse("[1]");
    assert_int_equal(json_need_int(array, "k", "w", &i, &err), ERR_PARSE);
    assert_int_equal(json_need_int(NULL, "k", "w", &i, NULL), ERR_PARSE);
    json_decref(array);
    json_decref(o);
}

static void text_is_compact_and_sorted_on_request(void **state)
{
    (void)state;
    json_t *o = parse("{ \"b\": [1, 2], \"a\": null }");
    char *plain = json_text(o, false), *sorted = json_text(o, true);
    assert_string_equal(plain, "{\"b\":[1,2],\"a\":null}");
    assert_string_equal(sorted, "{\"a\":null,\"b\":[1,2]}");
    free(plain);
    free(sorted);
    json_decref(o);
}

static void a_file_is_named_in_its_error(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err = { 0 };
    str want = { 0 };
    str_printf(&want, "%s/bad.json:2:", folder);
    test_file_write(folder, "bad.json", "{\"a\":\n oops}");
    test_file_write(folder, "good.json", "{\"a\":1}");
    snprintf(path, sizeof path, "%s/bad.json", folder);
    assert_null(json_parse_file(path, &err));
    assert_memory_equal(err.text, want.data, want.len);
    snprintf(path, sizeof path, "%s/good.json", folder);
    json_t *o = json_parse_file(path, &err);
    assert_non_null(o);
    json_decref(o);
    snprintf(path, sizeof path, "%s/none.json", folder);
    assert_null(json_parse_file(path, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    str_free(&want);
    test_folder_remove(folder);
}

static void check_bytes(const char *from, const char *to)
{
    json_t *v = json_bytes(from);
    assert_string_equal(json_string_value(v), to);
    json_decref(v);
}

static void bytes_that_are_no_text_are_replaced_one_by_one(void **state)
{
    (void)state;
    check_bytes("", "");
    check_bytes("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
    check_bytes("a\xff"
                "b",
                "a\xef\xbf\xbd"
                "b");
    check_bytes("\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd");                   /* cut off */
    check_bytes("\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd");                   /* not the shortest form */
    check_bytes("\xed\xa0\x80x", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx"); /* half a pair */
    assert_true(json_is_null(json_bytes(NULL)));
}

static void a_nul_byte_within_a_text_is_found_at_any_depth(void **state)
{
    (void)state;
    json_t *one = json_stringn("a\0b", 3), *deep = json_pack("{s:[i, {s:O}]}", "a", 1, "b", one);
    json_t *none = json_pack("{s:[i, {s:s}], s:n}", "a", 1, "b", "ab", "c");
    assert_true(json_has_nul(one) && json_has_nul(deep));
    assert_false(json_has_nul(none));
    json_decref(one);
    json_decref(deep);
    json_decref(none);
}

/* Jansson reads over a NUL that follows a number: the text would be another one to whoever reads it as a string. */
static void a_nul_byte_is_no_json(void **state)
{
    (void)state;
    static const char TEXTS[][16] = { "{\"n\":1e40\0}", "{\"n\":1\0}", "[1]\0", "[\"a\0b\"]" };
    static const size_t LENGTHS[] = { 11, 8, 4, 7 };
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        error err = { 0 };
        assert_null(json_parse(TEXTS[i], LENGTHS[i], "f", &err));
        assert_non_null(strstr(err.text, "f: not JSON: a NUL byte at offset"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_text_are_replaced_one_by_one),
        cmocka_unit_test(malformed_text_is_refused_with_its_place),
        cmocka_unit_test(a_place_is_a_file_and_a_line),
        cmocka_unit_test(deep_nesting_is_refused_before_the_stack_is),
        cmocka_unit_test(getters_find_what_is_there),
        cmocka_unit_test(what_is_missing_or_null_is_the_fallback),
        cmocka_unit_test(a_wrong_type_names_source_key_and_value),
        cmocka_unit_test(text_is_compact_and_sorted_on_request),
        cmocka_unit_test(a_file_is_named_in_its_error),
        cmocka_unit_test(a_nul_byte_is_no_json),
        cmocka_unit_test(a_nul_byte_within_a_text_is_found_at_any_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
