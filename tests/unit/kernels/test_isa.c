/* SPDX-License-Identifier: MIT */
/* One program holds the CPU's operations once for each instruction set: any of them may meet another in a fleet. */
#include "tests/unit/kernels/bench.h"

enum { M = 67, N = 130, K = 300, T = 40, H = 4, HKV = 2, HD = 24, RESULTS = 2 };

typedef struct results {
    float *product[RESULTS]; /* fp32, bf16: [M, N] */
    float *attention;        /* [T, H, HD] */
} results;

static float *keep(const bench *b, const float *on_dev, size_t n)
{
    float *x = xmalloc(sizeof *x * n);
    device_copy_out(b->dev, x, on_dev, sizeof *x * n);
    return x;
}

static float *product(precision p)
{
    bench b = bench_open(2);
    device_set_precision(b.dev, p);
    const float *x = random_host(&b, M * K, 1), *w = random_host(&b, N * K, 1);
    void *panels = on_device(&b, NULL, b.ops->linear_packed_bytes(b.dev, N, K));
    float *y = zeros(&b, M * N);
    b.ops->linear_pack(b.dev, put(&b, w, N * K), N, K, panels);
    b.ops->linear(b.dev, put(&b, x, M * K), M, panels, NULL, N, K, y);
    float *result = keep(&b, y, M * N);
    bench_close(&b);
    return result;
}

static float *attention(void)
{
    bench b = bench_open(2);
    const int32_t starts[] = { 0, 3, T };
    const float *q = random_host(&b, T * H * HD, 1), *k = random_host(&b, T * HKV * HD, 1),
                *v = random_host(&b, T * HKV * HD, 1);
    float *o = zeros(&b, T * H * HD);
    b.ops->attention(b.dev, put(&b, q, T * H * HD), put(&b, k, T * HKV * HD), put(&b, v, T * HKV * HD),
                     put_ints(&b, starts, 3), NULL, 2, H, HKV, HD, 0, 0, o, zeros(&b, T * H));
    float *result = keep(&b, o, T * H * HD);
    bench_close(&b);
    return result;
}

/* False, and said aloud, where this processor lacks the instruction set. */
static bool on(const char *isa, results *r)
{
    error err = { 0 };
    setenv("TROUPE_ISA", isa, 1);
    device *dev = device_open("cpu", 1, &err);
    if (!dev) print_message("skipped: %s\n", err.text);
    const bool there = dev != NULL;
    device_close(dev);
    if (there) *r = (results){ { product(PRECISION_F32), product(PRECISION_BF16) }, attention() };
    unsetenv("TROUPE_ISA");
    return there;
}

static void forget(results *r) { free(r->product[0]), free(r->product[1]), free(r->attention); }

/* With FMA or without: the last bits may differ, no more. */
static void every_instruction_set_computes_the_same(void **state)
{
    (void)state;
    static const char *const ISAS[] = { "avx2", "avx512", "avx512bf16", "amx" };
    results base, r;
    assert_true(on("base", &base));
    for (size_t i = 0; i < sizeof ISAS / sizeof *ISAS; i++) {
        if (!on(ISAS[i], &r)) continue;
        for (int j = 0; j < M * N; j++) {
            test_near((double)r.product[0][j], (double)base.product[0][j], 1e-4, ISAS[i]);
            test_near((double)r.product[1][j], (double)base.product[1][j], 1e-4, ISAS[i]);
        }
        for (int j = 0; j < T * H * HD; j++)
            test_near((double)r.attention[j], (double)base.attention[j], 1e-5, ISAS[i]);
        forget(&r);
    }
    forget(&base);
}

/* Wherever there is FMA, fp32 has the same bits; and bf16 has AMX's bits everywhere but
 * in avx512_bf16's dot product. */
static void an_actor_and_a_learner_on_other_processors_agree_to_the_bit(void **state)
{
    (void)state;
    static const char *const ISAS[] = { "avx512", "avx512bf16", "amx" };
    results first, base, r;
    if (!on("avx2", &first)) skip();
    assert_true(on("base", &base));
    assert_memory_equal(first.product[1], base.product[1], sizeof(float) * M * N);
    for (size_t i = 0; i < sizeof ISAS / sizeof *ISAS; i++) {
        if (!on(ISAS[i], &r)) continue;
        assert_memory_equal(r.product[0], first.product[0], sizeof(float) * M * N);
        assert_memory_equal(r.attention, first.attention, sizeof(float) * T * H * HD);
        if (strcmp(ISAS[i], "avx512bf16") != 0)
            assert_memory_equal(r.product[1], first.product[1], sizeof(float) * M * N);
        forget(&r);
    }
    forget(&first);
    forget(&base);
}

static void an_unknown_instruction_set_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    setenv("TROUPE_ISA", "mmx", 1);
    assert_null(device_open("cpu", 1, &err));
    unsetenv("TROUPE_ISA");
    assert_non_null(strstr(err.text, "TROUPE_ISA=mmx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_computes_the_same),
        cmocka_unit_test(an_actor_and_a_learner_on_other_processors_agree_to_the_bit),
        cmocka_unit_test(an_unknown_instruction_set_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
