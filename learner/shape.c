/* SPDX-License-Identifier: MIT */
#include "learner/shape.h"

#include <math.h>

#include "rollout/signal.h"

double shape_overlong(double length, double most, double cushion)
{
    if (cushion <= 0 || length <= most - cushion) return 0;
    return length > most ? -1 : (most - cushion - length) / cushion;
}

static void prefer_short(double weight, int n, const double *length, double *reward)
{
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < n; i++) least = fmin(least, length[i]), most = fmax(most, length[i]);
    if (!(most > least)) return;
    for (int i = 0; i < n; i++) {
        const double lambda = 0.5 - (length[i] - least) / (most - least);
        reward[i] += weight * (signal_right(reward[i]) ? lambda : fmin(0, lambda));
    }
}

void shape_group(const shape_config *config, int64_t step, int n, const double *length, double *reward)
{
    if (config->length_weight != 0 && step >= config->length_from)
        prefer_short(config->length_weight, n, length, reward);
    for (int i = 0; i < n; i++) reward[i] += shape_overlong(length[i], config->overlong_max, config->overlong_cushion);
}
