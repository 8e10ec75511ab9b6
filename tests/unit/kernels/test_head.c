/* SPDX-License-Identifier: MIT */
/* The fused LM head and sampling: one log-softmax, whoever asks. */
#include "tests/unit/kernels/bench.h"

enum { T = 9, V = 83, D = 21 };
static const float TEMPERATURE = 0.7f;

typedef struct problem {
    const double *x, *w, *dlogprob;
    const int32_t *targets;
    double cap; /* of the logits; 0: none */
} problem;

/* z [V] of a row; returns logsumexp. */
static double logits64(const double *x, const double *w, double cap, double *z)
{
    double top = -1e300, total = 0;
    for (int v = 0; v < V; v++) {
        z[v] = 0;
        for (int i = 0; i < D; i++) z[v] += x[i] * w[v * D + i];
        if (cap > 0) z[v] = cap * tanh(z[v] / cap);
        z[v] /= (double)TEMPERATURE;
        top = fmax(top, z[v]);
    }
    for (int v = 0; v < V; v++) total += exp(z[v] - top);
    return top + log(total);
}

/* sum(dlogprob * logprob of target) */
static double head64(const problem *p, const double *x, const double *w)
{
    double sum = 0, z[V];
    for (int t = 0; t < T; t++) {
        const double lse = logits64(x + t * D, w, p->cap, z);
        sum += p->dlogprob[t] * (z[p->targets[t]] - lse);
    }
    return sum;
}
static double of_x(void *ctx, const double *x)
{
    const problem *p = ctx;
    return head64(p, x, p->w);
}
static double of_w(void *ctx, const double *w)
{
    const problem *p = ctx;
    return head64(p, p->x, w);
}

static double *wide(bench *b, const float *x, size_t n)
{
    double *y = zeros64(b, n);
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

static void *packed(bench *b, const float *w, int n, int k)
{
    void *p = on_device(b, NULL, b->ops->linear_packed_bytes(b->dev, n, k));
    b->ops->linear_pack(b->dev, put(b, w, (size_t)(n * k)), n, k, p);
    return p;
}

static void check_head(float cap)
{
    bench b = bench_open(2);
    const float *x = random_host(&b, T * D, 1), *w = random_host(&b, V * D, 0.3), *dlogprob = random_host(&b, T, 1);
    int32_t targets[T];
    for (int t = 0; t < T; t++) targets[t] = (int32_t)test_random_below(&b.rnd, V);
    float *dx = put(&b, x, T * D), *dw = put(&b, w, V * D), *logprob = zeros(&b, T), *entropy = zeros(&b, T),
          *lse = zeros(&b, T);
    float *gx = zeros(&b, T * D), *gw = zeros(&b, V * D);
    int32_t *dt = put_ints(&b, targets, T);
    void *panels = packed(&b, w, V, D);
    b.ops->head(b.dev, dx, panels, dt, T, V, D, cap, TEMPERATURE, logprob, entropy, lse, NULL, 0);
    b.ops->head_backward(b.dev, put(&b, dlogprob, T), dx, dw, panels, dt, lse, T, V, D, cap, TEMPERATURE, NULL, 0, gx,
                         gw);
    problem p = { wide(&b, x, T * D), wide(&b, w, V * D), wide(&b, dlogprob, T), targets, (double)cap };
    const float *l = get(&b, logprob, T), *e = get(&b, entropy, T);
    for (int t = 0; t < T; t++) {
        double z[V], h = 0;
        const double sum = logits64(p.x + t * D, p.w, p.cap, z);
        for (int v = 0; v < V; v++) h -= exp(z[v] - sum) * (z[v] - sum);
        test_near((double)l[t], z[targets[t]] - sum, 1e-5, "logprob");
        test_near((double)e[t], h, 1e-4, "entropy");
    }
    near_derivatives(get(&b, gx, T * D), of_x, &p, x, T * D, "dx");
    near_derivatives(get(&b, gw, V * D), of_w, &p, w, V * D, "dw");
    bench_close(&b);
}

static void logprob_entropy_and_gradients(void **state)
{
    (void)state;
    check_head(0);
    check_head(2);
}

/* Logits that were kept and logits made again have the same bits, and backward leaves the kept ones as they are. */
static void check_kept(float cap)
{
    enum { KEPT = T / 2 };
    bench b = bench_open(2);
    const float *x = random_host(&b, T * D, 1), *w = random_host(&b, V * D, 0.3), *dlogprob = random_host(&b, T, 1);
    int32_t targets[T];
    for (int t = 0; t < T; t++) targets[t] = (int32_t)test_random_below(&b.rnd, V);
    float *dx = put(&b, x, T * D), *dw = put(&b, w, V * D), *ds = put(&b, dlogprob, T);
    void *panels = packed(&b, w, V, D);
    const int32_t *dt = put_ints(&b, targets, T);
    static const int kept[] = { 0, KEPT, T };
    const float *logprob[3], *gx[3], *gw[3];
    for (int i = 0; i < 3; i++) {
        float *l = zeros(&b, T), *lse = zeros(&b, T), *z = zeros(&b, T * V), *to_x = zeros(&b, T * D),
              *to_w = zeros(&b, V * D);
        b.ops->head(b.dev, dx, panels, dt, T, V, D, cap, TEMPERATURE, l, NULL, lse, z, kept[i]);
        const float *before = get(&b, z, T * V);
        b.ops->head_backward(b.dev, ds, dx, dw, panels, dt, lse, T, V, D, cap, TEMPERATURE, z, kept[i], to_x, to_w);
        assert_memory_equal(before, get(&b, z, T * V), sizeof(float) * T * V);
        logprob[i] = get(&b, l, T), gx[i] = get(&b, to_x, T * D), gw[i] = get(&b, to_w, V * D);
    }
    assert_memory_equal(logprob[2], logprob[0], sizeof(float) * T);
    assert_memory_equal(gx[2], gx[0], sizeof(float) * T * D);
    assert_memory_equal(gw[2], gw[0], sizeof(float) * V * D);
    for (int i = 0; i < T; i++) test_near((double)logprob[1][i], (double)logprob[0][i], 1e-6, "logprob");
    for (int i = 0; i < T * D; i++) test_near((double)gx[1][i], (double)gx[0][i], 1e-5, "dx");
    for (int i = 0; i < V * D; i++) test_near((double)gw[1][i], (double)gw[0][i], 1e-5, "dw");
    bench_close(&b);
}

static void kept_logits_change_no_bit(void **state)
{
    (void)state;
    check_kept(0);
    check_kept(2);
}

/* Logits as the engine has them: x through the same panels, and the cap. */
static float *logits_on_device(bench *b, const float *x, const float *w, int rows, float cap)
{
    float *z = zeros(b, (size_t)(rows * V));
    b->ops->linear(b->dev, put(b, x, (size_t)(rows * D)), rows, packed(b, w, V, D), NULL, V, D, z);
    if (cap > 0) b->ops->softcap(b->dev, z, cap, (int64_t)rows * V);
    return z;
}

static void check_sampled(float cap)
{
    bench b = bench_open(2);
    const float *x = random_host(&b, T * D, 1), *w = random_host(&b, V * D, 0.3);
    rng_key keys[T];
    uint64_t hi[T], at[T];
    int32_t token[T];
    for (int t = 0; t < T; t++) keys[t] = (rng_key){ 5, (uint64_t)t }, hi[t] = 3, at[t] = (uint64_t)t * 11;
    float *z = logits_on_device(&b, x, w, T, cap), *head = zeros(&b, T), *lse = zeros(&b, T), sampled[T], again[T];
    b.ops->sample(b.dev, z, T, V, TEMPERATURE, 1.0f, keys, hi, at, token, sampled);
    int32_t *dt = put_ints(&b, token, T);
    b.ops->token_logprob(b.dev, z, T, V, TEMPERATURE, token, again);
    b.ops->head(b.dev, put(&b, x, T * D), packed(&b, w, V, D), dt, T, V, D, cap, TEMPERATURE, head, NULL, lse, NULL, 0);
    assert_memory_equal(sampled, again, sizeof(float) * T);
    assert_memory_equal(sampled, get(&b, head, T), sizeof(float) * T);
    bench_close(&b);
}

static void what_sampling_records_is_what_the_head_computes_in_every_bit(void **state)
{
    (void)state;
    check_sampled(0);
    check_sampled(2);
}

static void a_sample_depends_on_its_key_and_not_on_its_batch(void **state)
{
    (void)state;
    bench b = bench_open(2), one = bench_open(1);
    const float *x = random_host(&b, T * D, 1), *w = random_host(&b, V * D, 0.3);
    rng_key keys[T];
    uint64_t hi[T] = { 0 }, at[T];
    int32_t all[T], alone;
    for (int t = 0; t < T; t++) keys[t] = (rng_key){ 9, (uint64_t)t }, at[t] = (uint64_t)t;
    float logprob[T], single;
    b.ops->sample(b.dev, logits_on_device(&b, x, w, T, 0), T, V, TEMPERATURE, 0.9f, keys, hi, at, all, logprob);
    for (int t = 0; t < T; t++) {
        one.ops->sample(one.dev, logits_on_device(&one, x + t * D, w, 1, 0), 1, V, TEMPERATURE, 0.9f, keys + t, hi + t,
                        at + t, &alone, &single);
        assert_int_equal(alone, all[t]);
        same_row(&one, &single, logprob + t, 1, "logprob");
    }
    bench_close(&b);
    bench_close(&one);
}

/* 20000 draws of one distribution: each frequency within five standard deviations. */
static void frequencies_follow_the_probabilities(void **state)
{
    (void)state;
    enum { N = 20000, W = 6 };
    bench b = bench_open(2);
    const float z[W] = { 0, 1, 2, -1, 0.5f, -30 };
    float *rows = host(&b, sizeof(float) * N * W);
    rng_key *keys = host(&b, sizeof(rng_key) * N);
    uint64_t *hi = host(&b, sizeof *hi * N), *at = host(&b, sizeof *at * N);
    int32_t *token = host(&b, sizeof *token * N);
    double total = 0, count[W] = { 0 };
    for (int i = 0; i < N; i++) {
        memcpy(rows + i * W, z, sizeof z);
        keys[i] = (rng_key){ 1, 2 }, at[i] = (uint64_t)i;
    }
    b.ops->sample(b.dev, put(&b, rows, N * W), N, W, 1, 1, keys, hi, at, token, host(&b, sizeof(float) * N));
    for (int i = 0; i < N; i++) count[token[i]]++;
    for (int v = 0; v < W; v++) total += exp((double)z[v]);
    for (int v = 0; v < W; v++) {
        const double p = exp((double)z[v]) / total;
        assert_true(fabs(count[v] - p * N) <= 5 * sqrt(p * N) + 1);
    }
    bench_close(&b);
}

static void temperature_zero_takes_the_largest_and_top_p_cuts_the_tail(void **state)
{
    (void)state;
    enum { N = 400, W = 4 };
    bench b = bench_open(1);
    const float z[W] = { 1, 4, 3.5f, -2 };
    rng_key key = { 1, 1 };
    uint64_t hi = 0, at = 0;
    int32_t token = -1;
    float *row = put(&b, z, W), logprob;
    b.ops->sample(b.dev, row, 1, W, 0, 1, &key, &hi, &at, &token, &logprob);
    assert_int_equal(token, 1);
    for (at = 0; at < N; at++) { /* 1 and 2 have 0.94 of the mass; 1 alone less than 0.9 */
        b.ops->sample(b.dev, row, 1, W, 1, 0.9f, &key, &hi, &at, &token, &logprob);
        assert_true(token == 1 || token == 2);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logprob_entropy_and_gradients),
        cmocka_unit_test(kept_logits_change_no_bit),
        cmocka_unit_test(what_sampling_records_is_what_the_head_computes_in_every_bit),
        cmocka_unit_test(a_sample_depends_on_its_key_and_not_on_its_batch),
        cmocka_unit_test(frequencies_follow_the_probabilities),
        cmocka_unit_test(temperature_zero_takes_the_largest_and_top_p_cuts_the_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
