/* SPDX-License-Identifier: MIT */
/* Gradient Vaccine (Wang et al. 2021, arXiv 2010.05874): as PCGrad, but the goal for each pair is its usual cosine, a
 * running mean kept from step to step, instead of 0.
 *
 * To lift a gradient to cosine 1 with another takes the other without end, so two bounds that the paper lacks: a goal
 * counts as 0.99 at most (the pair then adds up to 7 times the gradient's length), and what a gradient becomes is at
 * most ten times as long as it was. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

static const double MAX_GOAL = 0.99, MAX_LENGTH = 10;

/* How much of unit vector g_j has to join a vector of length `own` at cosine phi to it, so that the cosine becomes
 * `goal`. */
static double vaccine(double phi, double goal, double own)
{
    const double off = sqrt(fmax(0, 1 - phi * phi)), off_goal = sqrt(1 - goal * goal);
    return own * (goal * off - phi * off_goal) / off_goal;
}

/* Gradient i, lifted -> y [K] in terms of unit gradients. */
static void lift(const moo_problem *p, const double *C, int i, double *y)
{
    const int K = p->K;
    int others[MOO_MAX];
    double products[MOO_MAX];
    memset(y, 0, sizeof *y * (size_t)K);
    y[i] = 1;
    moo_order(p, i, others);

    for (int n = 0; n < K - 1; n++) {
        const int j = others[n];
        matrix_times(C, K, y, products);
        const double own = matrix_length(C, K, y);
        const double phi = own > 0 ? fmax(-1, fmin(1, products[j] / own)) : 0;

        /* The goal is the mean of before; this step's cosine joins it afterwards. */
        double *mean = &p->state->phi[p->index[i] * MOO_MAX + p->index[j]];
        const double goal = fmax(-MAX_GOAL, fmin(MAX_GOAL, *mean));
        if (phi < goal) y[j] += vaccine(phi, goal, own);
        *mean += p->config->beta * (phi - *mean);
    }

    const double length = matrix_length(C, K, y);
    for (int k = 0; length > MAX_LENGTH && k < K; k++) y[k] *= MAX_LENGTH / length;
}

void moo_gradvac(const moo_problem *p, double *w)
{
    const int K = p->K;
    double C[MOO_MAX * MOO_MAX], length[MOO_MAX], y[MOO_MAX];
    matrix_cosines(p->G, K, C, length);
    memset(w, 0, sizeof *w * (size_t)K);
    for (int i = 0; i < K; i++) {
        lift(p, C, i, y);
        for (int k = 0; k < K; k++) w[k] += length[i] * y[k] / length[k];
    }
}
