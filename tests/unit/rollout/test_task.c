/* SPDX-License-Identifier: MIT */
#include "rollout/task.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

static task good_task(void)
{
    return (task){ .id = task_id(false, 3, 5),
                   .group = task_id(false, 3, 4),
                   .sample = 1,
                   .group_size = 4,
                   .step = 3,
                   .max_version = 2,
                   .temperature = 1,
                   .max_tokens = 16,
                   .row = xstrdup("{\"prompt\": \"1+1=\"}") };
}

static void an_id_says_what_it_was_composed_of(void **state)
{
    (void)state;
    static const int64_t steps[] = { 0, 1, 4711, 0x7fffffff };
    static const uint32_t indices[] = { 0, 1, 0x7fffffff, UINT32_MAX };
    for (int eval = 0; eval < 2; eval++)
        for (int s = 0; s < 4; s++)
            for (int i = 0; i < 4; i++) {
                const uint64_t id = task_id(eval, steps[s], indices[i]);
                assert_int_equal(task_id_eval(id), eval);
                assert_int_equal(task_id_step(id), steps[s]);
                assert_int_equal(task_id_index(id), indices[i]);
            }
}

static void ids_of_different_tasks_differ(void **state)
{
    (void)state;
    uint64_t ids[2 * 8 * 8];
    size_t n = 0;
    for (int eval = 0; eval < 2; eval++)
        for (int step = 0; step < 8; step++)
            for (uint32_t i = 0; i < 8; i++) ids[n++] = task_id(eval, step, i);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < a; b++) assert_true(ids[a] != ids[b]);
}

static void a_copy_owns_its_row(void **state)
{
    (void)state;
    task t = good_task();
    task *copy = task_copy(&t);
    assert_ptr_not_equal(copy->row, t.row);
    t.row[0] = 'x';
    assert_string_equal(copy->row, "{\"prompt\": \"1+1=\"}");
    assert_int_equal(copy->id, t.id);
    assert_int_equal(copy->max_tokens, 16);
    task_reset(&t);
    assert_null(t.row);
    assert_int_equal(t.group_size, 0);
    task_free(copy);
    task_free(NULL);
}

static void what_a_scheduler_makes_is_a_task(void **state)
{
    (void)state;
    error err = { 0 };
    task t = good_task();
    test_ok(task_check(&t, &err), &err);
    t.sample = 3, t.temperature = 0, t.min_version = t.max_version = 7, t.max_tokens = 1;
    test_ok(task_check(&t, &err), &err);
    task_reset(&t);
}

static void must_refuse(task t, const char *what)
{
    error err = { 0 };
    if (task_check(&t, &err) != ERR_PARSE) fail_msg("was taken: %s", what);
    assert_int_equal(err.code, ERR_PARSE);
    assert_non_null(strstr(err.text, "task 0000000300000005"));
}

static void what_no_scheduler_makes_is_refused(void **state)
{
    (void)state;
    task good = good_task(), t;
    t = good, t.group_size = 0, must_refuse(t, "a group of no episodes");
    t = good, t.sample = 4, must_refuse(t, "a sample outside its group");
    t = good, t.min_version = 3, must_refuse(t, "no version may play it");
    t = good, t.max_tokens = 0, must_refuse(t, "no tokens");
    t = good, t.max_tokens = -1, must_refuse(t, "fewer than no tokens");
    t = good, t.temperature = -0.5f, must_refuse(t, "a negative temperature");
    t = good, t.temperature = NAN, must_refuse(t, "a temperature that is no number");
    t = good, t.temperature = INFINITY, must_refuse(t, "an infinite temperature");
    t = good, t.n_shots = -1, must_refuse(t, "fewer than no shots");
    static char *const rows[] = { "", "[]", "12", "\"text\"", "{", "{} {}", "{\"a\": 1, \"a\": 2}" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) t = good, t.row = rows[i], must_refuse(t, rows[i]);
    t = good, t.row = NULL, must_refuse(t, "no row");
    task_reset(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_says_what_it_was_composed_of),
        cmocka_unit_test(ids_of_different_tasks_differ),
        cmocka_unit_test(a_copy_owns_its_row),
        cmocka_unit_test(what_a_scheduler_makes_is_a_task),
        cmocka_unit_test(what_no_scheduler_makes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
