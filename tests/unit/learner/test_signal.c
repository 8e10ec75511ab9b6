/* Steps without a signal: what a trainer may not do when there is nothing to learn. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "learner/pack.h"
#include "learner/trainer.h"
#include "recorded.h"

enum { MOST = 24 };

/* Rewards that are the same but for how they were added up. */
static double spelled(double value, uint32_t i)
{
    const double parts = 1 + i % 7;
    double sum = 0;
    for (int n = 0; n < (int)parts; n++) sum += value / parts;
    return sum;
}

static group *equal_group(uint32_t n, double value)
{
    double r[MOST];
    for (uint32_t i = 0; i < n; i++) r[i] = spelled(value, i);
    return made_group("accuracy", r, n);
}

static void add_rewards(group *g, const char *name, double value)
{
    error err = { 0 };
    for (uint32_t i = 0; i < g->n; i++) test_ok(score_set(g->scores[i], name, spelled(value, i), &err), &err);
}

/* ---- advantages ---- */

static const double VALUES[] = { 0.1, 1.0 / 3, 1, -0.7, 1000.1, 1e-3, 123456.7, 0 };
enum { N_VALUES = sizeof VALUES / sizeof *VALUES };

static void no_advantage(const advantage_config *c, int K, bool beside_others)
{
    static const char *const NAMES[3] = { "accuracy", "brevity", "format" };
    objective_set set = { 0 };
    error err = { 0 };
    for (int k = 0; k < K; k++) test_ok(objective_add(&set, NAMES[k], 0.3 + 0.1 * k, &err), &err);
    for (int v = 0; v < N_VALUES; v++)
        for (uint32_t n = 2; n <= MOST; n += 11) {
            group *g[2] = { equal_group(n, VALUES[v]), made_group("accuracy", (double[]){ 1, 0, 0.25 }, 3) };
            for (int k = 1; k < K; k++) add_rewards(g[0], NAMES[k], VALUES[(v + k) % N_VALUES]);
            for (uint32_t i = 0; K > 1 && i < 3; i++)
                test_ok(score_set(g[1]->scores[i], "brevity", i == 2, &err), &err);
            arena *a = arena_new(1 << 16);
            const advantage_table *t =
                advantage_compute(a, c, &set, (const group *const *)g, beside_others ? 2 : 1, NULL);
            for (uint32_t i = 0; i < n; i++)
                if (t->scalar[i] != 0)
                    fail_msg("mean %d, std %d, %d objectives, %u rewards of %g: advantage %g", c->mean, c->std, K, n,
                             VALUES[v], t->scalar[i]);
            if (t->stats[0].dead_groups != (beside_others ? 0.5 : 1) || (!beside_others && t->stats[0].std != 0))
                fail_msg("%u rewards of %g: %g groups without signal", n, VALUES[v], t->stats[0].dead_groups);
            arena_free(a);
            group_free(g[0]);
            group_free(g[1]);
        }
}

/* Beside other groups, too, where the mean is the group's; a batch's mean compares with them. */
static void equal_rewards_have_no_advantage_under_any_normaliser(void **state)
{
    (void)state;
    for (int mean = MEAN_GROUP; mean <= MEAN_BEST; mean++)
        for (int std = STD_GROUP; std <= STD_BATCH; std++)
            for (int K = 1; K <= 3; K++) {
                if (mean == MEAN_NONE) continue; /* compared with 0 */
                const advantage_config c = { .mean = (advantage_mean)mean, .std = (advantage_std)std, .whiten = K > 1 };
                no_advantage(&c, K, false);
                if (mean != MEAN_BATCH) no_advantage(&c, K, true);
            }
}

/* Without a baseline a reward is its own advantage; divided by no spread it stays what it is. */
static void equal_rewards_without_a_baseline_are_not_blown_up(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = { .mean = MEAN_NONE, .std = STD_GROUP };
    group *g = equal_group(12, 0.1);
    arena *a = arena_new(1 << 16);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 12; i++) test_near(t->scalar[i], 0.1, 1e-9, "advantage");
    arena_free(a);
    group_free(g);
}

static void huge_rewards_are_compared_as_others_are(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = advantage_default(1);
    group *g = made_group("accuracy", (double[]){ 1e300, 0, 0, 1e300 }, 4);
    arena *a = arena_new(1 << 16);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 4; i++) test_near(t->scalar[i], i % 3 ? -0.8660254 : 0.8660254, 1e-6, "advantage");
    arena_free(a);
    group_free(g);
}

/* REINFORCE++ whitens its tokens' returns: an episode counts as often as it is long. */
static void a_batchs_mean_and_spread_are_over_its_tokens(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = { .mean = MEAN_BATCH, .std = STD_BATCH };
    const double rewards[4] = { 1, 0, 0.5, 0 };
    const int tokens[4] = { 2, 30, 5, 11 };
    group *g = group_new(task_id(false, 1, 0), 0, 1, 4);
    double sum = 0, square = 0, n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        test_ok(group_add(g, made_episode(i, 3, tokens[i], 0, -1), made_score(i, "accuracy", rewards[i]), &err), &err);
        for (int k = 0; k < tokens[i]; k++) sum += rewards[i], n++;
    }
    for (int i = 0; i < 4; i++) square += tokens[i] * (rewards[i] - sum / n) * (rewards[i] - sum / n);
    arena *a = arena_new(1 << 16);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 4; i++)
        test_near(t->scalar[i], (rewards[i] - sum / n) / sqrt(square / (n - 1)), 1e-5, "a token's whitened return");
    arena_free(a);
    group_free(g);
}

/* Rejection sampling's best are those that are best up to rounding, and a group in which all are has none. */
static void the_best_share_however_they_were_added_up(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = { .mean = MEAN_BEST, .std = STD_NONE };
    group *g = made_group("accuracy", (double[]){ 0.1 + 0.2, 0.3, 0.1, 0.3 }, 4);
    arena *a = arena_new(1 << 16);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
    for (int i = 0; i < 4; i++) test_near(t->scalar[i], i == 2 ? 0 : 1.0 / 3, 1e-15, "share");
    arena_free(a);
    group_free(g);
}

/* Stretches that are all worth the same say nothing, nor does a return of parts that cancel. */
static void equal_stretches_have_no_signal(void **state)
{
    (void)state;
    static const double VALUES_OF[2][2][2] = { { { 0.3, 0.1 + 0.2 }, { 0.3, 0.3 } }, { { 0.5, -0.5 }, { -0.5, 0.5 } } };
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    for (int which = 0; which < 2; which++)
        for (int to = CREDIT_STRETCH; to <= CREDIT_RETURN; to++) {
            group *g = made_group("accuracy", (double[]){ 0.3, 0.3 }, 2);
            for (uint32_t i = 0; i < 2; i++) {
                trajectory *tokens = &g->episodes[i]->tokens;
                for (uint32_t k = 0; k < tokens->n; k++) tokens->wrote[k] = tokens->mask[k];
                for (uint32_t k = 0; k < 2; k++)
                    test_ok(score_mark(g->scores[i], "accuracy", 2 + 2 * k, VALUES_OF[which][i][k], &err), &err);
            }
            advantage_config c = advantage_default(1);
            c.credit = (credit_to)to;
            arena *a = arena_new(1 << 16);
            const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
            const pack_options o = { .max_tokens = 100 };
            assert_true(pack_groups(a, t, &o)->signal == (which == 1));
            if (which == 1 && to == CREDIT_RETURN) assert_true(t->tokens[0][3] == 0 && t->tokens[0][5] != 0);
            arena_free(a);
            group_free(g);
        }
}

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
    set.items[1].least = 100; /* no constraint either */
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
    c.pivot = (pivot_config){ .window = 4, .beta = 10, .eliminate = true };
    assert_true(trained_hash(c, true) == trained_hash(c, false));
}

/* ---- the trainer ---- */

typedef struct snapshot {
    uint64_t weights, moments[2];
    int64_t step;
    double *memory;
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
    s.memory = calloc((size_t)trainer_memory_doubles(tr) + 1, sizeof *s.memory);
    trainer_memory_save(tr, s.memory);
    return s;
}

static void assert_unchanged(const char *what, const tiny *t, trainer *tr, snapshot before)
{
    snapshot now = snapshot_of(t, tr);
    if (now.weights != before.weights) fail_msg("%s: the weights moved", what);
    if (memcmp(now.moments, before.moments, sizeof now.moments) != 0) fail_msg("%s: the moments moved", what);
    if (now.step != before.step) fail_msg("%s: an update was counted", what);
    if (memcmp(now.memory, before.memory, sizeof *now.memory * (size_t)trainer_memory_doubles(tr)) != 0)
        fail_msg("%s: what is remembered has changed", what);
    free(now.memory);
    free(before.memory);
}

/* Two groups of equal rewards, each of another kind. */
static void silent_step(trainer *tr, const tiny *t, bool two, metrics *m)
{
    error err = { 0 };
    group *g[2] = { equal_group(5, 0.1), equal_group(4, 1) };
    for (int k = 0; k < 2; k++) {
        if (two) add_rewards(g[k], "brevity", 0.7);
        for (uint32_t i = 0; i < g[k]->n; i++) {
            free(g[k]->episodes[i]->objective);
            g[k]->episodes[i]->objective = strdup(i % 2 ? "de" : "fr"); /* fr: not seen before */
            record_true_logprobs(t, g[k]->episodes[i]);
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
    c.isolation = (isolation_config){ .freeze = 0.3, .protect = 0.2, .every = 1, .keep = 0.9 };
    check_silence("isolation", &c);
    c = config_of(1e-2);
    c.era = (era_config){ .k = 2, .low = 5, .high = 6 };
    check_silence("ERA", &c);
    c = config_of(1e-2);
    c.loss.kind = LOSS_NFT, c.advantage.drop_dead = true;
    check_silence("NFT, filtered", &c);
    c.loss.kind = LOSS_KIMI, c.loss.correction = CORRECTION_NONE, c.epochs = 2, c.advantage.drop_dead = false;
    check_silence("Kimi", &c);
    c = config_of(1e-2);
    c.loss.kl = 0.5, c.reference_every = 1; /* the reference is the policy: the KL has no gradient either */
    check_silence("a KL to itself", &c);
    c.advantage.drop_dead = true, c.reference_every = 0;
    check_silence("a KL, and groups that are left out", &c);
    c = two_config(1e-2);
    c.advantage.whiten = true;
    check_silence("GDPO", &c);
    c.pivot = (pivot_config){ .window = 4, .beta = 10, .eliminate = true };
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
                         (snapshot){ now, { was.moments[0], was.moments[1] }, was.step, was.memory });
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
        if (way == 3) c.isolation = (isolation_config){ .protect = 0.2, .every = 1, .keep = 0.9 };
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

/* As verl has it: at most 10 of a token, and no slope beyond; k2 pulls on. */
static void k3_is_bounded(void **state)
{
    (void)state;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    const float logprob = -15, reference = -0.1f;
    const double behaviour = -15;
    const loss_episode e = { .n = 1, .logprob = &logprob, .behaviour = &behaviour, .reference = &reference };
    static const loss_kl KINDS[] = { KL_K3, KL_K3_PLUS, KL_K2 };
    static const double SLOPES[] = { 0, -14.9, -14.9 }, OF_KL[] = { 10, 10, 14.9 * 14.9 / 2 };
    for (int k = 0; k < 3; k++) {
        loss_config c = loss_default();
        loss_sums sums = { 0 };
        float slope;
        c.kl = 1, c.kl_kind = KINDS[k];
        loss_gradient(&c, &scale, &e, &slope, &sums);
        test_near((double)slope, SLOPES[k], 1e-5, "slope");
        test_near(sums.kl_reference, OF_KL[k], 1e-4, "value");
    }
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
        assert_int_equal(trainer_version(tr), 0); /* not sealed: nobody may take it for a version */
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
        cmocka_unit_test(equal_rewards_have_no_advantage_under_any_normaliser),
        cmocka_unit_test(equal_rewards_without_a_baseline_are_not_blown_up),
        cmocka_unit_test(huge_rewards_are_compared_as_others_are),
        cmocka_unit_test(a_batchs_mean_and_spread_are_over_its_tokens),
        cmocka_unit_test(the_best_share_however_they_were_added_up),
        cmocka_unit_test(equal_stretches_have_no_signal),
        cmocka_unit_test(an_objective_of_weight_0_is_watched_and_no_more),
        cmocka_unit_test(weight_0_has_no_say_in_any_method),
        cmocka_unit_test(a_step_without_signal_changes_nothing_but_the_version),
        cmocka_unit_test(no_method_of_reconciling_moves_by_itself),
        cmocka_unit_test(who_was_silent_when_weights_were_solved_is_heard_again),
        cmocka_unit_test(without_a_signal_the_kl_alone_moves_the_policy),
        cmocka_unit_test(dead_groups_beside_live_ones_are_held_by_the_kl),
        cmocka_unit_test(k3_is_bounded),
        cmocka_unit_test(a_moment_that_is_not_finite_stops_the_step_by_name),
        cmocka_unit_test(a_model_with_a_nan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
