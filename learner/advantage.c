#include "learner/advantage.h"

#include <math.h>
#include <string.h>

#include "rollout/signal.h"

/* A run of episodes that share a mean: [begin, end) of the table. */
typedef struct span {
    int begin, end;
} span;

typedef struct moments {
    double mean, std, sum;
    int n;
} moments;

advantage_config advantage_default(int weighing)
{
    return (advantage_config){ .mean = MEAN_GROUP, .std = STD_GROUP, .whiten = weighing > 1 };
}

/* How an episode came about: by itself, behind a hint, or all of it given. */
typedef enum origin { SAMPLED = 1, HINTED = 2, GIVEN = 4 } origin;

static origin origin_of(const episode *e)
{
    if (e->hint_len == 0) return SAMPLED;
    return trajectory_sampled(&e->tokens) > 0 ? HINTED : GIVEN;
}

/* Beyond this squares overflow: such rewards are looked at in units of the largest. */
static const double HUGE_REWARD = 1e100;

static bool is_of(const double *r, const origin *of, unsigned some, int i)
{
    return !isnan(r[i]) && (unsigned)of[i] & some;
}

/* Mean and unbiased std of the values that are there and of episodes of `some` origins (bits), each as often as
 * `times` says (NULL: once). The std is 0 where the values are equal up to rounding, and 1 of a single one. */
static moments moments_of(const double *r, const origin *of, unsigned some, span s, const double *times)
{
    moments m = { .std = 1 };
    double most = 0, weight = 0, square = 0;
    for (int i = s.begin; i < s.end; i++)
        if (is_of(r, of, some, i)) most = fmax(most, fabs(r[i])), weight += times ? times[i] : 1, m.n++;
    if (!(weight > 0)) return (moments){ .std = 1 };
    const double unit = most > HUGE_REWARD ? most : 1;
    for (int i = s.begin; i < s.end; i++)
        if (is_of(r, of, some, i)) m.sum += (times ? times[i] : 1) * (r[i] / unit);
    m.mean = m.sum / weight;
    if (m.n > 1) {
        for (int i = s.begin; i < s.end; i++)
            if (is_of(r, of, some, i))
                square += (times ? times[i] : 1) * (r[i] / unit - m.mean) * (r[i] / unit - m.mean);
        m.std = unit * signal_of(sqrt(square / fmax(1, weight - 1)), fmax(1, most) / unit);
    }
    m.mean *= unit, m.sum *= unit;
    return m;
}

static double baseline(const advantage_config *c, double r, const moments *of_group, const moments *of_batch,
                       double by_length)
{
    switch (c->mean) {
    case MEAN_LENGTH:
        return of_group->n > 1 ? by_length : r;
    case MEAN_NONE:
        return 0;
    case MEAN_BATCH:
        return of_batch->mean;
    case MEAN_LOO:
        return of_group->n > 1 ? (of_group->sum - r) / (of_group->n - 1) : r;
    case MEAN_BEST: /* what there is to normalise is looked at by nobody */
    case MEAN_GROUP:
        return of_group->n > 1 ? of_group->mean : r; /* alone in its group: nothing to compare with */
    }
    return 0;
}

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

/* OPO's: the mean of a group, each episode as heavy as it is long. */
static double mean_by_length(const double *r, const double *length, const origin *of, span s)
{
    double sum = 0, weight = 0;
    for (int i = s.begin; i < s.end; i++)
        if (!isnan(r[i]) && of[i] == SAMPLED) sum += r[i] * length[i], weight += length[i];
    return weight > 0 ? sum / weight : 0;
}

/* The more a hint helps, the less what came behind it says of the policy alone. */
static double worth_of_hinted(double own, double hinted)
{
    return own >= 1 ? 1 : fmax(0.1, fmin(1, (1 - hinted) / (1 - own)));
}

/* One objective over the whole batch: r [S] raw (NaN missing) -> out [S], statistics on the way. */
static void normalise(const advantage_config *c, double eps, const double *r, const double *length, const origin *of,
                      const span *groups, int n_groups, int S, double *out)
{
    const moments batch = moments_of(r, of, SAMPLED | HINTED, (span){ 0, S }, c->mean == MEAN_BATCH ? length : NULL);
    for (int g = 0; g < n_groups; g++) {
        const moments own = moments_of(r, of, SAMPLED, groups[g], NULL),
                      hinted = moments_of(r, of, HINTED, groups[g], NULL);
        const moments all = hinted.n > 0 ? moments_of(r, of, SAMPLED | HINTED, groups[g], NULL) : own;
        const moments with_given = moments_of(r, of, SAMPLED | HINTED | GIVEN, groups[g], NULL);
        const double by_length = mean_by_length(r, length, of, groups[g]);
        for (int i = groups[g].begin; i < groups[g].end; i++) {
            if (isnan(r[i]))
                out[i] = 0;
            else if (of[i] == SAMPLED)
                out[i] =
                    signal_between(r[i], baseline(c, r[i], &own, &batch, by_length)) / divisor(c, eps, &all, &batch);
            else if (of[i] == HINTED)
                out[i] = signal_between(r[i], hinted.mean) / divisor(c, eps, &all, &batch) *
                         worth_of_hinted(own.mean, hinted.mean);
            else
                out[i] = own.n > 0 ? signal_between(r[i], own.mean) / divisor(c, eps, &with_given, &batch) : 0;
        }
    }
}

static objective_stats stats_of(const double *r, const origin *of, const span *groups, int n_groups, int S)
{
    const moments batch = moments_of(r, of, SAMPLED, (span){ 0, S }, NULL); /* what the policy does by itself */
    int dead = 0, missing = 0;
    for (int s = 0; s < S; s++) missing += isnan(r[s]);
    for (int g = 0; g < n_groups; g++) dead += !signal_among(r + groups[g].begin, groups[g].end - groups[g].begin);
    return (objective_stats){ .mean = batch.n ? batch.mean : NAN,
                              .std = batch.n > 1 ? batch.std : 0,
                              .dead_groups = n_groups ? (double)dead / n_groups : 0,
                              .scored = batch.n,
                              .missing = missing };
}

/* What only the heaviest objective decides: shares of right answers, groups without signal, opinions on length. */
static void heed_heaviest(const advantage_config *c, int64_t step, advantage_table *t, const double *length,
                          const origin *of, const span *groups, int n_groups, double *r, bool *dead)
{
    for (int g = 0; g < n_groups; g++) {
        const span s = groups[g];
        const bool nothing = !signal_among(r + s.begin, s.end - s.begin);
        double right = 0, sampled = 0;
        for (int i = s.begin; i < s.end; i++)
            right += signal_right(r[i]) && of[i] == SAMPLED, sampled += of[i] == SAMPLED;
        for (int i = s.begin; i < s.end; i++) {
            t->right[i] = sampled > 0 ? right / sampled : 0;
            dead[i] = c->drop_dead && nothing && !t->has_stretches;
        }
        shape_group(&c->shape, step, s.end - s.begin, length + s.begin, r + s.begin);
    }
}

static double *row_of(const advantage_table *t, int k) { return t->by_objective + (size_t)k * (size_t)t->S; }

/* The weighted sum of the objectives' advantages -> scalar; what they leave of each other as rounding is nothing. */
static void weigh(const objective_set *objectives, advantage_table *t)
{
    for (int s = 0; s < t->S; s++) {
        double sum = 0, size = 0;
        for (int k = 0; k < t->K; k++) {
            const double part = objectives->items[k].weight * row_of(t, k)[s];
            sum += part, size += fabs(part);
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
    double *present = t->scalar;
    for (int s = 0; s < t->S; s++)
        if (!t->counts[s]) present[s] = NAN;
    const moments m = moments_of(present, of, SAMPLED | HINTED, (span){ 0, t->S }, NULL);
    for (int s = 0; s < t->S; s++)
        t->scalar[s] =
            isnan(present[s]) || !has_opinion(t, s) ? 0 : signal_between(present[s], m.mean) / divided_by(&m, eps);
}

static void put_constraints_first(advantage_table *t, const objective_set *objectives)
{
    bool any = false;
    for (int k = 0; k < t->K; k++) {
        const objective *o = &objectives->items[k];
        any |= t->stats[k].unmet = objective_weighs(o) && t->stats[k].mean < o->least;
    }
    for (int k = 0; any && k < t->K; k++)
        for (int s = 0; !t->stats[k].unmet && s < t->S; s++) row_of(t, k)[s] = 0;
}

/* An objective that weighs nothing in general can't be weighed by an episode: its row stays out of the scalar. */
static void weigh_each(advantage_table *t, const objective_set *objectives, const double *weights)
{
    for (int k = 0; k < t->K; k++)
        for (int s = 0; s < t->S && objective_weighs(&objectives->items[k]); s++)
            row_of(t, k)[s] *= weights[(size_t)s * (size_t)t->K + (size_t)k] / objectives->items[k].weight;
}

/* ---- rewards on stretches ---- */

/* Their mean `judged` is not one more reward: what is left is what length and the like have added, or nothing. */
static void said_in_stretches(const group *g, const char *name, const double *judged, double *raw)
{
    for (uint32_t i = 0; i < g->n; i++)
        if (score_has_marks(g->scores[i], name)) raw[i] = raw[i] != judged[i] ? raw[i] - judged[i] : NAN;
}

static bool any_marks(const objective_set *objectives, const group *const *groups, int n_groups)
{
    bool any = false;
    for (int k = 0; k < objectives->n; k++)
        for (int g = 0; g < n_groups && objective_weighs(&objectives->items[k]); g++)
            for (uint32_t i = 0; i < groups[g]->n; i++)
                any |= score_has_marks(groups[g]->scores[i], objectives->items[k].name);
    return any;
}

static advantage_table *table_new(arena *a, const group *const *groups, int n_groups, int K, span *spans)
{
    advantage_table *t = arena_zalloc(a, sizeof *t);
    t->K = K;
    for (int g = 0; g < n_groups; g++) {
        spans[g] = (span){ t->S, t->S + (int)groups[g]->n };
        t->S = spans[g].end;
    }
    t->episodes = arena_array(a, const episode *, t->S);
    t->scalar = arena_zalloc(a, sizeof(double) * (size_t)t->S);
    t->counts = arena_zalloc(a, sizeof(bool) * (size_t)t->S);
    t->right = arena_zalloc(a, sizeof(double) * (size_t)t->S);
    t->by_objective = arena_zalloc(a, sizeof(double) * (size_t)(t->S * K));
    t->stats = arena_zalloc(a, sizeof(objective_stats) * (size_t)K);
    for (int g = 0; g < n_groups; g++)
        for (int i = spans[g].begin; i < spans[g].end; i++) t->episodes[i] = groups[g]->episodes[i - spans[g].begin];
    return t;
}

/* What a step is looked at with. */
typedef struct step_view {
    const group *const *groups;
    span *spans; /* [n_groups] */
    int n_groups, S;
    double *length; /* [S] tokens that the policy wrote */
    origin *of;     /* [S] */
    bool *dead;     /* [S] its group teaches nothing, and that counts */
} step_view;

static step_view view_of(arena *a, const advantage_table *t, const group *const *groups, int n_groups, span *spans)
{
    step_view v = { .groups = groups, .spans = spans, .n_groups = n_groups, .S = t->S };
    v.length = arena_array(a, double, t->S);
    v.of = arena_array(a, origin, t->S);
    v.dead = arena_zalloc(a, sizeof *v.dead * (size_t)t->S);
    for (int s = 0; s < t->S; s++) {
        v.length[s] = trajectory_sampled(&t->episodes[s]->tokens);
        v.of[s] = origin_of(t->episodes[s]);
    }
    return v;
}

/* An objective's rewards as scored -> r [S]; NaN: missing. */
static void read_rewards(const step_view *v, const char *name, const bool *drop, double *r)
{
    for (int g = 0; g < v->n_groups; g++)
        for (int i = v->spans[g].begin; i < v->spans[g].end; i++)
            r[i] = drop && drop[i] ? NAN : score_get(v->groups[g]->scores[i - v->spans[g].begin], name);
}

/* Objective k's rewards -> r [S] as they are normalised: shaped, less a penalty, without what is said in stretches.
 * Statistics are of what was scored; of an objective that doesn't weigh they are all. */
static void prepare_rewards(const advantage_config *c, const step_view *v, const objective *o, int k,
                            const advantage_extra *extra, double *judged, double *r, advantage_table *t)
{
    read_rewards(v, o->name, extra ? extra->drop : NULL, judged);
    memcpy(r, judged, sizeof *r * (size_t)v->S);
    t->stats[k] = stats_of(r, v->of, v->spans, v->n_groups, v->S);
    if (!objective_weighs(o)) return;
    if (k == 0)
        heed_heaviest(c, v->n_groups ? v->groups[0]->step : 0, t, v->length, v->of, v->spans, v->n_groups, r, v->dead);
    for (int s = 0; k == 0 && extra && extra->penalty && s < v->S; s++) r[s] -= extra->penalty[s];
    for (int s = 0; s < v->S; s++) t->counts[s] |= !isnan(r[s]) && !v->dead[s];
    for (int g = 0; t->has_stretches && g < v->n_groups; g++)
        said_in_stretches(v->groups[g], o->name, judged + v->spans[g].begin, r + v->spans[g].begin);
}

/* Rejection sampling: what is best of its group by the weighted sum of its rewards is learned, the rest is not. */
static void keep_best(arena *a, const step_view *v, const double *worth, advantage_table *t)
{
    bool *is_best = arena_zalloc(a, sizeof *is_best * (size_t)(v->S + 1));
    for (int g = 0; g < v->n_groups; g++) {
        const span at = v->spans[g];
        double best = -INFINITY, least = INFINITY;
        int ties = 0;
        for (int i = at.begin; i < at.end; i++) {
            if (!t->counts[i] || v->of[i] != SAMPLED) continue;
            best = fmax(best, worth[i]), least = fmin(least, worth[i]);
        }
        for (int i = at.begin; i < at.end; i++) {
            is_best[i] = t->counts[i] && v->of[i] == SAMPLED && signal_between(best, worth[i]) == 0;
            ties += is_best[i];
        }
        const bool any = best > least && signal_between(best, least) != 0;
        for (int i = at.begin; i < at.end; i++) t->scalar[i] = any && is_best[i] ? 1.0 / ties : 0;
    }
}

static void add_worth(const objective_set *objectives, int k, const advantage_extra *extra, const double *r, int S,
                      double *worth)
{
    const double *own = extra ? extra->weights : NULL;
    for (int s = 0; s < S; s++) {
        const double weight = own ? own[s * objectives->n + k] : objectives->items[k].weight;
        if (!isnan(r[s])) worth[s] += weight * r[s];
    }
}

advantage_table *advantage_compute(arena *a, const advantage_config *config, const objective_set *objectives,
                                   const group *const *groups, int n_groups, const advantage_extra *extra)
{
    const int K = objectives->n;
    const double eps = config->eps > 0 ? config->eps : objective_weighing(objectives) > 1 ? 1e-4 : 1e-6;
    span *spans = arena_array(a, span, n_groups);
    advantage_table *t = table_new(a, groups, n_groups, K, spans);
    const step_view v = view_of(a, t, groups, n_groups, spans);
    double *judged = arena_array(a, double, t->S), *r = arena_array(a, double, t->S);
    double *worth = arena_zalloc(a, sizeof *worth * (size_t)t->S);
    t->has_stretches = config->credit != CREDIT_WHOLE && any_marks(objectives, groups, n_groups);
    for (int k = 0; k < K; k++) {
        prepare_rewards(config, &v, &objectives->items[k], k, extra, judged, r, t);
        if (!objective_weighs(&objectives->items[k])) continue;
        add_worth(objectives, k, extra, r, t->S, worth);
        normalise(config, eps, r, v.length, v.of, spans, n_groups, t->S, row_of(t, k));
    }
    put_constraints_first(t, objectives);
    if (extra && extra->weights) weigh_each(t, objectives, extra->weights);
    weigh(objectives, t);
    if (config->whiten) whiten(t, v.of, eps);
    if (config->mean == MEAN_BEST) keep_best(a, &v, worth, t);
    if (t->has_stretches)
        credit_stretches(a, config, eps, objectives, groups, n_groups, extra ? extra->weights : NULL, t);
    return t;
}
