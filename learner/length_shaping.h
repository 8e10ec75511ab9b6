/* SPDX-License-Identifier: MIT */
/* length_shaping - what is added to the heaviest objective's raw reward before it is normalised, for its length.
 *
 *     overlong  0 up to max - cushion tokens, then falling to -1 at max, -1 beyond            DAPO (2503.14476) eq. 13
 *     length    per group, over the shortest and longest answer: lambda = 0.5 - (len - min) / (max - min); added to
 *               right answers, min(0, lambda) to wrong ones; 0 where all are as long         Kimi k1.5 (2501.12599)
 *
 * Lengths count the tokens that the policy wrote. */
#pragma once

#include <stdint.h>

typedef struct length_shaping_config {
    double overlong_max, overlong_cushion; /* tokens; cushion 0: off */
    double length_weight;                  /* 0: off */
    int64_t length_from;                   /* the step from which it counts: first right, then short */
} length_shaping_config;

double length_shaping_overlong(double length, double max, double cushion);
/* reward [n] of one group += the two terms; length [n] in tokens; right answers are those with reward > 0.
 * A missing reward (NaN) stays missing. */
void length_shaping_group(const length_shaping_config *config, int64_t step, int n, const double *length,
                          double *reward);
