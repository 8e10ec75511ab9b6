/* SPDX-License-Identifier: MIT */
/* troupe forgetting: what a run has learned of each data group, evaluation by evaluation, and what it has lost again.
 *
 * forgotten = the best of the evaluations before the last, minus the last (Chaudhry et al., ECCV 2018); below 0 a group
 * is still getting better. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/vec.h"
#include "show/metrics_file.h"
#include "cli/verbs.h"

enum { MAX_GROUPS = 64, COLUMN = 10 };
static const char PREFIX[] = "eval/group/";

static const char USAGE[] = "usage: troupe forgetting RUN [--json]\n\n"
                            "A row an evaluation, a column a data group (a row's \"group\"), and what was forgotten.\n"
                            "  --json  {\"groups\": {NAME: {\"evals\": [], \"best\": , \"last\": , \"forgotten\": }}, "
                            "\"steps\": [], \"mean_forgotten\": }\n\n"
                            "example: troupe forgetting runs/languages\n";

typedef struct evals {
    char *groups[MAX_GROUPS];
    int n;
    vec(double) steps;
    vec(double) values; /* [steps, MAX_GROUPS]; NaN: not evaluated */
} evals;

static int place_of(evals *e, const char *name, size_t len)
{
    for (int i = 0; i < e->n; i++)
        if (strlen(e->groups[i]) == len && memcmp(e->groups[i], name, len) == 0) return i;
    if (e->n == MAX_GROUPS) return -1;
    e->groups[e->n] = xstrndup(name, len);
    return e->n++;
}

/* Keys are "eval/group/NAME". */
static void add_line(void *ctx, const json_t *line)
{
    evals *e = ctx;
    const char *key, *event = json_string_value(json_object_get(line, "event"));
    json_t *value;
    bool any = false;
    double row[MAX_GROUPS];
    for (int i = 0; i < MAX_GROUPS; i++) row[i] = NAN;
    if (!event || strcmp(event, "eval") != 0) return;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        if (strncmp(key, PREFIX, sizeof PREFIX - 1) != 0 || !json_is_number(value)) continue;
        const char *name = key + sizeof PREFIX - 1;
        const int i = place_of(e, name, strlen(name));
        if (i >= 0) row[i] = json_number_value(value), any = true;
    }
    if (!any) return;
    vec_push(&e->steps, metrics_file_number(line, "step"));
    for (int i = 0; i < MAX_GROUPS; i++) vec_push(&e->values, row[i]);
}

static double value(const evals *e, size_t eval, int i) { return e->values.data[eval * MAX_GROUPS + (size_t)i]; }

typedef struct memory {
    double best, last, forgotten;
} memory;

static memory memory_of(const evals *e, int i)
{
    memory m = { NAN, value(e, e->steps.len - 1, i), NAN };
    for (size_t k = 0; k + 1 < e->steps.len; k++) m.best = fmax(m.best, value(e, k, i)); /* fmax passes over NaN */
    m.forgotten = m.best - m.last;
    return m;
}

static double mean_forgotten(const evals *e)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < e->n; i++) {
        const double f = memory_of(e, i).forgotten;
        if (!isnan(f)) sum += f, n++;
    }
    return n ? sum / n : NAN;
}

static void print_cell(double v)
{
    if (isnan(v))
        printf("%*s", COLUMN, "-");
    else
        printf("%*.3f", COLUMN, v);
}

static void print_table(const evals *e)
{
    printf("%-10s", "step");
    for (int i = 0; i < e->n; i++) printf("%*.*s", COLUMN, COLUMN - 1, e->groups[i]);
    for (size_t k = 0; k < e->steps.len; k++) {
        printf("\n%-10.0f", e->steps.data[k]);
        for (int i = 0; i < e->n; i++) print_cell(value(e, k, i));
    }
    printf("\n%-10s", "forgotten");
    for (int i = 0; i < e->n; i++) print_cell(memory_of(e, i).forgotten);
    printf("\nmean forgotten: ");
    print_cell(mean_forgotten(e));
    putchar('\n');
}

static json_t *number(double v) { return isnan(v) ? json_null() : json_real(v); }

static void print_json(const evals *e)
{
    json_t *groups = json_object(), *steps = json_array();
    for (size_t k = 0; k < e->steps.len; k++) json_array_append_new(steps, number(e->steps.data[k]));
    for (int i = 0; i < e->n; i++) {
        const memory m = memory_of(e, i);
        json_t *all = json_array();
        for (size_t k = 0; k < e->steps.len; k++) json_array_append_new(all, number(value(e, k, i)));
        json_object_set_new(groups, e->groups[i],
                            json_pack("{s:o, s:o, s:o, s:o}", "evals", all, "best", number(m.best), "last",
                                      number(m.last), "forgotten", number(m.forgotten)));
    }
    json_t *out =
        json_pack("{s:o, s:o, s:o}", "groups", groups, "steps", steps, "mean_forgotten", number(mean_forgotten(e)));
    char *text = json_text(out, true);
    puts(text);
    free(text);
    json_decref(out);
}

static int run_verb(call *c, error *err)
{
    bool as_json = false;
    evals e = { 0 };
    const flag flags[] = { { .name = "--json", .present = &as_json }, { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    int rc = metrics_file_read(c->arguments.positional[0], add_line, &e, err);
    if (rc == OK && e.steps.len == 0)
        rc = error_set(err, ERR_NOT_FOUND,
                       "%s has no evaluations of data groups (eval_every, and \"group\" in data.test)",
                       c->arguments.positional[0]);
    if (rc == OK) (as_json ? print_json : print_table)(&e);
    for (int i = 0; i < e.n; i++) free(e.groups[i]);
    vec_free(&e.steps);
    vec_free(&e.values);
    return rc;
}

const verb VERB_FORGETTING = { .name = "forgetting",
                               .synopsis = "RUN",
                               .help = "what each data group has learned and lost",
                               .usage = USAGE,
                               .words = "RUN",
                               .min_words = 1,
                               .max_words = 1,
                               .run = run_verb };
