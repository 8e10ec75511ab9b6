/* SPDX-License-Identifier: MIT */
#include "learner/length_shaping.h"

#include <math.h>

#include "rollout/signal.h"

double length_shaping_overlong(double length, double max, double cushion)
{
    if (cushion <= 0 || length <= max - cushion) return 0;
    return length > max ? -1 : (max - cushion - length) / cushion;
}

static void prefer_short(double weight, int n, const double *length, double *reward)
{
    double min = INFINITY, max = -INFINITY;
    for (int i = 0; i < n; i++) {
        min = fmin(min, length[i]);
        max = fmax(max, length[i]);
    }
    if (!(max > min)) return;
    for (int i = 0; i < n; i++) {
        const double lambda = 0.5 - (length[i] - min) / (max - min);
        reward[i] += weight * (signal_right(reward[i]) ? lambda : fmin(0, lambda));
    }
}

void length_shaping_group(const length_shaping_config *config, int64_t step, int n, const double *length,
                          double *reward)
{
    if (config->length_weight != 0 && step >= config->length_from)
        prefer_short(config->length_weight, n, length, reward);
    for (int i = 0; i < n; i++)
        reward[i] += length_shaping_overlong(length[i], config->overlong_max, config->overlong_cushion);
}
