/* SPDX-License-Identifier: MIT */
/* Many objectives in the trainer: whatever way gradients are cut, their sum is one gradient. */
#include "learner/trainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "recorded.h"

/* The gradient norm of a step with this configuration, from the same start. */
static double step_norm(const trainer_config *c, bool many, float *after)
{
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer *tr = trainer_new(c, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    group *g = two_objectives(&t, 6);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    const double norm = metrics_get(m, "actor/grad_norm", -1);
    if (many) assert_true(metrics_get(m, "moo/norm_after", -1) > 0);
    memcpy(after, t.w->data, sizeof(float) * (size_t)t.table->total);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
    return norm;
}

/* The KL term is no objective: after a first step away from the reference it is added as it is, whether rewards
 * are cut by groups or not. */
static void the_kl_is_beside_rewards_and_groups(void **state)
{
    (void)state;
    double norm[3];
    for (int way = 0; way < 3; way++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = two_config(1e-2);
        c.loss.kl = way == 2 ? 0 : 3;
        c.moo.over = way == 0 ? MOO_OVER_REWARDS : MOO_OVER_BOTH;
        c.moo.n_groups = 2;
        strcpy(c.moo.groups[0], "de"), strcpy(c.moo.groups[1], "en");
        trainer *tr = trainer_new(&c, t.w, &err);
        if (!tr) fail_msg("%s", err.text);
        group *g = two_objectives(&t, 6);
        for (int i = 0; i < 2; i++) test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        norm[way] = metrics_get(m, "actor/grad_norm", -1);
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    test_near(norm[1] / norm[0], 1, 1e-3, "by reward and group, as by reward");
    assert_true(fabs(norm[2] / norm[0] - 1) > 0.01); /* without the KL it is another gradient */
}

/* "sum" over rewards, weighed, is the scalar's gradient up to the scale of its weights; over groups, the same again. */
static void a_sum_of_gradients_is_the_gradient_of_the_sum(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    float *w = malloc(sizeof(float) * (size_t)t.table->total);
    trainer_config c = two_config(1e-3);
    const double scalar = step_norm(&c, false, w);
    c.moo.over = MOO_OVER_REWARDS;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "rewards: weights 1 and 0.5 are 4/3 and 2/3 of sum");
    c.moo.by_token = true;
    test_near(step_norm(&c, false, w) / scalar, 2 / 1.5, 1e-4, "rewards, by token");
    c.moo.by_token = false;
    c.micro_tokens = 10;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "rewards, in micro-batches");
    c.moo.over = MOO_OVER_GROUPS;
    c.moo.n_groups = 2;
    strcpy(c.moo.groups[0], "de"), strcpy(c.moo.groups[1], "en");
    test_near(step_norm(&c, true, w) / scalar, 1, 1e-4, "groups, in micro-batches");
    c.micro_tokens = 0;
    test_near(step_norm(&c, true, w) / scalar, 1, 1e-4, "groups");
    c.moo.over = MOO_OVER_BOTH;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "each reward of each group");
    c.micro_tokens = 10;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "each reward of each group, in micro-batches");
    c.micro_tokens = 0;
    c.loss.kl = 0.1;
    c.moo.over = MOO_OVER_REWARDS;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "KL at the reference itself has no gradient");
    c.moo.over = MOO_OVER_BOTH;
    test_near(step_norm(&c, true, w) / scalar, 2 / 1.5, 1e-4, "nor has it by reward and group");
    free(w);
    tiny_close(&t);
}

static void a_group_that_no_key_names_stops_the_step(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = two_config(1e-3);
    c.moo.over = MOO_OVER_GROUPS;
    c.moo.n_groups = 1;
    strcpy(c.moo.groups[0], "de");
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = two_objectives(&t, 6);
    assert_int_equal(trainer_step(tr, (const group *const *)&g, 1, m, &err), ERR_STATE);
    assert_string_equal(err.text, "step 1: a row of group 'en': moo.groups does not name it");
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
}

static void micro_batches_of_any_size_give_the_same_gradient(void **state)
{
    (void)state;
    double norms[2];
    for (int variant = 0; variant < 2; variant++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-3);
        c.micro_tokens = variant ? 7 : 0;
        c.recompute = variant;
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        norms[variant] = metrics_get(m, "actor/grad_norm", -1);
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    test_near(norms[1], norms[0], 1e-5 * norms[0], "gradient norm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kl_is_beside_rewards_and_groups),
        cmocka_unit_test(a_sum_of_gradients_is_the_gradient_of_the_sum),
        cmocka_unit_test(a_group_that_no_key_names_stops_the_step),
        cmocka_unit_test(micro_batches_of_any_size_give_the_same_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
