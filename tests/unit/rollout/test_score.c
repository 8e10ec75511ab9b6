/* SPDX-License-Identifier: MIT */
#include "rollout/score.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

static void a_value_is_what_was_set_last_and_missing_before(void **state)
{
    (void)state;
    score s = { 0 };
    error err = { 0 };
    assert_true(isnan(score_get(&s, "accuracy")));
    test_ok(score_set(&s, "accuracy", 0, &err), &err);
    assert_true(score_get(&s, "accuracy") == 0);
    test_ok(score_set(&s, "accuracy", 0.75, &err), &err);
    test_ok(score_set(&s, "accurac", 3, &err), &err);
    assert_true(score_get(&s, "accuracy") == 0.75);
    assert_int_equal(s.n_values, 2);
}

static void what_is_no_number_is_missing_and_never_zero(void **state)
{
    (void)state;
    static const double odd[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        score s = { 0 };
        error err = { 0 };
        test_ok(score_set(&s, "a", 1, &err), &err);
        test_ok(score_set(&s, "a", odd[i], &err), &err);
        assert_true(isnan(score_get(&s, "a")));
        assert_int_equal(s.n_values, 1);
        test_ok(score_check(&s, &err), &err);
    }
}

static void a_name_has_1_to_31_characters(void **state)
{
    (void)state;
    score s = { 0 };
    error err = { 0 };
    assert_int_equal(score_set(&s, "", 1, &err), ERR_ARGUMENT);
    assert_int_equal(score_set(&s, "12345678901234567890123456789012", 1, &err), ERR_ARGUMENT);
    assert_int_equal(s.n_values, 0);
    test_ok(score_set(&s, "1234567890123456789012345678901", 7, &err), &err);
    assert_true(score_get(&s, "1234567890123456789012345678901") == 7);
}

static void the_17th_objective_finds_no_room_but_the_16_can_be_replaced(void **state)
{
    (void)state;
    score s = { 0 };
    error err = { 0 };
    for (int i = 0; i < MAX_OBJECTIVES; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        test_ok(score_set(&s, name, i, &err), &err);
    }
    assert_int_equal(score_set(&s, "one more", 1, &err), ERR_FULL);
    assert_non_null(strstr(err.text, "one more"));
    test_ok(score_set(&s, "o15", -1, &err), &err);
    assert_true(score_get(&s, "o15") == -1 && score_get(&s, "o14") == 14);
    assert_true(isnan(score_get(&s, "one more")));
    test_ok(score_check(&s, &err), &err);
}

static void a_copy_owns_its_texts(void **state)
{
    (void)state;
    score s = { .task = 5, .status = SCORE_SCRIPT, .error = xstrdup("line 3"), .info = xstrdup("{}"), .ms = 2 };
    error err = { 0 };
    test_ok(score_set(&s, "a", 1, &err), &err);
    score *copy = score_copy(&s);
    s.error[0] = s.info[0] = 'x';
    assert_string_equal(copy->error, "line 3");
    assert_string_equal(copy->info, "{}");
    assert_true(copy->task == 5 && copy->status == SCORE_SCRIPT && copy->ms == 2 && score_get(copy, "a") == 1);
    score_reset(&s);
    assert_true(s.error == NULL && s.info == NULL && s.n_values == 0);
    score *bare = score_copy(&s);
    assert_true(bare->error == NULL && bare->info == NULL);
    score_free(bare);
    score_free(copy);
    score_free(NULL);
}

static void what_score_set_could_not_have_made_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    const score good = { .values = { { "a", 1 }, { "b", NAN } }, .n_values = 2 };
    score s = good;
    test_ok(score_check(&s, &err), &err);
    s = good, s.status = SCORE_MACHINE;
    test_ok(score_check(&s, &err), &err);
    s = good, s.status = (score_status)(SCORE_MACHINE + 1);
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    s = good, s.status = (score_status)-1;
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    s = good, s.values[1].name[0] = 0;
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    s = good, s.values[1].name[0] = 'a';
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    s = good, s.values[1].value = -INFINITY;
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "'b' is -inf"));
}

static void spans_are_in_order_objective_by_objective(void **state)
{
    (void)state;
    score s = { 0 };
    error err = { 0 };
    test_ok(score_set(&s, "a", 1, &err), &err);
    test_ok(score_set(&s, "b", 1, &err), &err);
    test_ok(score_add_span(&s, "a", 3, 0.5, &err), &err);
    test_ok(score_add_span(&s, "a", 4, -0.5, &err), &err);
    assert_int_equal(score_add_span(&s, "a", 4, 0, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "ends at 4, the one before it at 4"));
    assert_int_equal(score_add_span(&s, "c", 9, 0, &err), ERR_ARGUMENT);
    assert_int_equal(score_add_span(&s, "b", 9, NAN, &err), ERR_ARGUMENT);
    test_ok(score_add_span(&s, "b", 2, 0.5, &err), &err);
    assert_int_equal(score_add_span(&s, "a", 9, 0, &err), ERR_ARGUMENT); /* a's are over */
    assert_true(score_has_spans(&s, "b") && !score_has_spans(&s, "c"));
    test_ok(score_check(&s, &err), &err);
    score *copy = score_copy(&s);
    s.spans[0].end = 4;
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    s.spans[0].end = 3;
    memcpy(s.spans[2].name, "a", 2), memcpy(s.spans[1].name, "b", 2);
    assert_int_equal(score_check(&s, &err), ERR_PARSE); /* a, b, a */
    memcpy(s.spans[1].name, "c", 2);
    assert_int_equal(score_check(&s, &err), ERR_PARSE);
    test_ok(score_check(copy, &err), &err);
    assert_int_equal(copy->n_spans, 3);
    score_reset(&s);
    score_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_in_order_objective_by_objective),
        cmocka_unit_test(a_value_is_what_was_set_last_and_missing_before),
        cmocka_unit_test(what_is_no_number_is_missing_and_never_zero),
        cmocka_unit_test(a_name_has_1_to_31_characters),
        cmocka_unit_test(the_17th_objective_finds_no_room_but_the_16_can_be_replaced),
        cmocka_unit_test(a_copy_owns_its_texts),
        cmocka_unit_test(what_score_set_could_not_have_made_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
