/* SPDX-License-Identifier: MIT */
/* run_options - the keys of a run as a whole: how long, how often, how many processes, on what. */
#pragma once

#include "base/option.h"
#include "kernels/device.h"

typedef struct run_options {
    char name[64];
    char model[OPTION_PATH_BYTES];
    char model_from[200]; /* the command that makes it, for who has not got it */
    int64_t steps, patience, seed, checkpoint_every, keep_checkpoints, keep_episodes;
    int64_t eval_every, eval_prompts, eval_shots;
    double eval_temperature;
    precision precision; /* of linear products, in every role */
    char device[32];
    int64_t learners, actors, reward_workers, actor_slots, learner_threads, actor_threads;
    double lease_seconds, stall_seconds;
} run_options;

extern const option_table RUN_OPTIONS, EVAL_OPTIONS, FLEET_OPTIONS; /* all of a run_options */
