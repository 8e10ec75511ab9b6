/* SPDX-License-Identifier: MIT */
/* UPGrad (Quinton & Rey 2024, arXiv 2406.16232) and DualProj (the projection of GEM, Lopez-Paz & Ranzato 2017): vectors
 * are projected on the cone of directions with no negative product with any gradient. A vector sum u_i g_i has its
 * projection at sum v_i g_i, with v the least v'Gv over v >= u. With z = v - u: min 1/2 z'Gz + (Gu)'z over z >= 0.
 * Scaled to unit gradients, as in mgda.c; a projection that the cosines can't tell from 0 is 0. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

void moo_project(const double *C, int K, const double *u, double *v)
{
    double b[MOO_MAX], z[MOO_MAX], size = 0;
    for (int i = 0; i < K; i++) size = fmax(size, fabs(u[i]));
    memset(v, 0, sizeof *v * (size_t)K);
    if (!(size > 0)) return;
    for (int i = 0; i < K; i++) v[i] = u[i] / size;
    matrix_times(C, K, v, b);
    qp_solve(C, b, NULL, K, z);
    for (int i = 0; i < K; i++) v[i] += z[i];
    if (!(matrix_length(C, K, v) > 0)) size = 0;
    for (int i = 0; i < K; i++) v[i] *= size;
}

/* Each gradient by itself, then the average: every objective's own wish is made harmless before they are mixed. */
void moo_upgrad(const moo_problem *p, double *w)
{
    const int K = p->K;
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX], v[MOO_MAX];
    matrix_cosines(p->G, K, C, length);
    memset(w, 0, sizeof *w * (size_t)K);
    for (int i = 0; i < K; i++) {
        double u[MOO_MAX] = { 0 };
        u[i] = p->p[i] * length[i];
        moo_project(C, K, u, v);
        for (int k = 0; k < K; k++) w[k] += v[k] / length[k];
    }
}

void moo_dualproj(const moo_problem *p, double *w)
{
    const int K = p->K;
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX], u[MOO_MAX];
    matrix_cosines(p->G, K, C, length);
    for (int i = 0; i < K; i++) u[i] = p->p[i] * length[i];
    moo_project(C, K, u, w);
    for (int i = 0; i < K; i++) w[i] /= length[i];
}
