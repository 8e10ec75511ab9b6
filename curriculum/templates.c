/* SPDX-License-Identifier: MIT */
#include "curriculum/templates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

enum { NEAREST = 5 }; /* templates a row chooses among */

typedef struct arm {
    double n, wins;
} arm;

struct template_bandit {
    int n;
    arm *arms;          /* [n] */
    double *complexity; /* [n] of templates; NaN: any */
    double *of_rows;    /* [rows]; NaN: unknown */
};

static int read_complexity(template_bandit *b, const dataset *rows, error *err)
{
    const uint64_t n = dataset_size(rows);
    b->of_rows = xcalloc((size_t)n, sizeof *b->of_rows);

    for (uint64_t i = 0; i < n; i++) {
        const char *text = dataset_row(rows, i);
        json_t *row = json_parse(text, strlen(text), "row", err);
        if (!row) return err ? err->code : ERR_PARSE;

        const json_t *c = json_object_get(row, "complexity");
        b->of_rows[i] = json_is_number(c) ? json_number_value(c) : NAN;
        json_decref(row);
    }
    return OK;
}

template_bandit *template_bandit_new(const double *complexity, int n, const dataset *rows, error *err)
{
    template_bandit *b = xcalloc(1, sizeof *b);
    b->n = n;
    b->arms = xcalloc((size_t)n, sizeof *b->arms);
    b->complexity = xcalloc((size_t)n, sizeof *b->complexity);
    memcpy(b->complexity, complexity, sizeof *complexity * (size_t)n);
    if (read_complexity(b, rows, err) == OK) return b;
    template_bandit_free(b);
    return NULL;
}

void template_bandit_free(template_bandit *b)
{
    if (!b) return;
    free(b->arms);
    free(b->complexity);
    free(b->of_rows);
    free(b);
}

void template_bandit_learn(template_bandit *b, int32_t template_id, bool right)
{
    if (template_id < 1 || template_id > b->n) return;
    b->arms[template_id - 1].n++;
    b->arms[template_id - 1].wins += right;
}

/* ---- picking ---- */

/* Where either complexity is unknown, all templates are equally near. */
static double distance(const template_bandit *b, uint64_t row, int k)
{
    const double d = fabs(b->of_rows[row] - b->complexity[k]);
    return isnan(d) ? 0 : d;
}

/* How many templates are nearer to the row than template k; of equally near ones the first is. */
static int nearer(const template_bandit *b, uint64_t row, int k)
{
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        const double di = distance(b, row, i), dk = distance(b, row, k);
        n += di < dk || (di == dk && i < k);
    }
    return n;
}

/* UCB1 (Auer et al. 2002): what an arm may be worth, as far as it has been tried. An untried one comes first. */
static double upper_bound(const arm *a, double all)
{
    return a->n > 0 ? a->wins / a->n + sqrt(2 * log(all) / a->n) : INFINITY;
}

int32_t template_bandit_pick(const template_bandit *b, uint64_t row)
{
    double all = 0, best = -1;
    int picked = -1;
    const bool any = isnan(b->of_rows[row]); /* then nearness says nothing, and all are tried */
    for (int k = 0; k < b->n; k++) all += b->arms[k].n;

    for (int k = 0; k < b->n; k++) {
        const arm *a = &b->arms[k];
        if (!any && nearer(b, row, k) >= NEAREST) continue;
        const double bound = upper_bound(a, all);
        if (bound <= best) continue; /* of equal ones the first, however often this is asked */
        best = bound;
        picked = k;
    }
    return picked + 1;
}

void template_bandit_metrics(const template_bandit *b, metrics *out)
{
    for (int k = 0; k < b->n; k++) {
        char name[64];
        const arm *a = &b->arms[k];
        snprintf(name, sizeof name, "sampler/template/%d/wins", k + 1);
        if (a->n > 0) metrics_set(out, name, a->wins / a->n);
    }
}

/* ---- memory ---- */

void template_bandit_state(template_bandit *b, saved_state *s)
{
    state_section(s, "templates", 1);
    state_column(s, "shown", &b->arms->n, b->n, sizeof *b->arms, 0, INFINITY);
    state_column(s, "wins", &b->arms->wins, b->n, sizeof *b->arms, 0, INFINITY);
}
