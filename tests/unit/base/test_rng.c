/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>
#include <string.h>

#include "tests/support/support.h"

static uint64_t pair(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

/* Random123's known-answer file (kat_vectors), philox4x32 10: counter words, key words, result words. */
static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t ctr[4], key[2], want[4];
    } vectors[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const uint32_t *c = vectors[i].ctr, *k = vectors[i].key;
        uint32_t out[4];
        rng_philox((rng_key){ pair(k[0], k[1]), 0 }, pair(c[2], c[3]), pair(c[0], c[1]), out);
        assert_memory_equal(out, vectors[i].want, sizeof out);
    }
}

static void seed_stream_and_both_counters_all_matter(void **state)
{
    (void)state;
    uint32_t base[4], other[4];
    rng_philox((rng_key){ 1, 2 }, 3, 4, base);
    const rng_key keys[] = { { 2, 2 }, { 1, 3 }, { 2, 1 }, { 1, 0 } };
    for (int i = 0; i < 4; i++) {
        rng_philox(keys[i], 3, 4, other);
        assert_memory_not_equal(base, other, sizeof base);
    }
    rng_philox((rng_key){ 1, 2 }, 4, 4, other);
    assert_memory_not_equal(base, other, sizeof base);
    rng_philox((rng_key){ 1, 2 }, 3, 5, other);
    assert_memory_not_equal(base, other, sizeof base);
    rng_philox((rng_key){ 1, 2 }, 3, 4, other);
    assert_memory_equal(base, other, sizeof base);
}

static void uniforms_fill_the_unit_interval_evenly(void **state)
{
    (void)state;
    enum { N = 100000, BINS = 20 };
    int count[BINS] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform((rng_key){ 7, 1 }, 0, i);
        assert_true(u >= 0 && u < 1);
        count[(int)(u * BINS)]++;
    }
    double chi2 = 0, expected = (double)N / BINS;
    for (int i = 0; i < BINS; i++) chi2 += (count[i] - expected) * (count[i] - expected) / expected;
    if (chi2 > 43.8) fail_msg("chi-squared with 19 degrees of freedom: %g (0.999 quantile 43.8)", chi2);
}

static void below_stays_below_and_reaches_everything(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 17; n++) {
        int count[17] = { 0 };
        for (uint64_t i = 0; i < 400 * n; i++) {
            uint64_t x = rng_below((rng_key){ 3, n }, 9, i, n);
            assert_true(x < n);
            count[x]++;
        }
        for (uint64_t x = 0; x < n; x++) assert_in_range(count[x], 300, n == 1 ? 400 : 500);
    }
    assert_true(rng_below((rng_key){ 1, 1 }, 1, 1, UINT64_MAX) > UINT32_MAX);
}

static void normals_have_mean_zero_and_variance_one(void **state)
{
    (void)state;
    enum { N = 100000 };
    double sum = 0, squares = 0, fourth = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = rng_normal((rng_key){ 11, 5 }, 2, i);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    test_near(sum / N, 0, 0.015, "mean");
    test_near(squares / N, 1, 0.02, "variance");
    test_near(fourth / N, 3, 0.05, "kurtosis");
}

static void a_permutation_holds_everything_once_and_depends_on_its_key(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= 200; n++) {
        uint64_t order[201], again[201];
        int seen[201] = { 0 };
        rng_permutation((rng_key){ 5, 6 }, order, n);
        rng_permutation((rng_key){ 5, 6 }, again, n);
        assert_memory_equal(order, again, n * sizeof *order);
        for (uint64_t i = 0; i < n; i++) seen[order[i]]++;
        for (uint64_t i = 0; i < n; i++) assert_int_equal(seen[i], 1);
        rng_permutation((rng_key){ 5, 7 }, again, n);
        if (n > 10) assert_memory_not_equal(order, again, n * sizeof *order);
    }
}

static void all_permutations_are_about_equally_likely(void **state)
{
    (void)state;
    int count[6] = { 0 };
    for (uint64_t seed = 0; seed < 6000; seed++) {
        uint64_t o[3];
        rng_permutation((rng_key){ seed, 1 }, o, 3);
        count[2 * o[0] + (o[1] > o[2])]++;
    }
    for (int i = 0; i < 6; i++) assert_in_range(count[i], 880, 1120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(seed_stream_and_both_counters_all_matter),
        cmocka_unit_test(uniforms_fill_the_unit_interval_evenly),
        cmocka_unit_test(below_stays_below_and_reaches_everything),
        cmocka_unit_test(normals_have_mean_zero_and_variance_one),
        cmocka_unit_test(a_permutation_holds_everything_once_and_depends_on_its_key),
        cmocka_unit_test(all_permutations_are_about_equally_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
