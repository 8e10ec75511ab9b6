/* SPDX-License-Identifier: MIT */
#include "learner/trainer_config.h"

void trainer_config_join(trainer_config *c, uint64_t seed, int64_t steps, int64_t max_tokens, double temperature)
{
    c->seed = seed;
    c->temperature = temperature;
    c->optim.total_steps = steps;

    /* Dr.GRPO's constant and DAPO's overlong answers are about the longest answer there can be. */
    c->loss.constant = (double)max_tokens;
    c->advantage.length_shaping.overlong_max = (double)max_tokens;
}
