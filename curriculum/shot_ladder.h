/* SPDX-License-Identifier: MIT */
/* shot_ladder - fewer worked examples as fast as the policy can do without: T.shots{ schedule = "success" }.
 *
 *     levels = { 3, 1, 0 }     a group of 8 on rung 0, probe = 0.5:    3 3 3 3 1 1 1 1
 *                                         on rung 1:                   1 1 1 1 0 0 0 0
 *                                         on rung 2, the floor:        0 0 0 0 0 0 0 0
 *
 * The last samples of each group are probes: they are shown what the next rung shows. Each rung has a moving mean of
 * the success of the episodes that were shown as much. Where the probes' is `enough`, the next rung is taken; where
 * what is shown the rung's own number succeeds less than `lost`, the one before. In between nothing moves, and no two
 * moves are nearer than WAIT steps, so that a rung is judged by what was played on it (hysteresis).
 *
 * Samples of one prompt that are shown different numbers stand in one group: the learner compares those that were
 * shown as much (learner/advantage.h), and can carry what succeeds with shots over to the prompt without them
 * (learner/methods/carry.c). Everything is a function of the steps learned from, in their order. */
#pragma once

#include "base/metrics.h"
#include "base/state.h"
#include "rollout/group.h"
#include "rollout/task.h"

enum { LADDER_RUNGS = 16, LADDER_WAIT = 3 };

typedef struct ladder_config {
    int32_t levels[LADDER_RUNGS]; /* [n] shots, falling */
    int n;                        /* 0: there is no ladder */
    double enough, lost;          /* success */
    double probe;                 /* share of a group; at least one sample, and one that is none */
} ladder_config;

typedef struct shot_ladder {
    ladder_config config;
    double rung, steps;                               /* where it stands, and since how many steps */
    double seen[LADDER_RUNGS], success[LADDER_RUNGS]; /* steps that had episodes of the rung, and their moving mean */
} shot_ladder;

void ladder_init(shot_ladder *l, const ladder_config *config);
/* A step's groups, once, in order of the steps. An episode succeeds with a score above 0 on `objective`. */
void ladder_learn(shot_ladder *l, const group *const *groups, uint32_t n, const char *objective);
/* What a group of so many samples is shown now. */
shot_mixture ladder_pick(const shot_ladder *l, uint32_t group_size);
/* shots/rung (from 0), and shots/success/N of each number of shots that was played. */
void ladder_metrics(const shot_ladder *l, metrics *out);
/* Section "shot_ladder". */
void ladder_state(shot_ladder *l, saved_state *to);
