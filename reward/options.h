/* SPDX-License-Identifier: MIT */
/* options - the keys of how a reward script is run. */
#pragma once

#include <stdbool.h>

#include "base/option.h"
#include "reward/scorer.h"

typedef struct reward_options {
    char script[OPTION_PATH_BYTES];
    double timeout_ms, memory_mb;
    bool rehearse; /* refuse a script that raises on what any policy can write: see rehearsal.h */
} reward_options;

extern const option_table REWARD_OPTIONS;

/* Borrows the script's path. */
scorer_config reward_scorer(const reward_options *o);
