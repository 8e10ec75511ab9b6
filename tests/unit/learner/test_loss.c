#include "learner/loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_near(double value, double expected, double tolerance)
{
    if (fabs(value - expected) > tolerance) fail_msg("expected %.9g, found %.9g", expected, value);
}

/* The loss as a function of the logprob, for finite differences. */
static double value_at(const loss_config *c, const loss_scale *scale, loss_token t, double logprob)
{
    loss_sums sums = { 0 };
    t.logprob = logprob;
    loss_gradient(c, scale, &t, &sums);
    return sums.loss;
}

static void the_slope_is_the_derivative_of_the_value(void **state)
{
    (void)state;
    const loss_scale scale = { .tokens = 7, .episodes = 2 };
    const double behaviours[] = { -1.0, -1.15, -1.6, -0.7 }, advantages[] = { 1.3, -0.8 };
    for (int aggregation = 0; aggregation < 3; aggregation++)
        for (int b = 0; b < 4; b++)
            for (int s = 0; s < 2; s++) {
                loss_config c = loss_default();
                c.correction = CORRECTION_NONE;
                c.aggregation = (loss_aggregation)aggregation;
                c.kl = 0.3;
                const loss_token t = { .logprob = -1.05,
                                       .behaviour = behaviours[b],
                                       .reference = -1.4,
                                       .advantage = advantages[s],
                                       .sequence_tokens = 5 };
                loss_sums sums = { 0 };
                const double slope = loss_gradient(&c, &scale, &t, &sums), h = 1e-6;
                const double fd = (value_at(&c, &scale, t, -1.05 + h) - value_at(&c, &scale, t, -1.05 - h)) / (2 * h);
                assert_near(slope, fd, 1e-8);
            }
}

static void the_clip_is_higher_above_than_below(void **state)
{
    (void)state;
    loss_config c = loss_default();
    c.correction = CORRECTION_NONE;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    loss_sums sums = { 0 };
    const loss_token up_inside = { .logprob = log(1.27), .advantage = 1 },
                     up_outside = { .logprob = log(1.29), .advantage = 1 };
    const loss_token down_inside = { .logprob = log(0.81), .advantage = -1 },
                     down_outside = { .logprob = log(0.79), .advantage = -1 };
    assert_near(loss_gradient(&c, &scale, &up_inside, &sums), -1.27, 1e-12);
    assert_near(loss_gradient(&c, &scale, &up_outside, &sums), 0, 0);
    assert_near(loss_gradient(&c, &scale, &down_inside, &sums), 0.81, 1e-12);
    assert_near(loss_gradient(&c, &scale, &down_outside, &sums), 0, 0);
    assert_near(sums.clipped_high, 1, 0);
    assert_near(sums.clipped_low, 1, 0);
}

/* Fixture: policy (.5,.3,.2), behaviour (.2,.3,.5), reward (1,0,0), baseline .5: with C = 2 the expected gradient in
 * the logits is (.225,-.135,-.09), against the true (.25,-.15,-.10). */
static void truncated_importance_weights_match_the_fixture(void **state)
{
    (void)state;
    const double p[3] = { .5, .3, .2 }, mu[3] = { .2, .3, .5 }, expected[3] = { .225, -.135, -.09 };
    const loss_config c = loss_default();
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    double logits[3] = { 0 };
    for (int a = 0; a < 3; a++) {
        loss_sums sums = { 0 };
        const loss_token t = { .logprob = log(p[a]), .behaviour = log(mu[a]), .advantage = (a == 0) - .5 };
        const double slope = loss_gradient(&c, &scale, &t, &sums);
        for (int j = 0; j < 3; j++) logits[j] -= mu[a] * slope * ((a == j) - p[j]);
    }
    for (int j = 0; j < 3; j++) assert_near(logits[j], expected[j], 1e-12);
}

static void aggregations_weigh_long_and_short_episodes_as_published(void **state)
{
    (void)state; /* lengths 2 and 8: per token .25 and .0625 by sequence, .1 by token */
    loss_config c = loss_default();
    const loss_scale scale = { .tokens = 10, .episodes = 2 };
    loss_sums sums = { 0 };
    const loss_token of_short = { .advantage = -1, .sequence_tokens = 2 },
                     of_long = { .advantage = -1, .sequence_tokens = 8 };
    assert_near(loss_gradient(&c, &scale, &of_short, &sums), .1, 1e-12);
    assert_near(loss_gradient(&c, &scale, &of_long, &sums), .1, 1e-12);
    c.aggregation = AGGREGATE_SEQUENCE;
    assert_near(loss_gradient(&c, &scale, &of_short, &sums), .25, 1e-12);
    assert_near(loss_gradient(&c, &scale, &of_long, &sums), .0625, 1e-12);
}

static void equal_logprobs_give_a_ratio_of_exactly_one(void **state)
{
    (void)state;
    loss_config c = loss_default();
    c.correction = CORRECTION_NONE;
    const loss_scale scale = { .tokens = 1, .episodes = 1 };
    loss_sums sums = { 0 };
    const loss_token t = { .logprob = -3.7123, .behaviour = -3.7123, .advantage = 2 };
    assert_true(loss_gradient(&c, &scale, &t, &sums) == -2.0);
    assert_true(sums.ratio == 1.0 && sums.gap_max == 0.0 && sums.differing == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slope_is_the_derivative_of_the_value),
        cmocka_unit_test(the_clip_is_higher_above_than_below),
        cmocka_unit_test(truncated_importance_weights_match_the_fixture),
        cmocka_unit_test(aggregations_weigh_long_and_short_episodes_as_published),
        cmocka_unit_test(equal_logprobs_give_a_ratio_of_exactly_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
