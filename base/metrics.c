/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"

/* The map holds a metric's place + 1: a place of 0 would look like an absent key. */
struct metrics {
    map *places;
    vec(metric) all;
};

metrics *metrics_new(void)
{
    metrics *m = xcalloc(1, sizeof *m);
    m->places = map_new();
    return m;
}

void metrics_free(metrics *m)
{
    if (!m) return;
    metrics_clear(m);
    map_free(m->places);
    vec_free(&m->all);
    free(m);
}

static size_t place_of(const metrics *m, const char *name) { return (size_t)(uintptr_t)map_get(m->places, name); }

static metric *entry_of(metrics *m, const char *name)
{
    size_t place = place_of(m, name);
    if (place == 0) {
        vec_push(&m->all, (metric){ .name = xstrdup(name) });
        place = m->all.len;
        map_set(m->places, name, (void *)(uintptr_t)place);
    }
    return &m->all.data[place - 1];
}

void metrics_set(metrics *m, const char *name, double value) { entry_of(m, name)->value = value; }

double metrics_get(const metrics *m, const char *name, double fallback)
{
    size_t place = place_of(m, name);
    return place ? m->all.data[place - 1].value : fallback;
}

const metric *metrics_all(const metrics *m, size_t *n)
{
    *n = m->all.len;
    return m->all.data;
}

void metrics_clear(metrics *m)
{
    for (size_t i = 0; i < m->all.len; i++) free((char *)(uintptr_t)m->all.data[i].name);
    m->all.len = 0;
    map_free(m->places);
    m->places = map_new();
}
