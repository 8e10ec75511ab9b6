/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "curriculum/shot_schedule.h"
#include "tests/support/support.h"

static shot_schedule *parse(const char *text, error *err)
{
    json_t *json = json_parse(text, strlen(text), "schedule", err);
    assert_non_null(json);
    shot_schedule *c = shot_schedule_new(json, false, err);
    json_decref(json);
    return c;
}

static void each_stage_holds_from_its_first_step(void **state)
{
    (void)state;
    error err = { 0 };
    shot_schedule *c = parse("[[0, 3], [50, 2], [80, 0]]", &err);
    assert_int_equal(shot_schedule_at(c, 1, 0, 0), 3);
    assert_int_equal(shot_schedule_at(c, 49, 7, 0), 3);
    assert_int_equal(shot_schedule_at(c, 50, 7, 0), 2);
    assert_int_equal(shot_schedule_at(c, 80, 0, 0), 0);
    assert_int_equal(shot_schedule_at(c, 100000, 0, 0), 0);
    shot_schedule_free(c);
}

static void a_list_is_dealt_in_equal_parts(void **state)
{
    (void)state;
    error err = { 0 };
    shot_schedule *c = parse("[[0, [1, 0, 2]]]", &err);
    int count[3] = { 0 };
    for (uint64_t p = 0; p < 12; p++) count[shot_schedule_at(c, 5, p, 0)]++;
    for (int i = 0; i < 3; i++) assert_int_equal(count[i], 4);
    shot_schedule_free(c);
}

/* The samples of each prompt, in turn: every group has both kinds. */
static void a_list_may_mix_the_samples_of_a_prompt(void **state)
{
    (void)state;
    error err = { 0 };
    json_t *json = json_parse("[[0, [3, 0]]]", 13, "schedule", &err);
    shot_schedule *c = shot_schedule_new(json, true, &err);
    assert_non_null(c);
    for (uint64_t p = 0; p < 5; p++)
        for (uint32_t i = 0; i < 4; i++) assert_int_equal(shot_schedule_at(c, 1, p, i), i % 2 ? 0 : 3);
    json_decref(json);
    shot_schedule_free(c);
}

static void what_is_no_schedule_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = { "[]",        "{}",           "[[0]]",
                                       "[[0, -1]]", "[[0, \"x\"]]", "[[5, 1], [3, 0]]",
                                       "[[0, []]]", "[[0, 1.5]]",   "[[0, 1000000]]" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        if (parse(BAD[i], &err)) fail_msg("%s was accepted", BAD[i]);
        assert_true(err.text[0] != 0);
    }
}

static void shots_are_different_ones_chosen_by_the_group_alone(void **state)
{
    (void)state;
    enum { POOL = 48, N = 5 };
    int hits[POOL] = { 0 };
    for (uint64_t group = 0; group < 400; group++) {
        uint64_t a[N], b[N];
        assert_int_equal(shot_pick(3, group, N, POOL, a), N);
        assert_int_equal(shot_pick(3, group, N, POOL, b), N);
        assert_memory_equal(a, b, sizeof a);
        for (int i = 0; i < N; i++) {
            assert_true(a[i] < POOL);
            hits[a[i]]++;
            for (int j = 0; j < i; j++) assert_true(a[i] != a[j]);
        }
    }
    for (int i = 0; i < POOL; i++) assert_in_range(hits[i], 15, 80); /* 41.7 expected */
    uint64_t all[N];
    assert_int_equal(shot_pick(3, 1, N, 2, all), 2);
    assert_int_equal(shot_pick(3, 1, 0, 2, all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_stage_holds_from_its_first_step),
        cmocka_unit_test(a_list_is_dealt_in_equal_parts),
        cmocka_unit_test(a_list_may_mix_the_samples_of_a_prompt),
        cmocka_unit_test(what_is_no_schedule_is_refused),
        cmocka_unit_test(shots_are_different_ones_chosen_by_the_group_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
