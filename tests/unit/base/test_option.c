/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/option.h"
#include "tests/support/support.h"

#define COLOURS(X)                                                                                                     \
    X(COLOUR_RED, "red", "of a sunset")                                                                                \
    X(COLOUR_BLUE, "blue", "of the sea")                                                                               \
    X(COLOUR_GREEN, "green", "of grass")
typedef enum colour { COLOURS(WORDS_MEMBER) } colour;
static const word_row WORDS[] = { COLOURS(WORDS_ROW){ 0 } };

typedef struct paint {
    int32_t small;
    uint32_t counted;
    int64_t large;
    float thin;
    double thick, low, high;
    bool wet;
    colour colour;
    char name[8];
    char *note;
} paint;

#define AT(member) offsetof(paint, member), sizeof(((paint *)0)->member)
static const option ROWS[] = {
    { "small", OPTION_WHOLE, AT(small), -5, 5, "-3", .help = "" },
    { "counted", OPTION_WHOLE, AT(counted), 0, 1e9, "1e9", .help = "" },
    { "large", OPTION_WHOLE, AT(large), 0, 1e15, "1e15", .help = "" },
    { "thin", OPTION_NUMBER, AT(thin), 0, 1, "0.5", .help = "" },
    { "thick", OPTION_NUMBER, AT(thick), 0, 1, "0.1", .help = "" },
    { "clip", OPTION_PAIR, AT(low), 0, 1, "0.2,0.28", .help = "" },
    { "wet", OPTION_BOOL, AT(wet), 0, 0, "true", .help = "" },
    { "colour", OPTION_WORD, AT(colour), 0, 0, "green", .words = WORDS, .help = "" },
    { "name", OPTION_TEXT, AT(name), 0, 0, "seven77", .help = "" },
    { "note", OPTION_STRING, AT(note), 0, 0, "as long as it likes to be", .help = "" },
    { "needed", OPTION_NUMBER, AT(thick), 0, 1, NULL, .help = "" },
    { 0 },
};
static const option_table TABLE = { .rows = ROWS };

static void a_default_reaches_a_place_of_any_type(void **state)
{
    (void)state;
    error err = { 0 };
    paint p = { 0 };
    test_ok(option_defaults(&TABLE, &p, &err), &err);
    assert_true(p.small == -3 && p.counted == 1000000000 && p.large == 1000000000000000);
    assert_true(p.thin == 0.5f && p.thick == 0.1 && p.low == 0.2 && p.high == 0.28);
    assert_true(p.wet && p.colour == COLOUR_GREEN);
    assert_string_equal(p.name, "seven77");
    assert_string_equal(p.note, "as long as it likes to be");
    free(p.note);
}

/* A mistake in a table is found, not stored. */
static void a_default_that_can_not_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        int row;
        const char *text;
    } BAD[] = { { 0, "6" },   { 0, "1.5" },      { 0, "x" },   { 3, "2" },      { 5, "0.2" },
                { 5, "0,1" }, { 5, "0.1,0.2x" }, { 6, "yes" }, { 7, "purple" }, { 8, "eight888" } };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        paint p = { 0 }, before = p;
        assert_int_equal(option_set_text(&ROWS[BAD[i].row], &p, BAD[i].text, &err), ERR_ARGUMENT);
        assert_non_null(strstr(err.text, BAD[i].text));
        assert_memory_equal(&p, &before, sizeof p);
    }
}

static void words_have_values_and_values_words(void **state)
{
    (void)state;
    str all = { 0 };
    assert_int_equal(words_named(WORDS, "blue")->value, COLOUR_BLUE);
    assert_null(words_named(WORDS, "blu"));
    assert_string_equal(words_of(WORDS, COLOUR_RED), "red");
    assert_string_equal(words_of(WORDS, 7), "?");
    assert_string_equal(words_near(WORDS, "gren"), "green");
    assert_null(words_near(WORDS, "zzz"));
    words_list(WORDS, &all);
    assert_string_equal(all.data, "red, blue, green");
    str_free(&all);
}

static void a_preset_speaks_for_its_section_alone(void **state)
{
    (void)state;
    const option_preset preset = { "p", "mean=loo clip=0.2,0.2 meaning=x", "" };
    static const char *const SAYS[][2] = { { "a.mean", "loo" }, { "a.clip", "0.2,0.2" }, { "a.meaning", "x" },
                                           { "a.me", NULL },    { "b.mean", NULL },      { "mean", NULL } };
    for (size_t i = 0; i < sizeof SAYS / sizeof *SAYS; i++) {
        char *text = option_preset_text(&preset, "a.", SAYS[i][0]);
        if (SAYS[i][1]) assert_string_equal(text, SAYS[i][1]);
        if (!SAYS[i][1]) assert_null(text);
        free(text);
    }
}

static void a_list_of_names_is_that(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int n; /* negative: refused */
    } LISTS[] = {
        { "[\"a\",\"bcd\"]", 2 }, { "[\"a\"]", -1 },   { "[\"a\",\"bcde\"]", -1 },         { "[\"a\",1]", -1 },
        { "[\"a\",\"\"]", -1 },   { "{\"a\":1}", -1 }, { "[\"a\",\"b\",\"c\",\"d\"]", -1 }
    };
    for (size_t i = 0; i < sizeof LISTS / sizeof *LISTS; i++) {
        char out[3][4];
        int n = -1;
        option_reading r = { 0 };
        json_t *list = json_loads(LISTS[i].json, 0, NULL);
        const int rc = option_names(&r, "k", list, 2, 3, out[0], sizeof out[0], &n);
        assert_int_equal(rc, LISTS[i].n < 0 ? ERR_ARGUMENT : OK);
        assert_int_equal(n, LISTS[i].n);
        if (rc != OK) assert_string_equal(r.text, "expected a list of 2 to 3 names of at most 3 characters");
        json_decref(list);
    }
}

static void a_field_that_is_none_is_named_with_the_one_that_was_meant(void **state)
{
    (void)state;
    static const char *const FIELDS[] = { "gate", "steps", NULL };
    static const struct {
        const char *json, *says; /* NULL: taken */
    } ALL[] = {
        { "{\"gate\": 1, \"steps\": 2}", NULL },
        { "{}", NULL },
        { "[1]", NULL },
        { "{\"gate\": 1, \"stepz\": 2}", "it has no field 'stepz' (did you mean 'steps'?)" },
        { "{\"colour\": 1}", "it has no field 'colour' (there are gate, steps)" },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        option_reading r = { 0 };
        json_t *value = json_loads(ALL[i].json, 0, NULL);
        assert_int_equal(option_fields(&r, "k", value, FIELDS), ALL[i].says ? ERR_ARGUMENT : OK);
        if (ALL[i].says) assert_string_equal(r.text, ALL[i].says);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_default_reaches_a_place_of_any_type),
        cmocka_unit_test(a_default_that_can_not_be_is_refused),
        cmocka_unit_test(words_have_values_and_values_words),
        cmocka_unit_test(a_preset_speaks_for_its_section_alone),
        cmocka_unit_test(a_list_of_names_is_that),
        cmocka_unit_test(a_field_that_is_none_is_named_with_the_one_that_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
