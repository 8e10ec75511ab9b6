/* SPDX-License-Identifier: MIT */
#include "curriculum/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

enum { ROWS = 12, GROUP = 4 };

typedef struct desk {
    char *dir;
    dataset *rows;
} desk;

/* Rows 0..3 are easy, 4..7 middling, the others hard. */
static desk open_desk(void)
{
    static const char *const LEVELS[] = { "easy", "middling", "hard" };
    char path[400], text[1000] = "";
    error err = { 0 };
    desk d = { .dir = test_folder_new() };
    for (int i = 0; i < ROWS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"prompt\": \"%d\", \"group\": \"%s\"}\n", i,
                 LEVELS[i / 4]);
    test_file_write(d.dir, "d.jsonl", text);
    snprintf(path, sizeof path, "%s/d.jsonl", d.dir);
    d.rows = dataset_open(path, 0, &err);
    assert_non_null(d.rows);
    return d;
}

static void close_desk(desk *d)
{
    dataset_free(d->rows);
    test_folder_remove(d->dir);
}

static sampler *sampler_of(const desk *d, sampler_config c)
{
    error err = { 0 };
    c.group = GROUP;
    sampler *s = sampler_new(&c, d->rows, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

/* A group of n episodes of `row`, `right` of them right. */
static group *group_of_size(uint64_t row, int right, uint32_t n)
{
    group *g = group_new(1, row, 1, n);
    for (uint32_t i = 0; i < n; i++) {
        const task t = { .id = task_id(false, 1, i), .sample = i, .group_size = n, .prompt_id = row };
        score *s = xcalloc(1, sizeof *s);
        score_set(s, "accuracy", (int)i < right ? 1 : 0, NULL);
        group_add(g, episode_new(&t), s, NULL);
    }
    return g;
}

static void learn(sampler *s, uint64_t row, int right)
{
    group *g = group_of_size(row, right, GROUP);
    const group *const all[] = { g };
    sampler_learn(s, all, 1, "accuracy");
    group_free(g);
}

/* How often each row comes, a row a step. */
static void count(const sampler *s, int steps, int *times)
{
    picked_row row;
    memset(times, 0, sizeof *times * ROWS);
    for (int step = 1; step <= steps; step++) sampler_pick(s, step, 1, &row), times[row.row]++;
}

static void rows_are_drawn_in_proportion_to_their_failure(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler *s = sampler_of(&d, (sampler_config){ .kind = SAMPLE_BY_FAILURE, .seed = 3 });
    int times[ROWS];
    enum { STEPS = 6000 };
    for (uint64_t i = 0; i < ROWS; i++) learn(s, i, i < 6 ? GROUP : i < 9 ? GROUP / 2 : 0);
    count(s, STEPS, times);
    const double all = 6 * 0.05 + 3 * 0.55 + 3 * 1.05;
    for (int i = 0; i < ROWS; i++) {
        const double p = (0.05 + (i < 6 ? 0 : i < 9 ? 0.5 : 1)) / all;
        assert_true(fabs(times[i] - STEPS * p) < 4 * sqrt(STEPS * p * (1 - p)));
    }
    sampler_free(s);
    close_desk(&d);
}

static void rows_of_two_minds_come_more_often_than_those_of_one(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler *s = sampler_of(&d, (sampler_config){ .kind = SAMPLE_BY_SIGNAL, .seed = 3 });
    int times[ROWS];
    for (uint64_t i = 0; i < ROWS; i++) learn(s, i, (int)(i % 3) * GROUP / 2);
    count(s, 3000, times);
    for (int i = 0; i < ROWS; i++) assert_true(i % 3 == 1 ? times[i] > 330 : times[i] < 200);
    sampler_free(s);
    close_desk(&d);
}

static void a_step_draws_no_row_twice_and_always_the_same(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler *s = sampler_of(&d, (sampler_config){ .kind = SAMPLE_BY_FAILURE, .seed = 9 });
    for (int64_t step = 1; step < 50; step++) {
        picked_row a[ROWS + 2], b[ROWS + 2];
        uint64_t seen = 0;
        sampler_pick(s, step, ROWS + 2, a);
        sampler_pick(s, step, ROWS + 2, b);
        assert_memory_equal(a, b, sizeof a);
        for (int i = 0; i < ROWS; i++) seen |= UINT64_C(1) << a[i].row;
        assert_int_equal(seen, (1 << ROWS) - 1); /* then from the front again */
        assert_int_equal(a[ROWS].row, a[0].row);
        learn(s, (uint64_t)step % ROWS, (int)step % 5);
    }
    sampler_free(s);
    close_desk(&d);
}

static void what_always_failed_is_left_out_and_comes_back_when_nothing_else_is_left(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler *s = sampler_of(&d, (sampler_config){ .drop_failed = 2 * GROUP, .drop_solved = GROUP, .seed = 1 });
    int times[ROWS];
    learn(s, 0, 0);
    count(s, 500, times);
    assert_true(times[0] > 0); /* four tries are too few to say */
    learn(s, 0, 0);
    learn(s, 1, GROUP);
    count(s, 500, times);
    assert_int_equal(times[0], 0);
    assert_int_equal(times[1], 0);
    assert_true(times[2] > 0);
    for (uint64_t i = 2; i < ROWS; i++) learn(s, i, GROUP);
    count(s, 500, times);
    assert_true(times[0] > 0 && times[1] > 0);
    sampler_free(s);
    close_desk(&d);
}

static void a_stage_ends_at_its_gate_and_not_before(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler_config c = { .n_stages = 2, .seed = 1 };
    c.stages[0] = (sampler_stage){ .groups = { "easy" }, .n_groups = 1, .gate = 0.8 };
    c.stages[1] = (sampler_stage){ .groups = { "hard", "easy" }, .n_groups = 2, .gate = 2 };
    sampler *s = sampler_of(&d, c);
    int times[ROWS];
    for (int i = 0; i < 30; i++) learn(s, 0, GROUP / 2);
    count(s, 300, times);
    for (int i = 4; i < ROWS; i++) assert_int_equal(times[i], 0);
    for (int i = 0; i < 4; i++) learn(s, 1, GROUP); /* 0.5 -> 0.795 */
    count(s, 300, times);
    assert_int_equal(times[11], 0);
    learn(s, 1, GROUP); /* 0.836 */
    count(s, 300, times);
    assert_true(times[11] > 0 && times[0] > 0 && times[5] == 0);
    sampler_free(s);
    close_desk(&d);
}

static void a_stage_without_rows_is_refused(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    sampler_config c = { .n_stages = 1 };
    c.stages[0] = (sampler_stage){ .groups = { "hrad" }, .n_groups = 1 };
    assert_null(sampler_new(&c, d.rows, &err));
    assert_non_null(strstr(err.text, "hrad"));
    close_desk(&d);
}

static void memory_that_is_restored_draws_the_same_rows(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler_config c = { .kind = SAMPLE_BY_FAILURE, .n_stages = 2, .seed = 4 };
    c.stages[0] = (sampler_stage){ .groups = { "easy", "hard" }, .n_groups = 2, .gate = 0.5 };
    sampler *a = sampler_of(&d, c), *b = sampler_of(&d, c);
    for (uint64_t i = 0; i < 40; i++) learn(a, i % ROWS, (int)(i % 5));
    error err = { 0 };
    saved_state *memory = state_new();
    sampler_state(a, memory);
    state_rewind(memory);
    sampler_state(b, memory);
    test_ok(state_end(memory, &err), &err);
    for (int64_t step = 1; step < 40; step++) {
        picked_row x[5], y[5];
        sampler_pick(a, step, 5, x);
        sampler_pick(b, step, 5, y);
        assert_memory_equal(x, y, sizeof x);
    }
    state_free(memory);
    sampler_free(a);
    sampler_free(b);
    close_desk(&d);
}

/* Fifty logistic problems with logits from 2 to -4, each a policy of its own, trained by REINFORCE with a group
 * baseline: updates until the mean success is 0.9. */
static int updates_until_learned(sampler *s, uint64_t seed)
{
    enum { PROBLEMS = 50, SAMPLES = 8, PATIENCE = 100000 };
    test_random rnd = test_random_seed(seed);
    double logit[PROBLEMS];
    for (int i = 0; i < PROBLEMS; i++) logit[i] = 2 - 6.0 * i / (PROBLEMS - 1);
    for (int step = 1; step < PATIENCE; step++) {
        double mean = 0;
        picked_row drawn = { .row = (uint64_t)(step - 1) % PROBLEMS };
        if (s) sampler_pick(s, step, 1, &drawn);
        const uint64_t row = drawn.row;
        const double p = 1 / (1 + exp(-logit[row]));
        int right = 0;
        for (int i = 0; i < SAMPLES; i++) right += test_random_unit(&rnd) < p;
        /* sum of (r - mean r) d log p(r) / d logit, over the group's spread */
        const double share = (double)right / SAMPLES, sd = sqrt(share * (1 - share));
        if (sd > 0) logit[row] += 0.5 * share * (1 - share) / sd;
        group *g = group_of_size(row, right, SAMPLES);
        const group *const all[] = { g };
        if (s) sampler_learn(s, all, 1, "accuracy");
        group_free(g);
        for (int i = 0; i < PROBLEMS; i++) mean += 1 / (1 + exp(-logit[i])) / PROBLEMS;
        if (mean >= 0.9) return step;
    }
    return PATIENCE;
}

static void hard_rows_first_learns_in_two_thirds_of_the_updates(void **state)
{
    (void)state;
    char path[400], text[2000] = "";
    error err = { 0 };
    char *dir = test_folder_new();
    for (int i = 0; i < 50; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "{\"prompt\": \"%d\"}\n", i);
    test_file_write(dir, "d.jsonl", text);
    snprintf(path, sizeof path, "%s/d.jsonl", dir);
    dataset *rows = dataset_open(path, 0, &err);
    double in_turn = 0, by_failure = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const sampler_config c = { .kind = SAMPLE_BY_FAILURE, .group = 8, .seed = seed };
        sampler *s = sampler_new(&c, rows, &err);
        in_turn += updates_until_learned(NULL, seed);
        by_failure += updates_until_learned(s, seed);
        sampler_free(s);
    }
    print_message("updates to a mean success of 0.9: in turn %.0f, by failure %.0f\n", in_turn / 5, by_failure / 5);
    assert_true(in_turn >= 1.5 * by_failure);
    dataset_free(rows);
    test_folder_remove(dir);
}

static void hints_shrink_with_success(void **state)
{
    (void)state;
    desk d = open_desk();
    sampler *s = sampler_of(&d, (sampler_config){ .max_hint = 0.8, .hint_until = 0.6, .seed = 3 });
    picked_row rows[ROWS];
    learn(s, 0, GROUP / 4), learn(s, 1, GROUP / 2), learn(s, 2, 3 * GROUP / 4);
    group *helped = group_of_size(3, GROUP / 2, GROUP); /* what was right was hinted: the row has no success yet */
    for (uint32_t i = 0; i < GROUP / 2; i++) helped->episodes[i]->hint_len = 3;
    sampler_learn(s, (const group *const *)&helped, 1, "accuracy");
    group_free(helped);
    sampler_pick(s, 1, ROWS, rows);
    for (int i = 0; i < ROWS; i++) {
        const double want[] = { 0.6, 0.4, 0 };
        test_near((double)rows[i].hint, rows[i].row < 3 ? want[rows[i].row] : 0.8, 1e-6, "hint");
    }
    sampler_free(s);
    close_desk(&d);
}

/* A group of row 0, all of it after template k. */
static void learn_template(sampler *s, int k, int right)
{
    group *g = group_of_size(0, right, GROUP);
    for (uint32_t i = 0; i < GROUP; i++) g->episodes[i]->template_id = k;
    const group *const all[] = { g };
    sampler_learn(s, all, 1, "accuracy");
    group_free(g);
}

static void templates_are_tried_and_then_the_best_is_shown(void **state)
{
    (void)state;
    desk d = open_desk();
    const double any[] = { NAN, NAN, NAN };
    sampler *s = sampler_of(&d, (sampler_config){ .complexity = any, .n_templates = 3, .seed = 3 });
    picked_row row;
    int shown[4] = { 0 };
    for (int step = 1; step <= 300; step++) {
        sampler_pick(s, step, 1, &row);
        shown[row.template_id]++;
        learn_template(s, row.template_id, row.template_id == 2 ? 3 : 1); /* wins 0.75 against 0.25 */
        if (step == 3) assert_true(shown[1] == 1 && shown[2] == 1 && shown[3] == 1);
    }
    assert_true(shown[0] == 0 && shown[2] > 240 && shown[1] > 3 && shown[3] > 3);
    sampler_free(s);
    close_desk(&d);
}

static void a_row_chooses_among_the_templates_nearest_to_it(void **state)
{
    (void)state;
    char path[400];
    error err = { 0 };
    char *dir = test_folder_new();
    test_file_write(dir, "d.jsonl", "{\"prompt\": \"a\", \"complexity\": 7.2}\n");
    snprintf(path, sizeof path, "%s/d.jsonl", dir);
    dataset *rows = dataset_open(path, 0, &err);
    const double complexity[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    const sampler_config c = { .complexity = complexity, .n_templates = 10, .group = GROUP };
    sampler *s = sampler_new(&c, rows, &err);
    picked_row row;
    for (int step = 1; step <= 60; step++) {
        sampler_pick(s, step, 1, &row);
        assert_true(row.template_id >= 5 && row.template_id <= 9);
        learn_template(s, row.template_id, step % 3);
    }
    sampler_free(s);
    dataset_free(rows);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_drawn_in_proportion_to_their_failure),
        cmocka_unit_test(hard_rows_first_learns_in_two_thirds_of_the_updates),
        cmocka_unit_test(rows_of_two_minds_come_more_often_than_those_of_one),
        cmocka_unit_test(a_step_draws_no_row_twice_and_always_the_same),
        cmocka_unit_test(what_always_failed_is_left_out_and_comes_back_when_nothing_else_is_left),
        cmocka_unit_test(a_stage_ends_at_its_gate_and_not_before),
        cmocka_unit_test(hints_shrink_with_success),
        cmocka_unit_test(templates_are_tried_and_then_the_best_is_shown),
        cmocka_unit_test(a_row_chooses_among_the_templates_nearest_to_it),
        cmocka_unit_test(a_stage_without_rows_is_refused),
        cmocka_unit_test(memory_that_is_restored_draws_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
