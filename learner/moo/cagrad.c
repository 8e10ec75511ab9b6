/* SPDX-License-Identifier: MIT */
/* CAGrad (Liu et al. 2021, arXiv 2110.14048): of all d within c ||g0|| of the average g0, the one whose least product
 * with a gradient is largest. Its dual is
 *
 *     min over the simplex of  F(w) = <g_w, g0> + c ||g0|| ||g_w||,   d = g0 + c ||g0|| / ||g_w|| g_w
 *
 * A length is a minimum of quadratics, ||v|| = min over t > 0 of (||v||^2 / t + t) / 2: for a given t a quadratic
 * program over the simplex, solved exactly; the right t is where t = ||g_w||, found by bisection. d is divided by
 * 1 + c^2, as the authors' code has it. c = 0 is the average; a large c points where MGDA does.
 *
 * Where F is smallest at g_w = 0 (the hull holds 0, a Pareto-stationary point) no d has positive products with all, and
 * those with none negative are many; the one nearest to g0 is its projection on the cone of upgrad.c, which lies in the
 * ball: that is where the dual's solutions go when the length is rounded off at 0, and what LibMTL's come to.
 * Solved on unit gradients, as in mgda.c. */
#include <float.h>
#include <math.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

enum { BISECTIONS = 60 };

typedef struct ball {
    int K;
    double C[MOO_MAX * MOO_MAX];
    double length[MOO_MAX];                   /* in units of the shortest gradient, as all of these */
    double inverse_length[MOO_MAX];           /* w_i of y_i = w_i length_i: the simplex is sum y_i / length_i = 1 */
    double average[MOO_MAX], toward[MOO_MAX]; /* g0 in terms of unit gradients, and their products with it */
    double radius;
} ball;

/* What a squared length may be off by, of a sum of parts y: taken to the safe side, d stays in the ball. */
static double slack(int K, const double *y)
{
    double size = 0;
    for (int i = 0; i < K; i++) size += fabs(y[i]);
    return 16 * K * DBL_EPSILON * size * size;
}

static ball ball_of(const moo_problem *p)
{
    ball b = { .K = p->K };
    double shortest = INFINITY;
    matrix_cosines(p->G, p->K, b.C, b.length);
    for (int i = 0; i < p->K; i++) shortest = fmin(shortest, b.length[i]);

    /* In units of the shortest gradient: nothing overflows when all are tiny. */
    for (int i = 0; i < p->K; i++) {
        b.length[i] /= shortest;
        b.inverse_length[i] = 1 / b.length[i];
        b.average[i] = p->p[i] * b.length[i];
    }

    /* The ball: c ||g0|| around the average g0. */
    matrix_times(b.C, p->K, b.average, b.toward);
    const double length = matrix_length(b.C, p->K, b.average);
    b.radius = p->config->c * sqrt(fmax(0, length * length - slack(p->K, b.average)));
    return b;
}

/* The simplex point for a given t -> y; returns ||g_w||. */
static double point_for(const ball *b, double t, double *y)
{
    double linear[MOO_MAX];
    for (int i = 0; i < b->K; i++) linear[i] = t / b->radius * b->toward[i];
    qp_solve(b->C, linear, b->inverse_length, b->K, y);
    return matrix_length(b->C, b->K, y);
}

/* ||g_w|| and y where F is smallest; 0: there g_w is 0. */
static double farthest(const ball *b, double *y)
{
    double size = 0, low = point_for(b, 0, y), high = 1;
    for (int i = 0; i < b->K; i++) {
        size += fabs(y[i]);
        high = fmax(high, b->length[i]);
    }

    /* A bisection by factors can't begin at 0. */
    const bool stationary = low == 0;
    if (stationary) low = 1e-9 * size;
    const double min = low;

    double length = low;
    for (int n = 0; n < BISECTIONS && low < high; n++) { /* by factors: lengths may be far apart */
        const double t = sqrt(low * high);
        length = point_for(b, t, y);
        if (length > t)
            low = t;
        else
            high = t;
    }

    /* A length that never left the bottom is 0, rounded. */
    return stationary && !(length > 1e3 * min) ? 0 : length;
}

/* A stationary point's d -> y. What the cosines take for stationary may be nearly so, and the cone then so narrow that
 * the projection lies outside the ball: as far towards it as the ball goes. */
static void stand(const ball *b, double *y)
{
    double off[MOO_MAX];
    moo_project(b->C, b->K, b->average, y);
    for (int i = 0; i < b->K; i++) off[i] = y[i] - b->average[i];

    const double way = matrix_length(b->C, b->K, off);
    const double by = way > b->radius ? b->radius / way : 1;
    for (int i = 0; i < b->K; i++) y[i] = b->average[i] + by * off[i];
}

void moo_cagrad(const moo_problem *p, double *w)
{
    const int K = p->K;
    const double c = p->config->c;
    double y[MOO_MAX];

    /* The average, which is the answer for c = 0, and where the average itself is zero. */
    for (int i = 0; i < K; i++) w[i] = p->p[i] / (1 + c * c);
    const ball b = ball_of(p);
    if (b.radius <= 0) return;

    const double length = farthest(&b, y);
    if (length <= 0) {
        stand(&b, y);
        for (int i = 0; i < K; i++) w[i] = y[i] * b.inverse_length[i] / (1 + c * c);
        return;
    }

    /* d = g0 + radius / ||g_w|| g_w; the length is taken at its largest, so that d stays in the ball. */
    const double max = sqrt(length * length + slack(K, y));
    for (int i = 0; i < K; i++) w[i] += b.radius / max * y[i] * b.inverse_length[i] / (1 + c * c);
}
