/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "tests/support/support.h"

static void a_sentence_gains_its_places_on_the_way_up(void **state)
{
    (void)state;
    error err = { 0 };
    assert_int_equal(error_set(&err, ERR_PARSE, "expected %d columns, found %d", 4096, 4090), ERR_PARSE);
    assert_int_equal(error_within(&err, "layer %d", 3), ERR_PARSE);
    assert_int_equal(error_within(&err, "model.safetensors"), ERR_PARSE);
    assert_int_equal(err.code, ERR_PARSE);
    assert_string_equal(err.text, "model.safetensors: layer 3: expected 4096 columns, found 4090");
}

static void a_system_error_names_its_reason(void **state)
{
    (void)state;
    error err = { 0 };
    assert_int_equal(error_sys(&err, ENOENT, "recipe %s", "a.lua"), ERR_IO);
    assert_string_equal(err.text, "recipe a.lua: No such file or directory");
}

static void a_long_sentence_is_cut_and_stays_terminated(void **state)
{
    (void)state;
    error err;
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    error_set(&err, ERR_LIMIT, "%s", big);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    error_within(&err, "where");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "where: xxx", 10);
}

/* What a value holds can't paint the terminal that the sentence is shown on. */
static void control_characters_are_shown(void **state)
{
    (void)state;
    error err = { 0 };
    char many[3000];
    error_set(&err, ERR_ARGUMENT, "name '%s'", "a\x1b[31m\x7f\tb\n\xc3\xa9");
    assert_string_equal(err.text, "name 'a\\x1b[31m\\x7f\tb\n\xc3\xa9'");
    memset(many, '\r', sizeof many);
    many[sizeof many - 1] = 0;
    error_set(&err, ERR_ARGUMENT, "%s is no name", many);
    assert_null(strchr(err.text, '\r'));
    error_within(&err, "\b");
    assert_memory_equal(err.text, "\\x08: \\x0d", 10);
}

/* What went wrong stands after the path. */
static void of_a_long_sentence_begin_and_end_stay(void **state)
{
    (void)state;
    error err;
    char path[6001];
    for (size_t i = 0; i + 2 < sizeof path; i += 2) memcpy(path + i, "\xc3\xa9", 2);
    for (size_t len = 300; len < sizeof path; len += 100) {
        path[len] = 0;
        error_sys(&err, ENOENT, "recipe: %s", path);
        assert_memory_equal(err.text, "recipe: \xc3\xa9", 10);
        if (len < 3000) assert_non_null(strstr(err.text, "\xc3\xa9: No such file or directory"));
        error_within(&err, "troupe");
        assert_memory_equal(err.text, "troupe: recipe: ", 16);
        if (len < 3000) assert_non_null(strstr(err.text, ": No such file or directory"));
        size_t bytes = 0;
        for (const char *c = err.text; *c; c++) bytes += *c == '\xc3' || *c == '\xa9';
        assert_int_equal(bytes % 2, 0);
        memcpy(path + len, "\xc3", 1);
    }
}

/* A flag, a file's name or a peer's words may hold anything, and "%.80s" cuts inside a character. */
static void what_a_sentence_quotes_is_whole_characters(void **state)
{
    (void)state;
    const struct {
        const char *quoted, *shown;
    } cases[] = {
        { "\xe0\xa4\xa8", "'\xe0\xa4\xa8'" }, /* a whole character of three bytes */
        { "a\xe0\xa4", "'a?'" },              /* two bytes of it */
        { "a\xf0\x9f\x91", "'a?'" },          /* three of four */
        { "caf\xe9", "'caf?'" },              /* Latin-1 */
        { "\xa4\xa8", "'?'" },                /* a character's end alone */
        { "\xed\xa0\x80", "'?'" },            /* a surrogate */
        { "\xc2\x9b"
          "31m",
          "'\\xc2\\x9b31m'" }, /* a terminal's escape in one character, U+009B */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error err;
        error_set(&err, ERR_ARGUMENT, "'%s'", cases[i].quoted);
        assert_string_equal(err.text, cases[i].shown);
    }

    error err;
    error_set(&err, ERR_ARGUMENT, "'%.4s' is unknown", "\xe0\xa4\xa8\xe0\xa4\xa8");
    assert_string_equal(err.text, "'\xe0\xa4\xa8?' is unknown");
}

static void an_error_may_quote_itself(void **state)
{
    (void)state;
    error err;
    error_set(&err, ERR_IO, "inner");
    error_set(&err, ERR_STATE, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

static void the_code_survives_without_a_place_for_the_sentence(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERR_FULL, "x"), ERR_FULL);
    assert_int_equal(error_sys(NULL, EIO, "x"), ERR_IO);
    assert_int_not_equal(error_within(NULL, "x"), OK);
}

static void every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int a = OK; a <= ERR_DEVICE; a++) {
        assert_non_null(error_name(a));
        assert_string_not_equal(error_name(a), "unknown");
        for (int b = OK; b < a; b++) assert_string_not_equal(error_name(a), error_name(b));
    }
    assert_string_equal(error_name(-1), "unknown");
    assert_string_equal(error_name(999), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_gains_its_places_on_the_way_up),
        cmocka_unit_test(a_system_error_names_its_reason),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(a_long_sentence_is_cut_and_stays_terminated),
        cmocka_unit_test(of_a_long_sentence_begin_and_end_stay),
        cmocka_unit_test(what_a_sentence_quotes_is_whole_characters),
        cmocka_unit_test(an_error_may_quote_itself),
        cmocka_unit_test(the_code_survives_without_a_place_for_the_sentence),
        cmocka_unit_test(every_code_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
