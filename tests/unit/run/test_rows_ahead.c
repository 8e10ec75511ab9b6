/* SPDX-License-Identifier: MIT */
#include "run/rows_ahead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

enum { ROWS = 40, PROMPTS = 4, STALENESS = 2, STEPS = 9, GROUP = 4 };

typedef struct desk {
    char *dir;
    dataset *rows;
    recipe recipe;
    sampler *sampler;
    rows_ahead ahead;
} desk;

static desk open_desk(void)
{
    char path[400], text[2000] = "";
    error err = { 0 };
    desk d = { .dir = test_folder_new() };
    for (int i = 0; i < ROWS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"prompt\": \"%d\"}\n", i);
    test_file_write(d.dir, "d.jsonl", text);
    snprintf(path, sizeof path, "%s/d.jsonl", d.dir);
    d.rows = dataset_open(path, 0, &err);
    assert_non_null(d.rows);

    const sampler_config c = { .kind = SAMPLE_BY_FAILURE, .seed = 3, .group = GROUP };
    d.sampler = sampler_new(&c, d.rows, &err);
    assert_non_null(d.sampler);
    d.recipe.exchange.max_staleness = STALENESS;
    d.recipe.run.steps = STEPS;
    rows_ahead_init(&d.ahead, &d.recipe, d.rows, d.sampler, PROMPTS);
    return d;
}

static void close_desk(desk *d)
{
    rows_ahead_reset(&d->ahead);
    sampler_free(d->sampler);
    dataset_free(d->rows);
    test_folder_remove(d->dir);
}

/* All answers to the first half of the rows are right: the sampler shows the others from here on. */
static void learn_half(sampler *s)
{
    for (uint64_t row = 0; row < ROWS / 2; row++) {
        group *g = group_new(1, row, 1, GROUP);
        for (uint32_t i = 0; i < GROUP; i++) {
            const task t = { .id = task_id(false, 1, i), .sample = i, .group_size = GROUP, .prompt_id = row };
            score *sc = xcalloc(1, sizeof *sc);
            score_set(sc, "accuracy", 1, NULL);
            group_add(g, episode_new(&t), sc, NULL);
        }
        for (int times = 0; times < 20; times++) sampler_learn(s, (const group *const[]){ g }, 1, "accuracy");
        group_free(g);
    }
}

static new_version *pick(rows_ahead *a, int64_t version)
{
    new_version *v = xcalloc(1, sizeof *v);
    v->version = version;
    rows_ahead_pick(a, v);
    return v;
}

static void each_step_is_given_its_rows_once_and_none_behind_the_last(void **state)
{
    (void)state;
    desk d = open_desk();
    int given[STEPS + 1] = { 0 };
    for (int64_t version = 0; version <= STEPS; version++) {
        new_version *v = pick(&d.ahead, version);
        for (uint32_t i = 0; i < v->n_rows; i++) {
            const int64_t step = v->rows_from + i;
            assert_in_range(step, version + 1, version + 1 + STALENESS);
            given[step]++;
        }
        new_version_free(v);
    }
    for (int step = 1; step <= STEPS; step++) assert_int_equal(given[step], 1);
    close_desk(&d);
}

static uint64_t row_of(const new_version *v, int64_t step, int prompt)
{
    return v->rows[(step - v->rows_from) * PROMPTS + prompt].row;
}

/* The promise: a step that had begun when the checkpoint was written is played with the rows that it had, whatever the
 * policy has learned meanwhile; later ones go by what was learned. */
static void a_resumed_run_plays_begun_steps_with_their_rows(void **state)
{
    (void)state;
    error err = { 0 };
    desk before = open_desk(), after = open_desk();
    new_version *first = pick(&before.ahead, 0);
    assert_int_equal(first->n_rows, 1 + STALENESS);

    saved_state *s = state_new();
    rows_ahead_state(&before.ahead, s);
    state_rewind(s);
    rows_ahead_state(&after.ahead, s);
    assert_int_equal(state_end(s, &err), OK);
    state_free(s);

    learn_half(after.sampler);
    rows_ahead fresh;
    rows_ahead_init(&fresh, &after.recipe, after.rows, after.sampler, PROMPTS);
    new_version *resumed = pick(&after.ahead, 1), *without = pick(&fresh, 1);
    assert_int_equal(resumed->rows_from, 2);

    int kept = 0, other = 0;
    for (int64_t step = 2; step <= 3; step++)
        for (int i = 0; i < PROMPTS; i++) {
            kept += row_of(resumed, step, i) == row_of(first, step, i);
            other += row_of(without, step, i) != row_of(first, step, i);
        }
    assert_int_equal(kept, 2 * PROMPTS);
    assert_true(other > 0); /* else it would show nothing */
    for (int i = 0; i < PROMPTS; i++) assert_int_equal(row_of(resumed, 4, i), row_of(without, 4, i));

    new_version_free(first);
    new_version_free(resumed);
    new_version_free(without);
    rows_ahead_reset(&fresh);
    close_desk(&before);
    close_desk(&after);
}

static void without_a_sampler_rows_come_in_turn(void **state)
{
    (void)state;
    desk d = open_desk();
    rows_ahead plain;
    rows_ahead_init(&plain, &d.recipe, d.rows, NULL, PROMPTS);
    new_version *v = pick(&plain, 0);
    assert_null(v->rows);
    assert_int_equal(v->n_rows, 0);
    new_version_free(v);
    rows_ahead_reset(&plain);
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_is_given_its_rows_once_and_none_behind_the_last),
        cmocka_unit_test(a_resumed_run_plays_begun_steps_with_their_rows),
        cmocka_unit_test(without_a_sampler_rows_come_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
