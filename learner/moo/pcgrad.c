/* SPDX-License-Identifier: MIT */
/* PCGrad (Yu et al. 2020, arXiv 2001.06782): a gradient that opposes another loses its component along it, one other
 * after the other in random order; the sum of what is left. */
#include <string.h>

#include "learner/moo/method.h"

void moo_pcgrad(const moo_problem *p, double *w)
{
    const int K = p->K;
    memset(w, 0, sizeof *w * (size_t)K);
    for (int i = 0; i < K; i++) {
        double c[MOO_MAX] = { 0 }; /* g_i's projection in terms of all gradients */
        int others[MOO_MAX];
        c[i] = 1;
        moo_order(p, i, others);

        for (int n = 0; n < K - 1; n++) {
            const double *row = p->G + others[n] * K;
            double product = 0;
            for (int k = 0; k < K; k++) product += row[k] * c[k];
            if (product < 0) c[others[n]] -= product / row[others[n]];
        }

        for (int k = 0; k < K; k++) w[k] += c[k];
    }
}
