/* SPDX-License-Identifier: MIT */
#include "learner/moments.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "rollout/signal.h"

/* Beyond this the squares overflow: such rewards are computed in units of the largest. */
static const double HUGE_REWARD = 1e100;

/* The fewest worked examples that an episode without a hint was shown. */
static int32_t fewest_shots(const group *g)
{
    int32_t fewest = INT32_MAX;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->episodes[i]->hint_len == 0 && g->episodes[i]->n_shots < fewest) fewest = g->episodes[i]->n_shots;
    return fewest;
}

void origins_of(const group *g, origin *of)
{
    const int32_t fewest = fewest_shots(g);
    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        if (e->hint_len == 0)
            of[i] = e->n_shots > fewest ? ORIGIN_HELPED : ORIGIN_SAMPLED;
        else
            of[i] = trajectory_sampled(&e->tokens) > 0 ? ORIGIN_HELPED : ORIGIN_DEMONSTRATION;
    }
}

static bool counts(const double *r, const origin *of, unsigned origins, int i)
{
    return !isnan(r[i]) && (unsigned)of[i] & origins;
}

static double weight_of(const double *times, int i) { return times ? times[i] : 1; }

moments moments_of(const double *r, const origin *of, unsigned origins, episode_range s, const double *times)
{
    moments m = { .std = 1 };
    double largest = 0, weight = 0, square = 0;

    for (int i = s.begin; i < s.end; i++) {
        if (!counts(r, of, origins, i)) continue;
        largest = fmax(largest, fabs(r[i]));
        weight += weight_of(times, i);
        m.n++;
    }
    if (!(weight > 0)) return (moments){ .std = 1 };

    const double unit = largest > HUGE_REWARD ? largest : 1;
    for (int i = s.begin; i < s.end; i++)
        if (counts(r, of, origins, i)) m.sum += weight_of(times, i) * (r[i] / unit);
    m.mean = m.sum / weight;

    /* A second pass over distances from the mean: the difference of two sums of squares would cancel. */
    if (m.n > 1) {
        for (int i = s.begin; i < s.end; i++)
            if (counts(r, of, origins, i))
                square += weight_of(times, i) * (r[i] / unit - m.mean) * (r[i] / unit - m.mean);
        const double std = sqrt(square / fmax(1, weight - 1)); /* unbiased */
        m.std = unit * signal_of(std, fmax(1, largest) / unit);
    }

    m.mean *= unit;
    m.sum *= unit;
    return m;
}
