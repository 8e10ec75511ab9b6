/* SPDX-License-Identifier: MIT */
#include "learner/advantage.h"

#include <math.h>
#include <string.h>

#include "learner/credit.h"
#include "rollout/signal.h"

/* What a step is looked at with. */
typedef struct step_view {
    const group *const *groups;
    episode_range *ranges; /* [n_groups] */
    int n_groups, S;
    double *length; /* [S] tokens that the policy wrote */
    origin *of;     /* [S] */
    bool *dead;     /* [S] its group teaches nothing, and that counts */
} step_view;

/* ---- one objective: (r - baseline) / divisor ---- */

/* Where all are the same there is nothing to divide by: eps alone would make a million of a reward of 1. */
static double divided_by(const moments *m, double eps) { return m->std > 0 ? m->std + eps : 1; }

static double divisor(const advantage_config *c, double eps, const moments *of_group, const moments *of_batch)
{
    switch (c->std) {
    case STD_NONE:
        return 1;
    case STD_BATCH:
        return divided_by(of_batch, eps);
    case STD_GROUP:
        return divided_by(of_group, eps);
    }
    return 1;
}

/* ADHint (arXiv 2512.13095): the more the help helps, the less what it led to says of the policy alone. */
static double worth_of_helped(double own, double helped)
{
    return own >= 1 ? 1 : fmax(0.1, fmin(1, (1 - helped) / (1 - own)));
}

/* What was helped is compared with what was; a demonstration, with what the policy does by itself. */
static double advantage_of_helped(const advantage_config *c, double eps, const comparison *v, int i)
{
    if (v->of[i] == ORIGIN_HELPED) {
        const double A = signal_between(v->r[i], v->helped.mean) / divisor(c, eps, &v->sampled, &v->batch);
        return A * worth_of_helped(v->group.mean, v->helped.mean);
    }
    if (v->group.n == 0) return 0; /* nothing was sampled without help: nothing to compare with */
    return signal_between(v->r[i], v->group.mean) / divisor(c, eps, &v->all, &v->batch);
}

/* One objective over the whole batch: r [S] raw (NaN missing) -> out [S]. */
static void normalise(const advantage_config *c, double eps, const double *r, const step_view *step, double *out)
{
    const estimator *e = estimator_of(c->mean);
    comparison v = { .r = r, .length = step->length, .of = step->of };
    v.batch = moments_of(r, v.of, ORIGIN_SAMPLED | ORIGIN_HELPED, (episode_range){ 0, step->S },
                         e->by_tokens ? v.length : NULL);

    for (int g = 0; g < step->n_groups; g++) {
        v.at = step->ranges[g];
        v.group = moments_of(r, v.of, ORIGIN_SAMPLED, v.at, NULL);
        v.helped = moments_of(r, v.of, ORIGIN_HELPED, v.at, NULL);
        v.sampled = moments_of(r, v.of, ORIGIN_SAMPLED | ORIGIN_HELPED, v.at, NULL);
        v.all = moments_of(r, v.of, ORIGIN_SAMPLED | ORIGIN_HELPED | ORIGIN_DEMONSTRATION, v.at, NULL);
        e->baseline(&v, out); /* until the next loop out holds baselines */

        for (int i = v.at.begin; i < v.at.end; i++) {
            if (isnan(r[i]))
                out[i] = 0;
            else if (v.of[i] == ORIGIN_SAMPLED)
                out[i] = signal_between(r[i], out[i]) / divisor(c, eps, &v.sampled, &v.batch);
            else
                out[i] = advantage_of_helped(c, eps, &v, i);
        }
    }
}

static bool teaches(const double *r, episode_range g) { return signal_among(r + g.begin, g.end - g.begin); }

static objective_stats stats_of(const double *r, const step_view *v)
{
    /* What the policy does by itself: neither hints nor demonstrations. */
    const moments batch = moments_of(r, v->of, ORIGIN_SAMPLED, (episode_range){ 0, v->S }, NULL);

    int dead = 0, missing = 0;
    for (int s = 0; s < v->S; s++) missing += isnan(r[s]);
    for (int g = 0; g < v->n_groups; g++) dead += !teaches(r, v->ranges[g]);

    return (objective_stats){ .mean = batch.n ? batch.mean : NAN,
                              .std = batch.n > 1 ? batch.std : 0,
                              .dead_groups = v->n_groups ? (double)dead / v->n_groups : 0,
                              .scored = batch.n,
                              .missing = missing };
}

/* What only the heaviest objective decides: success rates, groups without signal, opinions on length. */
static void heed_heaviest(const advantage_config *c, const step_view *v, advantage_table *t, double *r)
{
    const int64_t step = v->n_groups ? v->groups[0]->step : 0;
    for (int g = 0; g < v->n_groups; g++) {
        const episode_range s = v->ranges[g];
        const bool nothing = !teaches(r, s);
        double right = 0, sampled = 0;

        for (int i = s.begin; i < s.end; i++) {
            right += signal_right(r[i]) && v->of[i] == ORIGIN_SAMPLED;
            sampled += v->of[i] == ORIGIN_SAMPLED;
        }
        for (int i = s.begin; i < s.end; i++) {
            t->success_rate[i] = sampled > 0 ? right / sampled : 0;
            v->dead[i] = c->drop_dead && nothing && !t->has_spans;
        }
        length_shaping_group(&c->length_shaping, step, s.end - s.begin, v->length + s.begin, r + s.begin);
    }
}

/* ---- the scalar that trains ---- */

static double *row_of(const advantage_table *t, int k) { return t->by_objective + (size_t)k * (size_t)t->S; }

/* The weighted sum of the objectives' advantages -> scalar; what they leave of each other as rounding is nothing. */
static void weigh(const objective_set *objectives, advantage_table *t)
{
    for (int s = 0; s < t->S; s++) {
        double sum = 0, size = 0;
        for (int k = 0; k < t->K; k++) {
            const double part = objectives->items[k].weight * row_of(t, k)[s];
            sum += part;
            size += fabs(part);
        }
        t->scalar[s] = signal_of(sum, size);
    }
}

static bool has_opinion(const advantage_table *t, int s)
{
    bool any = false;
    for (int k = 0; k < t->K; k++) any |= row_of(t, k)[s] != 0;
    return any;
}

/* GDPO's last step: the weighted sum is brought to mean 0 and std 1 over the batch, so that the number of objectives
 * doesn't change the size of a step. An episode of which no objective has an opinion gets none by the others' mean. */
static void whiten(advantage_table *t, const origin *of, double eps)
{
    double *A = t->scalar;

    for (int s = 0; s < t->S; s++)
        if (!t->counts[s]) A[s] = NAN; /* in no mean */
    const moments m = moments_of(A, of, ORIGIN_SAMPLED | ORIGIN_HELPED, (episode_range){ 0, t->S }, NULL);

    for (int s = 0; s < t->S; s++) {
        const bool judged = !isnan(A[s]) && has_opinion(t, s);
        A[s] = judged ? signal_between(A[s], m.mean) / divided_by(&m, eps) : 0;
    }
}

/* While a constraint is unmet, those that are met (or have none) have no say. */
static void put_constraints_first(advantage_table *t, const objective_set *objectives)
{
    bool any = false;
    for (int k = 0; k < t->K; k++) {
        const objective *o = &objectives->items[k];
        t->stats[k].unmet = objective_weighs(o) && signal_between(t->stats[k].mean, o->min) < 0;
        any |= t->stats[k].unmet;
    }
    if (!any) return;

    for (int k = 0; k < t->K; k++)
        for (int s = 0; !t->stats[k].unmet && s < t->S; s++) row_of(t, k)[s] = 0;
}

/* An objective that weighs nothing in general can't be weighed by an episode: its row stays out of the scalar. */
static void weigh_each(advantage_table *t, const objective_set *objectives, const double *weights)
{
    for (int k = 0; k < t->K; k++) {
        const objective *o = &objectives->items[k];
        if (!objective_weighs(o)) continue;
        for (int s = 0; s < t->S; s++) row_of(t, k)[s] *= weights[(size_t)s * (size_t)t->K + (size_t)k] / o->weight;
    }
}

/* ---- rewards on spans ---- */

/* Their mean `judged` is not one more reward: what is left is what length and the like have added, or nothing. */
static void said_in_spans(const group *g, const char *name, const double *judged, double *raw)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (!score_has_spans(g->scores[i], name)) continue;
        raw[i] = raw[i] != judged[i] ? raw[i] - judged[i] : NAN;
    }
}

static bool any_spans(const objective_set *objectives, const group *const *groups, int n_groups)
{
    bool any = false;
    for (int k = 0; k < objectives->n; k++)
        for (int g = 0; g < n_groups && objective_weighs(&objectives->items[k]); g++)
            for (uint32_t i = 0; i < groups[g]->n; i++)
                any |= score_has_spans(groups[g]->scores[i], objectives->items[k].name);
    return any;
}

static advantage_table *table_new(arena *a, const group *const *groups, int n_groups, int K, episode_range *ranges)
{
    advantage_table *t = arena_zalloc(a, sizeof *t);
    t->K = K;
    for (int g = 0; g < n_groups; g++) {
        ranges[g] = (episode_range){ t->S, t->S + (int)groups[g]->n };
        t->S = ranges[g].end;
    }

    t->episodes = arena_array(a, const episode *, t->S);
    t->scalar = arena_zalloc(a, sizeof(double) * (size_t)t->S);
    t->counts = arena_zalloc(a, sizeof(bool) * (size_t)t->S);
    t->success_rate = arena_zalloc(a, sizeof(double) * (size_t)t->S);
    t->by_objective = arena_zalloc(a, sizeof(double) * (size_t)(t->S * K));
    t->stats = arena_zalloc(a, sizeof(objective_stats) * (size_t)K);

    for (int g = 0; g < n_groups; g++)
        for (int i = ranges[g].begin; i < ranges[g].end; i++) t->episodes[i] = groups[g]->episodes[i - ranges[g].begin];
    return t;
}

static step_view view_of(arena *a, const advantage_table *t, const group *const *groups, int n_groups,
                         episode_range *ranges)
{
    step_view v = { .groups = groups, .ranges = ranges, .n_groups = n_groups, .S = t->S };
    v.length = arena_array(a, double, t->S);
    v.of = arena_array(a, origin, t->S);
    v.dead = arena_zalloc(a, sizeof *v.dead * (size_t)t->S);
    for (int s = 0; s < t->S; s++) v.length[s] = trajectory_sampled(&t->episodes[s]->tokens);
    for (int g = 0; g < n_groups; g++) origins_of(groups[g], v.of + ranges[g].begin);
    return v;
}

/* An objective's rewards as scored -> r [S]; NaN: missing. */
static void read_rewards(const step_view *v, const char *name, const bool *drop, double *r)
{
    for (int g = 0; g < v->n_groups; g++)
        for (int i = v->ranges[g].begin; i < v->ranges[g].end; i++)
            r[i] = drop && drop[i] ? NAN : score_get(v->groups[g]->scores[i - v->ranges[g].begin], name);
}

/* Objective k's rewards -> r [S] as they are normalised: shaped, less a penalty, without what is said in spans.
 * Statistics are of what was scored; of an objective that doesn't weigh they are all. */
static void prepare_rewards(const advantage_config *c, const step_view *v, const objective *o, int k,
                            const advantage_extra *extra, double *judged, double *r, advantage_table *t)
{
    read_rewards(v, o->name, extra ? extra->drop : NULL, judged);
    memcpy(r, judged, sizeof *r * (size_t)v->S);
    t->stats[k] = stats_of(r, v);
    if (!objective_weighs(o)) return;

    if (k == 0) heed_heaviest(c, v, t, r); /* objectives are sorted: the first is the heaviest */
    if (k == 0 && extra && extra->penalty)
        for (int s = 0; s < v->S; s++) r[s] -= extra->penalty[s];

    for (int s = 0; s < v->S; s++) t->counts[s] |= !isnan(r[s]) && !v->dead[s];
    for (int g = 0; t->has_spans && g < v->n_groups; g++)
        said_in_spans(v->groups[g], o->name, judged + v->ranges[g].begin, r + v->ranges[g].begin);
}

/* An episode's rewards, weighed as its scalar would be: what an estimator that chooses goes by. */
static void add_worth(const objective_set *objectives, int k, const double *own, const double *r, int S, double *worth)
{
    for (int s = 0; s < S; s++) {
        const double weight = own ? own[s * objectives->n + k] : objectives->items[k].weight;
        if (!isnan(r[s])) worth[s] += weight * r[s];
    }
}

static double eps_of(const advantage_config *c, const objective_set *objectives)
{
    if (c->eps > 0) return c->eps;
    return objective_weighing(objectives) > 1 ? 1e-4 : 1e-6; /* GDPO's and GRPO's */
}

advantage_table *advantage_compute(arena *a, const advantage_config *config, const objective_set *objectives,
                                   const group *const *groups, int n_groups, const advantage_extra *extra)
{
    const int K = objectives->n;
    const double eps = eps_of(config, objectives), *own_weights = extra ? extra->weights : NULL;
    const estimator *e = estimator_of(config->mean);

    episode_range *ranges = arena_array(a, episode_range, n_groups);
    advantage_table *t = table_new(a, groups, n_groups, K, ranges);
    const step_view v = view_of(a, t, groups, n_groups, ranges);
    double *judged = arena_array(a, double, t->S), *r = arena_array(a, double, t->S);
    double *worth = arena_zalloc(a, sizeof *worth * (size_t)t->S);
    t->has_spans = config->credit != CREDIT_WHOLE && any_spans(objectives, groups, n_groups);

    /* Objective by objective: A_k = (r_k - mean_k) / (std_k + eps). */
    for (int k = 0; k < K; k++) {
        prepare_rewards(config, &v, &objectives->items[k], k, extra, judged, r, t);
        if (!objective_weighs(&objectives->items[k])) continue;
        add_worth(objectives, k, own_weights, r, t->S, worth);
        normalise(config, eps, r, &v, row_of(t, k));
    }
    put_constraints_first(t, objectives);

    /* To one number an episode: A = sum_k w_k A_k, whitened. */
    if (own_weights) weigh_each(t, objectives, own_weights);
    weigh(objectives, t);
    if (config->whiten) whiten(t, v.of, eps);
    for (int g = 0; e->choose && g < n_groups; g++) e->choose(worth, v.of, t->counts, ranges[g], t->scalar);

    if (t->has_spans) credit_spans(a, config, eps, objectives, groups, n_groups, own_weights, t);
    return t;
}
