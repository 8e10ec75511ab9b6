/* SPDX-License-Identifier: MIT */
/* Operations over flat arrays: memory, AdamW, reductions; and the device itself. */
#include "kernels/sketch.h"
#include "tests/unit/kernels/bench.h"

enum { N = 1003, K = 3 };

static void zero_add_and_scale(void **state)
{
    (void)state;
    bench b = bench_open(2);
    const float *x = random_host(&b, N, 1), *y = random_host(&b, N, 1);
    float *dx = put(&b, x, N), *dy = put(&b, y, N);
    b.ops->add(b.dev, dy, dx, N);
    b.ops->scale(b.dev, dy, 0.5f, N);
    b.ops->zero(b.dev, dx, N - 1);
    const float *sum = get(&b, dy, N), *cleared = get(&b, dx, N);
    for (int i = 0; i < N; i++) assert_true(sum[i] == (x[i] + y[i]) * 0.5f);
    for (int i = 0; i < N - 1; i++) assert_true(cleared[i] == 0);
    assert_true(cleared[N - 1] == x[N - 1]);
    bench_close(&b);
}

static void adamw_follows_its_formula_for_several_steps(void **state)
{
    (void)state;
    const double lr = 1e-2, b1 = 0.9, b2 = 0.95, eps = 1e-8, decay = 0.1, scale = 0.3;
    bench b = bench_open(2);
    const float *w = random_host(&b, N, 1);
    float *dw = put(&b, w, N), *m = zeros(&b, N), *v = zeros(&b, N);
    double *want = zeros64(&b, N), *wm = zeros64(&b, N), *wv = zeros64(&b, N);
    for (int i = 0; i < N; i++) want[i] = (double)w[i];
    for (int step = 1; step <= 4; step++) {
        const float *g = random_host(&b, N, 1);
        b.ops->adamw(b.dev, dw, put(&b, g, N), m, v, N, (float)lr, (float)b1, (float)b2, (float)eps, (float)decay,
                     (float)scale, step);
        for (int i = 0; i < N; i++) {
            const double d = (double)g[i] * scale;
            wm[i] = b1 * wm[i] + (1 - b1) * d;
            wv[i] = b2 * wv[i] + (1 - b2) * d * d;
            want[i] -= lr * (wm[i] / (1 - pow(b1, step)) / (sqrt(wv[i] / (1 - pow(b2, step))) + eps) + decay * want[i]);
        }
    }
    near_all(get(&b, dw, N), want, N, 1e-5, "w");
    bench_close(&b);
}

static void reductions_agree_with_float64_and_with_themselves_on_any_threads(void **state)
{
    (void)state;
    bench b = bench_open(1), two = bench_open(2);
    enum { STRIDE = N + 5 };
    const float *g = random_host(&b, K * STRIDE, 1);
    float *one = put(&b, g, K * STRIDE), *other = put(&two, g, K * STRIDE);
    double want = 0, G[K * K] = { 0 }, G2[K * K] = { 0 };
    for (int i = 0; i < N; i++) want += (double)g[i] * (double)g[i];
    const double got = b.ops->sum_squares(b.dev, one, N);
    test_near(got, want, 1e-9, "sum of squares");
    assert_true(got == two.ops->sum_squares(two.dev, other, N));
    G[0] = G2[0] = 1; /* += */
    b.ops->gram(b.dev, one, K, N, STRIDE, G);
    two.ops->gram(two.dev, other, K, N, STRIDE, G2);
    assert_memory_equal(G, G2, sizeof G);
    for (int a = 0; a < K; a++)
        for (int c = 0; c < K; c++) {
            double sum = a + c == 0 ? 1 : 0;
            for (int i = 0; i < N; i++) sum += (double)g[a * STRIDE + i] * (double)g[c * STRIDE + i];
            test_near(G[a * K + c], sum, 1e-6, "gram");
        }
    bench_close(&b);
    bench_close(&two);
}

/* Against the definition, element by element; and a sketch keeps a vector's length, on average over seeds. */
static void a_sketch_keeps_lengths(void **state)
{
    (void)state;
    enum { LONG = 20011, STRIDE = 20032, ROWS = 3, SEEDS = 60 };
    bench b = bench_open(2);
    const float *g = random_host(&b, ROWS * STRIDE, 1);
    float *dg = put(&b, g, ROWS * STRIDE);
    double ratio = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double out[ROWS * SKETCH_BINS] = { 0 }, want[SKETCH_BINS] = { 0 }, square = 0, length = 0;
        b.ops->sketch(b.dev, dg, ROWS, LONG, STRIDE, seed, out);
        for (int i = 0; i < LONG; i++) {
            const double x = (double)g[2 * STRIDE + i];
            want[i % SKETCH_BINS] += (sketch_signs(seed, i / SKETCH_BINS) >> i % SKETCH_BINS & 1) ? -x : x;
            length += x * x;
        }
        for (int j = 0; j < SKETCH_BINS; j++) {
            test_near(out[2 * SKETCH_BINS + j], want[j], 1e-3, "bin");
            square += want[j] * want[j];
        }
        ratio += square / length / SEEDS;
    }
    test_near(ratio, 1, 0.1, "mean squared length of the sketches"); /* one has a spread of sqrt(2 / 64) */
    bench_close(&b);
}

static void combine_is_a_weighted_sum_that_may_overwrite_its_first_row(void **state)
{
    (void)state;
    bench b = bench_open(2);
    const float *g = random_host(&b, K * N, 1);
    const double w[K] = { 0.5, -2, 0.25 };
    float *dg = put(&b, g, K * N);
    double *want = zeros64(&b, N);
    for (int i = 0; i < N; i++)
        for (int a = 0; a < K; a++) want[i] += w[a] * (double)g[a * N + i];
    b.ops->combine(b.dev, dg, w, K, N, N, dg);
    near_all(get(&b, dg, N), want, N, 1e-5, "combined");
    bench_close(&b);
}

static void a_device_that_is_not_there_is_refused_with_a_sentence(void **state)
{
    (void)state;
    error err = { 0 };
    assert_null(device_open("gpu", 0, &err));
    assert_int_equal(err.code, ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "'gpu'"));
    assert_null(device_open("cuda:99", 0, &err));
    assert_non_null(strstr(err.text, "cuda:99"));
}

static void scratch_is_forgotten_and_used_again(void **state)
{
    (void)state;
    bench b = bench_open(1);
    char *first = device_scratch(b.dev, 1000), *second = device_scratch(b.dev, 10);
    assert_true((uintptr_t)first % 64 == 0 && (uintptr_t)second % 64 == 0);
    assert_true(second >= first + 1000);
    const size_t peak = device_scratch_peak(b.dev);
    assert_true(peak >= 1010);
    for (int i = 0; i < 100; i++) {
        device_scratch_reset(b.dev);
        assert_ptr_equal(device_scratch(b.dev, 1000), first);
    }
    assert_true(device_scratch_peak(b.dev) == peak);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_add_and_scale),
        cmocka_unit_test(adamw_follows_its_formula_for_several_steps),
        cmocka_unit_test(reductions_agree_with_float64_and_with_themselves_on_any_threads),
        cmocka_unit_test(a_sketch_keeps_lengths),
        cmocka_unit_test(combine_is_a_weighted_sum_that_may_overwrite_its_first_row),
        cmocka_unit_test(a_device_that_is_not_there_is_refused_with_a_sentence),
        cmocka_unit_test(scratch_is_forgotten_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
