/* MGDA: the shortest vector of the gradients' convex hull (Desideri 2012). <g_i, d> >= ||d||^2 for every i: a step
 * along -d makes no objective worse, and d = 0 exactly at Pareto-stationary points. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"
#include "learner/moo/simplex_qp.h"

/* K gradients of fewer than K dimensions have a singular G; with the ridge the supports stay solvable. */
static void least_norm(const double *G, int K, double ridge, double *w)
{
    double H[MOO_MOST * MOO_MOST];
    const double add = ridge * matrix_trace(G, K);
    for (int i = 0; i < K * K; i++) H[i] = G[i] + (i % (K + 1) == 0 ? add : 0);
    qp_solve(H, NULL, K, QP_SIMPLEX, w);
}

void moo_mgda(const moo_problem *p, double *w) { least_norm(p->G, p->K, p->config->ridge, w); }

/* The same on g_i / ||g_i||, brought back to the gradients' mean length: no objective dominates by being small. */
void moo_mgda_norm(const moo_problem *p, double *w)
{
    const int K = p->K;
    double unit[MOO_MOST * MOO_MOST] = { 0 }, length[MOO_MOST], mean = 0;
    for (int i = 0; i < K; i++) length[i] = sqrt(p->G[i * K + i]), mean += length[i] / K;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) unit[i * K + j] = p->G[i * K + j] / (length[i] * length[j]);
    least_norm(unit, K, p->config->ridge, w);
    for (int i = 0; i < K; i++) w[i] *= mean / length[i];
}
