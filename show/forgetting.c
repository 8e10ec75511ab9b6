/* SPDX-License-Identifier: MIT */
#include "show/forgetting.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "show/metrics_file.h"

enum { MAX_GROUPS = FORGETTING_MAX_GROUPS, COLUMN = 10 };
static const char PREFIX[] = "eval/group/";

/* ---- in ---- */

/* -1: there are too many. */
static int place_of(group_evals *e, const char *name)
{
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->groups[i], name) == 0) return i;
    if (e->n == MAX_GROUPS) return -1;
    e->groups[e->n] = xstrdup(name);
    return e->n++;
}

/* The values of keys "eval/group/NAME" -> row [MAX_GROUPS]; how many there are. */
static int read_row(group_evals *e, const json_t *line, double *row)
{
    const size_t prefix = sizeof PREFIX - 1;
    const char *key;
    json_t *value;
    int found = 0;

    for (int i = 0; i < MAX_GROUPS; i++) row[i] = NAN; /* an evaluation of few questions may miss a group */
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        if (strncmp(key, PREFIX, prefix) != 0 || !json_is_number(value)) continue;
        const int i = place_of(e, key + prefix);
        if (i < 0) continue;
        row[i] = json_number_value(value);
        found++;
    }
    return found;
}

static void add_line(void *ctx, const json_t *line)
{
    group_evals *e = ctx;
    double row[MAX_GROUPS];
    const char *event = json_string_value(json_object_get(line, "event"));
    if (!event || strcmp(event, "eval") != 0 || read_row(e, line, row) == 0) return;

    vec_push(&e->steps, metrics_file_number(line, "step"));
    for (int i = 0; i < MAX_GROUPS; i++) vec_push(&e->values, row[i]);
}

int group_evals_read(group_evals *e, const char *run, error *err)
{
    const int rc = metrics_file_read(run, add_line, e, err);
    if (rc != OK || e->steps.len > 0) return rc;
    return error_set(err, ERR_NOT_FOUND,
                     "%s has no evaluations of data groups (eval_every, and \"group\" in data.test)", run);
}

void group_evals_reset(group_evals *e)
{
    for (int i = 0; i < e->n; i++) free(e->groups[i]);
    e->n = 0;
    vec_free(&e->steps);
    vec_free(&e->values);
}

/* ---- what is remembered ---- */

static double value_of(const group_evals *e, size_t eval, int i)
{
    return e->values.data[eval * MAX_GROUPS + (size_t)i];
}

group_memory group_memory_of(const group_evals *e, int i)
{
    const size_t last = e->steps.len - 1;
    group_memory m = { .best = NAN, .last = value_of(e, last, i) };
    /* the last is not among them: a group at its best would show 0 whether it still learns or not */
    for (size_t k = 0; k < last; k++) m.best = fmax(m.best, value_of(e, k, i)); /* fmax passes over NaN */
    m.forgotten = m.best - m.last;
    return m;
}

double mean_forgotten(const group_evals *e)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < e->n; i++) {
        const double forgotten = group_memory_of(e, i).forgotten;
        if (isnan(forgotten)) continue;
        sum += forgotten;
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

/* ---- out ---- */

static void print_cell(FILE *out, double v)
{
    if (isnan(v))
        fprintf(out, "%*s", COLUMN, "-");
    else
        fprintf(out, "%*.3f", COLUMN, v);
}

void forgetting_print_table(FILE *out, const group_evals *e)
{
    fprintf(out, "%-10s", "step");
    for (int i = 0; i < e->n; i++) fprintf(out, "%*.*s", COLUMN, COLUMN - 1, e->groups[i]);

    for (size_t k = 0; k < e->steps.len; k++) {
        fprintf(out, "\n%-10.0f", e->steps.data[k]);
        for (int i = 0; i < e->n; i++) print_cell(out, value_of(e, k, i));
    }

    fprintf(out, "\n%-10s", "forgotten");
    for (int i = 0; i < e->n; i++) print_cell(out, group_memory_of(e, i).forgotten);
    fputs("\nmean forgotten: ", out);
    print_cell(out, mean_forgotten(e));
    putc('\n', out);
}

static json_t *number(double v) { return isnan(v) ? json_null() : json_real(v); }

static json_t *group_json(const group_evals *e, int i)
{
    const group_memory m = group_memory_of(e, i);
    json_t *evals = json_array(), *group = json_object();
    for (size_t k = 0; k < e->steps.len; k++) json_array_append_new(evals, number(value_of(e, k, i)));

    json_object_set_new(group, "evals", evals);
    json_object_set_new(group, "best", number(m.best));
    json_object_set_new(group, "last", number(m.last));
    json_object_set_new(group, "forgotten", number(m.forgotten));
    return group;
}

void forgetting_print_json(FILE *out, const group_evals *e)
{
    json_t *groups = json_object(), *steps = json_array(), *all = json_object();
    for (size_t k = 0; k < e->steps.len; k++) json_array_append_new(steps, number(e->steps.data[k]));
    for (int i = 0; i < e->n; i++) json_object_set_new(groups, e->groups[i], group_json(e, i));

    json_object_set_new(all, "groups", groups);
    json_object_set_new(all, "steps", steps);
    json_object_set_new(all, "mean_forgotten", number(mean_forgotten(e)));

    char *text = json_text(all, true);
    fprintf(out, "%s\n", text);
    free(text);
    json_decref(all);
}
