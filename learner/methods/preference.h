/* SPDX-License-Identifier: MIT */
/* preference - rows that say how much each objective is worth to them: { "preference": { "accuracy": 0.7, "brevity":
 * 0.3 } }.
 *
 * The prompt tells the policy of it, and the row's own weights make the scalar that trains: one policy then holds the
 * whole front of trade-offs (preference-conditioned training, e.g. MOC, arXiv 2604.04497). Objectives that a row
 * doesn't name weigh what the recipe says. */
#pragma once

#include "base/arena.h"
#include "learner/objective.h"
#include "rollout/dataset.h"
#include "rollout/group.h"

/* Reads what the first `max` rows say: what preference_weights would refuse is better found before a run starts. */
int preference_check(const dataset *rows, uint64_t max, const char *field, const objective_set *objectives, error *err);

/* Weights [S, K], an episode a row, in the order of the groups' episodes; in the arena. NULL and `err` for a row whose
 * field is no table of numbers, or names an objective there isn't or that has weight 0. */
const double *preference_weights(arena *a, const dataset *rows, const char *field, const objective_set *objectives,
                                 const group *const *groups, int n_groups, error *err);
