/* SPDX-License-Identifier: MIT */
#include "curriculum/shot_ladder.h"

#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

enum { GROUP = 8 };

static const ladder_config CONFIG = { .levels = { 3, 1, 0 }, .n = 3, .enough = 0.8, .lost = 0.3, .probe = 0.5 };

/* A group as the mixture shows it, right in `of_more` and `of_fewer` of its samples. */
static group *group_played(const shot_mixture *m, int of_more, int of_fewer)
{
    group *g = group_new(1, 0, 1, GROUP);
    for (uint32_t i = 0; i < GROUP; i++) {
        const bool fewer = i >= GROUP - m->n_fewer;
        const task t = {
            .id = task_id(false, 1, i), .sample = i, .group_size = GROUP, .n_shots = fewer ? m->fewer : m->more
        };
        int *left = fewer ? &of_fewer : &of_more;
        score *s = xcalloc(1, sizeof *s);
        score_set(s, "accuracy", (*left)-- > 0 ? 1 : 0, NULL);
        group_add(g, episode_new(&t), s, NULL);
    }
    return g;
}

static void play(shot_ladder *l, int steps, int of_more, int of_fewer)
{
    for (int i = 0; i < steps; i++) {
        const shot_mixture m = ladder_pick(l, GROUP);
        group *g = group_played(&m, of_more, of_fewer);
        ladder_learn(l, (const group *const *)&g, 1, "accuracy");
        group_free(g);
    }
}

static void assert_shown(const shot_ladder *l, int32_t more, int32_t fewer, uint32_t n_fewer)
{
    const shot_mixture m = ladder_pick(l, GROUP);
    assert_true(m.set);
    assert_int_equal(m.more, more);
    assert_int_equal(m.fewer, fewer);
    assert_int_equal(m.n_fewer, n_fewer);
}

static void the_next_rung_is_taken_when_its_probes_succeed(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_init(&l, &CONFIG);
    assert_shown(&l, 3, 1, 4);
    play(&l, 20, 8, 3); /* probes: 0.75 */
    assert_shown(&l, 3, 1, 4);
    play(&l, LADDER_WAIT, 8, 4);
    assert_shown(&l, 1, 0, 4);
    play(&l, 20, 8, 4);
    assert_shown(&l, 0, 0, 0); /* the floor has no probes */
}

static void one_lucky_step_moves_nothing(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_init(&l, &CONFIG);
    play(&l, LADDER_WAIT - 1, 8, 4);
    assert_shown(&l, 3, 1, 4);
    play(&l, 1, 8, 0); /* the mean of three is 0.67 */
    assert_shown(&l, 3, 1, 4);
}

static void a_rung_that_is_lost_is_left_upwards_and_not_in_between(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_init(&l, &CONFIG);
    play(&l, LADDER_WAIT, 8, 4);
    assert_shown(&l, 1, 0, 4);
    play(&l, 20, 2, 0); /* 0.5 of those that are shown one: between lost and enough */
    assert_shown(&l, 1, 0, 4);
    play(&l, 20, 0, 0);
    assert_shown(&l, 3, 1, 4);
    play(&l, 20, 8, 0); /* it comes down by its probes alone */
    assert_shown(&l, 3, 1, 4);
}

/* One bad step right after a move is no reason to take it back. */
static void no_two_moves_are_nearer_than_so_many_steps(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_config c = CONFIG;
    c.lost = 0.75;
    ladder_init(&l, &c);
    play(&l, LADDER_WAIT, 8, 4);
    assert_shown(&l, 1, 0, 4);
    play(&l, LADDER_WAIT - 1, 0, 0);
    assert_shown(&l, 1, 0, 4);
    play(&l, 1, 0, 0);
    assert_shown(&l, 3, 1, 4);
}

static void a_group_always_has_both_kinds(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_config c = CONFIG;
    c.probe = 0.01;
    ladder_init(&l, &c);
    assert_int_equal(ladder_pick(&l, GROUP).n_fewer, 1);
    c.probe = 1;
    ladder_init(&l, &c);
    assert_int_equal(ladder_pick(&l, GROUP).n_fewer, GROUP - 1);
    assert_int_equal(ladder_pick(&l, 1).n_fewer, 0);
}

/* Helped by something else, or without a score, an episode says nothing of the shots. */
static void only_what_shots_alone_helped_counts(void **state)
{
    (void)state;
    shot_ladder l;
    ladder_init(&l, &CONFIG);
    for (int step = 0; step < 10; step++) {
        const shot_mixture m = ladder_pick(&l, GROUP);
        group *g = group_played(&m, 4, 4);
        for (uint32_t i = 4; i < GROUP; i++) {
            if (i % 2)
                g->episodes[i]->template_id = 1;
            else
                g->episodes[i]->hint_len = 2;
        }
        ladder_learn(&l, (const group *const *)&g, 1, "accuracy");
        group_free(g);
    }
    assert_shown(&l, 3, 1, 4);
}

static void what_it_remembers_is_restored_and_another_ladder_is_refused(void **state)
{
    (void)state;
    shot_ladder a, b, other;
    ladder_config c = CONFIG;
    error err = { 0 };
    ladder_init(&a, &CONFIG);
    ladder_init(&b, &CONFIG);
    play(&a, LADDER_WAIT + 2, 8, 4);

    saved_state *memory = state_new();
    ladder_state(&a, memory);
    state_rewind(memory);
    ladder_state(&b, memory);
    test_ok(state_end(memory, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);

    c.levels[1] = 2;
    ladder_init(&other, &c);
    state_rewind(memory);
    ladder_state(&other, memory);
    assert_int_equal(state_end(memory, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "levels"));
    state_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_rung_is_taken_when_its_probes_succeed),
        cmocka_unit_test(one_lucky_step_moves_nothing),
        cmocka_unit_test(a_rung_that_is_lost_is_left_upwards_and_not_in_between),
        cmocka_unit_test(no_two_moves_are_nearer_than_so_many_steps),
        cmocka_unit_test(a_group_always_has_both_kinds),
        cmocka_unit_test(only_what_shots_alone_helped_counts),
        cmocka_unit_test(what_it_remembers_is_restored_and_another_ladder_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
