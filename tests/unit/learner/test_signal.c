/* SPDX-License-Identifier: MIT */
/* What has a signal and what has none: advantages of equal rewards, however they were added up. */
#include "rollout/signal.h"

#include "base/rng.h"
#include "defaults.h"
#include "episodes.h"
#include "learner/loss.h"
#include "learner/pack.h"
#include "tests/support/support.h"

enum { MAX_SIZE = MAX_EQUAL };

static const double VALUES[] = { 0.1, 1.0 / 3, 1, -0.7, 1000.1, 1e-3, 123456.7, 0 };
enum { N_VALUES = sizeof VALUES / sizeof *VALUES };

static void no_advantage(const advantage_config *c, int K, bool beside_others)
{
    static const char *const NAMES[3] = { "accuracy", "brevity", "format" };
    objective_set set = { 0 };
    error err = { 0 };
    for (int k = 0; k < K; k++) test_ok(objective_add(&set, NAMES[k], 0.3 + 0.1 * k, &err), &err);
    for (int v = 0; v < N_VALUES; v++)
        for (uint32_t n = 2; n <= MAX_SIZE; n += 11) {
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

/* Two objectives that want the opposite of each other, in equal parts: together they want nothing. */
static void objectives_that_cancel_have_no_signal(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 0.7, &err), &err);
    test_ok(objective_add(&set, "brevity", 0.7, &err), &err);
    for (int whiten = 0; whiten < 2; whiten++)
        for (uint64_t seed = 1; seed <= 100; seed++) {
            double r[5];
            for (uint64_t i = 0; i < 5; i++) r[i] = rng_uniform((rng_key){ seed, 1 }, 0, i);
            group *g = made_group("accuracy", r, 5);
            for (uint32_t i = 0; i < 5; i++) test_ok(score_set(g->scores[i], "brevity", 0.4 - r[i], &err), &err);
            advantage_config c = advantage_default(2);
            c.whiten = whiten;
            arena *a = arena_new(1 << 16);
            const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)&g, 1, NULL);
            for (int i = 0; i < 5; i++)
                if (t->scalar[i] != 0) fail_msg("seed %ju: advantage %g", (uintmax_t)seed, t->scalar[i]);
            arena_free(a);
            group_free(g);
        }
}

/* OPO's weighted sum has a batch mean; a group of equal rewards has no opinion that whitening could move by it. */
static void whitening_gives_no_opinion_to_who_has_none(void **state)
{
    (void)state;
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    const advantage_config c = { .mean = MEAN_LENGTH, .std = STD_NONE, .whiten = true };
    group *g[2] = { equal_group(4, 0.1), group_new(task_id(false, 1, 0), 0, 1, 2) };
    for (uint32_t i = 0; i < 2; i++)
        test_ok(group_add(g[1], made_episode(i, 3, 2 + 20 * (int)i, 0, -1), made_score(i, "accuracy", i), &err), &err);
    arena *a = arena_new(1 << 16);
    const advantage_table *t = advantage_compute(a, &c, &set, (const group *const *)g, 2, NULL);
    for (int i = 0; i < 4; i++) test_near(t->scalar[i], 0, 0, "of equal rewards");
    assert_true(t->scalar[4] < 0 && t->scalar[5] != 0);
    arena_free(a);
    group_free(g[0]);
    group_free(g[1]);
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

/* Spans that are all worth the same say nothing, nor does a return of parts that cancel. */
static void equal_spans_have_no_signal(void **state)
{
    (void)state;
    static const double VALUES_OF[2][2][2] = { { { 0.3, 0.1 + 0.2 }, { 0.3, 0.3 } }, { { 0.5, -0.5 }, { -0.5, 0.5 } } };
    objective_set set = { 0 };
    error err = { 0 };
    test_ok(objective_add(&set, "accuracy", 1, &err), &err);
    for (int which = 0; which < 2; which++)
        for (int to = CREDIT_SPAN; to <= CREDIT_RETURN; to++) {
            group *g = made_group("accuracy", (double[]){ 0.3, 0.3 }, 2);
            for (uint32_t i = 0; i < 2; i++) {
                trajectory *tokens = &g->episodes[i]->tokens;
                for (uint32_t k = 0; k < tokens->n; k++) tokens->wrote[k] = tokens->mask[k];
                for (uint32_t k = 0; k < 2; k++)
                    test_ok(score_add_span(g->scores[i], "accuracy", 2 + 2 * k, VALUES_OF[which][i][k], &err), &err);
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

/* ---- the loss ---- */

/* Packed for its KL, it is neither right nor wrong. */
static void nft_learns_nothing_of_an_advantage_of_0(void **state)
{
    (void)state;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    const float logprob = -1;
    const double behaviour = -1;
    loss_config c = loss_default();
    c.kind = LOSS_NFT;
    for (int A = -1; A <= 1; A++) {
        const loss_episode e = {
            .n = 1, .logprob = &logprob, .behaviour = &behaviour, .advantage = A, .success_rate = 0.5
        };
        loss_sums sums = { 0 };
        float gradient;
        loss_gradient(&c, &scale, &e, &gradient, &sums);
        assert_true(A == 0 ? gradient == 0 : A > 0 ? gradient < 0 : gradient > 0);
    }
}

/* As verl has it: at most 10 of a token, and no gradient beyond; k2 pulls on. */
static void k3_is_bounded(void **state)
{
    (void)state;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    const float logprob = -15, reference = -0.1f;
    const double behaviour = -15;
    const loss_episode e = { .n = 1, .logprob = &logprob, .behaviour = &behaviour, .reference = &reference };
    static const loss_kl KINDS[] = { KL_K3, KL_K3_PLUS, KL_K2 };
    static const double GRADIENTS[] = { 0, -14.9, -14.9 }, OF_KL[] = { 10, 10, 14.9 * 14.9 / 2 };
    for (int k = 0; k < 3; k++) {
        loss_config c = loss_default();
        loss_sums sums = { 0 };
        float gradient;
        c.kl = 1, c.kl_kind = KINDS[k];
        loss_gradient(&c, &scale, &e, &gradient, &sums);
        test_near((double)gradient, GRADIENTS[k], 1e-5, "gradient");
        test_near(sums.kl_reference, OF_KL[k], 1e-4, "value");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_rewards_have_no_advantage_under_any_normaliser),
        cmocka_unit_test(equal_rewards_without_a_baseline_are_not_blown_up),
        cmocka_unit_test(huge_rewards_are_compared_as_others_are),
        cmocka_unit_test(a_batchs_mean_and_spread_are_over_its_tokens),
        cmocka_unit_test(objectives_that_cancel_have_no_signal),
        cmocka_unit_test(whitening_gives_no_opinion_to_who_has_none),
        cmocka_unit_test(the_best_share_however_they_were_added_up),
        cmocka_unit_test(equal_spans_have_no_signal),
        cmocka_unit_test(nft_learns_nothing_of_an_advantage_of_0),
        cmocka_unit_test(k3_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
