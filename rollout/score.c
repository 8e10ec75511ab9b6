/* SPDX-License-Identifier: MIT */
#include "rollout/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void score_reset(score *s)
{
    free(s->spans);
    free(s->error);
    free(s->info);
    *s = (score){ 0 };
}

score *score_copy(const score *s)
{
    score *copy = xmalloc(sizeof *copy);
    *copy = *s;
    copy->spans = NULL;
    if (s->n_spans > 0) {
        const size_t bytes = s->n_spans * sizeof *s->spans;
        copy->spans = memcpy(xmalloc(bytes), s->spans, bytes);
    }
    copy->error = xstrdup(s->error);
    copy->info = xstrdup(s->info);
    return copy;
}

void score_free(score *s)
{
    if (!s) return;
    score_reset(s);
    free(s);
}

static int find(const score *s, const char *name)
{
    for (int i = 0; i < s->n_values; i++)
        if (strcmp(s->values[i].name, name) == 0) return i;
    return -1;
}

int score_set(score *s, const char *name, double value, error *err)
{
    const size_t len = strlen(name);
    if (len == 0 || len >= OBJECTIVE_NAME)
        return error_set(err, ERR_ARGUMENT, "objective '%.40s': a name has 1 to %d characters", name,
                         OBJECTIVE_NAME - 1);

    int at = find(s, name);
    if (at < 0 && s->n_values == MAX_OBJECTIVES)
        return error_set(err, ERR_FULL, "objective '%s': at most %d objectives are allowed", name, MAX_OBJECTIVES);
    if (at < 0) at = s->n_values++;

    memcpy(s->values[at].name, name, len + 1);
    s->values[at].value = isfinite(value) ? value : NAN;
    return OK;
}

bool score_has_spans(const score *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_spans; i++)
        if (strcmp(s->spans[i].name, name) == 0) return true;
    return false;
}

int score_add_span(score *s, const char *name, uint32_t end, double value, error *err)
{
    const reward_span *last = s->n_spans > 0 ? &s->spans[s->n_spans - 1] : NULL;
    const bool continues = last && strcmp(last->name, name) == 0;
    if (s->n_spans == MAX_SPANS)
        return error_set(err, ERR_FULL, "objective '%.40s': at most %d spans are allowed", name, MAX_SPANS);
    if (find(s, name) < 0 || !isfinite(value) || (!continues && score_has_spans(s, name)))
        return error_set(err, ERR_ARGUMENT, "objective '%.40s': a span has a value, as the objective has", name);
    if (continues && last->end >= end)
        return error_set(err, ERR_ARGUMENT, "objective '%s': a span ends at %" PRIu32 ", the one before it at %" PRIu32,
                         name, end, last->end);

    s->spans = xrealloc(s->spans, (s->n_spans + 1) * sizeof *s->spans);
    reward_span *m = &s->spans[s->n_spans++];
    *m = (reward_span){ .end = end, .value = value };
    memcpy(m->name, name, strlen(name) + 1);
    return OK;
}

double score_get(const score *s, const char *name)
{
    const int at = find(s, name);
    return at < 0 ? NAN : s->values[at].value;
}

/* Objective by objective, each in order. */
static int check_spans(const score *s, error *err)
{
    unsigned seen = 0;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        const reward_span *m = &s->spans[i];
        const bool continues = i > 0 && strcmp(m[-1].name, m->name) == 0;
        const int at = continues ? 0 : find(s, m->name);
        if (at < 0)
            return error_set(err, ERR_PARSE, "score: span %" PRIu32 " has no objective, no value or no place", i);

        /* Spans of an objective follow each other, and its spans stand together. */
        const bool placed = continues ? m[-1].end < m->end : !(seen >> at & 1);
        if (!(fabs(m->value) <= MAX_SCORE) || !placed)
            return error_set(err, ERR_PARSE, "score: span %" PRIu32 " has no objective, no value or no place", i);
        if (!continues) seen |= 1u << at;
    }
    return OK;
}

int score_check(const score *s, error *err)
{
    if (s->status > SCORE_MACHINE) return error_set(err, ERR_PARSE, "score: unknown status %d", (int)s->status);

    for (int i = 0; i < s->n_values; i++) {
        const char *name = s->values[i].name;

        if (*name == 0 || find(s, name) != i)
            return error_set(err, ERR_PARSE, "score: objective %d has an empty or a repeated name", i);
        if (fabs(s->values[i].value) > MAX_SCORE) /* NaN: missing */
            return error_set(err, ERR_PARSE, "score: objective '%s' is %g (from %g to %g is allowed)", name,
                             s->values[i].value, -MAX_SCORE, MAX_SCORE);
    }
    return check_spans(s, err);
}
