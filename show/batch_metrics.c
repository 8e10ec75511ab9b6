/* SPDX-License-Identifier: MIT */
#include "show/batch_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "env/repeat.h"

typedef struct tally {
    double episodes, shots, prompt, response, calls, calls_ok, stale, stale_max, sampled, wall_ms;
    double stops[N_STOPS];
    vec(double) call_ms;
} tally;

static void count_staleness(tally *t, const trajectory *tokens, int64_t step)
{
    for (uint32_t i = 0; i < tokens->n_segments; i++) {
        const segment *s = &tokens->segments[i];
        const double behind = (double)(step - 1 - s->version);
        uint32_t n = 0;
        for (uint32_t j = s->start; j < s->end; j++) n += tokens->mask[j];
        t->stale += behind * n;
        t->stale_max = fmax(t->stale_max, behind);
    }
}

static void count_episode(tally *t, const episode *e, int64_t step)
{
    const double sampled = trajectory_sampled(&e->tokens);
    t->episodes++;
    t->shots += e->n_shots;
    t->prompt += e->tokens.n_prompt;
    t->response += sampled;
    t->sampled += sampled;
    t->wall_ms += e->wall_ms;
    t->stops[e->stop]++;
    for (uint32_t i = 0; i < e->n_calls; i++) {
        t->calls++;
        t->calls_ok += e->calls[i].ok;
        vec_push(&t->call_ms, e->calls[i].ms);
    }
    count_staleness(t, &e->tokens, step);
}

static tally count(const group *const *groups, uint32_t n, int64_t step)
{
    tally t = { 0 };
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t i = 0; i < groups[g]->n; i++) count_episode(&t, groups[g]->episodes[i], step);
    return t;
}

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

void batch_step_metrics(const group *const *groups, uint32_t n, int64_t step, metrics *out)
{
    char name[64];
    tally t = count(groups, n, step);
    const double episodes = t.episodes;
    metrics_set(out, "training/groups", n);
    metrics_set(out, "training/episodes", episodes);
    if (episodes == 0) return; /* no figures of nothing: 0 shots, 0 tokens and staleness 0 would look like some */
    metrics_set(out, "prompt/shots/mean", t.shots / episodes);
    metrics_set(out, "prompt_length/mean", t.prompt / episodes);
    metrics_set(out, "response_length/mean", t.response / episodes);
    tool_metrics(&t, out);
    for (int i = 0; i < N_STOPS; i++) {
        snprintf(name, sizeof name, "rollout/stop/%s", stop_reason_name((stop_reason)i));
        metrics_set(out, name, t.stops[i] / episodes);
    }
    metrics_set(out, "timing_ms/episode", t.wall_ms / episodes);
    metrics_set(out, "training/staleness/mean", t.stale / fmax(1, t.sampled));
    metrics_set(out, "training/staleness/max", t.stale_max);
    vec_free(&t.call_ms);
}

enum { MAX_GROUPS = 64 };

typedef struct group_tally {
    const char *name; /* an episode's */
    double sum, scored;
} group_tally;

static group_tally *tally_of(group_tally *all, int *n, const char *name)
{
    for (int i = 0; i < *n; i++)
        if (strcmp(all[i].name, name) == 0) return &all[i];
    if (*n == MAX_GROUPS) return NULL;
    all[*n] = (group_tally){ .name = name };
    return &all[(*n)++];
}

/* What each data group is worth on the objective that is about to be learned: `troupe forgetting` reads it. */
static void eval_by_group(const group *const *groups, uint32_t n, const char *reward, metrics *out)
{
    group_tally all[MAX_GROUPS];
    int found = 0;
    char name[160];
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t i = 0; i < groups[g]->n; i++) {
            const char *data_group = groups[g]->episodes[i]->data_group;
            const double v = score_get(groups[g]->scores[i], reward);
            group_tally *t = data_group && *data_group && isfinite(v) ? tally_of(all, &found, data_group) : NULL;
            if (t) t->sum += v, t->scored++;
        }
    for (int i = 0; i < found; i++) {
        snprintf(name, sizeof name, "eval/group/%.100s", all[i].name);
        metrics_set(out, name, all[i].sum / all[i].scored);
    }
}

void batch_eval_metrics(const group *const *groups, uint32_t n, const objective_set *objectives, metrics *out)
{
    char name[96];
    for (int k = 0; k < objectives->n; k++) {
        double sum = 0, scored = 0;
        for (uint32_t g = 0; g < n; g++)
            for (uint32_t i = 0; i < groups[g]->n; i++) {
                const double v = score_get(groups[g]->scores[i], objectives->items[k].name);
                if (isfinite(v)) sum += v, scored++;
            }
        snprintf(name, sizeof name, "eval/%s/mean", objectives->items[k].name);
        if (scored > 0) metrics_set(out, name, sum / scored);
    }
    eval_by_group(groups, n, objectives->items[0].name, out);
    tally t = count(groups, n, 0);
    metrics_set(out, "eval/episodes", t.episodes);
    metrics_set(out, "eval/shots", t.shots / fmax(1, t.episodes));
    tool_metrics(&t, out);
    vec_free(&t.call_ms);
}
