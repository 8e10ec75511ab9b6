/* SPDX-License-Identifier: MIT */
#include "learner/trainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "learner/methods/reference.h"
#include "recorded.h"

static void a_step_makes_the_better_episode_likelier(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    const trainer_config c = config_of(1e-3);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    const double good = total_logprob(&t, g->episodes[0]), bad = total_logprob(&t, g->episodes[1]);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    assert_true(total_logprob(&t, g->episodes[0]) > good);
    assert_true(total_logprob(&t, g->episodes[1]) < bad);
    assert_int_equal(trainer_version(tr), 1);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
}

static void with_an_adapter_only_its_matrices_change(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    c.lora = (lora_config){ .rank = 4, .alpha = 8, .targets = lora_target("q_proj") | lora_target("down_proj") };
    const size_t bytes = sizeof(float) * (size_t)t.table->total;
    float *before = malloc(bytes);
    memcpy(before, t.w->data, bytes);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    const double good = total_logprob(&t, g->episodes[0]);
    for (int i = 0; i < 2; i++) test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    assert_true(total_logprob(&t, g->episodes[0]) > good);
    for (int i = 0; i < t.table->n; i++) {
        const param *p = &t.table->items[i];
        const bool same = memcmp(t.w->data + p->offset, before + p->offset, sizeof(float) * (size_t)p->count) == 0;
        assert_true(same == (p->kind != PARAM_Q && p->kind != PARAM_DOWN));
    }
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    free(before);
    tiny_close(&t);
}

static void on_policy_the_ratio_is_exactly_one(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    const trainer_config c = config_of(1e-3);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    assert_true(metrics_get(m, "training/rollout_probs_diff_max", -1) == 0);
    assert_true(metrics_get(m, "training/rollout_logprobs_differing", -1) == 0);
    assert_true(metrics_get(m, "actor/ratio/max", -1) == 1);
    assert_true(metrics_get(m, "actor/ppo_kl", -1) == 0);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
}

/* Later passes over a batch are clipped against the policy of the first: pi_old stays what it was. What the second pass
 * sees is the policy that the first has made. */
static void epochs_are_updates_of_one_version(void **state)
{
    (void)state;
    double distance[2] = { 0 };
    for (int epochs = 1; epochs <= 2; epochs++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-2);
        c.epochs = epochs;
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
        for (int i = 0; i < 4; i++) distance[0] += epochs == 1 ? total_logprob(&t, g->episodes[i]) / 16 : 0;
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        for (int i = 0; i < 4; i++) distance[0] -= epochs == 1 ? total_logprob(&t, g->episodes[i]) / 16 : 0;
        distance[1] = metrics_get(m, "actor/ppo_kl", 0);
        assert_int_equal(trainer_version(tr), 1);
        assert_int_equal(trainer_optimizer(tr)->step, epochs);
        if (epochs == 2) assert_true(metrics_get(m, "actor/ratio/max", -1) > 1.01);
        test_near(metrics_get(m, "training/importance_weight/mean", -1), 1, 0, "pi_old sampled: no correction");
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    assert_true(distance[0] != 0);
    test_near(distance[1], distance[0], 1e-6, "the second pass is about the policy after the first");
}

/* A silent step counts, and a step's epochs are one step; a longer run continues along the longer curve. */
static void the_rate_is_that_of_the_step(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    trainer_config c = config_of(1e-3);
    c.epochs = 2, c.optim.schedule = LR_LINEAR, c.optim.min_lr_ratio = 0.5, c.optim.total_steps = 4;
    trainer *tr = trainer_new(&c, t.w, &err);
    for (int step = 1; step <= 4; step++) {
        const bool silent = step == 2;
        metrics *m = metrics_new();
        if (step == 4) {
            trainer_free(tr); /* resumed with more steps */
            c.optim.total_steps = 8;
            tr = trainer_new(&c, t.w, &err);
        }
        group *g = recorded_group(&t, (double[]){ 1, silent }, 2);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        const double expected = 1e-3 * (0.5 + 0.5 * (1 - step / (double)c.optim.total_steps));
        test_near(metrics_get(m, "actor/lr", -1), silent ? -1 : expected, 1e-12, "rate");
        group_free(g);
        metrics_free(m);
    }
    trainer_free(tr);
    tiny_close(&t);
}

/* KL in the reward: after a step towards one episode, and without any other reward, that episode is what costs most. */
static void distance_from_the_reference_comes_off_the_reward(void **state)
{
    (void)state;
    tiny t = tiny_open(3), base = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    SETTINGS_SET(&c, REWARD_KL, (reward_kl_config){ 0.5 });
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    test_near(metrics_get(m, "actor/reward_kl_penalty", -1), 0, 0, "at the reference itself");
    group_free(g);
    g = recorded_group(&t, (double[]){ 0, 0, 0, 0 }, 4);
    double want = 0;
    for (int i = 0; i < 4; i++)
        want += (total_logprob(&t, g->episodes[i]) - total_logprob(&base, g->episodes[i])) * 0.5 / 4;
    const double before = total_logprob(&t, g->episodes[0]);
    assert_true(before > total_logprob(&base, g->episodes[0]));
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    test_near(metrics_get(m, "actor/reward_kl_penalty", -1), want, 1e-5, "penalty");
    assert_true(total_logprob(&t, g->episodes[0]) < before);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
    tiny_close(&base);
}

static void a_moving_reference_is_the_policy_of_some_steps_ago(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    c.loss.kl = 0.01, c.reference_every = 2;
    trainer *tr = trainer_new(&c, t.w, &err);
    double kl[4];
    for (int i = 0; i < 4; i++) {
        group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        kl[i] = metrics_get(m, "actor/kl_loss", -1);
        group_free(g);
    }
    assert_true(kl[0] == 0 && kl[1] > 0 && kl[2] == 0 && kl[3] > 0);
    assert_true(trainer_moving_reference(tr)->hash == t.w->hash); /* version 4 has just become it */
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

/* What a tool printed is context, never a target: changing the reward's sign or size must not touch it, and a
 * trajectory whose mask is empty has no gradient at all. */
static void observations_have_no_gradient(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    const trainer_config c = config_of(1e-3);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = group_new(task_id(false, 1, 0), 0, 1, 2);
    for (uint32_t i = 0; i < 2; i++)
        test_ok(group_add(g, made_episode(i, 5, 0, 5, 0), made_score(i, "accuracy", i), &err), &err);
    const uint64_t hash = t.w->hash;
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    assert_true(weights_hash(t.w) == hash);
    assert_int_equal(trainer_version(tr), 1);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
}

static void a_step_without_signal_changes_only_the_version(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    const trainer_config c = config_of(1e-3);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *learns = recorded_group(&t, (double[]){ 1, 0 }, 2);
    test_ok(trainer_step(tr, (const group *const *)&learns, 1, m, &err), &err);
    const uint64_t hash = t.w->hash;
    group *silent = recorded_group(&t, (double[]){ 1, 1 }, 2);
    test_ok(trainer_step(tr, (const group *const *)&silent, 1, m, &err), &err);
    assert_true(t.w->hash == hash);
    assert_int_equal(trainer_version(tr), 2);
    assert_int_equal(trainer_optimizer(tr)->step, 1);
    trainer_free(tr);
    group_free(learns);
    group_free(silent);
    metrics_free(m);
    tiny_close(&t);
}

/* The KL term pulls back to where training began: with no reward to earn it undoes a move. */
static void the_reference_holds_the_policy_back(void **state)
{
    (void)state;
    double moved[2];
    for (int variant = 0; variant < 2; variant++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(2e-3);
        c.loss.kl = variant ? 10.0 : 0.0;
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
        const double before = total_logprob(&t, g->episodes[0]);
        for (int i = 0; i < 15; i++) test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        moved[variant] = total_logprob(&t, g->episodes[0]) - before;
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    assert_true(moved[1] < 0.8 * moved[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_makes_the_better_episode_likelier),
        cmocka_unit_test(with_an_adapter_only_its_matrices_change),
        cmocka_unit_test(on_policy_the_ratio_is_exactly_one),
        cmocka_unit_test(epochs_are_updates_of_one_version),
        cmocka_unit_test(the_rate_is_that_of_the_step),
        cmocka_unit_test(distance_from_the_reference_comes_off_the_reward),
        cmocka_unit_test(a_moving_reference_is_the_policy_of_some_steps_ago),
        cmocka_unit_test(observations_have_no_gradient),
        cmocka_unit_test(a_step_without_signal_changes_only_the_version),
        cmocka_unit_test(the_reference_holds_the_policy_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
