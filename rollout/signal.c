/* SPDX-License-Identifier: MIT */
#include "rollout/signal.h"

#include <math.h>

static const double ROUNDING = 1e-12, FLOAT_ROUNDING = 1e-6;

double signal_of(double difference, double scale) { return fabs(difference) > ROUNDING * scale ? difference : 0; }

double signal_between(double a, double b) { return signal_of(a - b, fmax(1, fmax(fabs(a), fabs(b)))); }

double signal_between_logprobs(double a, double b)
{
    return fabs(a - b) > FLOAT_ROUNDING * fmax(1, fmax(fabs(a), fabs(b))) ? a - b : 0;
}

bool signal_among(const double *r, int n)
{
    double min = INFINITY, max = -INFINITY;
    for (int i = 0; i < n; i++) { /* fmin and fmax pass a NaN over */
        min = fmin(min, r[i]);
        max = fmax(max, r[i]);
    }
    return max > min && signal_between(max, min) != 0;
}

bool signal_right(double reward) { return signal_between(reward, 0) > 0; }
