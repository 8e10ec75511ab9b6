/* IMTL-G (Liu et al., ICLR 2021): d has the same projection on every gradient's direction. G w = sqrt(diag G), by the
 * pseudo-inverse, weights brought to sum 1; they may be negative. */
#include <math.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

void moo_imtl_g(const moo_problem *p, double *w)
{
    const int K = p->K;
    double values[MOO_MOST], V[MOO_MOST * MOO_MOST], sum = 0;
    matrix_eigen(p->G, K, values, V);
    for (int i = 0; i < K; i++) w[i] = 0;
    for (int k = matrix_rank_begin(values, K); k < K; k++) {
        double along = 0;
        for (int i = 0; i < K; i++) along += V[i * K + k] * sqrt(p->G[i * K + i]);
        for (int i = 0; i < K; i++) w[i] += V[i * K + k] * along / values[k];
    }
    for (int i = 0; i < K; i++) sum += w[i];
    for (int i = 0; i < K; i++) w[i] = fabs(sum) < 1e-12 ? 0 : w[i] / sum;
}
