/* SPDX-License-Identifier: MIT */
/* exchange_metrics - what the exchange did in a step, as its metrics: tokens a second, episodes lost and refused, who
 * is connected. Counts are of all steps so far. */
#pragma once

#include "base/metrics.h"
#include "exchange/server.h"

/* Where the last step ended; zero-initialise but for `ms`, the training's begin. */
typedef struct step_clock {
    int64_t ms;
    uint64_t tokens;
} step_clock;

/* perf/throughput and timing_s/step of the step that ends now, exchange/...; moves `last` on. */
void exchange_metrics(step_clock *last, const server_stats *stats, int64_t now_ms, metrics *out);
