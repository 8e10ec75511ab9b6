/* SPDX-License-Identifier: MIT */
/* IMTL-G (Liu et al., ICLR 2021): d has the same projection on every gradient's direction. G w = sqrt(diag G), weights
 * brought to sum 1; they may be negative.
 *
 * Whether gradients are independent is asked of their cosines C, not of G, where one that is a million times shorter
 * than another looks dependent: independent ones have w_i ||g_i|| = (C^-1 1)_i. Dependent ones may have no solution;
 * then the pseudo-inverse of G, as published. */
#include <math.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

/* w = A^+ b; returns whether A has full rank. */
static bool pseudo_solve(const double *A, int K, const double *b, double *w)
{
    double values[MOO_MAX], V[MOO_MAX * MOO_MAX];
    matrix_eigen(A, K, values, V);
    const int first = matrix_rank_begin(values, K);
    for (int i = 0; i < K; i++) w[i] = 0;
    for (int k = first; k < K; k++) {
        double along = 0;
        for (int i = 0; i < K; i++) along += V[i * K + k] * b[i];
        for (int i = 0; i < K; i++) w[i] += V[i * K + k] * along / values[k];
    }
    return first == 0;
}

void moo_imtl_g(const moo_problem *p, double *w)
{
    const int K = p->K;
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX], ones[MOO_MAX] = { 0 }, sum = 0, size = 0;
    matrix_cosines(p->G, K, C, length);
    for (int i = 0; i < K; i++) ones[i] = 1;
    if (pseudo_solve(C, K, ones, w))
        for (int i = 0; i < K; i++) w[i] /= length[i];
    else
        pseudo_solve(p->G, K, length, w);
    for (int i = 0; i < K; i++) {
        sum += w[i];
        size += fabs(w[i]);
    }
    for (int i = 0; i < K; i++) w[i] = fabs(sum) > 1e-12 * size ? w[i] / sum : 0;
}
