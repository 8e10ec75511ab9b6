/* SPDX-License-Identifier: MIT */
/* moments - mean and standard deviation of a step's rewards on one objective, over a run of episodes. */
#pragma once

#include "rollout/group.h"

/* Episodes [begin, end) of a step, in order of its groups: a group's, or all. */
typedef struct episode_range {
    int begin, end;
} episode_range;

/* How an episode came about: by itself; helped, after a hint or with more worked examples than others of its prompt;
 * or all of it given. Bits, so that several can be asked for. */
typedef enum origin { ORIGIN_SAMPLED = 1, ORIGIN_HELPED = 2, ORIGIN_DEMONSTRATION = 4 } origin;

/* Of a group's episodes -> of [n]. */
void origins_of(const group *g, origin *of);

typedef struct moments {
    double mean, std, sum;
    int n;
} moments;

/* Mean and unbiased std (n - 1, as the published code has it) of those r [S] (NaN: missing) in `s` whose episode is of
 * one of the `origins`, each as often as `times` [S] says (NULL: once). The std is 0 where the values are equal up to
 * rounding (rollout/signal.h), and 1 of a single one or none. */
moments moments_of(const double *r, const origin *of, unsigned origins, episode_range s, const double *times);
