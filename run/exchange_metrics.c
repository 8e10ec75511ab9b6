/* SPDX-License-Identifier: MIT */
#include "run/exchange_metrics.h"

#include <stdio.h>

/* What was refused so far, all of it, by reason and by peer; a reason or peer appears with its first. */
static void refusal_metrics(const refusal_counts *c, metrics *out)
{
    char name[REFUSED_NAME + 32];
    metrics_set(out, "exchange/refused", (double)c->all);
    for (int i = 0; i < N_REFUSALS; i++) {
        snprintf(name, sizeof name, "exchange/refused/%s", refusal_name((refusal)i));
        if (c->by_reason[i] > 0) metrics_set(out, name, (double)c->by_reason[i]);
    }
    for (int i = 0; i < c->n_peers; i++) {
        snprintf(name, sizeof name, "exchange/refused_of/%s", c->peers[i].name);
        metrics_set(out, name, (double)c->peers[i].n);
    }
}

void exchange_metrics(step_clock *last, const server_stats *stats, int64_t now_ms, metrics *out)
{
    const double seconds = (double)(now_ms - last->ms + 1) * 1e-3; /* never 0 */
    metrics_set(out, "perf/throughput", (double)(stats->tokens - last->tokens) / seconds);
    metrics_set(out, "timing_s/step", seconds);
    *last = (step_clock){ .ms = now_ms, .tokens = stats->tokens };

    metrics_set(out, "exchange/leases_lost", (double)stats->core.lost);
    metrics_set(out, "exchange/episodes_unplayable", (double)stats->core.unplayable);
    metrics_set(out, "exchange/episodes_failed", (double)stats->core.failed);
    metrics_set(out, "exchange/episodes_repeated", (double)stats->core.repeated);
    metrics_set(out, "exchange/groups_dropped", (double)stats->core.groups_dropped);
    metrics_set(out, "exchange/prompts_refilled", (double)stats->core.refilled);
    refusal_metrics(&stats->refused, out);

    metrics_set(out, "exchange/actors", stats->actors);
    metrics_set(out, "exchange/reward_workers", stats->reward_workers);
}
