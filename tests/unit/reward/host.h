/* SPDX-License-Identifier: MIT */
/* host - the scorer starts its own program, as `troupe` does: a test of it begins its main with this. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "reward/scorer.h"

/* True: this process was the scorer's host, and has ended with *status. */
static inline bool was_reward_host(int argc, char **argv, int *status)
{
    if (argc != 9 || strcmp(argv[1], "reward-host") != 0) return false;
    const scorer_config config = { .script = argv[2],
                                   .cpu_ms = atoll(argv[5]),
                                   .memory_mb = atoll(argv[6]),
                                   .instructions = atoll(argv[7]),
                                   .print_bytes = atoll(argv[8]) };
    *status = reward_host_main(&config, atoi(argv[3]), atoi(argv[4]));
    return true;
}
