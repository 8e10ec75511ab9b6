/* SPDX-License-Identifier: MIT */
/* options - the keys of rollout.*: how many episodes are played, and how they are sampled. */
#pragma once

#include "base/option.h"
#include "exchange/scheduler.h"

typedef struct exchange_options {
    int64_t group, prompts_per_step, refills, max_tokens, max_staleness, lag;
    double temperature;
} exchange_options;

extern const option_table ROLLOUT_OPTIONS;

/* A schedule of these numbers. The rest of it is the caller's: data, samples with help, evaluations, shots. */
scheduler_config exchange_schedule(const exchange_options *o, uint64_t seed);
