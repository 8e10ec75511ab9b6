#include "learner/trainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "episodes.h"
#include "model/transformer.h"
#include "tiny.h"

static trainer_config config_of(double lr)
{
    trainer_config c = { .advantage = advantage_default(1), .loss = loss_default(), .optim = optim_default() };
    error err = { 0 };
    test_ok(objective_add(&c.objectives, "accuracy", 1, &err), &err);
    c.optim.lr = lr, c.optim.warmup = 0;
    return c;
}

/* Replaces the made-up behaviour logprobs by those the model gives: what an actor would have recorded. */
static void record_true_logprobs(const tiny *t, episode *e)
{
    const trajectory *tr = &e->tokens;
    int32_t positions[64], rows[64], targets[64], starts[2] = { 0, (int32_t)tr->n };
    int n = 0;
    for (uint32_t i = 0; i < tr->n; i++) positions[i] = (int32_t)i;
    for (uint32_t i = 0; i + 1 < tr->n; i++)
        if (tr->mask[i + 1]) rows[n] = (int32_t)i, targets[n++] = tr->ids[i + 1];
    const token_batch b = { .T = (int)tr->n,
                            .S = 1,
                            .ids = tr->ids,
                            .positions = positions,
                            .starts = starts,
                            .n_out = n,
                            .out_rows = rows,
                            .targets = targets };
    device_scratch_reset(t->dev);
    const activations *acts = model_forward(t->w, &b, NULL);
    for (int i = 0; i < n; i++) e->tokens.logprob[rows[i] + 1] = acts->logprob[i];
}

static group *recorded_group(const tiny *t, const double *rewards, uint32_t n)
{
    group *g = made_group("accuracy", rewards, n);
    for (uint32_t i = 0; i < n; i++) record_true_logprobs(t, g->episodes[i]);
    return g;
}

static double total_logprob(const tiny *t, const episode *e)
{
    episode copy = *e;
    float logprob[64];
    copy.tokens.logprob = logprob;
    record_true_logprobs(t, &copy);
    double sum = 0;
    for (uint32_t i = 0; i < e->tokens.n; i++)
        if (e->tokens.mask[i]) sum += (double)logprob[i];
    return sum;
}

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

/* Three tokens of a demonstration are learned by heart, and ASFT's anchor keeps the rest of the distribution nearer. */
static void a_demonstration_is_learned_by_heart(void **state)
{
    (void)state;
    double nll[2][6], kl[2];
    for (int anchored = 0; anchored <= 1; anchored++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(3e-3);
        c.loss.given = GIVEN_ASFT, c.loss.given_weight = 1, c.loss.anchor = anchored ? 5 : 0;
        trainer *tr = trainer_new(&c, t.w, &err);
        for (int step = 0; step < 6; step++) {
            group *g = recorded_group(&t, (double[]){ 0, 0, 0, 1 }, 4);
            episode *shown = made_episode(3, 3, 0, 0, -1);
            trajectory_append(&shown->tokens, ROLE_HINT, (const int32_t[]){ 11, 5, 23 }, 3);
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

/* A group of four, the last of them a demonstration of three tokens. */
static group *with_demonstration(const tiny *t)
{
    group *g = recorded_group(t, (double[]){ 1, 0, 0, 1 }, 4);
    episode *shown = made_episode(3, 3, 0, 0, -1);
    trajectory_append(&shown->tokens, ROLE_HINT, (const int32_t[]){ 11, 5, 23 }, 3);
    shown->hint_len = 3;
    episode_free(g->episodes[3]);
    g->episodes[3] = shown;
    return g;
}

/* A step that measures the mixture trains as one that doesn't, and what it has learned of it weighs the next. */
static void a_mixture_is_measured_on_the_way(void **state)
{
    (void)state;
    double norm[2], given_nll[2], mu[2], memory = 0;
    for (int every = 1; every <= 2; every++) {
        tiny t = tiny_open(3);
        error err = { 0 };
        metrics *m = metrics_new();
        trainer_config c = config_of(1e-3);
        c.loss.given = GIVEN_SFT, c.loss.given_weight = 1;
        c.mixture = (mixture_config){ .start = 0.3, .rate = 0.2, .every = every };
        trainer *tr = trainer_new(&c, t.w, &err);
        group *g = with_demonstration(&t);
        test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
        assert_true(metrics_get(m, "actor/mixture", -1) == 0.3);
        assert_true((metrics_get(m, "actor/mixture_slope", 9) != 9) == (every == 1));
        norm[every - 1] = metrics_get(m, "actor/grad_norm", -1);
        if (every == 1) trainer_memory_save(tr, &memory);
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
    assert_true(mu[0] != 0.3 && mu[0] == memory && mu[1] == 0.3);
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
    c.era = (era_config){ .k = 2, .low = 100, .high = 200 };
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

/* Half of the blocks rest: their weights and moments are to the bit what they were. */
static void what_is_frozen_does_not_move(void **state)
{
    (void)state;
    tiny t = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    c.isolation = (isolation_config){ .freeze = 0.5, .every = 100, .seed = 5 };
    float *before = malloc(sizeof(float) * (size_t)t.table->total);
    memcpy(before, t.w->data, sizeof(float) * (size_t)t.table->total);
    trainer *tr = trainer_new(&c, t.w, &err);
    group *g = recorded_group(&t, (double[]){ 1, 0, 0, 0 }, 4);
    test_ok(trainer_step(tr, (const group *const *)&g, 1, m, &err), &err);
    isolation *same = isolation_new(&c.isolation, t.table, 0);
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

/* KL in the reward: after a step towards one episode, and without any other reward, that episode is what costs most. */
static void distance_from_the_reference_comes_off_the_reward(void **state)
{
    (void)state;
    tiny t = tiny_open(3), base = tiny_open(3);
    error err = { 0 };
    metrics *m = metrics_new();
    trainer_config c = config_of(1e-2);
    c.reward_kl = 0.5;
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

/* ---- many objectives ---- */

/* Two objectives that want opposite things of half the episodes; the rows belong to groups "en" and "de" by turns. */
static group *two_objectives(const tiny *t, uint32_t n)
{
    error err = { 0 };
    group *g = group_new(task_id(false, 1, 0), 0, 1, n);
    for (uint32_t i = 0; i < n; i++) {
        score *s = made_score(i, "accuracy", i % 3 == 0);
        test_ok(score_set(s, "brevity", i % 2 ? 0.7 : -0.2, &err), &err);
        episode *e = made_episode(i, 3, 4, 0, -1);
        free(e->objective);
        e->objective = strdup(i % 2 ? "de" : "en");
        record_true_logprobs(t, e);
        test_ok(group_add(g, e, s, &err), &err);
    }
    return g;
}

static trainer_config two_config(double lr)
{
    trainer_config c = config_of(lr);
    error err = { 0 };
    c.objectives.n = 0;
    objective_add(&c.objectives, "accuracy", 1.0, &err);
    objective_add(&c.objectives, "brevity", 0.5, &err);
    c.advantage = (advantage_config){ .mean = MEAN_GROUP, .std = STD_GROUP };
    c.moo.bucket = (bucket_config){ .moo = moo_default(MOO_SUM), .scope = BUCKET_LAYER };
    return c;
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
    c.pivot = (pivot_config){ .window = 4, .beta = 10, .eliminate = true };
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

/* The KL term is nobody's objective: after a first step away from the reference it is added as it is, whether rewards
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

/* Two episodes that are worth the same; in the first the second token is better than the third. Rewards by objective
 * reconcile the same gradient. */
static void a_reward_on_a_stretch_trains_its_tokens(void **state)
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
            test_ok(score_mark(g->scores[0], "accuracy", k, k == 2 ? 1 : k == 3 ? -1 : 0, &err), &err);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reward_on_a_stretch_trains_its_tokens),
        cmocka_unit_test(the_kl_is_beside_rewards_and_groups),
        cmocka_unit_test(a_step_makes_the_better_episode_likelier),
        cmocka_unit_test(with_an_adapter_only_its_matrices_change),
        cmocka_unit_test(a_demonstration_is_learned_by_heart),
        cmocka_unit_test(a_mixture_is_measured_on_the_way),
        cmocka_unit_test(tokens_too_old_are_read_and_not_trained_on),
        cmocka_unit_test(moa_s_weights_and_elimination_reach_the_step),
        cmocka_unit_test(era_halves_what_is_sure_already),
        cmocka_unit_test(a_row_s_preference_reaches_the_step),
        cmocka_unit_test(what_is_frozen_does_not_move),
        cmocka_unit_test(on_policy_the_ratio_is_exactly_one),
        cmocka_unit_test(epochs_are_updates_of_one_version),
        cmocka_unit_test(distance_from_the_reference_comes_off_the_reward),
        cmocka_unit_test(a_moving_reference_is_the_policy_of_some_steps_ago),
        cmocka_unit_test(a_sum_of_gradients_is_the_gradient_of_the_sum),
        cmocka_unit_test(a_group_that_no_key_names_stops_the_step),
        cmocka_unit_test(micro_batches_of_any_size_give_the_same_gradient),
        cmocka_unit_test(observations_have_no_gradient),
        cmocka_unit_test(a_step_without_signal_changes_only_the_version),
        cmocka_unit_test(the_reference_holds_the_policy_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
