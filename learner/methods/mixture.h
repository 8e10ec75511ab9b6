/* SPDX-License-Identifier: MIT */
/* mixture - how much of the loss is imitation of what was given, learned on the way: AMFT (arXiv 2508.06944).
 *
 *     L = (1 - mu) L_reward + mu L_imitation
 *
 * A step with mu changes what the next batch is worth, U, by d U / d mu = lr <grad U, grad L_reward - grad
 * L_imitation>. U's gradient is minus that of L_reward on rollouts that the step has not seen: every group is cut in
 * two halves (even and odd samples), each half is the other's held-out set. Every so many steps:
 *
 *     s  = (<R, S> - 4 <R_even, R_odd>) / (|R| (|R| + |S|)),   R = R_even + R_odd, S = grad L_imitation
 *     mu <- clip(mu + rate (s + (H* - H)), 0.05, 0.95)
 *
 * The paper's meta-gradient to first order, and free of scale, so that the rate means something: s lies in [-1, 1], and
 * is 0 where no answer is better than another. H is the policy's entropy in nats a token,
 * H* what it should have. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct mixture_config {
    double start;   /* mu at first; 0: no mixture, both losses count in full */
    double rate;    /* (0.1) */
    double entropy; /* H*; 0: entropy has no say */
    int every;      /* steps from one measurement to the next (20) */
    int warmup;     /* first steps, of imitation alone */
} mixture_config;

/* The gradients of a step that measures. */
enum { MIXTURE_REWARD_EVEN, MIXTURE_REWARD_ODD, MIXTURE_IMITATION_EVEN, MIXTURE_IMITATION_ODD, MIXTURE_ROWS };

/* mu of a step, 1 in the warm-up; `mu` is what was learned so far. */
double mixture_at(const mixture_config *config, double mu, int64_t step);
bool mixture_measures(const mixture_config *config, int64_t step);
/* s of Gram matrix G [MIXTURE_ROWS, MIXTURE_ROWS] of a step whose losses were weighed with mu. */
double mixture_derivative(const double *G, double mu);
/* The next mu. */
double mixture_learn(const mixture_config *config, double mu, double derivative, double entropy);
