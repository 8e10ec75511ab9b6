/* SPDX-License-Identifier: MIT */
#include "rollout/signal.h"

#include <math.h>

#include "base/rng.h"
#include "tests/support/support.h"

enum { MAX_PARTS = 64 };

/* The same reward, reached by sums in many orders: at every scale it is the same. */
static void equal_rewards_are_equal_however_they_were_added_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        const rng_key key = { seed, 1 };
        const double scale = pow(10, 18 * rng_uniform(key, 0, 0) - 6);
        double parts[MAX_PARTS], r[MAX_PARTS];
        for (int i = 0; i < MAX_PARTS; i++) parts[i] = scale * (rng_uniform(key, 1, (uint64_t)i) - 0.3);
        for (int n = 0; n < MAX_PARTS; n++) {
            uint64_t order[MAX_PARTS];
            for (int i = 0; i < MAX_PARTS; i++) order[i] = (uint64_t)i;
            rng_permutation((rng_key){ seed, 2 + (uint64_t)n }, order, MAX_PARTS);
            r[n] = 0;
            for (int i = 0; i < MAX_PARTS; i++) r[n] += parts[order[i]];
        }
        /* 24 of one value: their mean, which is not always the value, is no other reward */
        double mean = 0;
        for (int i = 0; i < 24; i++) mean += r[0] / 24;
        if (signal_among(r, MAX_PARTS)) fail_msg("seed %ju: sums of the same parts differ", (uintmax_t)seed);
        if (signal_between(r[0], mean) != 0) fail_msg("seed %ju: a value differs from its mean", (uintmax_t)seed);
    }
    const double cancelled[3] = { 0.1 + 0.2 - 0.3, 0, 0.3 - 0.1 - 0.2 };
    assert_true(cancelled[0] != 0 && !signal_among(cancelled, 3) && !signal_right(cancelled[0]));
}

static void rewards_that_differ_do_at_any_scale(void **state)
{
    (void)state;
    for (int k = -9; k <= 12; k++) {
        const double scale = pow(10, k);
        assert_true(signal_among((double[]){ scale, 2 * scale }, 2));
        assert_true(signal_between(scale, 0) == scale && signal_between(0, scale) == -scale);
    }
    assert_true(signal_among((double[]){ 0.1, 0.1 + 1e-9 }, 2)); /* small, and meant */
    assert_true(signal_among((double[]){ 1000, 1000.0001 }, 2));
    assert_false(signal_among((double[]){ 1000, 1000 + 1e-10 }, 2));
    assert_true(signal_among((double[]){ 1e300, -1e300 }, 2));
}

static void logprobs_are_equal_up_to_a_float_s_rounding(void **state)
{
    (void)state;
    assert_true(signal_between_logprobs(-3, -3 + 5e-7) == 0 && signal_between_logprobs(-3, -3 + 1e-5) < 0);
    assert_true(signal_between_logprobs(-30, -30.00002) == 0 && signal_between_logprobs(-1e-9, 0) == 0);
    assert_true(signal_between_logprobs(-1, -2) == 1);
}

static void missing_rewards_are_not_looked_at(void **state)
{
    (void)state;
    assert_false(signal_among((double[]){ NAN, 1, NAN, 1 }, 4));
    assert_true(signal_among((double[]){ NAN, 1, NAN, 0 }, 4));
    assert_false(signal_among((double[]){ NAN, NAN }, 2));
    assert_false(signal_among(NULL, 0));
    assert_false(signal_right(NAN));
    assert_true(signal_right(1e-9) && !signal_right(0) && !signal_right(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_rewards_are_equal_however_they_were_added_up),
        cmocka_unit_test(rewards_that_differ_do_at_any_scale),
        cmocka_unit_test(logprobs_are_equal_up_to_a_float_s_rounding),
        cmocka_unit_test(missing_rewards_are_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
