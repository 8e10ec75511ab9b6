/* SPDX-License-Identifier: MIT */
/* What a recipe that sets nothing trains with: the defaults of the keys' rows, which stand nowhere else. */
#pragma once

#include "learner/trainer_config.h"
#include "tests/support/support.h"

static inline trainer_config trainer_config_default(void)
{
    static const option_table *const TABLES[] = { &ALGORITHM_OPTIONS, &IMITATION_OPTIONS, &OPTIM_OPTIONS };
    trainer_config c = { 0 };
    error err = { 0 };
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) test_ok(option_defaults(TABLES[i], &c, &err), &err);
    c.loss.constant = 512; /* no key: a recipe's is rollout.max_tokens (trainer_config_join) */
    return c;
}

static inline loss_config loss_default(void) { return trainer_config_default().loss; }
static inline optim_config optim_default(void) { return trainer_config_default().optim; }

/* For so many objectives that weigh. 1: GRPO without whitening; more: GDPO. */
static inline advantage_config advantage_default(int weighing)
{
    advantage_config c = trainer_config_default().advantage;
    c.whiten = weighing > 1;
    return c;
}
