/* SPDX-License-Identifier: MIT */
/* The literature's methods where they meet the trainer: that each reaches the step. */
#include "learner/method.h"

#include <stdio.h>
#include <stdlib.h>

#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/mixture.h"
#include "learner/methods/moa.h"
#include "recorded.h"

/* A method's own setting, by its key: methods keep their structs to themselves. */
static void set_key(trainer_config *c, const char *key, const char *text)
{
    error err = { 0 };
    for (int i = 0; METHODS[i]; i++)
        for (const option *o = METHODS[i]->options ? METHODS[i]->options->rows : NULL; o && o->key; o++)
            if (strcmp(o->key, key) == 0) {
                test_ok(option_set_text(o, c, text, &err), &err);
                return;
            }
    fail_msg("no method has the key %s", key);
}

/* Three tokens of a demonstration are imitated, and ASFT's anchor keeps the rest of the distribution nearer. */
static void a_demonstration_is_imitated(void **state)
{
    (void)state;
    double nll[2][6], kl[2];
    for (int anchored = 0; anchored <= 1; anchored++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(3e-3);
        c.loss.imitation = IMITATION_ASFT, c.loss.imitation_weight = 1;
        set_key(&c, "algorithm.anchor", anchored ? "5" : "0");
        trainer *tr = trainer_new(&c, t.w, &err);
        for (int step = 0; step < 6; step++) {
            group *g = recorded_group(&t, (double[]){ 0, 0, 0, 1 }, 4);
            episode *shown = made_episode(3, 3, 0, 0, -1);
            trajectory_append(&shown->tokens, TOKEN_HINT, (const int32_t[]){ 11, 5, 23 }, 3);
            shown->hint_len = 3;
            episode_free(g->episodes[3]);
            g->episodes[3] = shown;
            test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
            nll[anchored][step] = metrics_get(m, "actor/given_nll", -1);
            assert_true(metrics_get(m, "training/tokens_given", -1) == 3);
            group_free(g);
        }
        kl[anchored] = metrics_get(m, "actor/given_kl", -1);
        trainer_free(tr);
        metrics_free(m);
        tiny_close(&t);
    }
    assert_true(nll[0][5] < nll[0][0] - 0.05);
    assert_true(kl[0] > 0 && kl[1] > 0 && kl[1] < 0.7 * kl[0]);
}

/* Four samples of one prompt: the first two are shown an example and do what the others, without it, don't. */
static group *shown_and_unshown(const tiny *t, double own_reward)
{
    error err = { 0 };
    group *g = group_new(task_id(false, 1, 0), 0, 1, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const bool shown = i < 2;
        episode *e = made_episode(i, shown ? 7 : 3, shown ? 5 : 4, 1, -1);
        e->tokens.n_prompt = shown ? 7 : 3;
        e->n_shots = shown;
        record_true_logprobs(t, e);
        test_ok(group_add(g, e, made_score(i, "accuracy", shown ? 1 : own_reward), &err), &err);
    }
    return g;
}

/* The logprob of the first sample's words after the prompt without an example. */
static double unshown_logprob(const tiny *t)
{
    episode *e = made_episode(0, 3, 5, 0, -1);
    const double sum = total_logprob(t, e);
    episode_free(e);
    return sum;
}

static void what_succeeds_with_shots_is_imitated_without(void **state)
{
    (void)state;
    double gained[2];
    for (int carry = 0; carry <= 1; carry++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(3e-3);
        c.loss.imitation = IMITATION_SFT;
        set_key(&c, "algorithm.carry", carry ? "true" : "false");
        trainer *tr = trainer_new(&c, t.w, &err);
        const double before = unshown_logprob(&t);
        for (int step = 0; step < 6; step++) {
            group *g = shown_and_unshown(&t, 0);
            test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
            assert_true(g->n == 4); /* what is added is the trainer's own */
            group_free(g);
        }
        gained[carry] = unshown_logprob(&t) - before;
        assert_true(metrics_get(m, "training/episodes_carried", 0) == 2 * carry);
        assert_true(metrics_get(m, "training/tokens_given", 0) == 10 * carry);
        trainer_free(tr);
        metrics_free(m);
        tiny_close(&t);
    }
    assert_true(gained[0] == 0); /* samples that were shown as much are all worth the same: nothing to learn */
    assert_true(gained[1] > 0.5);
}

static void where_all_succeed_without_shots_nothing_is_carried(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(3e-3);
    c.loss.imitation = IMITATION_SFT;
    set_key(&c, "algorithm.carry", "true");
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = shown_and_unshown(&t, 1);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    assert_true(metrics_get(m, "training/episodes_carried", -1) == 0);
    group_free(g);
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

/* A group of four, the last of them a demonstration of three tokens. */
static group *with_demonstration(const tiny *t)
{
    group *g = recorded_group(t, (double[]){ 1, 0, 0, 1 }, 4);
    episode *shown = made_episode(3, 3, 0, 0, -1);
    trajectory_append(&shown->tokens, TOKEN_HINT, (const int32_t[]){ 11, 5, 23 }, 3);
    shown->hint_len = 3;
    episode_free(g->episodes[3]);
    g->episodes[3] = shown;
    return g;
}

/* What a checkpoint would hold of it. */
static double mu_remembered(trainer *tr)
{
    double mu = 0;
    saved_state *s = state_new();
    trainer_state(tr, s);
    state_rewind(s);
    state_section(s, "mixture", 1);
    state_numbers(s, "mu", &mu, 1, 0, 1);
    state_free(s);
    return mu;
}

/* A step that measures the mixture trains as one that doesn't, and what it has learned of it weighs the next. */
static void a_mixture_is_measured_on_the_way(void **state)
{
    (void)state;
    double norm[2], given_nll[2], mu[2], saved_mu = 0;
    for (int every = 1; every <= 2; every++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-3);
        c.loss.imitation = IMITATION_SFT, c.loss.imitation_weight = 1;
        SETTINGS_SET(&c, MIXTURE, (mixture_config){ .start = 0.3, .rate = 0.2, .every = every });
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = with_demonstration(&t);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true(metrics_get(m, "actor/mixture", -1) == 0.3);
        assert_true((metrics_get(m, "actor/mixture_slope", 9) != 9) == (every == 1));
        norm[every - 1] = metrics_get(m, "actor/grad_norm", -1);
        if (every == 1) saved_mu = mu_remembered(tr);
        metrics_clear(m);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        mu[every - 1] = metrics_get(m, "actor/mixture", -1);
        given_nll[every - 1] = metrics_get(m, "actor/given_nll", -1);
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    test_near(norm[1] / norm[0], 1, 1e-5, "the step's gradient, measured or not");
    test_near(given_nll[1], given_nll[0], 1e-4, "what it has taught");
    assert_true(mu[0] != 0.3 && mu[0] == saved_mu && mu[1] == 0.3);
}

/* ---- what is remembered, and by whom it may be read ---- */

static trainer_config with_two_objectives(void)
{
    error err = { 0 };
    trainer_config c = config_of(1e-3);
    test_ok(objective_add(&c.objectives, "brevity", 0.5, &err), &err);
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 4, .beta = 10 });
    SETTINGS_SET(&c, ISOLATION, (isolation_config){ .freeze = 0.3, .every = 2, .keep = 0.9 });
    strcpy(c.moo.groups[0], "de"), strcpy(c.moo.groups[1], "it"), c.moo.n_groups = 2;
    return c;
}

/* Loads what a trainer of two objectives, MOA and isolation remembers into one of `config`: OK, or the sentence. */
static int read_by(const char *bytes, size_t len, const trainer_config *config, error *err)
{
    tiny t = tiny_open(3);
    trainer *reader = trainer_new(config, t.w, err);
    if (!reader) fail_msg("%s", err->text);
    saved_state *s = state_parse(bytes, len, "memory.state", err);
    trainer_state(reader, s);
    const int rc = state_end(s, err);
    state_free(s);
    trainer_free(reader);
    tiny_close(&t);
    return rc;
}

/* Numbers of equal count are not enough: whose they are must be the same, too. */
static void memory_is_read_by_its_own_kind_of_trainer_alone(void **state)
{
    (void)state;
    error err = { 0 };
    size_t len;
    tiny t = tiny_open(3);
    const trainer_config own = with_two_objectives();
    trainer *writer = trainer_new(&own, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    metrics *m = metrics_new();
    for (int i = 0; i < 3; i++) test_ok(trainer_step(writer, (const group *const *)&g, 1, m, &err), &err);
    saved_state *s = state_new();
    trainer_state(writer, s);
    char *bytes = state_bytes(s, &len);
    test_ok(read_by(bytes, len, &own, &err), &err);

    trainer_config c = own;
    c.objectives.items[0] = own.objectives.items[1], c.objectives.items[1] = own.objectives.items[0];
    assert_int_equal(read_by(bytes, len, &c, &err), ERR_PARSE);
    assert_non_null(strstr(err.text,
                           "memory.state: section 'trainer': its objectives are 'accuracy brevity', here they "
                           "are 'brevity accuracy'"));
    c = own;
    strcpy(c.moo.groups[0], "it"), strcpy(c.moo.groups[1], "de");
    assert_int_equal(read_by(bytes, len, &c, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "section 'trainer': its groups are 'de it', here they are 'it de'"));
    c = own;
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 0, .beta = 10 });
    assert_int_equal(read_by(bytes, len, &c, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "section 'pivot' is not of this run"));
    c = own;
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 2, .beta = 10 });
    assert_int_equal(read_by(bytes, len, &c, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "section 'pivot': 'steps' is 3 (allowed: 0 to 2)"));
    c = own;
    c.moo.over = MOO_OVER_REWARDS, c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_CAGRAD) };
    assert_int_equal(read_by(bytes, len, &c, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "there is no section 'buckets' (there are: trainer, isolation, pivot)"));

    free(bytes);
    state_free(s);
    metrics_free(m);
    group_free(g);
    trainer_free(writer);
    tiny_close(&t);
}

/* Three steps on tokens of version 0, of which one version behind is allowed. */
static void tokens_too_old_are_read_and_not_trained_on(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-3);
    c.oldest_token = 1;
    trainer *tr = trainer_new(&c, t.w, &err);
    for (int step = 0; step < 3; step++) {
        const uint64_t before = t.w->hash;
        group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        test_near(metrics_get(m, "training/tokens_trained", -1), step < 2 ? 16 : 0, 0, "tokens");
        assert_true((t.w->hash != before) == (step < 2));
        group_free(g);
    }
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

/* All good answers are too sure: half their advantage, and nothing looks stale, since ERA is on both sides of the
 * ratio. */
static void era_halves_what_is_sure_already(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-3);
    SETTINGS_SET(&c, ERA, (era_config){ .k = 2, .low = 100, .high = 200 });
    c.epochs = 2;
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    c.epochs = 1;
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    test_near(metrics_get(m, "training/importance_weight/mean", -1), 1, 1e-6, "after an epoch, pi_old is still mu");
    trainer_free(tr);
    group_free(g);
    tr = trainer_new(&c, t.w, &err);
    g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    test_near(metrics_get(m, "actor/pg_loss", -1), -(4 * 1.5 / 2 + 12 * -0.5) / 16, 1e-5,
              "advantages 1.5 / 2 and -0.5");
    test_near(metrics_get(m, "training/rollout_logprobs_differing", -1), 0, 0, "as sampled");
    test_near(metrics_get(m, "actor/ratio/max", -1), 1, 0, "on policy");
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
}

/* The smaller methods say what they can't be together with before a model is loaded. */
static void a_mixture_beside_a_many_gradients_method_is_refused(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    trainer_config c = two_config(1e-3);
    c.loss.imitation = IMITATION_SFT;
    SETTINGS_SET(&c, MIXTURE, (mixture_config){ .start = 0.3, .rate = 0.2, .every = 1 });
    c.moo.over = MOO_OVER_REWARDS;
    assert_null(trainer_new(&c, t.w, &err));
    assert_string_equal(err.text, "algorithm.mixture with moo.method: both would weigh gradients");
    c.moo.over = MOO_OVER_NOTHING;
    trainer *tr = trainer_new(&c, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    trainer_free(tr);
    tiny_close(&t);
}

/* Micro-batches of several learners are different ones: what is reconciled by micro-batch or by token would be, too. */
static void several_learners_reconcile_whole_batches(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    comm pair = { .size = 2 };
    trainer_config c = two_config(1e-3);
    c.moo.over = MOO_OVER_REWARDS;
    c.comm = &pair;
    c.moo.bucket.by_micro_batch = true;
    assert_null(trainer_new(&c, t.w, &err));
    assert_string_equal(err.text, "moo.by_micro_batch: several learners have different micro-batches");
    c.moo.bucket.by_micro_batch = false;
    c.moo.by_token = true;
    assert_null(trainer_new(&c, t.w, &err));
    assert_string_equal(err.text, "moo.bucket = \"token\": several learners have different micro-batches");
    pair.size = 1;
    trainer *tr = trainer_new(&c, t.w, &err);
    if (!tr) fail_msg("%s", err.text);
    trainer_free(tr);
    tiny_close(&t);
}

/* Half of the blocks rest: their weights and moments are to the bit what they were. */
static void what_is_frozen_does_not_move(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    SETTINGS_SET(&c, ISOLATION, (isolation_config){ .freeze = 0.5, .every = 100 });
    c.seed = 5;
    float *before = malloc(sizeof(float) * (size_t)t.table->total);
    memcpy(before, t.w->data, sizeof(float) * (size_t)t.table->total);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    isolation_config drawn = SETTINGS(&c, ISOLATION, isolation_config);
    drawn.seed = c.seed;
    isolation *same = isolation_new(&drawn, t.table, 0);
    const bool *mask = isolation_mask(same, 1, 0);
    int moved = 0;
    for (int i = 0; i < isolation_count(same); i++) {
        const isolation_block *b = &isolation_blocks(same)[i];
        const bool still = memcmp(t.w->data + b->begin, before + b->begin, sizeof(float) * (size_t)b->count) == 0;
        if (mask[i]) assert_true(still);
        moved += !still;
    }
    assert_true(moved > isolation_count(same) / 3);
    test_near(metrics_get(m, "actor/frozen_blocks", -1), 0.5, 0.01, "share");
    isolation_free(same);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    free(before);
    tiny_close(&t);
}

/* Accuracy 1 0 1 0, brevity -1 1 1 -1: by accuracy, then by the sum, one of four is out of order, until
 * accuracy leads and the sum follows it. */
static void moa_s_weights_and_elimination_reach_the_step(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = two_config(1e-3);
    SETTINGS_SET(&c, MOA, (moa_config){ .window = 4, .beta = 10, .eliminate = true });
    trainer *tr = trainer_new(&c, t.w, &err);
    for (int step = 0; step < 3; step++) {
        group *g = recorded_group(&t, (double[]){ 1, 0, 1, 0 }, 4);
        for (uint32_t i = 0; i < 4; i++)
            test_ok(score_set(g->scores[i], "brevity", i % 3 == 0 ? -1 : step < 2 ? 1 : 0.5, &err), &err);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        test_near(metrics_get(m, "reward/eliminated", -1), step < 2 ? 0.25 : 0, 0, "one of four");
        test_near(metrics_get(m, "training/episodes_trained", -1), step < 2 ? 3 : 4, 0, "the others");
        group_free(g);
    }
    /* Brevity has fallen by 0.25 below its line: weights e^0 and e^-2.5. */
    test_near(metrics_get(m, "reward/brevity/weight", -1), 1 / (1 + exp(2.5)), 1e-9, "weight");
    trainer_free(tr);
    metrics_free(m);
    tiny_close(&t);
}

/* Accuracy says the first, brevity the others: which of them becomes likelier is the row's to say. */
static void a_row_s_preference_reaches_the_step(void **state)
{
    (void)state;
    char path[400];
    error err = { 0 };
    char *dir = test_folder_new();
    test_file_write(dir, "d.jsonl", "{\"prompt\": \"a\", \"want\": {\"accuracy\": 0, \"brevity\": 1}}\n");
    snprintf(path, sizeof path, "%s/d.jsonl", dir);
    dataset *rows = dataset_open(path, 0, &err);
    for (int asked = 0; asked <= 1; asked++) {
        tiny t = tiny_open(3);
        metrics *m = metrics_new();
        trainer_config c = two_config(1e-3);
        c.rows = rows;
        strcpy(c.preference, asked ? "want" : "");
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
        for (uint32_t i = 0; i < 4; i++) test_ok(score_set(g->scores[i], "brevity", i == 0 ? -1 : 1, &err), &err);
        const double before = total_logprob(&t, g->episodes[0]);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true((total_logprob(&t, g->episodes[0]) > before) == !asked);
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    dataset_free(rows);
    test_folder_remove(dir);
}

/* Two episodes that are worth the same; in the first the second token is better than the third. Rewards by objective
 * reconcile the same gradient. */
static void a_reward_on_a_span_trains_its_tokens(void **state)
{
    (void)state;
    double norm[2];
    for (int by_objective = 0; by_objective <= 1; by_objective++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-3);
        c.advantage.mean = MEAN_NONE, c.advantage.std = STD_NONE;
        if (by_objective) c.moo = (moo_plan){ .over = MOO_OVER_REWARDS, .bucket = { .moo = moo_default(MOO_SUM) } };
        trainer *tr = trainer_new(&c, t.w, &err);
        if (!tr) fail_msg("%s", err.text);
        group *g = recorded_group(&t, (double[]){ 0.5, 0.5, 0.5, 0.5 }, 4);
        trajectory *said = &g->episodes[0]->tokens;
        for (uint32_t i = 0; i < said->n; i++) said->wrote[i] = said->mask[i];
        for (uint32_t k = 1; k < 4; k++)
            test_ok(score_add_span(g->scores[0], "accuracy", k, k == 2 ? 1 : k == 3 ? -1 : 0, &err), &err);
        for (uint32_t i = 1; i < 4; i++) test_ok(score_set(g->scores[i], "accuracy", 0, &err), &err);
        float before[64], after[64];
        memcpy(before, said->logprob, sizeof(float) * said->n);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        episode now = *g->episodes[0];
        now.tokens.logprob = after;
        record_true_logprobs(&t, &now);
        const uint32_t first = said->n_prompt > 0 ? said->n_prompt : 3;
        assert_true(after[first + 1] > before[first + 1] && after[first + 2] < before[first + 2]);
        assert_true(metrics_get(m, "training/episodes_trained", -1) == 1);
        norm[by_objective] = metrics_get(m, "actor/grad_norm", -1);
        trainer_free(tr);
        group_free(g);
        metrics_free(m);
        tiny_close(&t);
    }
    test_near(norm[1] / norm[0], 1, 1e-5, "gradient norm, by objective and not");
}

/* The gradient norm of a first step on this group, with a mixture of `mu` (0: none). */
static double norm_with_mixture(double mu, bool demonstrated)
{
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-3);
    c.loss.imitation = IMITATION_SFT, c.loss.imitation_weight = 1;
    SETTINGS_SET(&c, MIXTURE, (mixture_config){ .start = mu, .rate = 0.1, .every = 2 });
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = demonstrated ? with_demonstration(&t) : recorded_group(&t, (double[]){ 1, 0, 0, 1 }, 4);
    /* Only the demonstration teaches where all answers are worth the same. */
    for (uint32_t i = 0; demonstrated && i < 4; i++) test_ok(score_set(g->scores[i], "accuracy", 1, &err), &err);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    const double norm = metrics_get(m, "actor/grad_norm", -1);
    trainer_free(tr);
    group_free(g);
    metrics_free(m);
    tiny_close(&t);
    return norm;
}

static void a_mixture_weighs_both_losses(void **state)
{
    (void)state;
    test_near(norm_with_mixture(0.3, false) / norm_with_mixture(0, false), 0.7, 1e-5, "what the reward says");
    test_near(norm_with_mixture(0.3, true) / norm_with_mixture(0, true), 0.3, 1e-5, "what was given");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mixture_weighs_both_losses),
        cmocka_unit_test(a_demonstration_is_imitated),
        cmocka_unit_test(what_succeeds_with_shots_is_imitated_without),
        cmocka_unit_test(where_all_succeed_without_shots_nothing_is_carried),
        cmocka_unit_test(a_mixture_is_measured_on_the_way),
        cmocka_unit_test(memory_is_read_by_its_own_kind_of_trainer_alone),
        cmocka_unit_test(tokens_too_old_are_read_and_not_trained_on),
        cmocka_unit_test(era_halves_what_is_sure_already),
        cmocka_unit_test(a_mixture_beside_a_many_gradients_method_is_refused),
        cmocka_unit_test(several_learners_reconcile_whole_batches),
        cmocka_unit_test(what_is_frozen_does_not_move),
        cmocka_unit_test(moa_s_weights_and_elimination_reach_the_step),
        cmocka_unit_test(a_row_s_preference_reaches_the_step),
        cmocka_unit_test(a_reward_on_a_span_trains_its_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
