/* CAGrad (Liu et al. 2021, arXiv 2110.14048): of all d within c ||g0|| of the average g0, the one whose least product
 * with a gradient is largest. Its dual is
 *
 *     min over the simplex of  F(w) = <g_w, g0> + c ||g0|| ||g_w||,   d = g0 + c ||g0|| / ||g_w|| g_w
 *
 * A length is the least of quadratics, ||v|| = min over t > 0 of (||v||^2 / t + t) / 2: for a given t a quadratic
 * program over the simplex, solved exactly; the right t is where t = ||g_w||, found by bisection. d is divided by
 * 1 + c^2, as the authors' code has it. c = 0 is the average; a large c points where MGDA does. */
#include <math.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

enum { BISECTIONS = 60 };

/* The simplex point for a given t -> w; returns ||g_w||. */
static double point_for(const double *G, const double *toward, int K, double radius, double ridge, double t, double *w)
{
    double H[MOO_MOST * MOO_MOST];
    const double add = ridge * matrix_trace(G, K);
    for (int i = 0; i < K * K; i++) H[i] = radius / t * (G[i] + (i % (K + 1) == 0 ? add : 0));
    qp_solve(H, toward, K, QP_SIMPLEX, w);
    return moo_norm(G, K, w);
}

void moo_cagrad(const moo_problem *p, double *w)
{
    const int K = p->K;
    const double c = p->config->c, radius = c * moo_norm(p->G, K, p->p);
    double toward[MOO_MOST], x[MOO_MOST], low = 0, high = 0;
    for (int i = 0; i < K; i++) w[i] = p->p[i] / (1 + c * c);
    if (radius <= 0) return; /* c = 0, or the average itself is zero: there is nowhere to go */
    matrix_times(p->G, K, p->p, toward);
    for (int i = 0; i < K; i++) high = fmax(high, sqrt(p->G[i * K + i]));
    const double least = 1e-9 * high;
    double length = 0;
    for (int n = 0; n < BISECTIONS; n++) {
        const double t = fmax(least, (low + high) / 2);
        length = point_for(p->G, toward, K, radius, p->config->ridge, t, x);
        if (length > t)
            low = t;
        else
            high = t;
    }
    if (length <= least) { /* the hull holds 0: a Pareto-stationary point, no d helps everyone */
        for (int i = 0; i < K; i++) w[i] = 0;
        return;
    }
    for (int i = 0; i < K; i++) w[i] += radius / length * x[i] / (1 + c * c);
}
