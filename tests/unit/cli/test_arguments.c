#include <string.h>

#include "cli/arguments.h"
#include "tests/support/support.h"

typedef struct parsed {
    arguments a;
    const char *model;
    bool json;
    error err;
    int rc;
} parsed;

static parsed parse(int argc, const char *const *words)
{
    parsed p = { 0 };
    const flag flags[] = { { "--model", &p.model, NULL }, { "--json", NULL, &p.json }, { 0 } };
    p.rc = arguments_parse(&p.a, argc, (char **)(uintptr_t)words, flags, &p.err);
    return p;
}
#define PARSE(...)                                                                                                     \
    parse((int)(sizeof((const char *const[]){ "verb", __VA_ARGS__ }) / sizeof(char *)),                                \
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
