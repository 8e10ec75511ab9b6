/* SPDX-License-Identifier: MIT */
#include "curriculum/shot_ladder.h"

#include <math.h>
#include <stdio.h>

#include "rollout/signal.h"

static const double NEW_SHARE = 0.3; /* of a step in a rung's moving mean, from the fourth on */

void ladder_init(shot_ladder *l, const ladder_config *config) { *l = (shot_ladder){ .config = *config }; }

/* ---- learning ---- */

/* The rung that shows so many, or -1: a step may have been played before the recipe was changed. */
static int rung_of(const ladder_config *c, int32_t shots)
{
    for (int i = 0; i < c->n; i++)
        if (c->levels[i] == shots) return i;
    return -1;
}

typedef struct tally {
    double scored[LADDER_RUNGS], right[LADDER_RUNGS];
} tally;

/* What a template or a hint helped says nothing of the shots. */
static void count(const ladder_config *c, const group *g, const char *objective, tally *t)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        const double r = score_get(g->scores[i], objective);
        const int rung = rung_of(c, e->n_shots);
        if (rung < 0 || isnan(r) || e->template_id > 0 || e->hint_len > 0) continue;
        t->scored[rung]++;
        t->right[rung] += signal_right(r);
    }
}

static void move(shot_ladder *l)
{
    const int here = (int)l->rung, next = here + 1;
    l->steps++;
    if (l->steps < LADDER_WAIT) return;

    if (next < l->config.n && l->seen[next] >= LADDER_WAIT && l->success[next] >= l->config.enough) {
        l->rung++;
        l->steps = 0;
    } else if (here > 0 && l->success[here] < l->config.lost) {
        l->rung--;
        l->steps = 0;
    }
}

void ladder_learn(shot_ladder *l, const group *const *groups, uint32_t n, const char *objective)
{
    tally t = { 0 };
    for (uint32_t g = 0; g < n; g++) count(&l->config, groups[g], objective, &t);

    for (int i = 0; i < l->config.n; i++) {
        if (t.scored[i] == 0) continue;
        l->seen[i]++;
        l->success[i] += fmax(NEW_SHARE, 1 / l->seen[i]) * (t.right[i] / t.scored[i] - l->success[i]);
    }
    move(l);
}

/* ---- what is shown ---- */

shot_mixture ladder_pick(const shot_ladder *l, uint32_t group_size)
{
    const int here = (int)l->rung;
    shot_mixture m = { .set = true, .more = l->config.levels[here], .fewer = l->config.levels[here] };
    if (here + 1 == l->config.n || group_size < 2) return m;

    /* At least one sample of either kind: without a probe nothing is learned of the next rung. */
    const double wanted = round(l->config.probe * group_size);
    m.fewer = l->config.levels[here + 1];
    m.n_fewer = (uint32_t)fmin(group_size - 1, fmax(1, wanted));
    return m;
}

void ladder_metrics(const shot_ladder *l, metrics *out)
{
    metrics_set(out, "shots/rung", l->rung);
    for (int i = 0; i < l->config.n; i++) {
        char name[48];
        if (l->seen[i] == 0) continue;
        snprintf(name, sizeof name, "shots/success/%d", (int)l->config.levels[i]);
        metrics_set(out, name, l->success[i]);
    }
}

/* ---- memory ---- */

void ladder_state(shot_ladder *l, saved_state *to)
{
    const ladder_config *c = &l->config;
    char rungs[16 * LADDER_RUNGS] = "";
    for (int i = 0, at = 0; i < c->n; i++)
        at += snprintf(rungs + at, sizeof rungs - (size_t)at, "%s%d", i ? " " : "", (int)c->levels[i]);

    state_section(to, "shot_ladder", 1);
    state_same(to, "levels", rungs);
    state_numbers(to, "rung", &l->rung, 1, 0, c->n - 1);
    state_numbers(to, "steps", &l->steps, 1, 0, INFINITY);
    state_numbers(to, "seen", l->seen, c->n, 0, INFINITY);
    state_numbers(to, "success", l->success, c->n, 0, 1);
}
