/* SPDX-License-Identifier: MIT */
/* reference - the policy that a KL is to, and a KL to it as a cost of the reward: what the latter is set to. */
#pragma once

typedef struct reward_kl_config {
    double coefficient; /* of the episode's sum of log mu - log ref, taken off the heaviest reward; 0: off */
} reward_kl_config;
