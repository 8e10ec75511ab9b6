/* SPDX-License-Identifier: MIT */
#include "learner/moo/moo.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "learner/moo/matrix.h"
#include "learner/moo/simplex_qp.h"

static const rng_key KEY = { 7, 1 };

static void near_to(double value, double expected, double tolerance, const char *what)
{
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: expected %.9g, found %.9g", what, expected, value);
}

static void solve(const moo_config *c, const double *G, int K, double *w)
{
    error err = { 0 };
    if (moo_solve(c, G, K, NULL, KEY, NULL, w, &err) != OK) fail_msg("%s", err.text);
}

/* The Gram matrix of K random gradients of d dimensions, whose lengths differ by up to a factor of a hundred. */
static void random_gram(uint64_t seed, int K, int d, double *G)
{
    double J[MOO_MAX][64];
    const rng_key key = { seed, 3 };
    for (int i = 0; i < K; i++) {
        const double length = pow(10, 2 * rng_uniform(key, 1, (uint64_t)i) - 1);
        for (int n = 0; n < d; n++) J[i][n] = length * rng_normal(key, 2 + (uint64_t)i, (uint64_t)n);
    }
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            G[i * K + j] = 0;
            for (int n = 0; n < d; n++) G[i * K + j] += J[i][n] * J[j][n];
        }
}

/* ---- the published rules' weights on three matrices ---- */

typedef struct fixture {
    moo_method method;
    double w[3][3];
} fixture;

static const double GRAMS[3][9] = { { 10, -6, -6, 10 }, { 1, -2, -2, 9 }, { 4, -2, 1, -2, 9, -3, 1, -3, 16 } };
static const int SIZES[3] = { 2, 2, 3 };

static const fixture FIXTURES[] = {
    { MOO_MGDA, { { .5, .5 }, { .785714, .214286 }, { .533113, .337748, .129139 } } },
    { MOO_PCGRAD, { { 1.6, 1.6 }, { 3, 1.222222 }, { 1.5, 1.555556, 1.15625 } } },
    { MOO_CAGRAD, { { .6, .6 }, { .889898, .4 }, { .568899, .407278, .266667 } } },
    { MOO_IMTL_G, { { .5, .5 }, { .75, .25 }, { .440051, .366071, .193878 } } },
    { MOO_NASH, { { .5, .5 }, { 1.732051, .57735 }, { .587707, .462784, .276269 } } },
    { MOO_FAIRGRAD, { { .39685, .39685 }, { 1.855572, .560731 }, { .48961, .355874, .182448 } } },
    { MOO_ALIGNED, { { .5, .5 }, { .565248, .223607 }, { .353714, .277818, .169573 } } },
    { MOO_UPGRAD, { { .8, .8 }, { 1.5, .611111 }, { .486772, .518519, .386243 } } },
};

static void every_rule_gives_its_fixtures_weights(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof FIXTURES / sizeof *FIXTURES; f++) {
        moo_config c = moo_default(FIXTURES[f].method);
        c.natural_order = true;
        c.max_norm = 0;
        for (int g = 0; g < 3; g++) {
            double w[3];
            solve(&c, GRAMS[g], SIZES[g], w);
            for (int i = 0; i < SIZES[g]; i++)
                near_to(w[i], FIXTURES[f].w[g][i], 1e-5, moo_method_name(FIXTURES[f].method));
        }
    }
}

/* ---- what each rule promises, on random matrices, of full rank and not ---- */

typedef void (*promise)(const moo_config *c, const double *G, int K, const double *w);

static void on_random_matrices(moo_method method, promise holds, int min_dimensions)
{
    moo_config c = moo_default(method);
    c.max_norm = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        const int K = 2 + (int)(seed % 7), d = min_dimensions + (int)(seed / 7 % 24);
        double G[MOO_MAX * MOO_MAX], w[MOO_MAX];
        random_gram(seed, K, d < 1 ? 1 : d, G);
        solve(&c, G, K, w);
        holds(&c, G, K, w);
    }
}

/* <g_i, d> >= ||d||^2 for all i, on the simplex: that is the point of least norm and no other. Where it is 0, as of
 * more gradients than dimensions, so are the weights. */
static void min_norm(const moo_config *c, const double *G, int K, const double *w)
{
    (void)c;
    double products[MOO_MAX], sum = 0, largest = 0;
    const double square = matrix_form(G, K, w, w);
    matrix_times(G, K, w, products);
    if (square == 0) return;
    for (int i = 0; i < K; i++) sum += w[i], largest = fmax(largest, G[i * K + i]);
    near_to(sum, 1, 1e-12, "sum of weights");
    for (int i = 0; i < K; i++) {
        assert_true(w[i] >= 0);
        if (products[i] < square - 1e-8 * largest) fail_msg("K %d: product %g below %g", K, products[i], square);
    }
}

static void mgda_is_the_shortest_convex_combination(void **state)
{
    (void)state;
    on_random_matrices(MOO_MGDA, min_norm, 1);
}

static void equal_projections(const moo_config *c, const double *G, int K, const double *w)
{
    (void)c;
    double products[MOO_MAX], scale = 0;
    matrix_times(G, K, w, products);
    for (int i = 0; i < K; i++) scale = fmax(scale, fabs(w[i]) * sqrt(G[i * K + i]));
    for (int i = 1; i < K; i++)
        near_to(products[i] / sqrt(G[i * K + i]), products[0] / sqrt(G[0]), 1e-6 * scale, "projection");
}

static void imtl_g_projects_equally_on_every_gradient(void **state)
{
    (void)state;
    on_random_matrices(MOO_IMTL_G, equal_projections, 12);
}

static void fair_shares(const moo_config *c, const double *G, int K, const double *w)
{
    double products[MOO_MAX];
    const double alpha = c->method == MOO_NASH ? 1 : c->alpha;
    matrix_times(G, K, w, products);
    for (int i = 0; i < K; i++) {
        assert_true(w[i] > 0);
        near_to(products[i] / pow(w[i], -1 / alpha), 1, 1e-5, "share");
    }
}

static void nash_and_fairgrad_share_as_their_equations_say(void **state)
{
    (void)state;
    on_random_matrices(MOO_NASH, fair_shares, 12);
    on_random_matrices(MOO_FAIRGRAD, fair_shares, 12);
}

static double trace_of(const double *G, int K)
{
    double sum = 0;
    for (int i = 0; i < K; i++) sum += G[i * K + i];
    return sum;
}

static void no_conflict(const moo_config *c, const double *G, int K, const double *w)
{
    double products[MOO_MAX];
    const double ridge = c->ridge * trace_of(G, K); /* what it may cost: ridge w */
    matrix_times(G, K, w, products);
    for (int i = 0; i < K; i++)
        if (products[i] < -1.01 * ridge * fmax(w[i], 1)) fail_msg("K %d: product %g", K, products[i]);
}

static void upgrad_and_dualproj_never_oppose_a_gradient(void **state)
{
    (void)state;
    on_random_matrices(MOO_UPGRAD, no_conflict, 1);
    on_random_matrices(MOO_DUALPROJ, no_conflict, 1);
}

/* The unscaled d lies on the ball around the average, and no other point of it has a better worst product: its dual's
 * value, <g_w, g0> + c ||g0|| ||g_w||, equals the least <g_i, d>. */
static void on_the_ball_and_best(const moo_config *c, const double *G, int K, const double *w)
{
    double mean[MOO_MAX], off[MOO_MAX], products[MOO_MAX], min = INFINITY, largest = 0, dual = 0;
    bool none = true;
    for (int i = 0; i < K; i++) mean[i] = 1.0 / K, none &= w[i] == 0, largest = fmax(largest, G[i * K + i]);
    if (none) return; /* Pareto-stationary */
    double unscaled[MOO_MAX], simplex[MOO_MAX], sum = 0;
    for (int i = 0; i < K; i++) unscaled[i] = w[i] * (1 + c->c * c->c), off[i] = unscaled[i] - mean[i], sum += off[i];
    for (int i = 0; i < K; i++) simplex[i] = off[i] / sum;
    const double radius = c->c * moo_norm(G, K, mean);
    near_to(moo_norm(G, K, off), radius, 1e-6 * sqrt(largest), "distance from the average");
    matrix_times(G, K, unscaled, products);
    for (int i = 0; i < K; i++) min = fmin(min, products[i]);
    dual = matrix_form(G, K, simplex, mean) + radius * moo_norm(G, K, simplex);
    near_to(min, dual, 1e-5 * largest, "duality gap");
}

static void cagrad_is_the_best_of_its_ball(void **state)
{
    (void)state;
    on_random_matrices(MOO_CAGRAD, on_the_ball_and_best, 1);
}

static void cagrad_without_radius_is_the_average(void **state)
{
    (void)state;
    moo_config c = moo_default(MOO_CAGRAD);
    double w[3];
    c.c = 0;
    solve(&c, GRAMS[2], 3, w);
    for (int i = 0; i < 3; i++) near_to(w[i], 1.0 / 3, 1e-15, "weight");
}

/* ---- rules with memory or chance ---- */

static void gradvac_remembers_a_pairs_cosine(void **state)
{
    (void)state;
    moo_config c = moo_default(MOO_GRADVAC);
    moo_state memory = { 0 };
    error err = { 0 };
    double first[2], second[2];
    const double G[4] = { 4, 3, 3, 9 }; /* cosine .5: above the goal of 0, later below none */
    assert_int_equal(moo_solve(&c, G, 2, NULL, KEY, &memory, first, &err), OK);
    near_to(first[0], 1, 1e-12, "no vaccine at first");
    near_to(memory.phi[1], .25, 1e-7, "half of the cosine");
    const double opposed[4] = { 4, -3, -3, 9 };
    assert_int_equal(moo_solve(&c, opposed, 2, NULL, KEY, &memory, second, &err), OK);
    /* g_0 is lifted to cosine .25 with g_1: w = 2 (.25 sqrt .75 + .5 sqrt .9375) / (3 sqrt .9375) */
    near_to(second[1] - 1, 2 * (.25 * sqrt(.75) + .5 * sqrt(.9375)) / (3 * sqrt(.9375)), 1e-7, "vaccine");
    near_to(memory.phi[1], -.125, 1e-7, "the running cosine");
}

static void pcgrads_order_is_drawn_from_the_key_alone(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_PCGRAD);
    double a[MOO_MAX], b[MOO_MAX], G[MOO_MAX * MOO_MAX];
    error err = { 0 };
    int differing = 0;
    random_gram(11, 6, 4, G);
    for (uint64_t stream = 1; stream <= 10; stream++) {
        assert_int_equal(moo_solve(&c, G, 6, NULL, (rng_key){ 1, stream }, NULL, a, &err), OK);
        assert_int_equal(moo_solve(&c, G, 6, NULL, (rng_key){ 1, stream }, NULL, b, &err), OK);
        assert_memory_equal(a, b, sizeof(double) * 6);
        assert_int_equal(moo_solve(&c, G, 6, NULL, (rng_key){ 2, stream }, NULL, b, &err), OK);
        differing += memcmp(a, b, sizeof(double) * 6) != 0;
    }
    assert_true(differing > 5);
}

/* ---- degenerate input has a defined answer ---- */

static void a_zero_gradient_has_no_weight_and_no_say(void **state)
{
    (void)state;
    const double with[9] = { 1, 0, -2, 0, 0, 0, -2, 0, 9 };
    for (int m = 0; m < N_MOO_METHODS; m++) {
        moo_config c = moo_default((moo_method)m);
        double w[3], pair[2], zeros[4] = { 0 };
        c.natural_order = true;
        solve(&c, with, 3, w);
        solve(&c, GRAMS[1], 2, pair);
        near_to(w[0], pair[0], 0, moo_method_name(c.method));
        near_to(w[1], 0, 0, moo_method_name(c.method));
        near_to(w[2], pair[1], 0, moo_method_name(c.method));
        solve(&c, zeros, 2, pair);
        near_to(pair[0], 0, 0, "all gradients zero");
    }
}

static void equal_opposite_and_parallel_gradients_give_finite_weights(void **state)
{
    (void)state;
    const double cases[3][4] = { { 4, 4, 4, 4 }, { 4, -4, -4, 4 }, { 1, 10, 10, 100 } };
    for (int m = 0; m < N_MOO_METHODS; m++)
        for (int g = 0; g < 3; g++) {
            const moo_config c = moo_default((moo_method)m);
            double w[2];
            solve(&c, cases[g], 2, w);
            assert_true(isfinite(w[0]) && isfinite(w[1]));
            const bool stops = m == MOO_MGDA || m == MOO_PCGRAD || m == MOO_UPGRAD || m == MOO_DUALPROJ ||
                               m == MOO_CAGRAD || m == MOO_NASH || m == MOO_FAIRGRAD;
            if (g == 1 && stops && moo_norm(cases[g], 2, w) > 1e-3)
                fail_msg("%s: opposite gradients, but d has length %g", moo_method_name(c.method),
                         moo_norm(cases[g], 2, w));
        }
}

static void infinite_and_nan_gradients_are_refused_by_number(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_CAGRAD);
    const double bad[4] = { 1, 0, 0, NAN };
    double w[2];
    error err = { 0 };
    assert_int_equal(moo_solve(&c, bad, 2, NULL, KEY, NULL, w, &err), ERR_STATE);
    assert_string_equal(err.text, "the product of the gradients of objectives 1 and 1 is nan");
}

static void an_inactive_objective_is_left_out(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_MGDA);
    const bool active[3] = { true, false, true };
    double w[3];
    error err = { 0 };
    assert_int_equal(moo_solve(&c, GRAMS[2], 3, active, KEY, NULL, w, &err), OK);
    near_to(w[1], 0, 0, "the one left out");
    near_to(w[0], 15.0 / 18, 1e-9, "of (4, 1; 1, 16)");
}

/* ---- what bucketing does to common descent ---- */

/* d = the least-norm point of each bucket, end to end: still <g_i, d> >= ||d||^2,
 * and never longer than the global one. */
static void common_descent_survives_bucketing_and_never_lengthens_the_step(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_MGDA);
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        const int K = 2 + (int)(seed % 4), buckets = 1 + (int)(seed % 8);
        double whole[MOO_MAX * MOO_MAX] = { 0 }, with[MOO_MAX] = { 0 }, w[MOO_MAX], square = 0, largest = 0;
        for (int b = 0; b < buckets; b++) {
            double G[MOO_MAX * MOO_MAX], products[MOO_MAX];
            random_gram(seed * 8 + (uint64_t)b, K, 3, G);
            solve(&c, G, K, w);
            matrix_times(G, K, w, products);
            square += matrix_form(G, K, w, w);
            for (int i = 0; i < K; i++) with[i] += products[i];
            for (int i = 0; i < K * K; i++) whole[i] += G[i], largest = fmax(largest, whole[i]);
        }
        solve(&c, whole, K, w);
        for (int i = 0; i < K; i++) assert_true(with[i] >= square - 1e-8 * largest);
        assert_true(square <= matrix_form(whole, K, w, w) + 1e-8 * largest);
    }
}

/* How much shorter, on average over Gaussian gradients of 24 numbers: docs/moo.md prints these. */
static void finer_buckets_and_more_objectives_shorten_the_step(void **state)
{
    (void)state;
    enum { D = 24, CASES = 2000 };
    static const int OBJECTIVES[2] = { 2, 4 }, BUCKETS[3] = { 2, 4, 8 };
    static const double WANT[2][3] = { { .976, .935, .848 }, { .929, .791, .556 } };
    const moo_config c = moo_default(MOO_MGDA);
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 3; n++) {
            const int K = OBJECTIVES[m], size = D / BUCKETS[n];
            double ratio = 0;
            for (int s = 0; s < CASES; s++) {
                double g[4][D], whole[16] = { 0 }, w[4], square = 0;
                for (int i = 0; i < K * D; i++)
                    g[i / D][i % D] = rng_normal((rng_key){ 77, (uint64_t)s }, (uint64_t)K, (uint64_t)i);
                for (int b = 0; b < BUCKETS[n]; b++) {
                    double G[16] = { 0 };
                    for (int e = 0; e < K * K; e++)
                        for (int i = b * size; i < (b + 1) * size; i++) G[e] += g[e / K][i] * g[e % K][i];
                    for (int e = 0; e < K * K; e++) whole[e] += G[e];
                    solve(&c, G, K, w);
                    square += matrix_form(G, K, w, w);
                }
                solve(&c, whole, K, w);
                ratio += sqrt(fmax(0, square) / matrix_form(whole, K, w, w)) / CASES;
            }
            near_to(ratio, WANT[m][n], 0.012, "mean length of bucket MGDA's step beside the global one's");
        }
}

/* g = (1, 3) and (-3, -1): each coordinate by itself is stuck, the whole is not. Bucket stationarity is the weaker. */
static void a_bucket_can_be_stuck_where_the_whole_is_not(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_MGDA);
    const double first[4] = { 1, -3, -3, 9 }, second[4] = { 9, -3, -3, 1 }, whole[4] = { 10, -6, -6, 10 };
    double w[2];
    solve(&c, first, 2, w);
    near_to(w[0] * 1 + w[1] * -3, 0, 1e-6, "first coordinate");
    solve(&c, second, 2, w);
    near_to(w[0] * 3 + w[1] * -1, 0, 1e-6, "second coordinate");
    solve(&c, whole, 2, w);
    near_to(w[0] * 1 + w[1] * -3, -1, 1e-9, "first coordinate of the whole");
    near_to(w[0] * 3 + w[1] * -1, 1, 1e-9, "second");
}

/* ---- the chain problem: f1 = a^2 + b^2, f2 = (b - 1)^2 + (c - 1)^2. Pareto: a = 0, c = 1, b in [0, 1] ---- */

typedef enum chain_way { GLOBAL, BY_VARIABLE, BY_VARIABLE_WITHOUT_EXCLUSION } chain_way;

static void chain_direction(chain_way way, const double *x, double *d)
{
    const moo_config c = moo_default(MOO_MGDA);
    const double g[2][3] = { { 2 * x[0], 2 * x[1], 0 }, { 0, 2 * (x[1] - 1), 2 * (x[2] - 1) } };
    double G[4], w[2];
    for (int n = 0; n < 3; n++) {
        for (int i = 0; i < 4; i++) {
            G[i] = 0;
            for (int k = way == GLOBAL ? 0 : n; k < (way == GLOBAL ? 3 : n + 1); k++) G[i] += g[i / 2][k] * g[i % 2][k];
        }
        solve(&c, G, 2, w);
        /* Without the exclusion, a gradient of zero is the shortest vector of its bucket. */
        if (way == BY_VARIABLE_WITHOUT_EXCLUSION && (G[0] == 0 || G[3] == 0)) w[0] = G[0] == 0, w[1] = G[0] != 0;
        d[n] = w[0] * g[0][n] + w[1] * g[1][n];
    }
}

static double stuck_share(chain_way way)
{
    enum { STARTS = 2000, STEPS = 4000 };
    int stuck = 0;
    for (int s = 0; s < STARTS; s++) {
        double x[3], d[3];
        for (int n = 0; n < 3; n++) x[n] = 3 * rng_uniform((rng_key){ 5, 5 }, (uint64_t)s, (uint64_t)n) - 1;
        for (int step = 0; step < STEPS; step++) {
            chain_direction(way, x, d);
            if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < 1e-16) break;
            for (int n = 0; n < 3; n++) x[n] -= 0.05 * d[n];
        }
        const bool pareto = fabs(x[0]) < 1e-2 && fabs(x[2] - 1) < 1e-2 && x[1] > -1e-2 && x[1] < 1 + 1e-2;
        stuck += !pareto;
    }
    return (double)stuck / STARTS;
}

static void the_chain_problem_is_stuck_as_often_as_measured(void **state)
{
    (void)state;
    near_to(stuck_share(GLOBAL), 0.744, 0.03, "stuck globally");
    near_to(stuck_share(BY_VARIABLE), 0, 0, "stuck by variable");
    near_to(stuck_share(BY_VARIABLE_WITHOUT_EXCLUSION), 1, 0, "stuck by variable, zero gradients included");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_gives_its_fixtures_weights),
        cmocka_unit_test(mgda_is_the_shortest_convex_combination),
        cmocka_unit_test(imtl_g_projects_equally_on_every_gradient),
        cmocka_unit_test(nash_and_fairgrad_share_as_their_equations_say),
        cmocka_unit_test(upgrad_and_dualproj_never_oppose_a_gradient),
        cmocka_unit_test(cagrad_is_the_best_of_its_ball),
        cmocka_unit_test(cagrad_without_radius_is_the_average),
        cmocka_unit_test(gradvac_remembers_a_pairs_cosine),
        cmocka_unit_test(pcgrads_order_is_drawn_from_the_key_alone),
        cmocka_unit_test(a_zero_gradient_has_no_weight_and_no_say),
        cmocka_unit_test(equal_opposite_and_parallel_gradients_give_finite_weights),
        cmocka_unit_test(infinite_and_nan_gradients_are_refused_by_number),
        cmocka_unit_test(an_inactive_objective_is_left_out),
        cmocka_unit_test(common_descent_survives_bucketing_and_never_lengthens_the_step),
        cmocka_unit_test(finer_buckets_and_more_objectives_shorten_the_step),
        cmocka_unit_test(a_bucket_can_be_stuck_where_the_whole_is_not),
        cmocka_unit_test(the_chain_problem_is_stuck_as_often_as_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
