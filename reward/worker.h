/* SPDX-License-Identifier: MIT */
/* worker - the reward process: SCORE_REQUEST in, SCORE out, one at a time. */
#pragma once

#include "base/log.h"
#include "proto/loop.h"
#include "proto/messages.h"
#include "reward/scorer.h"

typedef struct worker_config {
    const char *address, *name;
    scorer *scorer;            /* borrowed */
    const parcel_list *recipe; /* of the files it scores with, to compare with the learner's; borrowed; NULL: unknown */
    uint32_t slots;            /* requests to hold at once: hides the wire's latency */
    int64_t patience_ms;       /* without a word from the exchange for so long: an error */
} worker_config;

/* Runs until BYE or a signal (OK), or an error. */
int worker_run(loop *lp, const worker_config *config, logger *lg, error *err);
