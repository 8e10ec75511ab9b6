/* SPDX-License-Identifier: MIT */
#include "show/curves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "show/metrics_file.h"

/* ---- the objectives that a run has ---- */

typedef struct objective_names {
    char items[MAX_OBJECTIVES][OBJECTIVE_NAME + 1];
    int n;
} objective_names;

static void add_name(objective_names *names, const char *name, size_t len)
{
    char whole[OBJECTIVE_NAME + 1];
    snprintf(whole, sizeof whole, "%.*s", (int)len, name);

    for (int i = 0; i < names->n; i++)
        if (strcmp(names->items[i], whole) == 0) return;
    if (names->n < MAX_OBJECTIVES) memcpy(names->items[names->n++], whole, sizeof whole);
}

/* reward/NAME/mean and eval/NAME/mean -> the names, each once. */
static void add_names(void *ctx, const json_t *line)
{
    const char *key;
    json_t *value;
    /* jansson walks only over what is not const */
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const bool ours = strncmp(key, "reward/", 7) == 0 || strncmp(key, "eval/", 5) == 0;
        if (!ours) continue;

        const char *name = strchr(key, '/') + 1, *end = strchr(name, '/');
        if (!end || strcmp(end, "/mean") != 0 || end - name >= OBJECTIVE_NAME) continue;
        add_name(ctx, name, (size_t)(end - name));
    }
}

static int no_such_objective(const char *dir, const char *name, const objective_names *names, error *err)
{
    str known = { 0 };
    for (int i = 0; i < names->n; i++) str_printf(&known, "%s%s", i ? ", " : " (it has ", names->items[i]);
    if (names->n > 0) str_putc(&known, ')');

    error_set(err, ERR_NOT_FOUND, "%s/metrics.jsonl has no values of '%.80s' yet%s", dir, name, str_text(&known));
    str_free(&known);
    return ERR_NOT_FOUND;
}

/* ---- the values of one ---- */

typedef struct reading {
    run_curves *curves;
    char train[96], eval[96]; /* keys of a line */
} reading;

static void add_point(curve *c, double step, double value)
{
    if (!isnan(value)) vec_push(c, (curve_point){ step, value });
}

static void add_line(void *ctx, const json_t *line)
{
    const reading *g = ctx;
    const double step = metrics_file_number(line, "step");
    add_point(&g->curves->train, step, metrics_file_number(line, g->train));
    add_point(&g->curves->eval, step, metrics_file_number(line, g->eval));
    add_point(&g->curves->shots, step, metrics_file_number(line, "prompt/shots/mean"));
}

static int read_values(run_curves *r, const char *dir, const char *objective, error *err)
{
    reading g = { .curves = r };
    snprintf(g.train, sizeof g.train, "reward/%s/mean", objective);
    snprintf(g.eval, sizeof g.eval, "eval/%s/mean", objective);
    return metrics_file_read(dir, add_line, &g, err);
}

/* runs/a/ is runs/a, and its label is "a". */
static void take_label(run_curves *r, const char *dir)
{
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/') end--;

    size_t begin = end;
    while (begin > 0 && dir[begin - 1] != '/') begin--;
    snprintf(r->label, sizeof r->label, "%.*s", (int)(end - begin), dir + begin);
}

int run_curves_read(run_curves *r, const char *dir, char objective[OBJECTIVE_NAME + 1], error *err)
{
    objective_names names = { .n = 0 };
    take_label(r, dir);

    /* twice through the file: which objective is drawn may only be known when all names are */
    if (metrics_file_read(dir, add_names, &names, err) != OK) return error_within(err, "%s is not a run", dir);
    if (!objective[0] && names.n > 0) memcpy(objective, names.items[0], sizeof names.items[0]);

    if (read_values(r, dir, objective, err) != OK) return err->code;
    if (r->train.len + r->eval.len == 0) return no_such_objective(dir, objective, &names, err);
    return OK;
}

void run_curves_reset(run_curves *r)
{
    vec_free(&r->train);
    vec_free(&r->eval);
    vec_free(&r->shots);
}
