/* SPDX-License-Identifier: MIT */
#include "learner/methods/moa.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "learner/method.h"
#include "rollout/signal.h"

/* The least-squares line through y[0 .. n-1] at 0 .. n-1, read at n. */
static double foretold(const moa_state *s, int d)
{
    const int n = (int)s->n;
    double sum = 0, slope = 0, squares = 0;
    const double middle = 0.5 * (n - 1);
    for (int i = 0; i < n; i++) sum += s->means[i][d];
    for (int i = 0; i < n; i++) {
        slope += (i - middle) * s->means[i][d];
        squares += (i - middle) * (i - middle);
    }
    return sum / n + slope / squares * (n - middle);
}

/* What stands in for a mean that is missing: as foretold, as it was last, or 0. */
static double stand_in(const moa_state *s, int d)
{
    if (s->n >= 2) return foretold(s, d);
    return s->n > 0 ? s->means[0][d] : 0;
}

static void remember(const moa_config *c, moa_state *s, int K, const double *means)
{
    const int window = c->window < MOA_WINDOW ? c->window : MOA_WINDOW;
    if ((int)s->n == window) {
        memmove(s->means[0], s->means[1], sizeof s->means[0] * (size_t)(window - 1));
        s->n--;
    }
    for (int d = 0; d < K; d++) s->means[(int)s->n][d] = means[d];
    s->n++;
}

void moa_weights(const moa_config *c, moa_state *s, const objective_set *objectives, const double *means, double *w)
{
    const int K = objectives->n;
    double now[MAX_OBJECTIVES], sum = 0;

    /* softmax of beta (mean - trend): what beats its own trend weighs more */
    for (int d = 0; d < K; d++) {
        const double line = s->n >= 2 ? foretold(s, d) : means[d];
        const bool missing = isnan(means[d]); /* then it is as foretold, and of no surprise */
        now[d] = means[d];
        if (missing) now[d] = stand_in(s, d);
        w[d] = exp(c->beta * (missing ? 0 : now[d] - line));
        if (!objective_weighs(&objectives->items[d])) w[d] = 0;
        sum += w[d];
    }

    for (int d = 0; d < K; d++) w[d] /= sum;
    remember(c, s, K, now);
}

void moa_state_walk(moa_state *p, const moa_config *config, saved_state *s)
{
    const int window = config->window < MOA_WINDOW ? config->window : MOA_WINDOW;
    state_section(s, "pivot", 1);
    state_numbers(s, "steps", &p->n, 1, 0, window); /* more than the window holds would be written after it */
    state_numbers(s, "means", p->means[0], MOA_WINDOW * MAX_OBJECTIVES, -INFINITY, INFINITY);
}

/* ---- elimination ---- */

typedef struct member {
    double pivot, R;
    int place, before, length; /* of the longest run that ends here; before: its last but one, or -1 */
} member;

static int by_pivot(const void *a, const void *b)
{
    const member *x = a, *y = b;
    if (x->pivot != y->pivot) return x->pivot < y->pivot ? -1 : 1;
    if (x->R != y->R) return x->R < y->R ? -1 : 1;
    return x->place - y->place;
}

/* The least of those that are the same as values[i] up to rounding: equal ones must not seem to be in an order. */
static double level_of(int n, const double *values, int i)
{
    double min = values[i];
    for (int j = 0; j < n; j++)
        if (signal_between(values[j], values[i]) == 0) min = fmin(min, values[j]);
    return min;
}

/* Groups are small: the quadratic way needs no explanation. */
int moa_keep_agreeing(int n, const double *pivot, const double *R, bool *drop)
{
    member *m = xcalloc((size_t)n + 1, sizeof *m);
    int best = -1;
    for (int i = 0; i < n; i++) m[i] = (member){ level_of(n, pivot, i), level_of(n, R, i), i, -1, 1 };
    qsort(m, (size_t)n, sizeof *m, by_pivot);

    /* The longest run of rising R, in the order of the pivot. */
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            if (m[j].R <= m[i].R && m[j].length + 1 > m[i].length) {
                m[i].length = m[j].length + 1;
                m[i].before = j;
            }
        if (best < 0 || m[i].length > m[best].length) best = i;
    }

    const int kept = best < 0 ? 0 : m[best].length;
    for (int i = 0; i < n; i++) drop[i] = true;
    for (int i = best; i >= 0; i = m[i].before) drop[m[i].place] = false;
    free(m);
    return kept;
}

static void eliminate_from(const objective_set *o, const double *w, int leading, const group *g, bool *drop)
{
    double *pivot = xcalloc(2 * (size_t)g->n + 1, sizeof *pivot), *R = pivot + g->n;
    int *place = xcalloc((size_t)g->n + 1, sizeof *place), n = 0;
    bool *out = xcalloc((size_t)g->n + 1, sizeof *out);

    /* Episodes that have all scores: the others stay as they are. */
    for (uint32_t i = 0; i < g->n; i++) {
        double sum = 0;
        for (int d = 0; d < o->n; d++)
            if (objective_weighs(&o->items[d])) sum += w[d] * score_get(g->scores[i], o->items[d].name);
        if (isnan(sum)) continue;
        pivot[n] = score_get(g->scores[i], o->items[leading].name);
        R[n] = sum;
        place[n++] = (int)i;
    }

    moa_keep_agreeing(n, pivot, R, out);
    for (int i = 0; i < n; i++) drop[place[i]] = out[i];
    free(pivot);
    free(place);
    free(out);
}

void moa_eliminate(const objective_set *objectives, const double *w, const group *const *groups, int n_groups,
                   bool *drop)
{
    int leading = 0;
    for (int d = 1; d < objectives->n; d++)
        if (w[d] > w[leading]) leading = d;
    for (int g = 0, s = 0; g < n_groups; s += (int)groups[g++]->n)
        eliminate_from(objectives, w, leading, groups[g], drop + s);
}

/* ---- its keys ---- */

#define AT(member) SETTINGS_AT(MOA, moa_config, member)

static const option ROWS[] = {
    { "algorithm.pivot_steps", OPTION_WHOLE, AT(window), 0, MOA_WINDOW, "0",
      .help = "MOA: steps of the trend that an objective has to beat to weigh more; 0: off, else 2 or more",
      .more = "Objectives weigh softmax(pivot_beta u), u being how far a step's mean reward is above a line through "
              "the last so many (MOA, arXiv 2512.09756). 8 is a good start. Not together with `reward.preference`." },
    { "algorithm.pivot_beta", OPTION_NUMBER, AT(beta), 0, 1000, "10",
      .help = "MOA: sharpness of the softmax over objectives",
      .more = "0 weighs all alike; large values give all weight to the objective that beats its trend most." },
    { "algorithm.eliminate", OPTION_BOOL, AT(eliminate), 0, 0, "false",
      .help = "MOA: leaves out episodes that the leading objective and the weighted sum order differently",
      .more = "As few as can be, group by group; they are in no mean and not trained on. Metric `reward/eliminated`." },
    { 0 },
};

static int check_keys(void *config, option_reading *r)
{
    const trainer_config *c = config;
    const int window = SETTINGS(c, MOA, moa_config).window;
    if (window > 0 && c->preference[0])
        return option_expected(r, "algorithm.pivot_steps", "0 with reward.preference: each would set the weights");
    if (window == 1)
        return option_expected(r, "algorithm.pivot_steps", "0, or two steps or more: a line goes through two points");
    return OK;
}

static const option_table OPTIONS = { .after = "algorithm.oldest_token", .rows = ROWS, .check = check_keys };

/* ---- in the trainer's step ---- */

static bool wanted(const trainer_config *c) { return SETTINGS(c, MOA, moa_config).window > 0; }

static int open(trainer_parts *p, void **self, error *err)
{
    (void)p, (void)err;
    *self = xcalloc(1, sizeof(moa_state));
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    free(self);
}

static void tell(const objective_set *o, const double *w, const bool *drop, int S, metrics *out)
{
    char name[96];
    double dropped = 0;
    for (int s = 0; s < S; s++) dropped += drop[s];
    for (int k = 0; k < o->n; k++) {
        snprintf(name, sizeof name, "reward/%s/weight", o->items[k].name);
        metrics_set(out, name, w[k]);
    }
    metrics_set(out, "reward/eliminated", S ? dropped / S : 0);
}

/* Weights by trend, times the recipe's, and the episodes that elimination drops. The means are those of all episodes,
 * whatever else the step does with them: advantages without any extra. */
static int follow_trend(void *self, train_step *s, error *err)
{
    (void)err;
    const trainer_config *c = s->parts->config;
    const moa_config moa = SETTINGS(c, MOA, moa_config);
    const objective_set *o = &c->objectives;
    arena *a = s->parts->arena;
    double means[MAX_OBJECTIVES], w[MAX_OBJECTIVES];
    const advantage_table *plain = advantage_compute(a, &c->advantage, o, s->groups, s->n_groups, NULL);
    for (int k = 0; k < o->n; k++) means[k] = plain->stats[k].mean;
    moa_weights(&moa, self, o, means, w);

    double *own = arena_array(a, double, plain->S * o->n);
    for (int i = 0; i < plain->S * o->n; i++) own[i] = w[i % o->n] * objective_weighing(o) * o->items[i % o->n].weight;
    bool *drop = arena_zalloc(a, sizeof *drop * (size_t)(plain->S + 1));
    if (moa.eliminate) moa_eliminate(o, w, s->groups, s->n_groups, drop);

    tell(o, w, drop, plain->S, s->out);
    s->extra.weights = own;
    s->extra.drop = drop;
    return OK;
}

static void remembered(void *self, trainer_parts *p, saved_state *to)
{
    const moa_config moa = SETTINGS(p->config, MOA, moa_config);
    moa_state_walk(self, &moa, to);
}

const method METHOD_MOA = {
    .name = "pivot",
    .options = &OPTIONS,
    .wanted = wanted,
    .open = open,
    .close = close,
    .at = { [AT_WEIGH] = follow_trend },
    .state = remembered,
};
