/* SPDX-License-Identifier: MIT */
#include "learner/methods/pivot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* The least-squares line through y[0 .. n-1] at 0 .. n-1, read at n. */
static double foretold(const pivot_state *s, int d)
{
    const int n = (int)s->n;
    double sum = 0, slope = 0, spread = 0;
    const double middle = 0.5 * (n - 1);
    for (int i = 0; i < n; i++) sum += s->means[i][d];
    for (int i = 0; i < n; i++) slope += (i - middle) * s->means[i][d], spread += (i - middle) * (i - middle);
    return sum / n + slope / spread * (n - middle);
}

static void remember(const pivot_config *c, pivot_state *s, int K, const double *means)
{
    const int window = c->window < PIVOT_WINDOW ? c->window : PIVOT_WINDOW;
    if ((int)s->n == window) {
        memmove(s->means[0], s->means[1], sizeof s->means[0] * (size_t)(window - 1));
        s->n--;
    }
    for (int d = 0; d < K; d++) s->means[(int)s->n][d] = means[d];
    s->n++;
}

void pivot_weights(const pivot_config *c, pivot_state *s, const objective_set *objectives, const double *means,
                   double *w)
{
    const int K = objectives->n;
    double now[MAX_OBJECTIVES], sum = 0;
    for (int d = 0; d < K; d++) {
        const double line = s->n >= 2 ? foretold(s, d) : means[d];
        now[d] = isnan(means[d]) ? (s->n > 0 ? line : 0) : means[d];
        w[d] = exp(c->beta * (isnan(means[d]) ? 0 : now[d] - line));
        if (!objective_weighs(&objectives->items[d])) w[d] = 0;
        sum += w[d];
    }
    for (int d = 0; d < K; d++) w[d] /= sum;
    remember(c, s, K, now);
}

void pivot_state_walk(pivot_state *p, const pivot_config *config, saved_state *s)
{
    const int window = config->window < PIVOT_WINDOW ? config->window : PIVOT_WINDOW;
    state_section(s, "pivot", 1);
    state_numbers(s, "steps", &p->n, 1, 0, window); /* more than the window holds would be written behind it */
    state_numbers(s, "means", p->means[0], PIVOT_WINDOW * MAX_OBJECTIVES, -INFINITY, INFINITY);
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

/* Groups are small: the quadratic way needs no explanation. */
int pivot_keep_agreeing(int n, const double *pivot, const double *R, bool *drop)
{
    member *m = xcalloc((size_t)n + 1, sizeof *m);
    int best = -1;
    for (int i = 0; i < n; i++) m[i] = (member){ pivot[i], R[i], i, -1, 1 };
    qsort(m, (size_t)n, sizeof *m, by_pivot);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            if (m[j].R <= m[i].R && m[j].length + 1 > m[i].length) m[i].length = m[j].length + 1, m[i].before = j;
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
    for (uint32_t i = 0; i < g->n; i++) {
        double sum = 0;
        for (int d = 0; d < o->n; d++)
            if (objective_weighs(&o->items[d])) sum += w[d] * score_get(g->scores[i], o->items[d].name);
        if (isnan(sum)) continue;
        pivot[n] = score_get(g->scores[i], o->items[leading].name), R[n] = sum, place[n++] = (int)i;
    }
    pivot_keep_agreeing(n, pivot, R, out);
    for (int i = 0; i < n; i++) drop[place[i]] = out[i];
    free(pivot), free(place), free(out);
}

void pivot_eliminate(const objective_set *objectives, const double *w, const group *const *groups, int n_groups,
                     bool *drop)
{
    int leading = 0;
    for (int d = 1; d < objectives->n; d++)
        if (w[d] > w[leading]) leading = d;
    for (int g = 0, s = 0; g < n_groups; s += (int)groups[g++]->n)
        eliminate_from(objectives, w, leading, groups[g], drop + s);
}
