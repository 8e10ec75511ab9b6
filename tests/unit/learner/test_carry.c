/* SPDX-License-Identifier: MIT */
/* Whose success is put after whose prompt, and what of it: algorithm.carry by itself. That the trainer learns from what
 * it adds is shown in test_trainer_methods.c. */
#include <stdlib.h>

#include "defaults.h"
#include "episodes.h"
#include "learner/method.h"
#include "tests/support/support.h"

enum { MAX_SAMPLES = 6 };

/* One of a group's samples: its shots, its reward, and what keeps it out of it. */
typedef struct sampled {
    int shots;
    double reward;
    int hint_len, template_id;
    failure failed;
} sampled;

/* With `shots` shots, four tokens of prompt longer each; then three sampled tokens, an observation, two more. */
static episode *episode_of(uint32_t sample, const sampled *s)
{
    episode *e = made_episode(sample, 3 + 4 * s->shots, 3, 1, -1);
    e->tokens.n_prompt = 3 + 4 * (uint32_t)s->shots;
    for (int i = 0; i < 2; i++) trajectory_append_sampled(&e->tokens, 20 + i + (int)sample, -1, 0, 42);
    for (uint32_t i = 0; i < e->tokens.n; i++) e->tokens.wrote[i] = e->tokens.mask[i] ? 2 + i : 0;

    e->n_shots = s->shots;
    e->hint_len = s->hint_len;
    e->template_id = s->template_id;
    e->failed = s->failed;
    return e;
}

typedef struct desk {
    arena *a;
    group *played;
    trainer_config config;
    trainer_parts parts;
    train_step step;
    const group *played_row[1];
    void *self;
} desk;

static desk *open_desk(const sampled *samples, uint32_t n)
{
    error err = { 0 };
    desk *d = calloc(1, sizeof *d);
    d->a = arena_new(1 << 16);
    d->played = group_new(task_id(false, 1, 0), 0, 1, n);
    for (uint32_t i = 0; i < n; i++)
        test_ok(group_add(d->played, episode_of(i, &samples[i]), made_score(i, "accuracy", samples[i].reward), &err),
                &err);

    test_ok(objective_add(&d->config.objectives, "accuracy", 1, &err), &err);
    d->parts = (trainer_parts){ .config = &d->config, .arena = d->a };
    d->played_row[0] = d->played;
    d->step = (train_step){ .parts = &d->parts, .groups = d->played_row, .n_groups = 1, .out = metrics_new() };
    test_ok(METHOD_CARRY.open(&d->parts, &d->self, &err), &err);
    test_ok(METHOD_CARRY.at[AT_GATHER](d->self, &d->step, &err), &err);
    test_ok(METHOD_CARRY.at[AT_METRICS](d->self, &d->step, &err), &err);
    return d;
}

static void close_desk(desk *d)
{
    METHOD_CARRY.close(&d->parts, d->self);
    metrics_free(d->step.out);
    group_free(d->played);
    arena_free(d->a);
    free(d);
}

static const group *after(const desk *d) { return d->step.groups[0]; }

static void assert_carried(const desk *d, uint32_t n)
{
    assert_int_equal(after(d)->n, d->played->n + n);
    test_near(metrics_get(d->step.out, "training/episodes_carried", -1), n, 0, "its metric");
    for (uint32_t i = 0; i < d->played->n; i++) { /* those that were played stand first, as they were */
        assert_ptr_equal(after(d)->episodes[i], d->played->episodes[i]);
        assert_ptr_equal(after(d)->scores[i], d->played->scores[i]);
    }
}

/* The second sample has the fewest shots and fails; the third succeeds with two, the fourth fails with two. */
static void a_success_is_copied_after_the_prompt_with_the_fewest_shots(void **state)
{
    (void)state;
    const sampled samples[] = { { .shots = 1 }, { .shots = 0 }, { .shots = 2, .reward = 1 }, { .shots = 2 } };
    desk *d = open_desk(samples, 4);
    assert_carried(d, 1);

    const episode *of = d->played->episodes[2], *pupil = d->played->episodes[1], *e = after(d)->episodes[4];
    const trajectory *t = &e->tokens;
    assert_ptr_equal(after(d)->scores[4], d->played->scores[2]);
    assert_int_equal(e->n_shots, 0);
    assert_int_equal(e->hint_len, 5); /* what the policy had sampled: as a demonstration's tokens */

    assert_int_equal(t->n_prompt, 3);
    assert_int_equal(t->n, 3 + 6);
    assert_memory_equal(t->ids, pupil->tokens.ids, 3 * sizeof *t->ids);
    assert_memory_equal(t->ids + 3, of->tokens.ids + 11, 6 * sizeof *t->ids);
    assert_memory_equal(t->wrote + 3, of->tokens.wrote + 11, 6 * sizeof *t->wrote); /* where spans find their tokens */
    for (uint32_t i = 0; i < t->n; i++) {
        token_role role = TOKEN_HINT;
        if (i < 3) role = TOKEN_QUESTION;
        if (i == 6) role = TOKEN_OBSERVATION;
        assert_int_equal(t->role[i], role);
        assert_true(t->mask[i] == 0 && t->logprob[i] == 0); /* not the policy's under this prompt */
    }
    close_desk(d);
}

/* One that fails with more shots says nothing about the prompt with the fewest, wherever it stands in the group. */
static void where_the_fewest_shots_suffice_nothing_is_carried(void **state)
{
    (void)state;
    const sampled before[] = { { .shots = 1 }, { .shots = 0, .reward = 1 }, { .shots = 2, .reward = 1 } };
    const sampled behind[] = { { .shots = 0, .reward = 1 }, { .shots = 1 }, { .shots = 2, .reward = 1 } };
    desk *d = open_desk(before, 3);
    assert_carried(d, 0);
    close_desk(d);
    d = open_desk(behind, 3);
    assert_carried(d, 0);
    close_desk(d);
}

/* One success with the fewest shots is not enough while another sample fails with them; it is not copied itself. */
static void what_was_shown_as_little_is_not_carried(void **state)
{
    (void)state;
    const sampled samples[] = { { .shots = 0, .reward = 1 }, { .shots = 0 }, { .shots = 1, .reward = 0.5 } };
    desk *d = open_desk(samples, 3);
    assert_carried(d, 1);
    assert_ptr_equal(after(d)->scores[3], d->played->scores[2]);
    close_desk(d);
}

/* After a hint or a template an answer has another prompt; a failed episode has no end. Neither is taught from one of
 * them, nor does one of them learn. */
static void hinted_templated_and_failed_episodes_stay_out_of_it(void **state)
{
    (void)state;
    const sampled odd[] = { { .hint_len = 2 }, { .template_id = 1 }, { .failed = FAIL_TOOL_LOST } };
    for (int i = 0; i < 3; i++) {
        sampled teacher = odd[i];
        teacher.shots = 2, teacher.reward = 1;
        const sampled taught_by_it[] = { { .shots = 0 }, teacher };
        const sampled learns[] = { odd[i], { .shots = 1, .reward = 1 } };
        desk *d = open_desk(taught_by_it, 2);
        assert_carried(d, 0);
        close_desk(d);
        d = open_desk(learns, 2);
        assert_carried(d, 0);
        close_desk(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_is_copied_after_the_prompt_with_the_fewest_shots),
        cmocka_unit_test(where_the_fewest_shots_suffice_nothing_is_carried),
        cmocka_unit_test(what_was_shown_as_little_is_not_carried),
        cmocka_unit_test(hinted_templated_and_failed_episodes_stay_out_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
