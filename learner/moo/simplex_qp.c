/* SPDX-License-Identifier: MIT */
#include "learner/moo/simplex_qp.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/moo.h"

/* A thousand roundings: enough for Cholesky, little enough that a few proximal steps undo it. */
static const double RIDGE = 1e-13;
enum { PROXIMAL_STEPS = 8 };

typedef struct qp {
    const double *H, *a; /* H with the ridge */
    double b[MOO_MAX];
    int K;
    bool free[MOO_MAX];
    bool refused[MOO_MAX]; /* let in since x last moved, and thrown out at once: by rounding it only seemed to help */
    double x[MOO_MAX];
} qp;

static double in_sum(const qp *q, int i) { return q->a ? q->a[i] : 0; }

/* The free variable that gives the sum a'x = 1 what the others leave of it: the one of the largest a, so that no digit
 * is lost however far apart the a are. -1: there is no sum. */
static int remainder_of(const qp *q)
{
    int rest = -1;
    for (int i = 0; q->a && i < q->K; i++)
        if (q->free[i] && (rest < 0 || q->a[i] > q->a[rest])) rest = i;
    return rest;
}

/* The minimum over the free variables' subspace -> z; false where the system is singular. With a sum, the variable
 * `rest` is 1 / a_rest - sum r_i x_i, r_i = a_i / a_rest: that leaves a system of the others. */
static bool subspace(const qp *q, double *z)
{
    double A[MOO_MAX * MOO_MAX] = { 0 }, minus_b[MOO_MAX] = { 0 }, u[MOO_MAX], r[MOO_MAX] = { 0 };
    int index[MOO_MAX], n = 0;
    const int rest = remainder_of(q), K = q->K;
    const double *H = q->H;
    for (int i = 0; i < K; i++)
        if (q->free[i] && i != rest) {
            index[n] = i;
            r[n++] = rest < 0 ? 0 : q->a[i] / q->a[rest];
        }

    /* H of the others, with what x_rest takes from and adds to it. */
    for (int i = 0; i < n; i++) {
        const int row = index[i];
        minus_b[i] = -q->b[row];
        for (int j = 0; j < n; j++) A[i * n + j] = H[row * K + index[j]];
        if (rest < 0) continue;
        const double of_rest = H[row * K + rest] - r[i] * H[rest * K + rest];
        minus_b[i] += r[i] * q->b[rest] - of_rest / q->a[rest];
        for (int j = 0; j < n; j++) A[i * n + j] -= r[i] * H[rest * K + index[j]] + r[j] * of_rest;
    }

    memset(z, 0, sizeof *z * (size_t)K);
    if (!matrix_solve(A, n, minus_b, u)) return false;
    if (rest >= 0) z[rest] = 1 / q->a[rest];
    for (int i = 0; i < n; i++) {
        z[index[i]] = u[i];
        if (rest >= 0) z[rest] -= r[i] * u[i];
    }
    return true;
}

/* From x towards z as far as nothing turns negative; what meets zero is held there. True when z was reached. */
static bool advance(qp *q, const double *z)
{
    double step = 1;
    int first = -1;
    for (int i = 0; i < q->K; i++)
        if (q->free[i] && z[i] <= 0 && q->x[i] / (q->x[i] - z[i]) <= step) {
            step = q->x[i] / (q->x[i] - z[i]);
            first = i;
        }

    for (int i = 0; i < q->K; i++)
        if (q->free[i]) q->x[i] += step * (z[i] - q->x[i]);
    if (first < 0) return true;
    q->x[first] = 0;
    q->free[first] = false;
    return false;
}

/* The multiplier of a'x = 1: what the free variables' gradients have in common, r_i = nu a_i. */
static double multiplier(const qp *q, const double *gradient)
{
    double along = 0, square = 0;
    for (int i = 0; i < q->K; i++)
        if (q->free[i]) {
            along += in_sum(q, i) * gradient[i];
            square += in_sum(q, i) * in_sum(q, i);
        }
    return square > 0 ? along / square : 0;
}

/* The held variable that would lower the objective most, by more than its own sum's rounding; -1: none, this is the
 * minimum. */
static int wants_in(const qp *q)
{
    double gradient[MOO_MAX], rounding[MOO_MAX], min = 0;
    int best = -1;

    /* H x + b, and beside it the sum of what was added: how far rounding may have moved it. */
    for (int i = 0; i < q->K; i++) {
        gradient[i] = q->b[i];
        rounding[i] = fabs(q->b[i]);
        for (int j = 0; j < q->K; j++) {
            const double part = q->H[i * q->K + j] * q->x[j];
            gradient[i] += part;
            rounding[i] += fabs(part);
        }
    }

    const double nu = multiplier(q, gradient);
    for (int i = 0; i < q->K; i++) {
        const double gain = gradient[i] - nu * in_sum(q, i);
        const double noise = 4 * DBL_EPSILON * q->K * (rounding[i] + fabs(nu * in_sum(q, i)));
        const bool held = !q->free[i] && !q->refused[i];
        if (held && gain < min && gain < -noise) {
            min = gain;
            best = i;
        }
    }
    return best;
}

/* With a sum to keep, the best point with one variable. */
static void start(qp *q)
{
    int best = 0;
    double min = INFINITY;
    if (!q->a) return; /* without a sum x = 0 is a start */

    for (int i = 0; i < q->K; i++) {
        const double x = 1 / q->a[i], value = (q->H[i * q->K + i] * x / 2 + q->b[i]) * x; /* x'Hx/2 + b'x */
        if (value < min) {
            min = value;
            best = i;
        }
    }
    q->x[best] = 1 / q->a[best];
    q->free[best] = true;
}

/* From x and its free variables, as start or the minimum of another b has left them. */
static void minimise(qp *q)
{
    enum { TURNS_EACH = 32 }; /* finite in exact arithmetic; rounding may make it circle between equal points */
    double z[MOO_MAX];
    while (subspace(q, z) && !advance(q, z)) {
    }

    /* One held variable after the other is let in, until none would lower the objective. */
    memset(q->refused, 0, sizeof q->refused);
    for (int turn = 0, in; turn < TURNS_EACH * q->K && (in = wants_in(q)) >= 0; turn++) {
        q->free[in] = true;
        while (subspace(q, z) && !advance(q, z)) {
        }
        if (q->x[in] > 0) {
            memset(q->refused, 0, sizeof q->refused);
        } else {
            q->free[in] = false;
            q->refused[in] = true;
        }
    }
}

void qp_solve(const double *H, const double *b, const double *a, int K, double *x)
{
    double ridged[MOO_MAX * MOO_MAX];
    qp q = { .H = ridged, .a = a, .K = K };
    for (int i = 0; i < K * K; i++) ridged[i] = H[i] + (i % (K + 1) == 0 ? RIDGE : 0);
    for (int i = 0; i < K; i++) q.b[i] = b ? b[i] : 0;
    start(&q);

    /* Proximal steps: each takes back what the ridge has shifted, until x stands still. */
    bool moving = true;
    memset(x, 0, sizeof *x * (size_t)K);
    for (int step = 0; moving && step < PROXIMAL_STEPS; step++) {
        minimise(&q);
        moving = false;
        for (int i = 0; i < K; i++) {
            moving |= fabs(q.x[i] - x[i]) > 8 * DBL_EPSILON * q.x[i];
            x[i] = q.x[i];
            q.b[i] = (b ? b[i] : 0) - RIDGE * x[i];
        }
    }
}
