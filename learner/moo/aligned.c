/* SPDX-License-Identifier: MIT */
/* Aligned-MTL (Senushkin et al. 2023, arXiv 2305.19000): along their principal axes the gradients are made equally long
 * (as long as the shortest axis); then the average, weighed by preference. w = sqrt(l_min) V L^(-1/2) V' p. */
#include <math.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

void moo_aligned(const moo_problem *p, double *w)
{
    const int K = p->K;
    double values[MOO_MAX], V[MOO_MAX * MOO_MAX];
    matrix_eigen(p->G, K, values, V);
    const int first = matrix_rank_begin(values, K);
    for (int i = 0; i < K; i++) w[i] = 0;
    for (int k = first; k < K; k++) {
        double along = 0;
        for (int i = 0; i < K; i++) along += V[i * K + k] * p->p[i];
        for (int i = 0; i < K; i++) w[i] += sqrt(values[first] / values[k]) * along * V[i * K + k];
    }
}
