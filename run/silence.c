/* SPDX-License-Identifier: MIT */
#include "run/silence.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "show/metrics_file.h"
#include "rollout/signal.h"

enum { MAX_REASON = 220 };
enum { SAY_AGAIN = 50 }; /* steps after which the same reason is said once more */

typedef enum reason { TEACHES, NO_EPISODE, NO_SCORE, NO_OBJECTIVE, ALL_SAME, SOLVED } reason;

/* What there is to see in a step's episodes. */
typedef struct tally {
    uint32_t episodes, unscored, answers, at_length, best, alike; /* alike: those whose group has one text */
    uint32_t calls, calls_ok;
    double min, max;         /* weighted rewards; NaN: there are none */
    const char *why;         /* of the first without a score, or with an objective that is missing */
    const char *observation; /* of the first call that failed */
} tally;

void silence_init(silence *s, const silence_config *config)
{
    *s = (silence){ .config = *config, .best = -INFINITY, .last_said = -SAY_AGAIN };
}

static void recall_line(void *ctx, const json_t *line)
{
    silence *s = ctx;
    double reward = metrics_file_number(line, "reward/max");
    if (isnan(reward))
        reward = metrics_file_number(line, "reward/mean"); /* of a run that was begun by an older build */
    s->had_signal |= metrics_file_number(line, "training/signal") > 0;
    if (reward > s->best) s->best = reward;
}

void silence_recall(silence *s, const char *run_dir)
{
    metrics_file_read(run_dir, recall_line, s, NULL); /* without a file there is nothing to recall */
}

/* ---- statistics of a step ---- */

/* The weighted reward; NaN where no objective that weighs has a score. */
static double reward_of(const silence *s, const score *sc)
{
    double sum = 0;
    bool any = false;
    for (int k = 0; k < s->config.objectives->n; k++) {
        const objective *o = &s->config.objectives->items[k];
        const double v = score_get(sc, o->name);
        if (o->weight == 0 || !isfinite(v)) continue;
        sum += o->weight * v;
        any = true;
    }
    return any ? sum : NAN;
}

static void count_calls(const episode *e, tally *t)
{
    for (uint32_t i = 0; i < e->n_calls; i++) {
        t->calls++;
        t->calls_ok += e->calls[i].ok;
        if (!e->calls[i].ok && !t->observation) t->observation = e->calls[i].observation;
    }
}

static void count_episode(const silence *s, const episode *e, const score *sc, tally *t)
{
    t->episodes++;
    t->answers += e->answer || e->opening; /* an environment takes any words for a step */
    t->at_length += e->stop == STOP_LENGTH;
    count_calls(e, t);
    t->unscored += sc->status != SCORE_OK;
    if (!t->why) t->why = sc->error;

    const double reward = reward_of(s, sc);
    if (isnan(reward)) return;
    t->min = fmin(t->min, reward);
    t->max = fmax(t->max, reward);
    t->best += signal_between(reward, s->best) >= 0;
}

static bool one_text(const group *g)
{
    for (uint32_t i = 1; i < g->n; i++) {
        const char *first = g->episodes[0]->text, *other = g->episodes[i]->text;
        if (!first || !other || strcmp(first, other) != 0) return false;
    }
    return g->n > 1;
}

static tally count(const silence *s, const group *const *groups, uint32_t n)
{
    tally t = { .min = NAN, .max = NAN };
    for (uint32_t g = 0; g < n; g++) {
        for (uint32_t i = 0; i < groups[g]->n; i++) count_episode(s, groups[g]->episodes[i], groups[g]->scores[i], &t);
        if (one_text(groups[g])) t.alike += groups[g]->n;
    }
    return t;
}

/* ---- why ---- */

/* A script by its name: its folders would take the room that the sentence needs. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* What a score says of itself, which begins with the script's path. */
static const char *without_folders(const silence *s, const char *why)
{
    const char *script = s->config.script;
    const size_t n = strlen(script);
    if (!why) return "no reason given";
    if (n == 0 || strncmp(why, script, n) != 0) return why;
    return why + (file_name(script) - script);
}

/* Long reasons end in "...", between two characters: what is said after them must not be lost. */
static void shorten(str *s)
{
    size_t n = MAX_REASON;
    if (s->len <= MAX_REASON) return;
    while (n > 0 && ((unsigned char)s->data[n] & 0xc0) == 0x80) n--;
    s->len = n;
    s->data[n] = 0;
    str_puts(s, "...");
}

/* What is known of one step, for sentences. */
typedef struct sight {
    const group *const *groups; /* [n] */
    uint32_t n;
    int64_t step;
    const char *lost_by;      /* the last failed episode's sentence, or "" */
    const objective *missing; /* weighs, and no score of the step has it; NULL: there is none such */
    tally tally;
} sight;

static bool has_objective(const group *g, const char *name)
{
    for (uint32_t i = 0; i < g->n; i++)
        for (int v = 0; v < g->scores[i]->n_values; v++)
            if (strcmp(g->scores[i]->values[v].name, name) == 0) return true;
    return false;
}

static const objective *never_scored(const silence *s, const group *const *groups, uint32_t n)
{
    for (int k = 0; k < s->config.objectives->n; k++) {
        const objective *o = &s->config.objectives->items[k];
        bool seen = o->weight == 0;
        for (uint32_t g = 0; g < n && !seen; g++) seen = has_objective(groups[g], o->name);
        if (!seen) return o;
    }
    return NULL;
}

static const score *first_with_values(const sight *at)
{
    for (uint32_t g = 0; g < at->n; g++)
        for (uint32_t i = 0; i < at->groups[g]->n; i++)
            if (at->groups[g]->scores[i]->n_values > 0) return at->groups[g]->scores[i];
    return NULL;
}

static void say_objective(const silence *s, const sight *at, str *out)
{
    const char *names[MAX_OBJECTIVES + 1] = { NULL }, *wanted = at->missing->name;
    const score *first = first_with_values(at);
    str_printf(out, "%s returns no objective '%s'", file_name(s->config.script), wanted);
    for (int i = 0; first && i < first->n_values; i++) {
        names[i] = first->values[i].name;
        str_printf(out, "%s%s", i ? ", " : ", but ", names[i]);
    }

    const char *nearest = str_nearest(wanted, names);
    if (nearest) str_printf(out, " (did you mean '%s'?)", nearest);
    str_puts(out, ": see reward.objectives");
}

/* What most often makes all rewards equal. */
static void say_cause(const silence *s, const tally *t, str *out)
{
    if (t->at_length == t->episodes)
        str_printf(out, "; all of them ran into rollout.max_tokens = %" PRId64, s->config.max_tokens);
    else if (t->calls > 0 && t->calls_ok == 0)
        str_printf(out, "; all %u tool calls failed, the first with: %.100s", t->calls,
                   t->observation ? t->observation : "");
    else if (t->alike == t->episodes)
        str_printf(out, "; the samples of each group are all alike (rollout.temperature = %g)", s->config.temperature);
    else if (t->answers == 0)
        str_printf(out, "; none ended with an answer that dialect %s can read", s->config.dialect);
    else if (signal_between(t->max, 0) == 0 && signal_between(t->min, 0) == 0)
        str_puts(out, "; nothing was rewarded");
    else if (!s->had_signal && signal_between(t->max, t->min) == 0)
        str_puts(out, "; a reward that is the same for every answer teaches nothing");
}

static void say_same(const silence *s, const tally *t, str *out)
{
    if (signal_between(t->max, t->min) == 0)
        str_printf(out, "all %u episodes have the same reward (%.4g)", t->episodes, t->max);
    else
        str_printf(out, "in each group all rewards are the same (from %.4g to %.4g)", t->min, t->max);
    say_cause(s, t, out);
}

/* Why no reward is a number. */
static reason say_unrewarded(const silence *s, const sight *at, str *out)
{
    const tally *t = &at->tally;
    if (t->unscored > 0) {
        str_printf(out, "%u of %u episodes have no score: %s", t->unscored, t->episodes, without_folders(s, t->why));
        return NO_SCORE;
    }
    if (at->missing) {
        say_objective(s, at, out);
        return NO_OBJECTIVE;
    }
    str_printf(out, "every reward is missing (%s)", t->why ? without_folders(s, t->why) : "NaN");
    return NO_SCORE;
}

static reason say_why(const silence *s, const sight *at, str *out)
{
    const tally *t = &at->tally;
    if (t->episodes == 0) {
        str_printf(out, "no episode could be played%s%s", at->lost_by[0] ? ": " : "", at->lost_by);
        return NO_EPISODE;
    }
    if (isnan(t->max)) return say_unrewarded(s, at, out);

    if (s->had_signal && 2 * t->best >= t->episodes) {
        str_printf(out, "%u of %u episodes have the best reward (%.4g): these questions are solved", t->best,
                   t->episodes, s->best);
        return SOLVED;
    }
    say_same(s, t, out);
    return ALL_SAME;
}

/* ---- steps that teach, but not by all that was asked for ---- */

/* At the first, and whenever there are four times as many: what costs an episode now and then is not forgotten. */
static void say_unscored(silence *s, const sight *at, str *out)
{
    const tally *t = &at->tally;
    if (s->unscored < 4 * s->told_unscored) return;

    str_printf(out, "step %" PRId64 ": %u of %u episodes have no score and are left out", at->step, t->unscored,
               t->episodes);
    if (s->told_unscored > 0) str_printf(out, " (%" PRIu64 " of %" PRIu64 " so far)", s->unscored, s->played);
    str_printf(out, ": %s", without_folders(s, t->why));
    s->told_unscored = s->unscored;
}

static void say_partly(silence *s, const sight *at, str *out)
{
    const tally *t = &at->tally;
    const uint32_t asked = s->config.prompts * s->config.group_size;
    if (t->episodes < asked && !s->told_partly) {
        str_printf(out, "step %" PRId64 ": %u of %u episodes could not be played and are left out%s%s", at->step,
                   asked - t->episodes, asked, at->lost_by[0] ? ": " : "", at->lost_by);
        s->told_partly = true;
    } else if (t->unscored > 0) {
        say_unscored(s, at, out);
    } else if (at->missing && !s->told_partly) {
        str_printf(out, "step %" PRId64 ": ", at->step);
        say_objective(s, at, out);
        s->told_partly = true;
    }
}

static bool to_be_said(silence *s, reason why, int64_t step)
{
    if (why == SOLVED && s->told_solved) return false;
    s->told_solved |= why == SOLVED;

    /* One silent step here and there is said at its tenth step again, a row of them less often: each would say it. */
    const int64_t quiet = s->in_a_row > 1 ? SAY_AGAIN : SAY_AGAIN / 5;
    if ((int)why == s->last_reason && step - s->last_said < quiet) return false;
    s->last_reason = (int)why;
    s->last_said = step;
    return true;
}

/* Why the step was silent, and how many more of them there may be. True: no more. */
static bool say_silent(silence *s, const sight *at, str *out)
{
    const int64_t patience = s->config.patience;
    str_printf(out, "step %" PRId64 " had nothing to learn from: ", at->step);
    const reason why = say_why(s, at, out);
    shorten(out);

    s->in_a_row++;
    if (why == SOLVED) s->in_a_row = 0; /* patience is for what never teaches */

    const bool over = patience > 0 && s->in_a_row >= patience;
    if (over)
        str_printf(out, " (%" PRId64 " such steps in a row; patience = 0 would continue)", s->in_a_row);
    else if (why != SOLVED && patience > 0)
        str_printf(out, " (the run ends after %" PRId64 " such steps in a row: patience)", patience);
    if (!over && !to_be_said(s, why, at->step)) str_clear(out);
    return over;
}

void silence_metrics(const silence *s, const group *const *groups, uint32_t n, metrics *out)
{
    const double max = count(s, groups, n).max;
    if (isfinite(max)) metrics_set(out, "reward/max", max);
}

static void join(const str *first, const str *second, char *out, size_t size)
{
    if (first->len > 0 && second->len > 0)
        snprintf(out, size, "%s; %s", first->data, second->data);
    else
        snprintf(out, size, "%s%s", str_text(first), str_text(second)); /* one of them is empty */
}

bool silence_step(silence *s, const group *const *groups, uint32_t n, int64_t step, const metrics *m,
                  const char *lost_by, char *sentence, size_t size)
{
    const bool signal = metrics_get(m, "training/signal", 0) > 0;
    const sight at = { .groups = groups,
                       .n = n,
                       .step = step,
                       .lost_by = lost_by,
                       .missing = never_scored(s, groups, n),
                       .tally = count(s, groups, n) };
    s->played += at.tally.episodes;
    s->unscored += at.tally.unscored;

    str partly = { 0 }, silent = { 0 };
    bool over = false;
    if (signal)
        s->in_a_row = 0;
    else
        over = say_silent(s, &at, &silent);
    if ((signal || isfinite(at.tally.max)) && !over) say_partly(s, &at, &partly);
    join(&partly, &silent, sentence, size);

    s->had_signal |= signal;
    if (at.tally.max > s->best) s->best = at.tally.max;
    str_free(&partly);
    str_free(&silent);
    return over;
}
