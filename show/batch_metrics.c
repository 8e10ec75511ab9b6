/* SPDX-License-Identifier: MIT */
#include "show/batch_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "env/repeat.h"

/* ---- what is counted ---- */

typedef struct tally {
    double episodes, shots, wall_ms;
    double prompt, sampled; /* tokens */
    double calls, calls_ok;
    double stale, stale_max; /* versions behind; the sum is over sampled tokens */
    double stops[N_STOPS];
    vec(double) call_ms;
} tally;

static void count_staleness(tally *t, const trajectory *tokens, int64_t step)
{
    for (uint32_t i = 0; i < tokens->n_segments; i++) {
        const segment *s = &tokens->segments[i];
        const double behind = (double)(step - 1 - s->version); /* step trains version step - 1 */
        uint32_t n = 0; /* sampled ones: a segment also spans the observations between them */
        for (uint32_t j = s->start; j < s->end; j++) n += tokens->mask[j];

        t->stale += behind * n;
        t->stale_max = fmax(t->stale_max, behind);
    }
}

static void count_episode(tally *t, const episode *e, int64_t step)
{
    t->episodes++;
    t->shots += e->n_shots;
    t->prompt += e->tokens.n_prompt;
    t->sampled += trajectory_sampled(&e->tokens);
    t->wall_ms += e->wall_ms;
    t->stops[e->stop]++;
    count_staleness(t, &e->tokens, step);

    for (uint32_t i = 0; i < e->n_calls; i++) {
        t->calls++;
        t->calls_ok += e->calls[i].ok;
        vec_push(&t->call_ms, e->calls[i].ms);
    }
}

static tally count(const group *const *groups, uint32_t n, int64_t step)
{
    tally t = { 0 };
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t i = 0; i < groups[g]->n; i++) count_episode(&t, groups[g]->episodes[i], step);
    return t;
}

/* ---- a step ---- */

static void tool_metrics(tally *t, metrics *out)
{
    metrics_set(out, "tools/calls", t->calls);
    if (t->calls == 0) return;

    const latency took = latency_of(t->call_ms.data, (int)t->call_ms.len);
    metrics_set(out, "tools/calls_per_episode", t->calls / t->episodes);
    metrics_set(out, "tools/success_rate", t->calls_ok / t->calls);
    metrics_set(out, "tools/latency_ms/p50", took.p50);
    metrics_set(out, "tools/latency_ms/p99", took.p99);
}

static void stop_metrics(const tally *t, metrics *out)
{
    char name[64];
    for (int i = 0; i < N_STOPS; i++) {
        snprintf(name, sizeof name, "rollout/stop/%s", stop_reason_name((stop_reason)i));
        metrics_set(out, name, t->stops[i] / t->episodes);
    }
}

void batch_step_metrics(const group *const *groups, uint32_t n, int64_t step, metrics *out)
{
    tally t = count(groups, n, step);
    const double episodes = t.episodes;
    metrics_set(out, "training/groups", n);
    metrics_set(out, "training/episodes", episodes);
    if (episodes == 0) return; /* no figures of nothing: 0 shots, 0 tokens and staleness 0 would look like some */

    metrics_set(out, "prompt/shots/mean", t.shots / episodes);
    metrics_set(out, "prompt_length/mean", t.prompt / episodes);
    metrics_set(out, "response_length/mean", t.sampled / episodes);

    tool_metrics(&t, out);
    stop_metrics(&t, out);

    metrics_set(out, "timing_ms/episode", t.wall_ms / episodes);
    metrics_set(out, "training/staleness/mean", t.stale / fmax(1, t.sampled)); /* a token's, as the loss weighs */
    metrics_set(out, "training/staleness/max", t.stale_max);
    vec_free(&t.call_ms);
}

/* ---- an evaluation ---- */

enum { MAX_GROUPS = 64 };

typedef struct mean {
    double sum, n;
} mean;

/* A score that is missing counts in no mean. */
static void mean_add(mean *m, double value)
{
    if (!isfinite(value)) return;
    m->sum += value;
    m->n++;
}

typedef struct group_means {
    const char *names[MAX_GROUPS]; /* an episode's */
    mean means[MAX_GROUPS];
    int n;
} group_means;

/* NULL: there are too many. */
static mean *mean_of(group_means *all, const char *name)
{
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->names[i], name) == 0) return &all->means[i];
    if (all->n == MAX_GROUPS) return NULL;
    all->names[all->n] = name;
    all->means[all->n] = (mean){ 0 };
    return &all->means[all->n++];
}

static void add_group(group_means *all, const group *g, const char *reward)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const char *data_group = g->episodes[i]->data_group;
        const double value = score_get(g->scores[i], reward);
        if (!data_group || !*data_group || !isfinite(value)) continue;

        mean *m = mean_of(all, data_group); /* those beyond MAX_GROUPS go unshown: a run must not end for a metric */
        if (m) mean_add(m, value);
    }
}

/* What each data group is worth on the objective that is about to be learned: `troupe forgetting` reads it. */
static void eval_by_group(const group *const *groups, uint32_t n, const char *reward, metrics *out)
{
    group_means all = { .n = 0 };
    for (uint32_t g = 0; g < n; g++) add_group(&all, groups[g], reward);

    char name[160];
    for (int i = 0; i < all.n; i++) {
        snprintf(name, sizeof name, "eval/group/%.100s", all.names[i]);
        metrics_set(out, name, all.means[i].sum / all.means[i].n);
    }
}

static void eval_objective(const group *const *groups, uint32_t n, const char *reward, metrics *out)
{
    char name[96];
    mean m = { 0 };
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t i = 0; i < groups[g]->n; i++) mean_add(&m, score_get(groups[g]->scores[i], reward));
    if (m.n == 0) return;

    snprintf(name, sizeof name, "eval/%s/mean", reward);
    metrics_set(out, name, m.sum / m.n);
}

void batch_eval_metrics(const group *const *groups, uint32_t n, const objective_set *objectives, metrics *out)
{
    for (int k = 0; k < objectives->n; k++) eval_objective(groups, n, objectives->items[k].name, out);
    eval_by_group(groups, n, objectives->items[0].name, out);

    tally t = count(groups, n, 0); /* step 0: staleness says nothing here and is not printed */
    metrics_set(out, "eval/episodes", t.episodes);
    metrics_set(out, "eval/shots", t.shots / fmax(1, t.episodes));
    tool_metrics(&t, out);
    vec_free(&t.call_ms);
}
