/* SPDX-License-Identifier: MIT */
/* metrics - counters and gauges by name; no sink knows the registry, no registry knows a sink.
 *
 * Names are the field's own ("actor/pg_loss", "reward/accuracy/mean"). One thread owns a registry; a snapshot is a
 * plain array in order of first use. */
#pragma once

#include <stddef.h>

typedef struct metrics metrics;
typedef struct metric {
    const char *name; /* owned by the registry */
    double value;
} metric;

metrics *metrics_new(void);
void metrics_free(metrics *m);
void metrics_set(metrics *m, const char *name, double value);
double metrics_get(const metrics *m, const char *name, double fallback);
const metric *metrics_all(const metrics *m, size_t *n);
void metrics_clear(metrics *m); /* forgets names and values */
