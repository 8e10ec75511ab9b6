/* SPDX-License-Identifier: MIT */
#include "rollout/group.h"

#include <string.h>

#include "tests/support/support.h"

static episode *episode_of(uint32_t sample)
{
    const task t = { .id = 100 + sample, .sample = sample };
    return episode_new(&t);
}

static score *score_of(uint32_t sample)
{
    const score s = { .task = 100 + sample };
    return score_copy(&s);
}

static int add(group *g, uint32_t sample, error *err)
{
    episode *e = episode_of(sample);
    score *s = score_of(sample);
    const int rc = group_add(g, e, s, err);
    if (rc != OK) { /* it took neither */
        episode_free(e);
        score_free(s);
    }
    return rc;
}

/* Every one of the 24 orders in which four samples may arrive. */
static void samples_are_in_order_whatever_the_order_of_arrival(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 256; code++) {
        const uint32_t order[4] = { code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3 };
        if ((1u << order[0] | 1u << order[1] | 1u << order[2] | 1u << order[3]) != 15) continue;
        group *g = group_new(100, 7, 3, 4);
        error err = { 0 };
        for (int i = 0; i < 4; i++) test_ok(add(g, order[i], &err), &err);
        assert_int_equal(g->n, 4);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(g->episodes[i]->sample, i);
            assert_int_equal(g->scores[i]->task, 100 + i); /* the score went with its episode */
        }
        group_free(g);
    }
}

static void a_sample_counts_once_and_strangers_do_not(void **state)
{
    (void)state;
    group *g = group_new(0xab, 7, 3, 3);
    error err = { 0 };
    assert_true(g->id == 0xab && g->prompt_id == 7 && g->step == 3 && g->size == 3 && g->n == 0);
    test_ok(add(g, 1, &err), &err);
    assert_int_equal(add(g, 1, &err), ERR_STATE);
    assert_int_equal(add(g, 3, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "group 00000000000000ab: sample 3"));
    test_ok(add(g, 2, &err), &err);
    test_ok(add(g, 0, &err), &err);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(add(g, i, &err), ERR_STATE);
    assert_int_equal(g->n, 3);
    group_free(g);
    group_free(NULL);
}

static void a_group_may_stay_short_of_what_was_lost(void **state)
{
    (void)state;
    group *g = group_new(1, 7, 3, 4);
    error err = { 0 };
    test_ok(add(g, 3, &err), &err);
    test_ok(add(g, 0, &err), &err);
    assert_int_equal(g->n, 2);
    assert_int_equal(g->episodes[0]->sample, 0);
    assert_int_equal(g->episodes[1]->sample, 3);
    group_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_in_order_whatever_the_order_of_arrival),
        cmocka_unit_test(a_sample_counts_once_and_strangers_do_not),
        cmocka_unit_test(a_group_may_stay_short_of_what_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
