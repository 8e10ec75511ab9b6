/* SPDX-License-Identifier: MIT */
#include "exchange/scheduler.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/support.h"

enum { ROWS = 7, PROMPTS = 3, GROUP = 4 };

typedef struct desk {
    char *dir;
    scheduler_config c;
} desk;

static int32_t shots(void *ctx, int64_t step, uint64_t prompt, uint32_t sample)
{
    (void)ctx;
    (void)sample;
    return (int32_t)(step * 10 + (int64_t)prompt);
}

static desk open_desk(void)
{
    char path[400], text[400] = "";
    error err = { 0 };
    desk d = { .dir = test_folder_new() };
    for (int i = 0; i < ROWS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"prompt\": \"row %d\"}\n", i);
    test_file_write(d.dir, "d.jsonl", text);
    snprintf(path, sizeof path, "%s/d.jsonl", d.dir);
    d.c = (scheduler_config){ .train = dataset_open(path, 0, &err),
                              .eval = dataset_open(path, 0, &err),
                              .seed = 5,
                              .prompts_per_step = PROMPTS,
                              .group = GROUP,
                              .max_staleness = 1,
                              .temperature = 0.7f,
                              .max_tokens = 9,
                              .shots = shots };
    assert_non_null(d.c.train);
    assert_non_null(d.c.eval);
    return d;
}

static void close_desk(desk *d)
{
    dataset_free(d->c.train);
    dataset_free(d->c.eval);
    test_folder_remove(d->dir);
}

static void the_samples_of_a_prompt_are_one_group(void **state)
{
    (void)state;
    desk d = open_desk();
    for (uint32_t i = 0; i < PROMPTS * GROUP; i++) {
        task t;
        error err = { 0 };
        scheduler_task(&d.c, 3, NULL, i, &t);
        test_ok(task_check(&t, &err), &err);
        assert_true(t.id == task_id(false, 3, i));
        assert_true(t.group == task_id(false, 3, i / GROUP * GROUP));
        assert_int_equal(t.sample, i % GROUP);
        assert_int_equal(t.n_shots, 30 + i / GROUP);
        assert_int_equal(t.min_version, 1); /* one after at most */
        assert_int_equal(t.max_version, 2);
        task_reset(&t);
    }
    close_desk(&d);
}

static void the_same_step_asks_the_same_again(void **state)
{
    (void)state;
    desk a = open_desk(), b = open_desk();
    task t;
    scheduler_task(&b.c, 40, NULL, 1, &t); /* b has been elsewhere before */
    task_reset(&t);
    for (int64_t step = 1; step < 12; step++)
        for (uint32_t i = 0; i < PROMPTS * GROUP; i++) {
            task x, y;
            scheduler_task(&a.c, step, NULL, i, &x);
            scheduler_task(&b.c, step, NULL, i, &y);
            assert_string_equal(x.row, y.row);
            assert_true(x.prompt_id == y.prompt_id);
            task_reset(&x);
            task_reset(&y);
        }
    close_desk(&a);
    close_desk(&b);
}

static void an_epoch_visits_every_row_once(void **state)
{
    (void)state;
    desk d = open_desk();
    int hits[ROWS] = { 0 };
    for (uint32_t visit = 0; visit < 3 * ROWS; visit++) {
        task t;
        scheduler_task(&d.c, 1 + visit / PROMPTS, NULL, visit % PROMPTS * GROUP, &t);
        hits[t.prompt_id]++;
        task_reset(&t);
    }
    for (int i = 0; i < ROWS; i++) assert_int_equal(hits[i], 3);
    close_desk(&d);
}

static void an_evaluation_is_greedy_and_in_order(void **state)
{
    (void)state;
    desk d = open_desk();
    assert_int_equal(scheduler_eval_size(&d.c), ROWS);
    d.c.eval_prompts = 2, d.c.eval_shots = 1;
    assert_int_equal(scheduler_eval_size(&d.c), 2);
    task t;
    scheduler_eval_task(&d.c, 8, 1, &t);
    assert_true(t.eval && t.temperature == 0 && t.n_shots == 1 && t.min_version == 8 && t.max_version == 8);
    assert_string_equal(t.row, "{\"prompt\": \"row 1\"}");
    task_reset(&t);
    close_desk(&d);
}

static void the_last_samples_of_a_group_are_hinted_or_demonstrations(void **state)
{
    (void)state;
    desk d = open_desk();
    d.c.hinted = 2, d.c.demonstrations = 1, d.c.templated = 1;
    const picked_row rows[PROMPTS] = { { .row = 3, .hint = 0.5f, .template_id = 2 },
                                       { .row = 1 },
                                       { .row = 6, .hint = 0.25f, .template_id = 1 } };
    for (uint32_t i = 0; i < PROMPTS * GROUP; i++) {
        task t;
        scheduler_task(&d.c, 2, rows, i, &t);
        assert_int_equal(t.prompt_id, rows[i / GROUP].row);
        assert_int_equal(t.template_id, i % GROUP == 0 ? rows[i / GROUP].template_id : 0);
        assert_true(t.hint == (i % GROUP == GROUP - 1 ? 1 : i % GROUP >= GROUP - 3 ? rows[i / GROUP].hint : 0));
        task_reset(&t);
    }
    close_desk(&d);
}

/* A mixture that was picked for a prompt: its last samples are shown fewer, whatever the schedule says. */
static void a_picked_mixture_is_shown_sample_by_sample(void **state)
{
    (void)state;
    desk d = open_desk();
    const picked_row rows[PROMPTS] = { { .row = 3, .shots = { true, 5, 2, 3 } },
                                       { .row = 1 },
                                       { .row = 6, .shots = { true, 4, 4, 0 } } };
    const int32_t shown[PROMPTS][GROUP] = { { 5, 2, 2, 2 }, { 31, 31, 31, 31 }, { 4, 4, 4, 4 } };
    for (uint32_t i = 0; i < PROMPTS * GROUP; i++) {
        task t;
        scheduler_task(&d.c, 3, rows, i, &t);
        assert_int_equal(t.n_shots, shown[i / GROUP][i % GROUP]);
        task_reset(&t);
    }
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_samples_of_a_group_are_hinted_or_demonstrations),
        cmocka_unit_test(the_samples_of_a_prompt_are_one_group),
        cmocka_unit_test(the_same_step_asks_the_same_again),
        cmocka_unit_test(an_epoch_visits_every_row_once),
        cmocka_unit_test(a_picked_mixture_is_shown_sample_by_sample),
        cmocka_unit_test(an_evaluation_is_greedy_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
