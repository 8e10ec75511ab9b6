/* SPDX-License-Identifier: MIT */
/* objective - the named reward dimensions a run learns from, and the weight of each in the scalar that trains.
 *
 * The reward worker returns a vector; only the learner makes a scalar of it.
 *
 * An objective of weight 0 is watched and no more: its mean, deviation and missing scores are in the metrics, and it
 * has no say in anything else - not in which episodes count, not in constraints, whitening, trends, or how gradients
 * are reconciled. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "rollout/score.h"

/* More than a user means, and its products with advantages are still far from infinite. */
#define OBJECTIVE_MAX_WEIGHT 1e9

typedef struct objective {
    char name[OBJECTIVE_NAME];
    double weight;
    double min; /* a constraint: while the batch's mean is below, nothing but unmet constraints trains; -INFINITY:
                     none */
} objective;

typedef struct objective_set {
    objective items[MAX_OBJECTIVES];
    int n; /* K */
} objective_set;

/* Without a constraint. ERR_FULL, or ERR_ARGUMENT for a name that is empty, too long or there already, and for a weight
 * outside [0, OBJECTIVE_MAX_WEIGHT]. */
int objective_add(objective_set *set, const char *name, double weight, error *err);
bool objective_weighs(const objective *o);
/* How many of them weigh. */
int objective_weighing(const objective_set *set);
