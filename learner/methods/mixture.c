/* SPDX-License-Identifier: MIT */
#include "learner/methods/mixture.h"

#include <math.h>

static const double LEAST = 0.05, MOST = 0.95;

double mixture_at(const mixture_config *c, double mu, int64_t step) { return step <= c->warmup ? 1 : mu; }

bool mixture_measures(const mixture_config *c, int64_t step)
{
    return c->start > 0 && step > c->warmup && (step - c->warmup) % c->every == 0;
}

double mixture_slope(const double *G, double mu)
{
    enum { N = MIXTURE_ROWS, RE = MIXTURE_REWARD_EVEN, RO = MIXTURE_REWARD_ODD };
    enum { SE = MIXTURE_GIVEN_EVEN, SO = MIXTURE_GIVEN_ODD };
    const double of_reward = 1 - mu, of_given = mu; /* what the gradients were multiplied by */
    const double across = G[RE * N + RO] / (of_reward * of_reward);
    const double RR = (G[RE * N + RE] + 2 * G[RE * N + RO] + G[RO * N + RO]) / (of_reward * of_reward);
    const double SS = (G[SE * N + SE] + 2 * G[SE * N + SO] + G[SO * N + SO]) / (of_given * of_given);
    const double RS = (G[RE * N + SE] + G[RE * N + SO] + G[RO * N + SE] + G[RO * N + SO]) / (of_reward * of_given);
    const double r = sqrt(fmax(0, RR)), s = sqrt(fmax(0, SS));
    return r > 0 ? fmax(-1, fmin(1, (RS - 4 * across) / (r * (r + s)))) : 0;
}

double mixture_learn(const mixture_config *c, double mu, double slope, double entropy)
{
    const double pull = slope + (c->entropy > 0 ? c->entropy - entropy : 0);
    return fmax(LEAST, fmin(MOST, mu + c->rate * pull));
}

void mixture_state(double *mu, saved_state *s)
{
    state_section(s, "mixture", 1);
    state_numbers(s, "mu", mu, 1, 0, 1);
}
