/* Gradient Vaccine (Wang et al. 2021, arXiv 2010.05874): as PCGrad, but the goal for each pair is its usual cosine, a
 * running mean kept from step to step, instead of 0. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

static const double EPS = 1e-8;

/* How much of g_j has to join a vector of length `own` at cosine phi to it, so that the cosine becomes `goal`. */
static double vaccine(double phi, double goal, double own, double other)
{
    const double off = sqrt(fmax(0, 1 - phi * phi)), off_goal = sqrt(fmax(0, 1 - goal * goal));
    return own * (goal * off - phi * off_goal) / (other * off_goal + EPS);
}

void moo_gradvac(const moo_problem *p, double *w)
{
    const int K = p->K;
    memset(w, 0, sizeof *w * (size_t)K);
    for (int i = 0; i < K; i++) {
        double c[MOO_MOST] = { 0 }, products[MOO_MOST];
        int others[MOO_MOST];
        c[i] = 1;
        moo_order(p, i, others);
        for (int n = 0; n < K - 1; n++) {
            const int j = others[n];
            matrix_times(p->G, K, c, products);
            const double own = sqrt(fmax(0, matrix_form(p->G, K, c, c))), other = sqrt(p->G[j * K + j]);
            const double phi = products[j] / (own * other + EPS);
            double *goal = &p->state->phi[p->index[i] * MOO_MOST + p->index[j]];
            if (phi < *goal) c[j] += vaccine(phi, *goal, own, other);
            *goal += p->config->beta * (phi - *goal);
        }
        for (int k = 0; k < K; k++) w[k] += c[k];
    }
}
