/* SPDX-License-Identifier: MIT */
/* preset - the names of algorithm.name: what a paper does, as values of the keys that it stands for.
 *
 * Every part of a preset can be another by a key of its own; the row is only what a recipe that sets nothing else
 * begins with. */
#pragma once

#include "learner/advantage.h"
#include "learner/loss.h"

typedef struct preset {
    const char *name, *paper;
    advantage_mean mean;
    advantage_std std;
    loss_kind loss;
    loss_aggregation aggregation;
    double clip_low, clip_high;
    bool filter; /* groups without signal are not in the denominators (algorithm.filter_groups) */
} preset;

/* In the order of the table; the first is the default. NULL-terminated. */
extern const char *const PRESET_NAMES[];
/* One line that names them all, for a key's help. */
extern const char PRESET_HELP[];
/* `i` is a place in PRESET_NAMES. */
const preset *preset_at(int i);
