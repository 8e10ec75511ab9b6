/* SPDX-License-Identifier: MIT */
/* FairGrad (Ban & Ji 2024, arXiv 2402.15638): (G w)_i = w_i^(-1/alpha), the alpha-fair allocation of progress; alpha =
 * 1 is Nash-MTL (Navon et al. 2022, arXiv 2202.01017), 0 the average, infinity max-min.
 *
 * With C the matrix of cosines and u_i = ||g_i|| w_i that is  (C u)_i = b_i u_i^(-1/alpha),  b_i = ||g_i||^(1/alpha -
 * 1): the stationary point of the strictly convex  1/2 u'Cu - sum b_i phi(u_i),  phi' = u^(-1/alpha). Newton's method,
 * damped so that u stays positive and the function falls, is there in a handful of steps, whatever the gradients'
 * lengths. Where no direction helps everyone there is no solution: w grows until the ridge holds it,
 * and d goes to 0. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

enum { MAX_STEPS = 200, MAX_HALVINGS = 60 };

static double phi(double w, double alpha)
{
    return fabs(alpha - 1) < 1e-12 ? log(w) : pow(w, 1 - 1 / alpha) / (1 - 1 / alpha);
}

typedef struct fair {
    int K;
    double alpha;
    double C[MOO_MAX * MOO_MAX], b[MOO_MAX]; /* C with the ridge */
} fair;

static double value(const fair *f, const double *u)
{
    double v = matrix_form(f->C, f->K, u, u) / 2;
    for (int i = 0; i < f->K; i++) v -= f->b[i] * phi(u[i], f->alpha);
    return v;
}

/* Moves u to u - t step, with the largest t of 1, 1/2, 1/4, ... that keeps u positive and doesn't raise the function.
 * False: no such t was found. */
static bool damped(const fair *f, const double *step, double *u)
{
    const double before = value(f, u);
    double t = 1, next[MOO_MAX];
    for (int n = 0; n < MAX_HALVINGS; n++, t /= 2) {
        bool positive = true;
        for (int i = 0; i < f->K; i++) {
            next[i] = u[i] - t * step[i];
            positive &= next[i] > 0;
        }

        if (!positive || value(f, next) > before + 1e-12 * fabs(before)) continue;
        memcpy(u, next, sizeof *u * (size_t)f->K);
        return true;
    }
    return false;
}

static void newton(const fair *f, double *u)
{
    double H[MOO_MAX * MOO_MAX], gradient[MOO_MAX], step[MOO_MAX];
    const int K = f->K;
    for (int i = 0; i < K; i++) u[i] = pow(f->b[i], f->alpha / (f->alpha + 1)); /* exact where C is the identity */

    for (int n = 0; n < MAX_STEPS; n++) {
        /* gradient: C u - b u^(-1/alpha); Hessian: C + diag(b u^(-1/alpha - 1) / alpha) */
        double largest = 0;
        matrix_times(f->C, K, u, gradient);
        memcpy(H, f->C, sizeof *H * (size_t)(K * K));
        for (int i = 0; i < K; i++) {
            gradient[i] -= f->b[i] * pow(u[i], -1 / f->alpha);
            H[i * K + i] += f->b[i] * pow(u[i], -1 / f->alpha - 1) / f->alpha;
        }
        if (!matrix_solve(H, K, gradient, step)) return;

        /* Until no u moves by more than its rounding. */
        for (int i = 0; i < K; i++) largest = fmax(largest, fabs(step[i]) / u[i]);
        if (largest < 1e-14 || !damped(f, step, u)) return;
    }
}

static void fair_weights(const moo_problem *p, double alpha, double *w)
{
    const int K = p->K;
    fair f = { .K = K, .alpha = alpha };
    double length[MOO_MAX];
    matrix_cosines(p->G, K, f.C, length);
    for (int i = 0; i < K; i++) {
        f.b[i] = pow(length[i], 1 / alpha - 1);
        f.C[i * (K + 1)] += p->config->ridge;
    }
    newton(&f, w);
    for (int i = 0; i < K; i++) w[i] /= length[i];
}

void moo_fairgrad(const moo_problem *p, double *w)
{
    if (p->config->alpha > 0)
        fair_weights(p, p->config->alpha, w);
    else
        memcpy(w, p->p, sizeof *w * (size_t)p->K);
}

/* Solves w_i (G w)_i = 1 for all i. A direction longer than max_norm is cut to it: the bargaining solution says where
 * to go, and not how far. */
void moo_nash(const moo_problem *p, double *w)
{
    fair_weights(p, 1, w);
    const double length = moo_norm(p->G, p->K, w), max = p->config->max_norm;
    for (int i = 0; max > 0 && length > max && i < p->K; i++) w[i] *= max / length;
}
