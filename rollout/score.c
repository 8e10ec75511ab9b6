#include "rollout/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void score_reset(score *s)
{
    free(s->error);
    free(s->info);
    *s = (score){ 0 };
}

score *score_copy(const score *s)
{
    score *copy = xmalloc(sizeof *copy);
    *copy = *s;
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
        return error_set(err, ERR_FULL, "objective '%s': %d objectives are the most", name, MAX_OBJECTIVES);
    if (at < 0) at = s->n_values++;
    memcpy(s->values[at].name, name, len + 1);
    s->values[at].value = isfinite(value) ? value : NAN;
    return OK;
}

double score_get(const score *s, const char *name)
{
    const int at = find(s, name);
    return at < 0 ? NAN : s->values[at].value;
}

int score_check(const score *s, error *err)
{
    if (s->status > SCORE_MACHINE) return error_set(err, ERR_PARSE, "score: status %d is none", (int)s->status);
    for (int i = 0; i < s->n_values; i++) {
        const char *name = s->values[i].name;
        if (*name == 0 || find(s, name) != i)
            return error_set(err, ERR_PARSE, "score: objective %d has no name of its own", i);
        if (isinf(s->values[i].value)) return error_set(err, ERR_PARSE, "score: objective '%s' is infinite", name);
    }
    return OK;
}
