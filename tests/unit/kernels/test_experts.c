/* SPDX-License-Identifier: MIT */
/* The router over experts, and operations on whole rows: forward against float64, backward against differences of
 * it. */
#include "tests/unit/kernels/bench.h"

enum { T = 5, E = 37, CHOSEN = 6, D = 21 };

typedef struct routes {
    const int32_t *chosen; /* [T, CHOSEN] */
    const double *dweight; /* [T, CHOSEN] */
    bool sum_to_one;
} routes;

/* Weights [CHOSEN] of a row's chosen experts. */
static void weights64(const double *z, const int32_t *chosen, bool sum_to_one, double *weight)
{
    double sum = 0, of_chosen = 0;
    for (int e = 0; e < E; e++) sum += exp(z[e]);
    for (int j = 0; j < CHOSEN; j++) of_chosen += weight[j] = exp(z[chosen[j]]) / sum;
    for (int j = 0; sum_to_one && j < CHOSEN; j++) weight[j] /= of_chosen;
}

/* sum(dweight * weight), of the experts that were chosen at first. */
static double routes64(void *ctx, const double *z)
{
    const routes *r = ctx;
    double sum = 0, weight[CHOSEN];
    for (int t = 0; t < T; t++) {
        weights64(z + t * E, r->chosen + t * CHOSEN, r->sum_to_one, weight);
        for (int j = 0; j < CHOSEN; j++) sum += r->dweight[t * CHOSEN + j] * weight[j];
    }
    return sum;
}

/* Row by row: the largest that are left, one by one. */
static void check_choice(const float *z, const int32_t *chosen)
{
    bool taken[E] = { false };
    for (int j = 0; j < CHOSEN; j++) {
        int best = -1;
        for (int e = 0; e < E; e++)
            if (!taken[e] && (best < 0 || z[e] > z[best])) best = e;
        assert_int_equal(chosen[j], best);
        taken[best] = true;
    }
}

static void check_router(bool sum_to_one)
{
    bench b = bench_open(2);
    float *z = random_host(&b, T * E, 1);
    z[3] = z[20] = z[7] = 5; /* a tie */
    int32_t *chosen = on_device(&b, NULL, sizeof *chosen * T * CHOSEN), *choice = host(&b, sizeof *choice * T * CHOSEN);
    float *p = put(&b, z, T * E), *weight = zeros(&b, T * CHOSEN), *dz = zeros(&b, T * E);
    const float *dweight = random_host(&b, T * CHOSEN, 1);
    b.ops->route(b.dev, p, T, E, CHOSEN, sum_to_one, chosen, weight);
    b.ops->route_backward(b.dev, put(&b, dweight, T * CHOSEN), p, chosen, weight, T, E, CHOSEN, sum_to_one, dz);
    device_copy_out(b.dev, choice, chosen, sizeof *choice * T * CHOSEN);

    const float *got = get(&b, weight, T * CHOSEN), *probability = get(&b, p, T * E);
    double *dw = zeros64(&b, T * CHOSEN), want[CHOSEN], row[E];
    for (int i = 0; i < T * CHOSEN; i++) dw[i] = (double)dweight[i];
    for (int t = 0; t < T; t++) {
        double sum = 0;
        check_choice(z + t * E, choice + t * CHOSEN);
        for (int e = 0; e < E; e++) sum += row[e] = (double)z[t * E + e];
        weights64(row, choice + t * CHOSEN, sum_to_one, want);
        for (int j = 0; j < CHOSEN; j++) test_near((double)got[t * CHOSEN + j], want[j], 1e-5, "weight");
        sum = 0;
        for (int e = 0; e < E; e++) sum += (double)probability[t * E + e];
        test_near(sum, 1, 1e-5, "sum of probabilities");
    }
    routes r = { choice, dw, sum_to_one };
    near_derivatives(get(&b, dz, T * E), routes64, &r, z, T * E, "dz");
    bench_close(&b);
}

static void a_router_chooses_the_largest_and_of_equal_ones_the_lower(void **state)
{
    (void)state;
    check_router(true);
    check_router(false);
}

/* Memory is laid out for k different ones: whatever comes out of broken weights, they are. */
static void a_router_chooses_different_experts_whatever_the_logits_are(void **state)
{
    (void)state;
    bench b = bench_open(2);
    float *z = random_host(&b, T * E, 1);
    for (int e = 0; e < E; e++) z[e] = NAN, z[E + e] = -INFINITY, z[2 * E + e] = e % 3 ? NAN : INFINITY;
    for (int e = 0; e < E; e++) z[3 * E + e] = 1e30f;
    int32_t *chosen = on_device(&b, NULL, sizeof *chosen * T * CHOSEN), *choice = host(&b, sizeof *choice * T * CHOSEN);
    b.ops->route(b.dev, put(&b, z, T * E), T, E, CHOSEN, true, chosen, zeros(&b, T * CHOSEN));
    device_copy_out(b.dev, choice, chosen, sizeof *choice * T * CHOSEN);
    for (int t = 0; t < T; t++) {
        bool taken[E] = { false };
        for (int j = 0; j < CHOSEN; j++) {
            const int e = choice[t * CHOSEN + j];
            assert_true(e >= 0 && e < E && !taken[e]);
            taken[e] = true;
        }
    }
    for (int j = 0; j < CHOSEN; j++) assert_int_equal(choice[j], j); /* all NaN: all equal */
    bench_close(&b);
}

static void a_routed_row_has_the_same_bits_in_any_batch(void **state)
{
    (void)state;
    bench b = bench_open(2);
    const float *z = random_host(&b, T * E, 2);
    int32_t *chosen = on_device(&b, NULL, sizeof *chosen * T * CHOSEN);
    float *all = put(&b, z, T * E), *one = put(&b, z + 3 * E, E);
    float *weight = zeros(&b, T * CHOSEN), *alone = zeros(&b, CHOSEN);
    b.ops->route(b.dev, all, T, E, CHOSEN, true, chosen, weight);
    b.ops->route(b.dev, one, 1, E, CHOSEN, true, chosen, alone);
    assert_memory_equal(get(&b, weight, T * CHOSEN) + 3 * CHOSEN, get(&b, alone, CHOSEN), sizeof(float) * CHOSEN);
    assert_memory_equal(get(&b, all, T * E) + 3 * E, get(&b, one, E), sizeof(float) * E);
    bench_close(&b);
}

static void rows_are_weighed_multiplied_and_added_where_they_belong(void **state)
{
    (void)state;
    static const int32_t IDS[T] = { 4, 0, 6, 1, 5 };
    enum { PLACES = 7 };
    bench b = bench_open(2);
    const float *x = random_host(&b, T * D, 1), *y = random_host(&b, T * D, 1), *s = random_host(&b, T, 1);
    const float *to = random_host(&b, PLACES * D, 1);
    float *dx = put(&b, x, T * D), *dots = zeros(&b, T), *sums = put(&b, to, PLACES * D);
    b.ops->dot_rows(b.dev, dx, put(&b, y, T * D), T, D, dots);
    b.ops->add_rows(b.dev, dx, put_ints(&b, IDS, T), T, D, sums);
    b.ops->weigh_rows(b.dev, dx, put(&b, s, T), T, D);
    const float *weighed = get(&b, dx, T * D), *dot = get(&b, dots, T), *added = get(&b, sums, PLACES * D);
    bool touched[PLACES] = { false };
    for (int t = 0; t < T; t++) {
        double want = 0;
        for (int d = 0; d < D; d++) {
            want += (double)x[t * D + d] * (double)y[t * D + d];
            assert_true(weighed[t * D + d] == x[t * D + d] * s[t]);
            assert_true(added[IDS[t] * D + d] == to[IDS[t] * D + d] + x[t * D + d]);
        }
        test_near((double)dot[t], want, 1e-5, "dot");
        touched[IDS[t]] = true;
    }
    for (int i = 0; i < PLACES; i++)
        if (!touched[i]) assert_memory_equal(added + i * D, to + i * D, sizeof(float) * D);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_router_chooses_the_largest_and_of_equal_ones_the_lower),
        cmocka_unit_test(a_router_chooses_different_experts_whatever_the_logits_are),
        cmocka_unit_test(a_routed_row_has_the_same_bits_in_any_batch),
        cmocka_unit_test(rows_are_weighed_multiplied_and_added_where_they_belong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
