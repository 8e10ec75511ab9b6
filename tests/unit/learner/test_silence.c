/* SPDX-License-Identifier: MIT */
/* Steps without a signal: what a trainer may not do when there is nothing to learn. */
#include "learner/trainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/moa.h"
#include "learner/methods/reference.h"
#include "defaults.h"
#include "recorded.h"

/* ---- an objective of weight 0 ---- */

static group *judged_group(const tiny *t)
{
    error err = { 0 };
    group *g = two_objectives(t, 6);
    for (uint32_t i = 0; i < g->n; i++) test_ok(score_set(g->scores[i], "watched", i * i % 5, &err), &err);
    return g;
}

static void an_objective_of_weight_0_is_watched_and_no_more(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    tiny t = tiny_open(3);
    group *g = judged_group(&t);
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    arena *a = arena_new(1 << 16);
    const advantage_config c = advantage_default(objective_weighing(&set));
    const advantage_table *alone = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    test_ok(objective_add(&set, "watched", 0, &err), &err);
    set.items[1].min = 100; /* no constraint either */
    test_ok(score_set(g->scores[1], "accuracy", NAN, &err), &err);
    const advantage_table *gone = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    assert_false(gone->counts[1]); /* what only it has scored does not count */
    test_ok(score_set(g->scores[1], "accuracy", 0, &err), &err);
    const advantage_config with = advantage_default(objective_weighing(&set));
    const advantage_table *both = advantage_compute(a, &with, &set, (const group *const *)&g, 1, NULL);
    assert_memory_equal(alone->scalar, both->scalar, sizeof(double) * 6);
    for (int i = 0; i < 6; i++) assert_true(both->by_objective[6 + i] == 0);
    test_near(both->stats[1].mean, (0 + 1 + 4 + 4 + 1 + 0) / 6.0, 1e-12, "its mean is still there to see");
    assert_true(!both->stats[1].unmet);
    assert_int_equal(objective_add(&set, "less", -0.5, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "-0.5"));
    arena_free(a);
    group_free(g);
    tiny_close(&t);
}

/* Weights after two steps; `watched`: with one more objective, of weight 0. */
static uint64_t trained_hash(trainer_config c, bool watched)
{
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    if (watched) test_ok(objective_add(&c.objectives, "watched", 0, &err), &err);
    trainer *tr = trainer_new(&c, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        group *g = judged_group(&t);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        if (watched && c.moo.over == MOO_OVER_REWARDS && !c.moo.by_token)
            test_near(metrics_get(m, "moo/weight/watched", -1), 0, 0, "its weight");
        group_free(g);
    }
    const uint64_t hash = t.w->hash;
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
    return hash;
}

static void weight_0_has_no_say_in_any_method(void **state)
{
    (void)state;
    for (int method = 0; method < N_MOO_METHODS; method++) {
        trainer_config c = two_config(1e-3);
        c.moo.over = MOO_OVER_REWARDS;
        c.moo.bucket.moo = moo_default((moo_method)method);
        c.moo.bucket.moo.natural_order = true; /* a drawn one is drawn of as many as there are */
        c.moo.bucket.gate = 0.1;
        if (trained_hash(c, true) != trained_hash(c, false)) fail_msg("%s", moo_method_name((moo_method)method));
        c.moo.by_token = true;
        if (trained_hash(c, true) != trained_hash(c, false))
            fail_msg("%s by token", moo_method_name((moo_method)method));
    }
    trainer_config c = two_config(1e-3);
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 4, .beta = 10, .eliminate = true });
    assert_true(trained_hash(c, true) == trained_hash(c, false));
}

/* ---- the trainer ---- */

typedef struct snapshot {
    uint64_t weights, moments[2];
    int64_t step;
    char *memory; /* as a checkpoint would have it */
    size_t memory_len;
} snapshot;

static uint64_t hash_of(const float *x, int64_t n)
{
    uint64_t h = UINT64_C(1469598103934665603);
    for (int64_t i = 0; i < n * (int64_t)sizeof *x; i++)
        h = (h ^ ((const unsigned char *)x)[i]) * UINT64_C(1099511628211);
    return h;
}

static snapshot snapshot_of(const tiny *t, trainer *tr)
{
    const optimizer *o = trainer_optimizer(tr);
    snapshot s = { .weights = hash_of(t->w->data, t->table->total), .step = o->step };
    s.moments[0] = hash_of(o->m, o->total), s.moments[1] = hash_of(o->v, o->total);
    saved_state *memory = state_new();
    trainer_state(tr, memory);
    s.memory = state_bytes(memory, &s.memory_len);
    state_free(memory);
    return s;
}

static void assert_unchanged(const char *what, const tiny *t, trainer *tr, snapshot before)
{
    snapshot now = snapshot_of(t, tr);
    if (now.weights != before.weights) fail_msg("%s: the weights moved", what);
    if (memcmp(now.moments, before.moments, sizeof now.moments) != 0) fail_msg("%s: the moments moved", what);
    if (now.step != before.step) fail_msg("%s: an update was counted", what);
    if (now.memory_len != before.memory_len || memcmp(now.memory, before.memory, now.memory_len) != 0)
        fail_msg("%s: what is remembered has changed", what);
    free(now.memory);
    free(before.memory);
}

/* As another kernel would have it: a bit of the last place. */
static void nudge_logprobs(trajectory *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->mask[i]) t->logprob[i] = nextafterf(t->logprob[i], -1000);
}

/* Two groups of equal rewards, each of another kind. */
static void silent_step(trainer *tr, const tiny *t, bool two, metrics *m)
{
    error err = { 0 };
    group *g[2] = { equal_group(5, 0.1), equal_group(4, 1) };
    for (int k = 0; k < 2; k++) {
        if (two) add_rewards(g[k], "brevity", 0.7);
        for (uint32_t i = 0; i < g[k]->n; i++) {
            free(g[k]->episodes[i]->data_group);
            g[k]->episodes[i]->data_group = strdup(i % 2 ? "de" : "fr"); /* fr: not seen before */
            record_true_logprobs(t, g[k]->episodes[i]);
            if (i % 2) nudge_logprobs(&g[k]->episodes[i]->tokens);
        }
    }
    test_ok(trainer_step(tr, (const group *const *)g, 2, m, &err), &err);
    group_free(g[0]);
    group_free(g[1]);
}

/* Two steps with a signal, so that there is momentum, then three without. */
static void check_silence(const char *what, const trainer_config *c)
{
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer *tr = trainer_new(c, t.w, &err);
    if (!tr) fail_msg("%s: %s", what, err.text);
    const bool two = c->objectives.n > 1;
    for (int i = 0; i < 2; i++) {
        group *g = two ? two_objectives(&t, 6) : recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true(metrics_get(m, "training/signal", -1) == 1 && metrics_get(m, "training/tokens_trained", 0) > 0);
        group_free(g);
    }
    for (int i = 0; i < 3; i++) {
        const snapshot before = snapshot_of(&t, tr);
        silent_step(tr, &t, two, m);
        assert_unchanged(what, &t, tr, before);
        assert_int_equal(trainer_version(tr), 3 + i);
        test_near(metrics_get(m, "training/signal", -1), 0, 0, what);
        test_near(metrics_get(m, "training/tokens_trained", -1), 0, 0, what);
        test_near(metrics_get(m, "training/episodes_trained", -1), 0, 0, what);
    }
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

static void a_step_without_signal_changes_nothing_but_the_version(void **state)
{
    (void)state;
    trainer_config c = config_of(1e-2);
    c.optim.weight_decay = 0.1, c.epochs = 3;
    check_silence("GRPO, decay, three epochs", &c);
    c.advantage = (advantage_config){ .mean = MEAN_LENGTH, .std = STD_BATCH };
    check_silence("batch spread", &c);
    c = config_of(1e-2);
    c.lora = (lora_config){ .rank = 4, .alpha = 8, .targets = lora_target("q_proj") };
    check_silence("LoRA", &c);
    c = config_of(1e-2);
    SETTINGS_SET(&c, ISOLATION, (isolation_config){ .freeze = 0.3, .protect = 0.2, .every = 1, .keep = 0.9 });
    check_silence("isolation", &c);
    c = config_of(1e-2);
    SETTINGS_SET(&c, ERA, (era_config){ .k = 2, .low = 5, .high = 6 });
    check_silence("ERA", &c);
    c = config_of(1e-2);
    c.loss.kind = LOSS_NFT, c.advantage.drop_dead = true;
    check_silence("NFT, filtered", &c);
    c.loss.kind = LOSS_KIMI, c.loss.correction = CORRECTION_NONE, c.epochs = 2, c.advantage.drop_dead = false;
    check_silence("Kimi", &c);
    c = config_of(1e-2);
    c.loss.kl = 0.5, c.reference_every = 1; /* the reference is the policy: the KL has no gradient either */
    check_silence("a KL to itself", &c);
    c.loss.kl = 0;
    SETTINGS_SET(&c, REWARD_KL, (reward_kl_config){ 0.5 });
    check_silence("a KL to itself in the reward", &c);
    c.loss.kl = 0.5;
    SETTINGS_SET(&c, REWARD_KL, (reward_kl_config){ 0 });
    c.advantage.drop_dead = true, c.reference_every = 0;
    check_silence("a KL, and groups that are left out", &c);
    c = two_config(1e-2);
    c.advantage.whiten = true;
    check_silence("GDPO", &c);
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 4, .beta = 10, .eliminate = true });
    check_silence("trends", &c);
}

static void no_method_of_reconciling_moves_by_itself(void **state)
{
    (void)state;
    for (int method = 0; method < N_MOO_METHODS; method++)
        for (int over = MOO_OVER_REWARDS; over <= MOO_OVER_BOTH; over++) {
            trainer_config c = two_config(1e-2);
            c.moo.over = (moo_over)over;
            c.moo.bucket.moo = moo_default((moo_method)method);
            c.moo.bucket.gate = 0.1, c.moo.bucket.refresh = 2;
            c.moo.n_groups = over == MOO_OVER_REWARDS ? 0 : 3;
            for (int k = 0; k < 3; k++)
                snprintf(c.moo.groups[k], GROUP_NAME, "%s", (const char *[]){ "en", "de", "fr" }[k]);
            check_silence(moo_method_name((moo_method)method), &c);
        }
}

/* A refreshed solution for those who had a gradient is none for one who comes back. */
static void who_was_silent_when_weights_were_solved_is_heard_again(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = two_config(1e-3);
    c.moo.over = MOO_OVER_REWARDS;
    c.moo.bucket.moo = moo_default(MOO_MGDA), c.moo.bucket.refresh = 100;
    trainer *tr = trainer_new(&c, t.w, &err);
    for (int i = 0; i < 2; i++) {
        group *g = two_objectives(&t, 6);
        if (i == 0) add_rewards(g, "brevity", 0.7);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true((metrics_get(m, "moo/weight/brevity", -1) > 0) == (i == 1));
        group_free(g);
    }
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

/* ---- the KL ---- */

/* The distance between w and `base` over what the group's episodes say. */
static double distance(const tiny *w, const tiny *base, const group *g)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->n; i++)
        sum += fabs(total_logprob(w, g->episodes[i]) - total_logprob(base, g->episodes[i]));
    return sum;
}

static void silent_pulls(const trainer_config *c, trainer *tr, const tiny *t, const tiny *base, metrics *m)
{
    error err = { 0 };
    group *g = equal_group(6, 0.1);
    if (c->objectives.n > 1) add_rewards(g, "brevity", 0.7);
    const double before = distance(t, base, g);
    for (int i = 0; i < 15; i++) {
        const snapshot was = snapshot_of(t, tr);
        for (uint32_t k = 0; k < 6; k++) record_true_logprobs(t, g->episodes[k]);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true(metrics_get(m, "actor/grad_norm", 0) > 0 && metrics_get(m, "training/signal", -1) == 0);
        test_near(metrics_get(m, "training/tokens_trained", -1), 24, 0, "every token has a KL");
        const uint64_t now = hash_of(t->w->data, t->table->total);
        assert_true(now != was.weights);
        assert_unchanged("a KL alone", t, tr,
                         (snapshot){ now, { was.moments[0], was.moments[1] }, was.step, was.memory, was.memory_len });
    }
    if (!(distance(t, base, g) < 0.9 * before)) fail_msg("from %g to %g", before, distance(t, base, g));
    group_free(g);
}

/* Silent steps with a KL are steps towards the reference and nothing else: not by the momentum of the rewards before
 * them, which would drive the policy on; and they leave no trace but the weights. */
static void without_a_signal_the_kl_alone_moves_the_policy(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        tiny t = tiny_open(3), base = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        const bool many = way == 1;
        trainer_config c = many ? two_config(1e-3) : config_of(1e-3);
        c.loss.kl = 5, c.loss.kl_kind = KL_K2; /* half the squared distance of each token */
        if (many) c.moo.over = MOO_OVER_REWARDS, c.moo.bucket.moo = moo_default(MOO_GRADVAC), c.moo.bucket.gate = 0.1;
        if (way == 2) c.lora = (lora_config){ .rank = 4, .alpha = 8, .targets = lora_target("q_proj") };
        if (way == 3) SETTINGS_SET(&c, ISOLATION, (isolation_config){ .protect = 0.2, .every = 1, .keep = 0.9 });
        c.optim.weight_decay = 0.1;
        trainer *tr = trainer_new(&c, t.w, &err);
        for (int i = 0; i < 5; i++) {
            group *g = many ? two_objectives(&t, 6) : recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
            test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
            group_free(g);
        }
        silent_pulls(&c, tr, &t, &base, m);
        trainer_free(tr);
        metrics_free(m);
        tiny_close(&t), tiny_close(&base);
    }
}

/* Of a step's loss everything but the KL of its dead group is what it is without that group: the gradient's part of the
 * dead group is the KL's, whatever its rewards are. */
static void dead_groups_beside_live_ones_are_held_by_the_kl(void **state)
{
    (void)state;
    double norm[2], tokens[2];
    for (int filtered = 0; filtered < 2; filtered++) {
        tiny t = tiny_open(3), moved = tiny_open(4);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-3);
        c.loss.kind = LOSS_NFT; /* for which an advantage of 0 is no wrong answer */
        c.loss.kl = 1e3, c.advantage.drop_dead = filtered;
        trainer *tr = trainer_new(&c, t.w, &err);
        for (int64_t i = 0; i < t.table->total; i++) t.w->data[i] = 0.9f * t.w->data[i] + 0.1f * moved.w->data[i];
        group *g[2] = { made_group("accuracy", (double[]){ 1, 0 }, 2), equal_group(6, 0.1) };
        for (uint32_t i = 0; i < 2; i++) record_true_logprobs(&t, g[0]->episodes[i]);
        for (uint32_t i = 0; i < 6; i++) record_true_logprobs(&t, g[1]->episodes[i]);
        test_ok(trainer_step(tr, (const group *const *)g, 2, m, &err), &err);
        norm[filtered] = metrics_get(m, "actor/grad_norm", -1);
        tokens[filtered] = metrics_get(m, "training/tokens_trained", -1);
        trainer_free(tr);
        group_free(g[0]), group_free(g[1]);
        metrics_free(m);
        tiny_close(&t), tiny_close(&moved);
    }
    test_near(tokens[0], 32, 0, "all tokens that count");
    test_near(tokens[1], 8, 0, "those of the live group");
    assert_true(norm[0] > 0 && norm[1] > 0 && fabs(norm[0] / norm[1] - 1) > 0.05);
}

/* ---- numbers that are not finite ---- */

static void a_moment_that_is_not_finite_stops_the_step_by_name(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        const trainer_config c = config_of(1e-3);
        trainer *tr = trainer_new(&c, t.w, &err);
        const param *p = param_find(t.table, PARAM_DOWN, 1);
        float *at = which == 0 ? trainer_optimizer(tr)->m : which == 1 ? trainer_optimizer(tr)->v : t.w->data;
        test_ok(trainer_check(tr, &err), &err);
        at[p->offset + 7] = which == 1 ? INFINITY : NAN;
        assert_int_equal(trainer_check(tr, &err), ERR_STATE);
        assert_non_null(strstr(err.text, "layer.1 (model.layers.1.mlp.down_proj.weight)"));
        group *g = recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
        err = (error){ 0 };
        assert_int_equal(trainer_step(tr, (const group *const *)&g, 1, m, &err), ERR_STATE);
        assert_non_null(strstr(err.text, "step 1: "));
        assert_int_equal(trainer_version(tr), 0); /* not sealed: it must not be taken for a version */
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
}

static void a_logprob_that_is_none_is_refused_with_its_sample(void **state)
{
    (void)state;
    static const float ODD[] = { NAN, INFINITY, -INFINITY, 0.5f };
    for (int i = 0; i < 4; i++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        const trainer_config c = config_of(1e-3);
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = recorded_group(&t, (double[]){ 1, 0, 0.5, 0 }, 4);
        g->episodes[2]->tokens.logprob[4] = ODD[i];
        assert_int_equal(trainer_step(tr, (const group *const *)&g, 1, m, &err), ERR_PARSE);
        assert_non_null(strstr(err.text, "step 1: sample 2 of row 1: token 4: behaviour logprob"));
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
}

static void a_model_with_a_nan_is_refused(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    const trainer_config c = config_of(1e-3);
    t.w->data[param_find(t.table, PARAM_EMBED, -1)->offset] = NAN;
    assert_null(trainer_new(&c, t.w, &err));
    assert_non_null(strstr(err.text, "embed (model.embed_tokens.weight)"));
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_objective_of_weight_0_is_watched_and_no_more),
        cmocka_unit_test(weight_0_has_no_say_in_any_method),
        cmocka_unit_test(a_step_without_signal_changes_nothing_but_the_version),
        cmocka_unit_test(no_method_of_reconciling_moves_by_itself),
        cmocka_unit_test(who_was_silent_when_weights_were_solved_is_heard_again),
        cmocka_unit_test(without_a_signal_the_kl_alone_moves_the_policy),
        cmocka_unit_test(dead_groups_beside_live_ones_are_held_by_the_kl),
        cmocka_unit_test(a_moment_that_is_not_finite_stops_the_step_by_name),
        cmocka_unit_test(a_logprob_that_is_none_is_refused_with_its_sample),
        cmocka_unit_test(a_model_with_a_nan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
