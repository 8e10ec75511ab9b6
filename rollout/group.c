/* SPDX-License-Identifier: MIT */
#include "rollout/group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

group *group_new(uint64_t id, uint64_t prompt_id, int64_t step, uint32_t size)
{
    group *g = xcalloc(1, sizeof *g);
    *g = (group){ .id = id, .prompt_id = prompt_id, .step = step, .size = size };
    g->episodes = xcalloc(size, sizeof *g->episodes);
    g->scores = xcalloc(size, sizeof *g->scores);
    return g;
}

void group_free(group *g)
{
    if (!g) return;
    for (uint32_t i = 0; i < g->n; i++) {
        episode_free(g->episodes[i]);
        score_free(g->scores[i]);
    }
    free(g->episodes);
    free(g->scores);
    free(g);
}

int group_add(group *g, episode *e, score *s, error *err)
{
    uint32_t at = 0; /* its place: they lie by their sample's number */
    while (at < g->n && g->episodes[at]->sample < e->sample) at++;

    const bool is_there = at < g->n && g->episodes[at]->sample == e->sample;
    if (g->n == g->size || e->sample >= g->size || is_there)
        return error_set(err, ERR_STATE,
                         "group %016" PRIx64 ": sample %" PRIu32 " is already present, or outside the group", g->id,
                         e->sample);

    memmove(g->episodes + at + 1, g->episodes + at, (g->n - at) * sizeof *g->episodes);
    memmove(g->scores + at + 1, g->scores + at, (g->n - at) * sizeof *g->scores);
    g->episodes[at] = e;
    g->scores[at] = s;
    g->n++;
    return OK;
}
