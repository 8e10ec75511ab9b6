/* SPDX-License-Identifier: MIT */
/* What methods promise, on matrices that make it hard: a gradient that dominates, stationary sets, duplicates, ranks
 * that are missing, any scale. Products and lengths are those of the gradients themselves, not of the Gram matrix that
 * the methods see. */
#include "learner/moo/moo.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_D = 32, MATRICES = 3000 };

typedef enum kind {
    PLAIN,
    DOMINATING,
    STATIONARY,
    DUPLICATES,
    DEPENDENT,
    SCALED,
    NEARLY_OPPOSITE,
    AGREEING,
    N_KINDS
} kind;

static const char *const KIND_NAMES[N_KINDS] = { "plain",     "dominating", "stationary",      "duplicates",
                                                 "dependent", "scaled",     "nearly opposite", "agreeing" };

typedef struct problem {
    kind kind;
    uint64_t seed;
    int K, d;
    double J[MOO_MAX][MAX_D], G[MOO_MAX * MOO_MAX];
} problem;

static double dot(const double *a, const double *b, int n)
{
    long double sum = 0;
    for (int i = 0; i < n; i++) sum += (long double)a[i] * b[i];
    return (double)sum;
}

static double norm(const double *a, int n) { return sqrt(dot(a, a, n)); }

static void scale_row(problem *p, int i, double by)
{
    for (int n = 0; n < p->d; n++) p->J[i][n] *= by;
}

/* Minus a positive mixture of the others (STATIONARY), or any mixture. */
static void mix_last(problem *p, rng_key key)
{
    double *last = p->J[p->K - 1];
    memset(last, 0, sizeof p->J[0]);
    for (int i = 0; i + 1 < p->K; i++) {
        const double u = rng_uniform(key, 50, (uint64_t)i), share = p->kind == STATIONARY ? -0.1 - u : 2 * u - 1;
        for (int n = 0; n < p->d; n++) last[n] += share * p->J[i][n];
    }
}

static void bend(problem *p, rng_key key)
{
    if (p->kind == STATIONARY || p->kind == DEPENDENT) mix_last(p, key);
    if (p->kind == DUPLICATES)
        for (int i = 1; i < p->K; i += 2)
            for (int n = 0; n < p->d; n++) p->J[i][n] = p->J[i - 1][n] * (i % 4 == 1 ? 1 : 0.25);
    if (p->kind == NEARLY_OPPOSITE) /* as far apart as 1e-1 .. 1e-5 */
        for (int n = 0; n < p->d; n++)
            p->J[1][n] = -p->J[0][n] + pow(10, -1 - 4 * rng_uniform(key, 60, 0)) * p->J[1][n];
    if (p->kind == AGREEING) /* all have a part along the first axis */
        for (int i = 0; i < p->K; i++) p->J[i][0] = 0.3 * norm(p->J[i], p->d) + fabs(p->J[i][0]);
    for (int i = 0; i < p->K; i++) {
        if (p->kind == DOMINATING || p->kind == AGREEING || (p->kind == STATIONARY && p->seed % 2))
            scale_row(p, i, pow(10, 24 * rng_uniform(key, 70, (uint64_t)i) - 12));
        if (p->kind == SCALED) scale_row(p, i, pow(10, 24 * rng_uniform(key, 70, 0) - 12));
    }
}

static problem problem_of(kind of, uint64_t seed)
{
    const rng_key key = { seed, 40 + (uint64_t)of };
    problem p = { .kind = of, .seed = seed, .K = 2 + (int)(seed % 5), .d = 2 + (int)(seed / 5 % 12) };
    if (of == STATIONARY || of == DEPENDENT) p.K = p.K < 3 ? 3 : p.K;
    for (int i = 0; i < p.K; i++)
        for (int n = 0; n < p.d; n++) p.J[i][n] = rng_normal(key, 1 + (uint64_t)i, (uint64_t)n);
    bend(&p, key);
    for (int i = 0; i < p.K; i++)
        for (int j = 0; j < p.K; j++) p.G[i * p.K + j] = dot(p.J[i], p.J[j], p.d);
    return p;
}

static void direction(const problem *p, const double *w, double *d)
{
    for (int n = 0; n < p->d; n++) {
        long double sum = 0;
        for (int i = 0; i < p->K; i++) sum += (long double)w[i] * p->J[i][n];
        d[n] = (double)sum;
    }
}

static void solve(const moo_config *c, const problem *p, double *w)
{
    error err = { 0 };
    if (moo_solve(c, p->G, p->K, NULL, (rng_key){ p->seed, 1 }, NULL, w, &err) != OK)
        fail_msg("%s, %s matrix %ju: %s", moo_method_name(c->method), KIND_NAMES[p->kind], (uintmax_t)p->seed,
                 err.text);
}

typedef void (*promise)(const moo_config *c, const problem *p, const double *w, const double *d);

static void on_all_kinds(moo_method method, promise holds)
{
    const moo_config c = moo_default(method);
    for (int k = 0; k < N_KINDS; k++)
        for (uint64_t seed = 1; seed <= MATRICES; seed++) {
            const problem p = problem_of((kind)k, seed);
            double w[MOO_MAX], d[MAX_D];
            solve(&c, &p, w);
            direction(&p, w, d);
            holds(&c, &p, w, d);
        }
}

/* ---- no objective is harmed ---- */

static void harms_nobody(const moo_config *c, const problem *p, const double *w, const double *d)
{
    (void)w;
    const double length = norm(d, p->d);
    for (int i = 0; i < p->K; i++) {
        const double along = dot(p->J[i], d, p->d), max = norm(p->J[i], p->d) * length;
        if (along < -1e-8 * max)
            fail_msg("%s, %s matrix %ju, K %d: objective %d is opposed, cosine %g", moo_method_name(c->method),
                     KIND_NAMES[p->kind], (uintmax_t)p->seed, p->K, i, along / max);
    }
    if (p->kind == AGREEING && !(length > 0))
        fail_msg("%s, matrix %ju: all agree, but it stands still", moo_method_name(c->method), (uintmax_t)p->seed);
}

/* Of the hull, and no point of the hull is nearer to 0: <g_i, d> >= ||d||^2. */
static void is_the_hulls_nearest(const moo_config *c, const problem *p, const double *w, const double *d)
{
    double sum = 0;
    harms_nobody(c, p, w, d);
    for (int i = 0; i < p->K; i++) sum += w[i], assert_true(w[i] >= 0);
    if (norm(d, p->d) == 0) return;
    if (fabs(sum - 1) > 1e-12) fail_msg("%s %ju: sum of weights %g", KIND_NAMES[p->kind], (uintmax_t)p->seed, sum);
    for (int i = 0; i < p->K; i++) {
        const double along = dot(p->J[i], d, p->d), square = dot(d, d, p->d);
        if (along < square - 1e-6 * norm(d, p->d) * norm(p->J[i], p->d))
            fail_msg("%s matrix %ju: <g_%d, d> is %g, ||d||^2 %g", KIND_NAMES[p->kind], (uintmax_t)p->seed, i, along,
                     square);
    }
}

static void mgda_is_the_nearest_point_and_opposes_nobody(void **state)
{
    (void)state;
    on_all_kinds(MOO_MGDA, is_the_hulls_nearest);
}

static void mgda_of_unit_gradients_opposes_nobody(void **state)
{
    (void)state;
    on_all_kinds(MOO_MGDA_NORM, harms_nobody);
}

static void upgrad_and_dualproj_oppose_nobody(void **state)
{
    (void)state;
    on_all_kinds(MOO_UPGRAD, harms_nobody);
    on_all_kinds(MOO_DUALPROJ, harms_nobody);
}

/* The nearest of all that oppose no gradient: what was added to the average is a positive mixture of gradients that the
 * result stands upright on. */
static void nearest_to_the_average(const moo_config *c, const problem *p, const double *w, const double *d)
{
    (void)c;
    const double length = norm(d, p->d);
    double largest = 0;
    for (int i = 0; i < p->K; i++) largest = fmax(largest, w[i] * norm(p->J[i], p->d));
    for (int i = 0; length > 0 && i < p->K; i++) {
        const double added = w[i] - 1.0 / p->K, own = norm(p->J[i], p->d), along = dot(p->J[i], d, p->d);
        if (added < -1e-9) fail_msg("%s matrix %ju: weight %g", KIND_NAMES[p->kind], (uintmax_t)p->seed, w[i]);
        if (added * own > 1e-6 * largest && along > 1e-6 * own * length)
            fail_msg("%s matrix %ju: %g of gradient %d was added, at cosine %g", KIND_NAMES[p->kind],
                     (uintmax_t)p->seed, added, i, along / (own * length));
    }
}

static void dualproj_is_the_nearest_to_the_average(void **state)
{
    (void)state;
    on_all_kinds(MOO_DUALPROJ, nearest_to_the_average);
}

/* ---- the others ---- */

static void stays_in_its_ball(const moo_config *c, const problem *p, const double *w, const double *d)
{
    (void)w;
    double g0[MAX_D], off[MAX_D], equal[MOO_MAX], longest = 0;
    for (int i = 0; i < p->K; i++) equal[i] = 1.0 / p->K, longest = fmax(longest, norm(p->J[i], p->d));
    direction(p, equal, g0);
    for (int n = 0; n < p->d; n++) off[n] = (1 + c->c * c->c) * d[n] - g0[n];
    if (norm(off, p->d) > c->c * norm(g0, p->d) * (1 + 1e-9) + 1e-14 * longest)
        fail_msg("%s matrix %ju: %g from the average, whose length is %g", KIND_NAMES[p->kind], (uintmax_t)p->seed,
                 norm(off, p->d), norm(g0, p->d));
    double min = INFINITY, before = INFINITY;
    for (int i = 0; i < p->K; i++) {
        min = fmin(min, (1 + c->c * c->c) * dot(p->J[i], d, p->d));
        before = fmin(before, dot(p->J[i], g0, p->d));
    }
    if (min < before - 1e-7 * fabs(before) - 1e-13 * longest * norm(g0, p->d))
        fail_msg("%s matrix %ju: the worst product is %g, the average's was %g", KIND_NAMES[p->kind],
                 (uintmax_t)p->seed, min, before);
}

static void cagrad_stays_in_its_ball_and_helps_the_worst(void **state)
{
    (void)state;
    on_all_kinds(MOO_CAGRAD, stays_in_its_ball);
}

/* (1, 0), (-1, 0), (0, 1): no d helps all, the average harms none. */
static void cagrad_goes_on_where_it_may(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_CAGRAD);
    const problem p = { .K = 3, .d = 2, .J = { { 1, 0 }, { -1, 0 }, { 0, 1 } }, .G = { 1, -1, 0, -1, 1, 0, 0, 0, 1 } };
    double w[MOO_MAX], d[MAX_D];
    solve(&c, &p, w);
    direction(&p, w, d);
    assert_true(fabs(d[0]) < 1e-12 && fabs(d[1] - 1 / 3.0 / 1.25) < 1e-12);
}

/* Units don't matter: gradients times a number give the direction times that number. */
static void directions_have_the_gradients_unit(void **state)
{
    (void)state;
    static const moo_method METHODS[] = { MOO_SUM,    MOO_PREF,   MOO_MGDA,    MOO_MGDA_NORM, MOO_PCGRAD,  MOO_GRADVAC,
                                          MOO_CAGRAD, MOO_IMTL_G, MOO_ALIGNED, MOO_UPGRAD,    MOO_DUALPROJ };
    for (size_t m = 0; m < sizeof METHODS / sizeof *METHODS; m++)
        for (uint64_t seed = 1; seed <= 200; seed++)
            for (int power = -15; power <= 15; power += 5) {
                const moo_config c = moo_default(METHODS[m]);
                const problem p = problem_of(seed % 2 ? PLAIN : NEARLY_OPPOSITE, seed);
                problem scaled = p;
                double w[MOO_MAX], other[MOO_MAX], max = 0;
                const double unit = ldexp(1, 3 * power); /* exact */
                for (int i = 0; i < p.K * p.K; i++) scaled.G[i] *= unit * unit;
                solve(&c, &p, w);
                solve(&c, &scaled, other);
                for (int i = 0; i < p.K; i++) max = fmax(max, fabs(w[i]));
                for (int i = 0; i < p.K; i++)
                    if (fabs(w[i] - other[i]) > 1e-9 * max)
                        fail_msg("%s, matrix %ju, unit %g: weight %g, then %g", moo_method_name(c.method),
                                 (uintmax_t)seed, unit, w[i], other[i]);
            }
}

static void weights_are_finite_whatever_the_lengths(void **state)
{
    (void)state;
    static const double LENGTHS[] = { 1e-150, 1e-30, 1e-12, 1, 1e12, 1e30, 1e150 };
    enum { N = sizeof LENGTHS / sizeof *LENGTHS };
    for (int m = 0; m < N_MOO_METHODS; m++)
        for (int a = 0; a < N; a++)
            for (int b = 0; b < N; b++)
                for (int cosine = -4; cosine <= 4; cosine++) {
                    const moo_config c = moo_default((moo_method)m);
                    const double product = LENGTHS[a] * LENGTHS[b] * cosine / 4;
                    const double G[4] = { LENGTHS[a] * LENGTHS[a], product, product, LENGTHS[b] * LENGTHS[b] };
                    double w[2];
                    error err = { 0 };
                    const int rc = moo_solve(&c, G, 2, NULL, (rng_key){ 1, 1 }, NULL, w, &err);
                    assert_true(rc == OK ? isfinite(w[0]) && isfinite(w[1]) : strstr(err.text, "weight") != NULL);
                }
}

/* Sixty steps of one gradient twice, and then two that have nothing in common: the running cosine is 1, which no finite
 * vaccine reaches. */
static void gradvac_stays_bounded_after_equal_pairs(void **state)
{
    (void)state;
    const moo_config c = moo_default(MOO_GRADVAC);
    const double equal[4] = { 4, 4, 4, 4 };
    for (int cosine = -4; cosine <= 4; cosine++) {
        moo_state memory = { 0 };
        error err = { 0 };
        const double then[4] = { 4, cosine, cosine, 4 };
        double w[2];
        for (int step = 0; step < 60; step++)
            assert_int_equal(moo_solve(&c, equal, 2, NULL, (rng_key){ 1, 1 }, &memory, w, &err), OK);
        assert_int_equal(moo_solve(&c, then, 2, NULL, (rng_key){ 1, 1 }, &memory, w, &err), OK);
        assert_true(fabs(w[0]) <= 11 && fabs(w[1]) <= 11);
    }
    moo_state memory = { 0 };
    double G[64], w[8];
    error err = { 0 };
    for (int i = 0; i < 64; i++) G[i] = 1;
    for (int step = 0; step < 60; step++)
        assert_int_equal(moo_solve(&c, G, 8, NULL, (rng_key){ 1, 1 }, &memory, w, &err), OK);
    for (int i = 0; i < 64; i++) G[i] = i % 9 == 0;
    assert_int_equal(moo_solve(&c, G, 8, NULL, (rng_key){ 1, 1 }, &memory, w, &err), OK);
    for (int i = 0; i < 8; i++) assert_true(fabs(w[i]) <= 80); /* each of eight at most ten times as long */
}

/* ---- what is refused ---- */

static void what_is_no_gram_matrix_is_refused(void **state)
{
    (void)state;
    static const struct {
        int K;
        double G[9];
        const char *says;
    } CASES[] = {
        { 2, { 1, 0.5, 0.2, 1 }, "of objectives 1 and 0 is 0.2, of 0 and 1 it is 0.5" },
        { 2, { 1, 3, 3, 1 }, "more than their gradients' lengths" },
        { 2, { -1, 0, 0, 1 }, "objective 0's gradient with itself is -1" },
        { 2, { 0, 1, 1, 1 }, "more than their gradients' lengths" },
        { 3, { 1, -0.9, -0.9, -0.9, 1, -0.9, -0.9, -0.9, 1 }, "not a Gram matrix" },
        { 2, { 1, INFINITY, INFINITY, 1 }, "is inf" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (int m = 0; m < N_MOO_METHODS; m++) {
            const moo_config c = moo_default((moo_method)m);
            double w[3];
            error err = { 0 };
            assert_int_equal(moo_solve(&c, CASES[i].G, CASES[i].K, NULL, (rng_key){ 1, 1 }, NULL, w, &err), ERR_STATE);
            if (!strstr(err.text, CASES[i].says)) fail_msg("%s", err.text);
        }
}

static void preferences_of_less_than_nothing_are_refused(void **state)
{
    (void)state;
    moo_config c = moo_default(MOO_CAGRAD);
    const double G[4] = { 1, 0, 0, 1 };
    double w[2];
    error err = { 0 };
    c.pref[0] = 1, c.pref[1] = -1;
    assert_int_equal(moo_solve(&c, G, 2, NULL, (rng_key){ 1, 1 }, NULL, w, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "objective 1 is -1"));
}

static void a_preference_of_zero_has_no_say(void **state)
{
    (void)state;
    for (int m = 0; m < N_MOO_METHODS; m++)
        for (uint64_t seed = 1; seed <= 100; seed++) {
            const problem p = problem_of(PLAIN, seed * 5 + 1); /* three objectives */
            moo_config c = moo_default((moo_method)m);
            double w[3], pair[2];
            error err = { 0 };
            c.natural_order = true;
            c.pref[0] = 1, c.pref[2] = 0.5;
            solve(&c, &p, w);
            const double G[4] = { p.G[0], p.G[2], p.G[6], p.G[8] };
            c.pref[1] = 0.5, c.pref[2] = 0;
            assert_int_equal(moo_solve(&c, G, 2, NULL, (rng_key){ seed, 1 }, NULL, pair, &err), OK);
            if (w[0] != pair[0] || w[1] != 0 || w[2] != pair[1]) fail_msg("%s", moo_method_name(c.method));
        }
}

/* 1e308 twice is infinity, and each one's share of that is 0. */
static void preferences_count_by_their_shares(void **state)
{
    (void)state;
    for (int m = 0; m < N_MOO_METHODS; m++)
        for (uint64_t seed = 1; seed <= 50; seed++) {
            const problem p = problem_of(PLAIN, seed * 5 + 1); /* three objectives */
            moo_config c = moo_default((moo_method)m);
            double w[3], huge[3];
            c.natural_order = true;
            c.pref[0] = 1, c.pref[1] = 0.5, c.pref[2] = 1;
            solve(&c, &p, w);
            for (int i = 0; i < 3; i++) c.pref[i] *= 0x1p1023;
            solve(&c, &p, huge);
            for (int i = 0; i < 3; i++)
                if (fabs(w[i] - huge[i]) > 1e-9 * (1 + fabs(w[i])))
                    fail_msg("%s, matrix %ju: weight %g, with huge preferences %g", moo_method_name(c.method),
                             (uintmax_t)seed, w[i], huge[i]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mgda_is_the_nearest_point_and_opposes_nobody),
        cmocka_unit_test(mgda_of_unit_gradients_opposes_nobody),
        cmocka_unit_test(upgrad_and_dualproj_oppose_nobody),
        cmocka_unit_test(dualproj_is_the_nearest_to_the_average),
        cmocka_unit_test(cagrad_stays_in_its_ball_and_helps_the_worst),
        cmocka_unit_test(cagrad_goes_on_where_it_may),
        cmocka_unit_test(directions_have_the_gradients_unit),
        cmocka_unit_test(weights_are_finite_whatever_the_lengths),
        cmocka_unit_test(gradvac_stays_bounded_after_equal_pairs),
        cmocka_unit_test(what_is_no_gram_matrix_is_refused),
        cmocka_unit_test(preferences_of_less_than_nothing_are_refused),
        cmocka_unit_test(a_preference_of_zero_has_no_say),
        cmocka_unit_test(preferences_count_by_their_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
