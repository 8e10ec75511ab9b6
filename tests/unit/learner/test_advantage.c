/* SPDX-License-Identifier: MIT */
#include "learner/advantage.h"

#include <string.h>

#include "base/rng.h"
#include "defaults.h"
#include "episodes.h"
#include "tests/support/support.h"

static objective_set objectives_of(int n, const char *const *names, const double *by)
{
    objective_set set = { 0 };
    error err;
    for (int i = 0; i < n; i++) assert_int_equal(objective_add(&set, names[i], by[i], &err), OK);
    return set;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (fabs(value - expected) > tolerance) fail_msg("expected %.9g, found %.9g", expected, value);
}

/* The published fixture (DAPO's equation 4 with unbiased std): three right of eight. */
static void grpo_divides_by_the_unbiased_spread(void **state)
{
    (void)state;
    const double rewards[8] = { 1, 0, 0, 1, 1, 0, 0, 0 };
    objective_set set = objectives_of(1, (const char *[]){ "accuracy" }, (double[]){ 1 });
    group *g = made_group("accuracy", rewards, 8);
    arena *a = arena_new(1 << 16);
    const advantage_config config = advantage_default(1);
    const advantage_table *t = advantage_compute(a, &config, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 8; i++) assert_near(t->scalar[i], rewards[i] > 0 ? 1.2076 : -0.7246, 5e-5);
    arena_free(a);
    group_free(g);
}

static void leave_one_out_is_a_scaled_difference_from_the_mean(void **state)
{
    (void)state;
    const double rewards[5] = { 0.3, -1, 0.8, 0.1, 0.5 };
    objective_set set = objectives_of(1, (const char *[]){ "r" }, (double[]){ 1 });
    group *g = made_group("r", rewards, 5);
    arena *a = arena_new(1 << 16);
    const advantage_config loo = { .mean = MEAN_LOO, .std = STD_NONE },
                           centred = { .mean = MEAN_GROUP, .std = STD_NONE };
    const advantage_table *rloo = advantage_compute(a, &loo, &set, (const group *const *)&g, 1, NULL);
    const advantage_table *dr_grpo = advantage_compute(a, &centred, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 5; i++) assert_near(rloo->scalar[i], dr_grpo->scalar[i] * 5 / 4, 1e-12);
    arena_free(a);
    group_free(g);
}

/* GDPO's point: summed rewards can't tell {(0,0),(1,0)} from {(0,0),(1,1)}; normalising each reward first can. */
static void rewards_are_normalised_one_by_one(void **state)
{
    (void)state;
    objective_set set = objectives_of(2, (const char *[]){ "a", "b" }, (double[]){ 1, 1 });
    const double second[2] = { 0, 1 };
    double best[2];
    for (int variant = 0; variant < 2; variant++) {
        error err;
        group *g = made_group("a", (double[]){ 0, 1 }, 2);
        assert_int_equal(score_set(g->scores[0], "b", 0, &err), OK);
        assert_int_equal(score_set(g->scores[1], "b", second[variant], &err), OK);
        arena *a = arena_new(1 << 16);
        advantage_config config = advantage_default(2);
        config.whiten = false;
        best[variant] = advantage_compute(a, &config, &set, (const group *const *)&g, 1, NULL)->scalar[1];
        arena_free(a);
        group_free(g);
    }
    assert_near(best[0], 0.7071, 2e-4);
    assert_near(best[1], 1.4142, 4e-4);
}

static void a_missing_score_is_masked_not_zero(void **state)
{
    (void)state;
    const double with_hole[4] = { 1, NAN, 0, 1 }, without[3] = { 1, 0, 1 };
    objective_set set = objectives_of(1, (const char *[]){ "accuracy" }, (double[]){ 1 });
    group *holed = made_group("accuracy", with_hole, 4), *whole = made_group("accuracy", without, 3);
    arena *a = arena_new(1 << 16);
    const advantage_config config = advantage_default(1);
    const advantage_table *t = advantage_compute(a, &config, &set, (const group *const *)&holed, 1, NULL);
    const advantage_table *u = advantage_compute(a, &config, &set, (const group *const *)&whole, 1, NULL);
    assert_false(t->counts[1]);
    assert_near(t->scalar[1], 0, 0);
    assert_near(t->scalar[0], u->scalar[0], 1e-12);
    assert_near(t->scalar[2], u->scalar[1], 1e-12);
    assert_int_equal(t->stats[0].missing, 1);
    arena_free(a);
    group_free(holed);
    group_free(whole);
}

static void equal_rewards_teach_nothing(void **state)
{
    (void)state;
    const double rewards[4] = { 1, 1, 1, 1 };
    objective_set set = objectives_of(1, (const char *[]){ "accuracy" }, (double[]){ 1 });
    group *g = made_group("accuracy", rewards, 4);
    arena *a = arena_new(1 << 16);
    const advantage_config config = advantage_default(1);
    const advantage_table *t = advantage_compute(a, &config, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 4; i++) assert_near(t->scalar[i], 0, 0);
    assert_near(t->stats[0].dead_groups, 1, 0);
    arena_free(a);
    group_free(g);
}

/* OPO's baseline weighs episodes by their length: sum |o| r / sum |o|. */
static void opo_weighs_the_baseline_by_length(void **state)
{
    (void)state;
    objective_set set = objectives_of(1, (const char *[]){ "r" }, (double[]){ 1 });
    error err;
    group *g = group_new(task_id(false, 1, 0), 0, 1, 3);
    const int lengths[3] = { 2, 3, 5 };
    const double rewards[3] = { 1, 0, 0.5 }, mean = (2 * 1 + 5 * 0.5) / 10;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(group_add(g, made_episode(i, 3, lengths[i], 2, -1), made_score(i, "r", rewards[i]), &err), OK);
    arena *a = arena_new(1 << 16);
    const advantage_config opo = { .mean = MEAN_LENGTH, .std = STD_NONE };
    const advantage_table *t = advantage_compute(a, &opo, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 3; i++) assert_near(t->scalar[i], rewards[i] - mean, 1e-12);
    arena_free(a);
    group_free(g);
}

static void groups_without_signal_can_leave_the_denominators(void **state)
{
    (void)state;
    objective_set set = objectives_of(1, (const char *[]){ "r" }, (double[]){ 1 });
    group *g[2] = { made_group("r", (double[]){ 1, 1, 1 }, 3), made_group("r", (double[]){ 1, 0, 0 }, 3) };
    arena *a = arena_new(1 << 16);
    advantage_config c = advantage_default(1);
    c.drop_dead = true;
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)g, 2, NULL);
    for (int i = 0; i < 6; i++) {
        assert_true(t->counts[i] == (i >= 3));
        assert_near(t->success_rate[i], i < 3 ? 1 : 1.0 / 3, 1e-12);
    }
    arena_free(a);
    group_free(g[0]), group_free(g[1]);
}

/* The published fixtures: DAPO's penalty with L_max 20480 and cushion 4096, Kimi's lambda for right, right, wrong,
 * wrong. */
static void length_counts_as_published(void **state)
{
    (void)state;
    assert_near(length_shaping_overlong(16384, 20480, 4096), 0, 0);
    assert_near(length_shaping_overlong(18432, 20480, 4096), -0.5, 0);
    assert_near(length_shaping_overlong(20480, 20480, 4096), -1, 0);
    assert_near(length_shaping_overlong(30000, 20480, 4096), -1, 0);
    const length_shaping_config c = { .length_weight = 1, .length_from = 10 };
    const double length[4] = { 100, 200, 300, 400 }, lambda[4] = { .5, .166667, -.166667, -.5 };
    double early[4] = { 1, 1, 0, 0 }, reward[4] = { 1, 1, 0, 0 };
    length_shaping_group(&c, 9, 4, length, early);
    length_shaping_group(&c, 10, 4, length, reward);
    for (int i = 0; i < 4; i++) {
        assert_near(early[i], i < 2, 0);
        assert_near(reward[i] - (i < 2), lambda[i], 1e-6);
    }
}

static void an_unmet_constraint_comes_first(void **state)
{
    (void)state;
    objective_set set = objectives_of(2, (const char *[]){ "accuracy", "format" }, (double[]){ 1, 0.2 });
    error err;
    for (int met = 0; met <= 1; met++) {
        group *g = group_new(task_id(false, 1, 0), 0, 1, 4);
        for (uint32_t i = 0; i < 4; i++) {
            score *s = made_score(i, "accuracy", i < 2);
            assert_int_equal(score_set(s, "format", met || i != 3, &err), OK); /* mean 0.75 or 1 */
            assert_int_equal(group_add(g, made_episode(i, 3, 2, 0, -1), s, &err), OK);
        }
        arena *a = arena_new(1 << 16);
        set.items[1].min = 0.95;
        const advantage_config c = advantage_default(2);
        const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
        assert_true(t->stats[1].unmet == !met && !t->stats[0].unmet);
        for (int i = 0; i < 4; i++) assert_true((t->by_objective[i] == 0) == !met); /* accuracy waits */
        assert_true((t->scalar[2] == t->scalar[0]) == !met);
        assert_true((t->scalar[3] < t->scalar[2]) == !met);
        arena_free(a);
        group_free(g);
    }
}

/* Ten rewards of 0.95 have a mean of 0.9499999999999998. */
static void a_constraint_is_met_by_what_equals_it_up_to_rounding(void **state)
{
    (void)state;
    objective_set set = objectives_of(2, (const char *[]){ "accuracy", "format" }, (double[]){ 1, 0.2 });
    error err;
    for (int n = 2; n <= 40; n++) {
        group *g = group_new(task_id(false, 1, 0), 0, 1, (uint32_t)n);
        for (uint32_t i = 0; i < (uint32_t)n; i++) {
            score *s = made_score(i, "accuracy", i % 2);
            assert_int_equal(score_set(s, "format", 0.95, &err), OK);
            assert_int_equal(group_add(g, made_episode(i, 3, 2, 0, -1), s, &err), OK);
        }
        arena *a = arena_new(1 << 16);
        set.items[1].min = 0.95;
        const advantage_config c = advantage_default(2);
        const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
        if (t->stats[1].unmet || t->scalar[1] <= 0) fail_msg("%d rewards of 0.95: mean %.17g", n, t->stats[1].mean);
        arena_free(a);
        group_free(g);
    }
}

/* Four that are shown three examples, four that are shown none: what the examples do is no samples' merit or fault. */
static void samples_are_compared_with_those_that_were_shown_as_much(void **state)
{
    (void)state;
    const double apart[8] = { 1, 1, 1, 1, 0, 0, 0, 0 }, mixed[8] = { 1, 1, 1, 0, 1, 0, 0, 0 };
    objective_set set = objectives_of(1, (const char *[]){ "accuracy" }, (double[]){ 1 });
    const advantage_config config = { .mean = MEAN_GROUP, .std = STD_NONE };
    arena *a = arena_new(1 << 16);
    for (int kind = 0; kind < 2; kind++) {
        group *g = made_group("accuracy", kind ? mixed : apart, 8);
        for (int i = 0; i < 4; i++) g->episodes[i]->n_shots = 3;
        const advantage_table *t = advantage_compute(a, &config, &set, (const group *const *)&g, 1, NULL);

        /* ADHint's weight of what was helped: (1 - 0.75) / (1 - 0.25) */
        for (int i = 0; i < 8; i++) {
            const double mean = i < 4 ? 0.75 : 0.25, weight = i < 4 ? 1.0 / 3 : 1;
            assert_near(t->scalar[i], kind ? weight * (mixed[i] - mean) : 0, 1e-12);
        }
        assert_near(t->stats[0].mean, kind ? 0.25 : 0, 1e-12); /* by itself */
        group_free(g);
    }
    arena_free(a);
}

/* Four by themselves (one right), two after a hint (one right), one demonstration: by the formula of ADHint. */
static void hinted_episodes_are_compared_with_each_other(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    const double r[] = { 1, 0, 0, 0, 1, 0, 1 };
    group *g = made_group("accuracy", r, 7);
    for (int i = 4; i < 7; i++) g->episodes[i]->hint_len = 2;
    trajectory *shown = &g->episodes[6]->tokens;
    for (uint32_t i = 0; i < shown->n; i++) shown->mask[i] = 0; /* nothing of it was sampled */
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = { .mean = MEAN_GROUP, .std = STD_GROUP, .eps = 1e-6 };
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    const double sd = sqrt((2 * 4.0 / 9 + 4 * 1.0 / 9) / 5) + 1e-6;          /* of 1 0 0 0 1 0: mean 1/3 */
    const double sd_given = sqrt((3 * 16.0 / 49 + 4 * 9.0 / 49) / 6) + 1e-6; /* of 1 0 0 0 1 0 1: mean 3/7 */
    const double worth = (1 - 0.5) / (1 - 0.25);
    const double want[] = { 0.75 / sd,        -0.25 / sd,        -0.25 / sd,     -0.25 / sd,
                            0.5 / sd * worth, -0.5 / sd * worth, 0.75 / sd_given };
    for (int i = 0; i < 7; i++) test_near(t->scalar[i], want[i], 1e-9, "advantage");
    test_near(t->stats[0].mean, 0.25, 1e-12, "what the policy does by itself");
    group_free(g);
    arena_free(a);
}

/* Of answers that are right with probability p, a group of eight teaches nothing with p^8 + (1 - p)^8. */
static void groups_without_signal_are_as_many_as_chance_says(void **state)
{
    (void)state;
    enum { GROUPS = 2000, SIZE = 8 };
    objective_set set = { 0 };
    error err;
    arena *a = arena_new(1 << 20);
    objective_add(&set, "accuracy", 1, &err);
    for (int tenth = 1; tenth <= 9; tenth += 2) {
        const double p = tenth / 10.0, q = pow(p, SIZE) + pow(1 - p, SIZE);
        const advantage_config config = advantage_default(1);
        group *groups[GROUPS];
        for (int g = 0; g < GROUPS; g++) {
            double rewards[SIZE];
            for (int i = 0; i < SIZE; i++)
                rewards[i] = rng_uniform((rng_key){ 7, (uint64_t)tenth }, (uint64_t)g, (uint64_t)i) < p;
            groups[g] = made_group("accuracy", rewards, SIZE);
        }
        const advantage_table *t = advantage_compute(a, &config, &set, (const group *const *)groups, GROUPS, NULL);
        test_near(t->stats[0].dead_groups, q, 3 * sqrt(q * (1 - q) / GROUPS), "share of groups without signal");
        for (int g = 0; g < GROUPS; g++) group_free(groups[g]);
        arena_reset(a);
    }
    arena_free(a);
}

/* Three sentences of two tokens each, two bytes a token; the observation between writes nothing. */
static episode *three_sentences(uint32_t sample)
{
    episode *e = made_episode(sample, 3, 0, 0, -1);
    for (int i = 0; i < 7; i++) {
        trajectory_append_sampled(&e->tokens, 4, -1, 0, 42);
        trajectory_wrote(&e->tokens, 2);
        if (i == 3) trajectory_append(&e->tokens, TOKEN_OBSERVATION, &(int32_t){ 1 }, 1);
    }
    return e;
}

static group *judged_in_spans(const double values[2][3])
{
    error err = { 0 };
    group *g = group_new(task_id(false, 1, 0), 0, 1, 2);
    for (uint32_t i = 0; i < 2; i++) {
        score *s = made_score(i, "relevance", 0);
        for (uint32_t m = 0; m < 3; m++)
            test_ok(score_add_span(s, "relevance", 4 * m + 4 - (m == 1), values[i][m], &err), &err); /* 4, 7, 12 */
        test_ok(group_add(g, three_sentences(i), s, &err), &err);
    }
    return g;
}

/* Byte 8 ends token 3, but the second span ends at 7: that token belongs to the third. */
static void a_span_s_reward_goes_to_its_own_tokens(void **state)
{
    (void)state;
    const double values[2][3] = { { 0.3, -0.3, 0.3 }, { 0.3, 0.3, 0.3 } };
    const double sd = sqrt((5 * 0.01 + 0.25) / 5) + 1e-6; /* of five times 0.3 and one -0.3: mean 0.2 */
    const double good = 0.1 / sd, bad = -0.5 / sd;
    objective_set set = objectives_of(1, (const char *[]){ "relevance" }, (double[]){ 2 });
    arena *a = arena_new(1 << 16);
    group *g = judged_in_spans(values);
    advantage_config c = advantage_default(1);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    const double want[12] = { 0, 0, 0, good, good, bad, good, 0, good, good, 0 }; /* after the last span: nothing */
    assert_true(t->has_spans && t->scalar[0] == 0 && t->scalar[1] == 0 && t->counts[0] && t->counts[1]);
    test_near(t->stats[0].mean, 0, 0, "the episodes' values are what the script said");
    for (int i = 0; i < 11; i++) test_near(t->tokens[0][i], 2 * want[i], 1e-9, "weighed advantage of a token");
    for (int i = 0; i < 11; i++) test_near(t->tokens_by_objective[0][i], want[i], 1e-9, "advantage of a token");
    for (int i = 3; i < 9; i++) assert_true(t->tokens[1][i] > 0 || i == 7);
    trajectory *second = &g->episodes[1]->tokens; /* were it given whole, it would be in no mean */
    memset(second->mask, 0, second->n);
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    test_near(t->tokens[0][5], 2 * -0.4 / (sqrt(0.12) + 1e-6), 1e-6, "of 0.3, -0.3, 0.3: mean 0.1");
    for (uint32_t i = 0; i < second->n; i++) second->mask[i] = second->role[i] == TOKEN_POLICY;
    c.credit = CREDIT_RETURN;
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    test_near(t->tokens[0][3], 2 * (good + bad + good), 1e-9, "all that comes");
    test_near(t->tokens[0][5], 2 * (bad + good), 1e-9, "its own and the one behind");
    test_near(t->tokens[0][9], 2 * good, 1e-9, "its own");
    c.credit = CREDIT_WHOLE; /* both were worth 0 */
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    assert_true(!t->has_spans && !t->tokens && t->scalar[0] == 0);
    c.mean = MEAN_NONE, c.std = STD_NONE, c.credit = CREDIT_SPAN;
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    test_near(t->tokens[0][5], 2 * -0.3, 1e-12, "as it was said");
    arena_free(a);
    group_free(g);
}

/* Beside another objective that is one number: each is normalised by itself, and an unmet constraint comes first. */
static void spans_and_whole_answers_go_together(void **state)
{
    (void)state;
    const double values[2][3] = { { 0.3, -0.3, 0.3 }, { 0.3, 0.3, 0.3 } };
    error err = { 0 };
    objective_set set = objectives_of(2, (const char *[]){ "accuracy", "relevance" }, (double[]){ 1, 0.5 });
    arena *a = arena_new(1 << 16);
    group *g = judged_in_spans(values);
    for (uint32_t i = 0; i < 2; i++) test_ok(score_set(g->scores[i], "accuracy", i, &err), &err);
    const advantage_config c = advantage_default(2);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    assert_true(t->scalar[0] < 0 && t->scalar[1] > 0 && t->by_objective[2] == 0 && t->by_objective[3] == 0);
    assert_true(t->tokens[0][5] < 0 && t->tokens[0][3] > 0 && !t->tokens_by_objective[0] && t->tokens_by_objective[2]);
    const double own[4] = { 1, 1, 1, 0 }; /* the second episode wants nothing of relevance */
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, &(advantage_extra){ .weights = own });
    assert_true(t->tokens_by_objective[2][5] < 0 && t->tokens[0][5] < 0 && !t->tokens[1]);
    set.items[0].min = 0.9;
    t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    assert_true(t->scalar[1] > 0 && !t->tokens[0] && !t->tokens[1]);
    arena_free(a);
    group_free(g);
}

static void the_best_of_a_group_is_learned_and_nothing_else(void **state)
{
    (void)state;
    error err = { 0 };
    objective_set set = objectives_of(2, (const char *[]){ "accuracy", "brevity" }, (double[]){ 1, 0.5 });
    const double accuracy[2][4] = { { 0, 1, 1, 0 }, { 1, 1, 1, 1 } }, brevity[4] = { 1, 0.25, 0.5, NAN };
    group *g[2];
    for (int n = 0; n < 2; n++) {
        g[n] = made_group("accuracy", accuracy[n], 4);
        for (uint32_t i = 0; i < 4; i++)
            test_ok(score_set(g[n]->scores[i], "brevity", n ? 0.5 : brevity[i], &err), &err);
    }
    arena *a = arena_new(1 << 16);
    advantage_config c = advantage_default(2);
    c.mean = MEAN_BEST, c.std = STD_NONE;
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)g, 2, NULL);
    const double want[8] = { 0, 0, 1, 0, 0, 0, 0, 0 }; /* the second group is all the same */
    for (int i = 0; i < 8; i++) test_near(t->scalar[i], want[i], 0, "advantage");
    double own[16]; /* these rows want brevity alone: the first is best */
    for (int i = 0; i < 16; i++) own[i] = i % 2;
    t = advantage_compute(a, &c, &set, (const group *const *)g, 1, &(advantage_extra){ .weights = own });
    for (int i = 0; i < 4; i++) test_near(t->scalar[i], i == 0, 0, "by the row's own weights");
    test_ok(score_set(g[0]->scores[1], "brevity", 0.5, &err), &err);
    t = advantage_compute(a, &c, &set, (const group *const *)g, 1, NULL);
    for (int i = 0; i < 4; i++) test_near(t->scalar[i], i == 1 || i == 2 ? 0.5 : 0, 0, "two share it");
    arena_free(a);
    for (int n = 0; n < 2; n++) group_free(g[n]);
}

/* A word without a row would be a baseline that is not there. */
static void every_estimator_has_its_function_and_names_its_paper(void **state)
{
    (void)state;
    static const word_row MEANS[] = { ADVANTAGE_MEANS(WORDS_ROW){ 0 } };
    for (const word_row *w = MEANS; w->word; w++) {
        const estimator *e = estimator_of((advantage_mean)w->value);
        if (!e->baseline) fail_msg("%s: no function", w->word);
        if (!e->paper || strcspn(e->paper, "0123456789") == strlen(e->paper)) fail_msg("%s: no paper", w->word);
        for (const word_row *other = MEANS; other < w; other++)
            if (estimator_of((advantage_mean)other->value)->paper == e->paper) fail_msg("%s: another's", w->word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_estimator_has_its_function_and_names_its_paper),
        cmocka_unit_test(the_best_of_a_group_is_learned_and_nothing_else),
        cmocka_unit_test(a_span_s_reward_goes_to_its_own_tokens),
        cmocka_unit_test(spans_and_whole_answers_go_together),
        cmocka_unit_test(groups_without_signal_are_as_many_as_chance_says),
        cmocka_unit_test(samples_are_compared_with_those_that_were_shown_as_much),
        cmocka_unit_test(hinted_episodes_are_compared_with_each_other),
        cmocka_unit_test(an_unmet_constraint_comes_first),
        cmocka_unit_test(a_constraint_is_met_by_what_equals_it_up_to_rounding),
        cmocka_unit_test(opo_weighs_the_baseline_by_length),
        cmocka_unit_test(groups_without_signal_can_leave_the_denominators),
        cmocka_unit_test(length_counts_as_published),
        cmocka_unit_test(grpo_divides_by_the_unbiased_spread),
        cmocka_unit_test(leave_one_out_is_a_scaled_difference_from_the_mean),
        cmocka_unit_test(rewards_are_normalised_one_by_one),
        cmocka_unit_test(a_missing_score_is_masked_not_zero),
        cmocka_unit_test(equal_rewards_teach_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
