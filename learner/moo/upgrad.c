/* UPGrad (Quinton & Rey 2024, arXiv 2406.16232) and DualProj (the projection of GEM, Lopez-Paz & Ranzato 2017): vectors
 * are projected on the cone of directions with no negative product with any gradient. A vector sum u_i g_i has its
 * projection at sum v_i g_i, with v the least v'Gv over v >= u. With z = v - u: min 1/2 z'Gz + (Gu)'z over z >= 0. */
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

/* Adds the projection of sum u_i g_i to w. */
static void project(const moo_problem *p, const double *u, double *w)
{
    const int K = p->K;
    const double trace = matrix_trace(p->G, K);
    double H[MOO_MOST * MOO_MOST], b[MOO_MOST], z[MOO_MOST];
    for (int i = 0; i < K * K; i++) H[i] = p->G[i] / trace + (i % (K + 1) == 0 ? p->config->ridge : 0);
    matrix_times(H, K, u, b);
    qp_solve(H, b, K, QP_POSITIVE, z);
    for (int i = 0; i < K; i++) w[i] += u[i] + z[i];
}

/* Each gradient by itself, then the average: every objective's own wish is made harmless before they are mixed. */
void moo_upgrad(const moo_problem *p, double *w)
{
    memset(w, 0, sizeof *w * (size_t)p->K);
    for (int i = 0; i < p->K; i++) {
        double u[MOO_MOST] = { 0 };
        u[i] = p->p[i];
        project(p, u, w);
    }
}

void moo_dualproj(const moo_problem *p, double *w)
{
    memset(w, 0, sizeof *w * (size_t)p->K);
    project(p, p->p, w);
}
