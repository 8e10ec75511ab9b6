/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/arguments.h"
#include "tests/support/support.h"

typedef struct parsed {
    arguments a;
    const char *model, *text;
    bool json;
    int64_t shots;
    double heat;
    uint64_t id;
    int size;
    error err;
    int rc;
} parsed;

static parsed parse_as(int min, int max, bool keys, int argc, const char *const *words)
{
    static const char *const SIZES[] = { "small", "large", NULL };
    parsed p = { .shots = -7 };
    const flag flags[] = { { .name = "--model", .text = &p.model },
                           { .name = "--text", .any = &p.text },
                           { .name = "--json", .present = &p.json },
                           { .name = "--shots", .whole = &p.shots, .min = 0, .max = 64 },
                           { .name = "--heat", .number = &p.heat, .min = 0, .max = 2 },
                           { .name = "--id", .hex = &p.id },
                           { .name = "--size", .choice = &p.size, .choices = SIZES },
                           { 0 } };
    const syntax s = { .flags = flags, .words = "A B", .min = min, .max = max, .keys = keys };
    p.rc = arguments_parse(&p.a, argc, (char **)(uintptr_t)words, &s, &p.err);
    return p;
}
#define PARSE(...) PARSE_AS(0, 8, true, __VA_ARGS__)
#define PARSE_AS(min, max, keys, ...)                                                                                  \
    parse_as(min, max, keys, (int)(sizeof((const char *const[]){ "verb", __VA_ARGS__ }) / sizeof(char *)),             \
             (const char *const[]){ "verb", __VA_ARGS__ })

static void words_flags_and_overrides_may_stand_in_any_order(void **state)
{
    (void)state;
    const parsed p = PARSE("a.lua", "optim.lr=1", "--model", "m", "b", "--json", "steps=2");
    assert_int_equal(p.rc, OK);
    assert_int_equal(p.a.n_positional, 2);
    assert_string_equal(p.a.positional[1], "b");
    assert_int_equal(p.a.n_overrides, 2);
    assert_string_equal(p.a.overrides[0], "optim.lr=1");
    assert_string_equal(p.model, "m");
    assert_true(p.json);
}

static void a_value_may_follow_an_equals_sign(void **state)
{
    (void)state;
    const parsed p = PARSE("--model=a=b");
    assert_int_equal(p.rc, OK);
    assert_string_equal(p.model, "a=b");
}

static void behind_two_dashes_all_are_words(void **state)
{
    (void)state;
    const parsed p = PARSE("--", "--model", "a=b");
    assert_int_equal(p.rc, OK);
    assert_int_equal(p.a.n_positional, 2);
    assert_null(p.model);
}

static void json_is_a_word_not_an_override(void **state)
{
    (void)state;
    const parsed p = PARSE("{\"a=b\":1}", "=x", "print(a==b)");
    assert_int_equal(p.rc, OK);
    assert_int_equal(p.a.n_positional, 3);
    assert_int_equal(p.a.n_overrides, 0);
}

static void an_unknown_flag_is_refused_with_the_nearest(void **state)
{
    (void)state;
    const parsed p = PARSE("--modle", "x");
    assert_int_equal(p.rc, ERR_ARGUMENT);
    assert_non_null(strstr(p.err.text, "'--modle' (did you mean '--model'?)"));
}

static void a_flag_without_its_value_and_a_switch_with_one_are_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(PARSE("--model").err.text, "needs a value"));
    assert_non_null(strstr(PARSE("--json=1").err.text, "takes no value"));
}

static void too_many_words_are_refused_not_dropped(void **state)
{
    (void)state;
    assert_int_equal(PARSE("1", "2", "3", "4", "5", "6", "7", "8").rc, OK);
    assert_non_null(strstr(PARSE("1", "2", "3", "4", "5", "6", "7", "8", "9").err.text, "'9'"));
}

/* `option` with `value`, apart and after an equals sign, is refused with a sentence that names both. */
static void value_refused(const char *option, const char *value)
{
    char joined[200];
    snprintf(joined, sizeof joined, "%s=%s", option, value);
    const parsed apart = PARSE(option, value), together = PARSE(joined);
    if (apart.rc == OK || together.rc == OK) fail_msg("%s %s was accepted", option, value);
    if (!strstr(together.err.text, option)) fail_msg("%s: %s", joined, together.err.text);
    if (!strstr(together.err.text, value)) fail_msg("%s: %s", joined, together.err.text);
}

static void a_number_is_the_whole_text_and_in_its_range(void **state)
{
    (void)state;
    static const char *const NUMBERS[] = { "x",  "-1", "65", "3x", "", " 3", "3 ", "1e3", "0x3", "99999999999999999999",
                                           "2.5" };
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) value_refused("--shots", NUMBERS[i]);
    static const char *const REALS[] = { "x", "-0.1", "2.1", "nan", "inf", "1e999", "", "1,5", "1.5s" };
    for (size_t i = 0; i < sizeof REALS / sizeof *REALS; i++) value_refused("--heat", REALS[i]);
    static const char *const IDS[] = { "x", "-1", "0x1", "00000000000000001", "" };
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) value_refused("--id", IDS[i]);
    value_refused("--size", "medium");
    assert_non_null(strstr(PARSE("--size=medium").err.text, "one of small, large"));
    assert_non_null(strstr(PARSE("--shots=-3").err.text, "from 0 to 64, found '-3'"));
    const parsed p = PARSE("--shots", "64", "--heat=0.5", "--id", "00ff", "--size", "large");
    assert_int_equal(p.rc, OK);
    assert_true(p.shots == 64 && p.heat == 0.5 && p.id == 255 && p.size == 1);
    assert_true(PARSE("a").shots == -7); /* what isn't given is left as it was */
}

/* `--model --json` forgot the model; a value that begins so can be said after an equals sign. */
static void the_next_option_is_no_value(void **state)
{
    (void)state;
    assert_non_null(strstr(PARSE("--model", "--json").err.text, "'--model' needs a value"));
    assert_non_null(strstr(PARSE("--model", "").err.text, "needs a value"));
    assert_string_equal(PARSE("--model=--json").model, "--json");
    assert_string_equal(PARSE("--text", "").text, "");
    assert_non_null(strstr(PARSE("--modle=x").err.text, "did you mean '--model'?"));
}

static void words_too_few_and_too_many_are_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(PARSE_AS(1, 1, true, "steps=3").err.text, "expected A B, found nothing"));
    assert_non_null(strstr(PARSE_AS(2, 2, true, "one").err.text, "expected A B, found only one"));
    assert_non_null(strstr(PARSE_AS(1, 1, true, "one", "two").err.text, "unexpected word 'two' (expected A B)"));
    assert_non_null(strstr(PARSE_AS(1, 1, false, "one", "steps=3").err.text, "unexpected word 'steps=3'"));
    assert_non_null(strstr(PARSE_AS(0, 0, false, "one").err.text, "unexpected word"));
    assert_int_equal(PARSE_AS(1, 1, false, "x=1").rc, OK); /* a word like others where there are no keys */
    assert_int_equal(PARSE_AS(1, 1, true, "--help").rc, OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_flags_and_overrides_may_stand_in_any_order),
        cmocka_unit_test(a_value_may_follow_an_equals_sign),
        cmocka_unit_test(behind_two_dashes_all_are_words),
        cmocka_unit_test(json_is_a_word_not_an_override),
        cmocka_unit_test(an_unknown_flag_is_refused_with_the_nearest),
        cmocka_unit_test(a_flag_without_its_value_and_a_switch_with_one_are_refused),
        cmocka_unit_test(too_many_words_are_refused_not_dropped),
        cmocka_unit_test(a_number_is_the_whole_text_and_in_its_range),
        cmocka_unit_test(the_next_option_is_no_value),
        cmocka_unit_test(words_too_few_and_too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
