/* SPDX-License-Identifier: MIT */
#include "learner/credit.h"

#include <math.h>
#include <string.h>

#include "rollout/signal.h"

/* The objective's spans lie together. */
static const reward_span *spans_of(const score *s, const char *name, uint32_t *n)
{
    uint32_t begin = 0, end;
    while (begin < s->n_spans && strcmp(s->spans[begin].name, name) != 0) begin++;
    for (end = begin; end < s->n_spans && strcmp(s->spans[end].name, name) == 0; end++) {
    }
    *n = end - begin;
    return *n > 0 ? s->spans + begin : NULL;
}

/* Mean and unbiased std (1 of a single one, 0 where all are the same up to rounding) of an objective's spans. */
typedef struct credit_stats {
    double mean, std;
    int n;
} credit_stats;

typedef struct sums {
    double values, squares; /* squares: of distances from what the mean is known to be */
    double largest;
    int n;
} sums;

/* A demonstration is in no mean. */
static void add_up(const group *g, const char *name, double mean, sums *to)
{
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t n;
        const reward_span *spans = spans_of(g->scores[i], name, &n);
        if (trajectory_sampled(&g->episodes[i]->tokens) == 0) continue;
        for (uint32_t m = 0; m < n; m++) {
            to->values += spans[m].value;
            to->squares += (spans[m].value - mean) * (spans[m].value - mean);
            to->largest = fmax(to->largest, fabs(spans[m].value));
            to->n++;
        }
    }
}

static credit_stats stats_of(const char *name, const group *const *groups, int n_groups)
{
    sums first = { 0 }, second = { 0 };
    for (int g = 0; g < n_groups; g++) add_up(groups[g], name, 0, &first);
    const double mean = first.n > 0 ? first.values / first.n : 0;
    if (first.n < 2) return (credit_stats){ mean, 1, first.n };

    for (int g = 0; g < n_groups; g++) add_up(groups[g], name, mean, &second);
    const double std = sqrt(second.squares / (first.n - 1));
    return (credit_stats){ mean, signal_of(std, fmax(1, first.largest)), first.n };
}

/* What spans m .. n - 1 are worth to the token in the m-th -> worth [n]. */
static void worth_of_spans(arena *a, credit_to to, const reward_span *spans, uint32_t n, double mean, double divisor,
                           double *worth)
{
    double *size = arena_zalloc(a, sizeof *size * (n + 1)), behind = 0;
    for (uint32_t m = n; m-- > 0;) {
        const double A = signal_between(spans[m].value, mean) / divisor;
        behind += A;
        size[m] = size[m + 1] + fabs(A);
        worth[m] = to == CREDIT_RETURN ? signal_of(behind, size[m]) : A;
    }
}

/* Adds weight x (v - mean) / divisor of the objective's spans to the tokens they are for, out [the trajectory's n].
 * False where there is nothing to add. */
static bool credit_add(arena *a, credit_to to, const char *name, double mean, double divisor, double weight,
                       const episode *e, const score *s, double *out)
{
    uint32_t n, at = 0;
    const reward_span *spans = spans_of(s, name, &n);
    double *worth = arena_array(a, double, n + 1);
    uint64_t written = 0;
    bool any = false;
    worth_of_spans(a, to, spans, n, mean, divisor, worth);

    /* Spans end at bytes of the answer: a token is in the first that its own last byte is not after. */
    for (uint32_t i = 0; i < e->tokens.n && at < n; i++) {
        written += e->tokens.wrote[i];
        while (at < n && written > spans[at].end) at++;
        if (at == n || !e->tokens.mask[i]) continue;
        out[i] += weight * worth[at];
        any |= out[i] != 0;
    }
    return any;
}

/* ---- into the table ---- */

/* What a group's spans are compared with; NaN: with nothing, as when one is alone. */
static double mean_for(estimator_scope scope, const credit_stats *own, const credit_stats *batch)
{
    switch (scope) {
    case SCOPE_NONE:
        return 0;
    case SCOPE_BATCH:
        return batch->mean;
    case SCOPE_GROUP:
        return own->n > 1 ? own->mean : NAN;
    }
    return NAN;
}

static double divisor_for(advantage_std of, double eps, const credit_stats *own, const credit_stats *batch)
{
    const double std = of == STD_BATCH ? batch->std : own->std;
    return of == STD_NONE || !(std > 0) ? 1 : std + eps;
}

/* Objective k's, of one group, for its tokens: [trajectory n] an episode that has some, weighed as the episode says. */
static void credit_group(arena *a, const advantage_config *c, const char *name, int k, const group *const *g, int begin,
                         const credit_stats *batch, double eps, const double *own, advantage_table *t)
{
    const credit_stats own_group = stats_of(name, g, 1);
    const double mean = mean_for(estimator_of(c->mean)->scope, &own_group, batch);
    const double divisor = divisor_for(c->std, eps, &own_group, batch);
    if (isnan(mean)) return;

    double **tokens = t->tokens_by_objective + (size_t)k * (size_t)t->S;
    for (int s = begin; s < begin + (int)(*g)->n; s++) {
        if (!t->counts[s]) continue;
        const episode *e = t->episodes[s];
        const score *spans = (*g)->scores[s - begin];
        const double weight = own ? own[s] : 1;
        double *out = arena_zalloc(a, sizeof *out * (size_t)(e->tokens.n + 1));
        if (credit_add(a, c->credit, name, mean, divisor, weight, e, spans, out)) tokens[s] = out;
    }
}

/* The weighted sum over objectives of what an episode's tokens get; NULL where they get nothing. */
static double *sum_tokens(arena *a, const objective_set *objectives, const advantage_table *t, int s)
{
    const uint32_t n = t->episodes[s]->tokens.n;
    double *sum = arena_zalloc(a, sizeof *sum * (n + 1));
    bool any = false;

    for (uint32_t i = 0; i < n; i++) {
        double size = 0;
        for (int k = 0; k < t->K; k++) {
            const double *of = t->tokens_by_objective[(size_t)k * (size_t)t->S + (size_t)s];
            const double part = of ? objectives->items[k].weight * of[i] : 0;
            sum[i] += part;
            size += fabs(part);
        }
        sum[i] = signal_of(sum[i], size); /* what is left of parts that cancel is rounding, not a signal */
        any |= sum[i] != 0;
    }

    return any ? sum : NULL;
}

/* An objective's own weight of each episode as a share of its general one, [S]; NULL: 1. */
static double *own_weights(arena *a, const objective_set *objectives, const double *weights, int k, int S)
{
    const double general = objectives->items[k].weight;
    if (!weights || !(general > 0)) return NULL;
    double *own = arena_array(a, double, S);
    for (int s = 0; s < S; s++) own[s] = weights[(size_t)s * (size_t)objectives->n + (size_t)k] / general;
    return own;
}

void credit_spans(arena *a, const advantage_config *c, double eps, const objective_set *objectives,
                  const group *const *groups, int n_groups, const double *weights, advantage_table *t)
{
    t->tokens = arena_zalloc(a, sizeof *t->tokens * (size_t)(t->S + 1));
    t->tokens_by_objective = arena_zalloc(a, sizeof *t->tokens * (size_t)(t->S * t->K + 1));
    bool unmet = false;
    for (int k = 0; k < t->K; k++) unmet |= t->stats[k].unmet;

    for (int k = 0; k < t->K; k++) {
        if (!objective_weighs(&objectives->items[k])) continue;
        if (unmet && !t->stats[k].unmet) continue; /* constraints first */

        const char *name = objectives->items[k].name;
        const credit_stats batch = stats_of(name, groups, n_groups);
        const double *own = own_weights(a, objectives, weights, k, t->S);
        for (int g = 0, begin = 0; g < n_groups; begin += (int)groups[g++]->n)
            credit_group(a, c, name, k, &groups[g], begin, &batch, eps, own, t);
    }

    for (int s = 0; s < t->S; s++) t->tokens[s] = sum_tokens(a, objectives, t, s);
}
