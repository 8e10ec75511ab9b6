/* SPDX-License-Identifier: MIT */
/* RMSNorm, rotary embedding, SwiGLU: forward against float64, backward against differences of it. */
#include "tests/unit/kernels/bench.h"

enum { T = 5, D = 19, H = 3, HD = 8 };

typedef struct norm {
    const double *x, *w, *dy;
    double plus;
} norm;

/* sum(dy * rmsnorm(x, w)) */
static double norm64(const norm *n, const double *x, const double *w)
{
    double sum = 0;
    for (int t = 0; t < T; t++) {
        double squares = 0;
        for (int i = 0; i < D; i++) squares += x[t * D + i] * x[t * D + i];
        const double r = 1 / sqrt(squares / D + 1e-5);
        for (int i = 0; i < D; i++) sum += n->dy[t * D + i] * x[t * D + i] * r * (n->plus + w[i]);
    }
    return sum;
}
static double norm_of_x(void *ctx, const double *x) { return norm64(ctx, x, ((norm *)ctx)->w); }
static double norm_of_w(void *ctx, const double *w) { return norm64(ctx, ((norm *)ctx)->x, w); }

static double *wide(bench *b, const float *x, size_t n)
{
    double *y = zeros64(b, n);
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

static void check_norm(float plus)
{
    bench b = bench_open(2);
    const float *x = random_host(&b, T * D, 1), *w = random_host(&b, D, 1), *dy = random_host(&b, T * D, 1);
    float *dx_ = put(&b, x, T * D), *dw_ = put(&b, w, D), *y = zeros(&b, T * D), *rstd = zeros(&b, T);
    float *gx = zeros(&b, T * D), *gw = zeros(&b, D);
    norm n = { wide(&b, x, T * D), wide(&b, w, D), wide(&b, dy, T * D), (double)plus };
    b.ops->rmsnorm(b.dev, dx_, dw_, T, D, 1e-5f, plus, y, rstd);
    b.ops->rmsnorm_backward(b.dev, put(&b, dy, T * D), dx_, dw_, rstd, T, D, plus, gx, gw);
    const float *got = get(&b, y, T * D);
    double sum = 0;
    for (int i = 0; i < T * D; i++) sum += (double)got[i] * n.dy[i];
    test_near(sum, norm64(&n, n.x, n.w), 1e-4, "y");
    near_derivatives(get(&b, gx, T * D), norm_of_x, &n, x, T * D, "dx");
    near_derivatives(get(&b, gw, D), norm_of_w, &n, w, D, "dw");
    bench_close(&b);
}

/* With weights as they are, and with what is added to 1. */
static void rmsnorm_and_its_gradients(void **state)
{
    (void)state;
    check_norm(0);
    check_norm(1);
}

/* Weights that have diverged: what can't be computed is not 0, in the row where it is so and there alone. */
static void squares_beyond_fp32_are_not_a_number(void **state)
{
    (void)state;
    bench b = bench_open(2);
    float x[2 * D], w[D];
    for (int i = 0; i < 2 * D; i++) x[i] = 1e18f;
    for (int i = 0; i < D; i++) w[i] = 1;
    x[D + 3] = -1e20f;

    float *y = zeros(&b, 2 * D), *rstd = zeros(&b, 2), *dx = zeros(&b, 2 * D), *dw = zeros(&b, D);
    float *in = put(&b, x, 2 * D), *gain = put(&b, w, D);
    b.ops->rmsnorm(b.dev, in, gain, 2, D, 1e-5f, 0, y, rstd);
    b.ops->rmsnorm_backward(b.dev, gain, in, gain, rstd + 1, 1, D, 0, dx + D, dw);
    const float *got = get(&b, y, 2 * D), *gradient = get(&b, dx, 2 * D);
    for (int i = 0; i < D; i++) {
        test_near((double)got[i], 1, 1e-5, "a row that fits");
        assert_true(isnan(got[D + i]) && isnan(gradient[D + i]));
    }
    bench_close(&b);
}

static void check_turn(rope_turn turn)
{
    bench b = bench_open(2);
    const int n = turn.dims;
    enum { N = T * H * HD };
    float inv_freq[HD / 2];
    const int32_t positions[T] = { 0, 1, 7, 100, 3000 };
    for (int i = 0; i < n / 2; i++) inv_freq[i] = (float)pow(10000, -2.0 * i / n);
    const float *x = random_host(&b, N, 1);
    float *y = put(&b, x, N), *freq = put(&b, inv_freq, (size_t)(n / 2));
    int32_t *at = put_ints(&b, positions, T);
    float *cos_sin = zeros(&b, (size_t)(T * n));
    b.ops->rope_table(b.dev, at, freq, T, n, cos_sin);
    b.ops->rope(b.dev, y, cos_sin, T, H, HD, turn);
    const float *turned = get(&b, y, N);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++) {
            const int head = (t * H + h) * HD;
            for (int i = 0; i < n / 2; i++) {
                const int a = head + (turn.neighbours ? 2 * i : i), c = a + (turn.neighbours ? 1 : n / 2);
                const double angle = positions[t] * (double)inv_freq[i];
                test_near((double)turned[a], (double)x[a] * cos(angle) - (double)x[c] * sin(angle), 5e-4, "first half");
                test_near((double)turned[c], (double)x[c] * cos(angle) + (double)x[a] * sin(angle), 5e-4,
                          "second half");
            }
            for (int i = n; i < HD; i++) assert_true(turned[head + i] == x[head + i]);
        }
    b.ops->rope_backward(b.dev, y, cos_sin, T, H, HD, turn);
    const float *back = get(&b, y, N);
    for (int i = 0; i < N; i++) test_near((double)back[i], (double)x[i], 1e-5, "turned back");
    bench_close(&b);
}

/* All of a head or its first dimensions, in halves or side by side. */
static void rotary_embedding_turns_pairs_and_backward_turns_back(void **state)
{
    (void)state;
    check_turn((rope_turn){ .dims = HD });
    check_turn((rope_turn){ .dims = HD - 2 });
    check_turn((rope_turn){ .dims = HD / 2, .neighbours = true });
}

typedef struct glu {
    const double *gate, *up, *dy;
    size_t n;
    bool gelu;
} glu;

static double gate64(const glu *g, double x)
{
    if (g->gelu) return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    return x / (1 + exp(-x));
}

static double glu64(const glu *g, const double *gate, const double *up)
{
    double sum = 0;
    for (size_t i = 0; i < g->n; i++) sum += g->dy[i] * gate64(g, gate[i]) * up[i];
    return sum;
}
static double glu_of_gate(void *ctx, const double *x) { return glu64(ctx, x, ((glu *)ctx)->up); }
static double glu_of_up(void *ctx, const double *x) { return glu64(ctx, ((glu *)ctx)->gate, x); }

static void check_glu(bool gelu)
{
    enum { N = 83 };
    bench b = bench_open(2);
    const float *gate = random_host(&b, N, 3), *up = random_host(&b, N, 1), *dy = random_host(&b, N, 1);
    float *dg = put(&b, gate, N), *du = put(&b, up, N), *y = zeros(&b, N), *ggate = zeros(&b, N), *gup = zeros(&b, N);
    glu g = { wide(&b, gate, N), wide(&b, up, N), wide(&b, dy, N), N, gelu };
    (gelu ? b.ops->geglu : b.ops->swiglu)(b.dev, dg, du, N, y);
    (gelu ? b.ops->geglu_backward : b.ops->swiglu_backward)(b.dev, put(&b, dy, N), dg, du, N, ggate, gup);
    const float *got = get(&b, y, N);
    for (int i = 0; i < N; i++) test_near((double)got[i], gate64(&g, g.gate[i]) * g.up[i], 1e-5, "y");
    near_derivatives(get(&b, ggate, N), glu_of_gate, &g, gate, N, "dgate");
    near_derivatives(get(&b, gup, N), glu_of_up, &g, up, N, "dup");
    bench_close(&b);
}

static void swiglu_and_geglu_and_their_gradients(void **state)
{
    (void)state;
    check_glu(false);
    check_glu(true);
}

/* exp would overflow long before the function does. */
static void swiglu_has_no_overflow(void **state)
{
    (void)state;
    bench b = bench_open(1);
    const float gate[4] = { -200, 200, -1e30f, 1e30f }, up[4] = { 1, 1, 1, 1 };
    float *y = zeros(&b, 4);
    b.ops->swiglu(b.dev, put(&b, gate, 4), put(&b, up, 4), 4, y);
    const float *got = get(&b, y, 4);
    test_near((double)got[0], 0, 1e-6, "far left");
    test_near((double)got[1], 200, 1e-3, "far right");
    test_near((double)got[2], 0, 1e-6, "end of the left");
    assert_true(got[3] == 1e30f);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_and_its_gradients),
        cmocka_unit_test(squares_beyond_fp32_are_not_a_number),
        cmocka_unit_test(rotary_embedding_turns_pairs_and_backward_turns_back),
        cmocka_unit_test(swiglu_and_geglu_and_their_gradients),
        cmocka_unit_test(swiglu_has_no_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
