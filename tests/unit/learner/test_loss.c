/* SPDX-License-Identifier: MIT */
#include "learner/loss.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "defaults.h"
#include "tests/support/support.h"

enum { MAX_TOKENS = 16 };

/* An episode of one token. */
typedef struct one {
    float logprob, old, reference;
    double behaviour, advantage;
} one;

static double gradient_of_one(const loss_config *c, const loss_scale *scale, const one *t, loss_sums *sums)
{
    float gradient;
    const loss_episode e = { .n = 1,
                             .logprob = &t->logprob,
                             .behaviour = &t->behaviour,
                             .reference = &t->reference,
                             .advantage = t->advantage };
    loss_gradient(c, scale, &e, &gradient, sums);
    return (double)gradient;
}

/* ---- against PyTorch in float64 ---- */

static int named(const char *word, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], word) == 0) return i;
    fail_msg("no %s", word);
    return -1;
}

static const char *text_of(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }
static double number_of(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static loss_config config_of(const json_t *golden, const json_t *c)
{
    static const char *const KINDS[] = { "ppo", "gspo", "cispo", "reinforce", "kimi", "nft", NULL };
    static const char *const SUMS[] = { "token", "sequence", "constant", "sequence_sum", NULL };
    static const char *const CORRECTIONS[] = { "token_tis", "none", "sequence_tis", "mask", "geometric", NULL };
    static const char *const KLS[] = { "k3", "k1", "k2", "k3+", NULL };
    return (loss_config){ .kind = (loss_kind)named(text_of(c, "kind"), KINDS),
                          .clip_low = number_of(golden, "low"),
                          .clip_high = number_of(golden, "high"),
                          .dual_clip = json_is_true(json_object_get(c, "dual")) ? number_of(golden, "dual_clip") : 0,
                          .ratio_cap = number_of(golden, "ratio_cap"),
                          .tau = number_of(golden, "tau"),
                          .nft_weight = (int)number_of(c, "nft"),
                          .kl = number_of(c, "kl"),
                          .kl_kind = (loss_kl)named(text_of(c, "kl_kind"), KLS),
                          .aggregation = (loss_aggregation)named(text_of(c, "aggregation"), SUMS),
                          .constant = number_of(golden, "constant"),
                          .correction = (loss_correction)named(text_of(c, "correction"), CORRECTIONS),
                          .tis_cap = number_of(golden, "tis_cap"),
                          .floor = 1 / number_of(golden, "tis_cap"),
                          .band = number_of(golden, "band") };
}

static int floats_of(const json_t *o, const char *key, float *out)
{
    const json_t *list = json_object_get(o, key);
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) out[i] = (float)json_number_value(json_array_get(list, i));
    return (int)n;
}

static void check_case(const json_t *golden, const json_t *c)
{
    const loss_config config = config_of(golden, c);
    const json_t *episodes = json_object_get(golden, "episodes"), *grads = json_object_get(c, "grad");
    const loss_scale scale = { .tokens = 13, .episodes = 4 };
    loss_sums sums = { 0 };
    char *what = json_text(c, true);
    for (size_t s = 0; s < json_array_size(episodes); s++) {
        const json_t *e = json_array_get(episodes, s), *want = json_array_get(grads, s);
        float logprob[MAX_TOKENS], old[MAX_TOKENS], reference[MAX_TOKENS], gradient[MAX_TOKENS];
        double behaviour[MAX_TOKENS];
        const int n = floats_of(e, "logprob", logprob);
        floats_of(e, "old", old), floats_of(e, "reference", reference);
        for (int i = 0; i < n; i++)
            behaviour[i] = json_number_value(json_array_get(json_object_get(e, "behaviour"), (size_t)i));
        const loss_episode played = {
            n, logprob, behaviour, old, reference, number_of(e, "advantage"), number_of(golden, "right"), 0, NULL
        };
        loss_gradient(&config, &scale, &played, gradient, &sums);
        for (int i = 0; i < n; i++) {
            const double g = json_number_value(json_array_get(want, (size_t)i));
            if (fabs((double)gradient[i] - g) > 1e-7 + 1e-6 * fabs(g))
                fail_msg("episode %zu token %d: expected %.9g, found %.9g in %s", s, i, g, (double)gradient[i], what);
        }
    }
    if (fabs(sums.loss - number_of(c, "loss")) > 1e-9) fail_msg("loss: %.12g in %s", sums.loss, what);
    free(what);
}

static void every_loss_and_its_gradient_are_those_of_float64_autograd(void **state)
{
    (void)state;
    char path[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/losses/losses.json", getenv("TROUPE_SOURCE"));
    json_t *golden = json_parse_file(path, &err);
    if (!golden) fail_msg("%s", err.text);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 40);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(golden, json_array_get(cases, i));
    json_decref(golden);
}

/* ---- published fixtures ---- */

static void the_clip_is_higher_above_than_below(void **state)
{
    (void)state;
    loss_config c = loss_default();
    c.correction = CORRECTION_NONE;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    loss_sums sums = { 0 };
    const double ratios[4] = { 1.27, 1.29, 0.81, 0.79 }, want[4] = { -1.27, 0, 0.81, 0 };
    for (int i = 0; i < 4; i++) {
        const one t = { .logprob = (float)log(ratios[i]), .advantage = i < 2 ? 1 : -1 };
        test_near(gradient_of_one(&c, &scale, &t, &sums), want[i], 1e-6, "gradient");
    }
    test_near(sums.clipped_high, 1, 0, "clipped above");
    test_near(sums.clipped_low, 1, 0, "clipped below");
}

/* Policy (.5,.3,.2), behaviour (.2,.3,.5), reward (1,0,0), baseline .5, C = 2: the expected gradient in the logits is
 * (.25,-.15,-.10); uncorrected (.25,-.06,-.19), truncated (.225,-.135,-.09), masked (.125,-.075,-.05). */
static void corrections_match_the_fixture(void **state)
{
    (void)state;
    const double p[3] = { .5, .3, .2 }, mu[3] = { .2, .3, .5 };
    const struct {
        loss_kind kind;
        loss_correction correction;
        double want[3];
    } rows[] = { { LOSS_PPO, CORRECTION_TOKEN_TIS, { .225, -.135, -.09 } },
                 { LOSS_PPO, CORRECTION_MASK, { .125, -.075, -.05 } },
                 { LOSS_REINFORCE, CORRECTION_NONE, { .225, -.135, -.09 } } };
    for (int n = 0; n < 3; n++) {
        loss_config c = loss_default();
        c.kind = rows[n].kind, c.correction = rows[n].correction, c.floor = 0;
        const loss_scale scale = { .tokens = 1, .episodes = 1 };
        double logits[3] = { 0 };
        for (int a = 0; a < 3; a++) {
            loss_sums sums = { 0 };
            const one t = { .logprob = (float)log(p[a]), .behaviour = log(mu[a]), .advantage = (a == 0) - .5 };
            const double gradient = gradient_of_one(&c, &scale, &t, &sums);
            for (int j = 0; j < 3; j++) logits[j] -= mu[a] * gradient * ((a == j) - p[j]);
        }
        for (int j = 0; j < 3; j++) test_near(logits[j], rows[n].want[j], 1e-6, "logit's gradient");
    }
}

static void gspo_takes_the_geometric_mean_of_the_ratios(void **state)
{
    (void)state;
    loss_config c = loss_default();
    c.kind = LOSS_GSPO, c.aggregation = AGGREGATE_SEQUENCE, c.correction = CORRECTION_NONE;
    const float logprob[4] = { -0.9f, -1.2f, -0.7f, -1 };
    const double behaviour[4] = { -1, -1, -1, -1 };
    const loss_episode e = { .n = 4, .logprob = logprob, .behaviour = behaviour, .advantage = 1 };
    const loss_scale scale = { .tokens = 4, .episodes = 1 };
    loss_sums sums = { 0 };
    float gradient[4];
    loss_gradient(&c, &scale, &e, gradient, &sums);
    for (int i = 0; i < 4; i++) test_near((double)gradient[i], -1.051271 / 4, 1e-6, "gradient");
}

/* p = (.5,.3,.2) trained, q = (.4,.4,.2) reference: expectation and spread of each estimate of KL(p || q) = .025267. */
static void kl_estimates_have_the_published_mean_and_spread(void **state)
{
    (void)state;
    const double p[3] = { .5, .3, .2 }, q[3] = { .4, .4, .2 };
    const double mean[4] = { .025267, .025267, .024862, .025267 }, sd[4] = { .0160, .2216, .0143, .0160 };
    for (int kind = 0; kind < 4; kind++) {
        loss_config c = loss_default();
        double m = 0, square = 0;
        c.kl = 1, c.kl_kind = (loss_kl)kind;
        for (int a = 0; a < 3; a++) {
            loss_sums sums = { 0 };
            const one t = { .logprob = (float)log(p[a]), .behaviour = log(p[a]), .reference = (float)log(q[a]) };
            gradient_of_one(&c, &(loss_scale){ 1, 1 }, &t, &sums);
            m += p[a] * sums.kl_reference, square += p[a] * sums.kl_reference * sums.kl_reference;
        }
        test_near(m, mean[kind], 1e-5, "mean");
        test_near(sqrt(square - m * m), sd[kind], 1e-4, "spread");
    }
}

/* On policy, NFT with weight sqrt((1 - q) / q) is GRPO with the biased spread; with 1 - q it is Dr.GRPO. */
static void nft_on_policy_is_grpo(void **state)
{
    (void)state;
    const double q = 0.25, spread = sqrt(q * (1 - q));
    for (int weight = 1; weight <= 2; weight++)
        for (int right = 0; right <= 1; right++) {
            loss_config nft = loss_default(), ppo = loss_default();
            nft.kind = LOSS_NFT, nft.nft_weight = weight;
            const float logprob = -0.7f;
            const double behaviour = (double)logprob, advantage = (right - q) / (weight == 2 ? spread : 1);
            float of_nft, of_ppo;
            loss_sums sums = { 0 };
            const loss_episode e = {
                .n = 1, .logprob = &logprob, .behaviour = &behaviour, .advantage = advantage, .success_rate = q
            };
            loss_gradient(&nft, &(loss_scale){ 1, 1 }, &e, &of_nft, &sums);
            loss_gradient(&ppo, &(loss_scale){ 1, 1 }, &e, &of_ppo, &sums);
            test_near((double)of_nft, (double)of_ppo, 1e-6, "gradient");
        }
}

static void aggregations_weigh_long_and_short_episodes_as_published(void **state)
{
    (void)state; /* lengths 2 and 8: per token .25 and .0625 by sequence, .1 by token */
    const float logprob[8] = { 0 };
    const double behaviour[8] = { 0 };
    const loss_scale scale = { .tokens = 10, .episodes = 2 };
    const struct {
        loss_aggregation kind;
        double of_short, of_long;
    } rows[] = { { AGGREGATE_TOKEN, .1, .1 },
                 { AGGREGATE_SEQUENCE, .25, .0625 },
                 { AGGREGATE_CONSTANT, .05, .05 },
                 { AGGREGATE_SEQUENCE_SUM, .5, .5 } };
    for (int n = 0; n < 4; n++) {
        loss_config c = loss_default();
        c.aggregation = rows[n].kind, c.constant = 10;
        loss_sums sums = { 0 };
        float gradient[8];
        loss_gradient(&c, &scale, &(loss_episode){ 2, logprob, behaviour, NULL, NULL, -1, 0, 0, NULL }, gradient,
                      &sums);
        test_near((double)gradient[0], rows[n].of_short, 1e-7, "of two tokens");
        loss_gradient(&c, &scale, &(loss_episode){ 8, logprob, behaviour, NULL, NULL, -1, 0, 0, NULL }, gradient,
                      &sums);
        test_near((double)gradient[7], rows[n].of_long, 1e-7, "of eight");
    }
}

static void equal_logprobs_give_a_ratio_of_exactly_one(void **state)
{
    (void)state;
    loss_config c = loss_default();
    c.correction = CORRECTION_NONE;
    loss_sums sums = { 0 };
    const one t = { .logprob = -3.7123f, .behaviour = (double)-3.7123f, .advantage = 2 };
    assert_true(gradient_of_one(&c, &(loss_scale){ 1, 1 }, &t, &sums) == -2.0);
    assert_true(sums.ratio == 1.0 && sums.gap_max == 0.0 && sums.differing == 0.0);
}

/* Two given tokens before two sampled ones: each kind's gradient, and that nothing of the sampled ones changes. */
static void imitated_tokens_are_trained_as_their_kind_says(void **state)
{
    (void)state;
    const float logprob[] = { -0.5f, -2, -1, -1.5f };
    const double behaviour[] = { 0, 0, -1.1, -1.4 };
    const loss_scale scale = { .tokens = 10, .episodes = 4 };
    for (int kind = IMITATION_NONE; kind <= IMITATION_GUIDE; kind++)
        for (int good = 0; good <= 1; good++) {
            const double A = good ? 0.7 : -0.7, c = 0.3;
            loss_config config = loss_default();
            config.imitation = (loss_imitation)kind, config.imitation_weight = c;
            float gradient[4], alone[2];
            loss_sums sums = { 0 }, unread = { 0 };
            loss_gradient(&config, &scale, &(loss_episode){ 4, logprob, behaviour, NULL, NULL, A, 0, 2, NULL },
                          gradient, &sums);
            loss_gradient(&config, &scale, &(loss_episode){ 2, logprob + 2, behaviour + 2, NULL, NULL, A, 0, 0, NULL },
                          alone, &unread);
            assert_memory_equal(gradient + 2, alone, sizeof alone);
            assert_true(sums.tokens == 2 && sums.imitated == 2);
            for (int i = 0; i < 2; i++) {
                const double p = exp((double)logprob[i]);
                const double want[] = { 0, -c, -c * p, -c * p, -c * A * p };
                test_near((double)gradient[i], good ? want[kind] / 10 : 0, 1e-7, "gradient");
            }
        }
}

/* Nothing sampled at all: a demonstration. */
static void a_demonstration_has_finite_gradients_whatever_the_aggregation(void **state)
{
    (void)state;
    const float logprob[] = { -0.5f, -2 };
    const double behaviour[] = { 0, 0 };
    const loss_scale scale = { .tokens = 10, .episodes = 4 };
    for (int sum = AGGREGATE_TOKEN; sum <= AGGREGATE_SEQUENCE_SUM; sum++)
        for (int kind = LOSS_PPO; kind <= LOSS_NFT; kind++) {
            loss_config config = loss_default();
            config.kind = (loss_kind)kind, config.aggregation = (loss_aggregation)sum, config.imitation = IMITATION_SFT;
            config.correction = CORRECTION_GEOMETRIC;
            float gradient[2];
            loss_sums sums = { 0 };
            loss_gradient(&config, &scale, &(loss_episode){ 2, logprob, behaviour, NULL, NULL, 1, 0.5, 2, NULL },
                          gradient, &sums);
            for (int i = 0; i < 2; i++) assert_true(gradient[i] < 0 && isfinite(gradient[i]));
        }
}

/* KL(q || p) of p = (.5, .3, .2) and q = (.4, .4, .2), at a temperature; its gradient by finite differences. */
static void an_anchor_is_the_kl_and_its_gradient(void **state)
{
    (void)state;
    const double p[] = { 0.5, 0.3, 0.2 }, q[] = { 0.4, 0.4, 0.2 }, T = 0.7;
    float z[3], ref[3], dz[3], unread[3];
    for (int v = 0; v < 3; v++) z[v] = (float)(T * log(p[v]) + 3), ref[v] = (float)(T * log(q[v]) - 1);
    double kl = 0;
    for (int v = 0; v < 3; v++) kl += q[v] * log(q[v] / p[v]);
    test_near(loss_anchor(3, z, ref, T, 0.3, dz), kl, 1e-6, "KL");
    for (int v = 0; v < 3; v++) {
        const float was = z[v], h = 1e-3f;
        z[v] = was + h;
        const double above = loss_anchor(3, z, ref, T, 0.3, unread);
        z[v] = was - h;
        const double below = loss_anchor(3, z, ref, T, 0.3, unread);
        z[v] = was;
        test_near((double)dz[v], 0.3 * (above - below) / (2 * (double)h), 1e-4, "gradient");
    }
}

static void what_a_token_has_on_top_is_added_to_its_advantage(void **state)
{
    (void)state;
    const float logprob[] = { -0.5f, -1, -1.5f };
    const double behaviour[] = { -0.6, -1, -1.4 }, credit[] = { 0.5, -2, 0 };
    const loss_scale scale = { .tokens = 3, .episodes = 1 };
    loss_config c = loss_default();
    for (int kind = LOSS_PPO; kind <= LOSS_NFT; kind++) {
        loss_sums sums = { 0 }, unread = { 0 };
        float gradient[3], of_each[3];
        c.kind = (loss_kind)kind;
        loss_gradient(&c, &scale, &(loss_episode){ 3, logprob, behaviour, NULL, NULL, 0.25, 0.5, 0, credit }, gradient,
                      &sums);
        for (int i = 0; i < 3; i++) {
            const loss_episode whole = { 3, logprob, behaviour, NULL, NULL, 0.25 + credit[i], 0.5, 0, NULL };
            loss_gradient(&c, &scale, &whole, of_each, &unread);
            test_near((double)gradient[i], (double)of_each[i], 1e-9, "gradient");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_token_has_on_top_is_added_to_its_advantage),
        cmocka_unit_test(imitated_tokens_are_trained_as_their_kind_says),
        cmocka_unit_test(an_anchor_is_the_kl_and_its_gradient),
        cmocka_unit_test(a_demonstration_has_finite_gradients_whatever_the_aggregation),
        cmocka_unit_test(every_loss_and_its_gradient_are_those_of_float64_autograd),
        cmocka_unit_test(the_clip_is_higher_above_than_below),
        cmocka_unit_test(corrections_match_the_fixture),
        cmocka_unit_test(gspo_takes_the_geometric_mean_of_the_ratios),
        cmocka_unit_test(kl_estimates_have_the_published_mean_and_spread),
        cmocka_unit_test(nft_on_policy_is_grpo),
        cmocka_unit_test(aggregations_weigh_long_and_short_episodes_as_published),
        cmocka_unit_test(equal_logprobs_give_a_ratio_of_exactly_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
