/* SPDX-License-Identifier: MIT */
/* MGDA: the shortest vector of the gradients' convex hull (Desideri 2012). <g_i, d> >= ||d||^2 for every i: a step
 * along -d makes no objective worse, and d = 0 exactly at Pareto-stationary points.
 *
 * With y_i = ||g_i|| w_i that is: minimise y'Cy, C the cosines, over y >= 0 and sum y_i / ||g_i|| = 1. Solved there, a
 * gradient of a million beside one of 1 costs no digit. A d that C can't tell from 0 is 0, all its weights with it:
 * it would point anywhere. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

/* The point of least norm of the hull of unit gradients times `length` -> their weights w, 0 where it is 0. */
static void min_norm(const double *C, const double *length, int K, double *w)
{
    double y[MOO_MAX], weight_of_y[MOO_MAX] = { 0 }, shortest = INFINITY; /* w_i = weight_of_y_i y_i */
    for (int i = 0; i < K; i++) shortest = fmin(shortest, length[i]);
    for (int i = 0; i < K; i++) weight_of_y[i] = shortest / length[i]; /* in units of the shortest: no overflow */
    qp_solve(C, NULL, weight_of_y, K, y);

    const bool somewhere = matrix_length(C, K, y) > 0;
    for (int i = 0; i < K; i++) w[i] = somewhere ? y[i] * weight_of_y[i] : 0;
}

void moo_mgda(const moo_problem *p, double *w)
{
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX];
    matrix_cosines(p->G, p->K, C, length);
    min_norm(C, length, p->K, w);
}

/* The same on g_i / ||g_i||, brought back to the gradients' mean length: no objective dominates by being small. */
void moo_mgda_norm(const moo_problem *p, double *w)
{
    const int K = p->K;
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX], ones[MOO_MAX] = { 0 }, mean = 0;
    matrix_cosines(p->G, K, C, length);
    for (int i = 0; i < K; i++) {
        ones[i] = 1;
        mean += length[i] / K;
    }
    min_norm(C, ones, K, w);
    for (int i = 0; i < K; i++) w[i] *= mean / length[i];
}
