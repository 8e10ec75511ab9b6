/* SPDX-License-Identifier: MIT */
#include "learner/methods/era.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const double UNCERTAIN = 0.2; /* share of the tokens that are looked at */

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static double uncertainty(int n, const float *entropy)
{
    const int most = (int)ceil(UNCERTAIN * n);
    float *sorted = memcpy(xmalloc(sizeof *sorted * (size_t)n), entropy, sizeof *sorted * (size_t)n);
    double sum = 0;
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    for (int i = 0; i < most; i++) sum += (double)sorted[i];
    free(sorted);
    return sum / most;
}

float era_scale(const era_config *c, double advantage, int n, const float *entropy)
{
    if (c->k <= 0 || advantage <= 0 || n == 0) return 1;
    const double h = uncertainty(n, entropy);
    return h < c->low ? (float)c->k : h > c->high ? (float)(1 / c->k) : 1;
}
