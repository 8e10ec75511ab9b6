/* SPDX-License-Identifier: MIT */
#include "run/rows_ahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "curriculum/shot_schedule.h"

enum { MAX_GROUP = 4096 };                       /* samples: rollout.group's bound */
static const double MAX_STEP = 9007199254740992; /* 2^53: whole numbers up to here are exact */

void rows_ahead_init(rows_ahead *a, const recipe *r, const dataset *rows, sampler *s, uint32_t prompts)
{
    *a = (rows_ahead){ .sampler = s,
                       .n_rows = dataset_size(rows),
                       .prompts = prompts,
                       .steps = r->exchange.max_staleness + 1,
                       .last = r->run.steps };
    if (s) a->rows = xcalloc((size_t)(a->steps * prompts), sizeof *a->rows);
}

void rows_ahead_reset(rows_ahead *a)
{
    free(a->rows);
    *a = (rows_ahead){ 0 };
}

static picked_row *rows_of(const rows_ahead *a, int64_t step)
{
    return a->rows + (size_t)(step % a->steps) * a->prompts;
}

void rows_ahead_pick(rows_ahead *a, new_version *v)
{
    const int64_t newest = v->version + a->steps, last = newest < a->last ? newest : a->last;
    if (a->picked < v->version) a->picked = v->version; /* of a resumed run: those steps are trained */
    if (!a->sampler || last <= a->picked) return;

    v->rows_from = a->picked + 1;
    v->n_rows = (uint32_t)(last - a->picked);
    v->rows = xcalloc((size_t)v->n_rows * a->prompts, sizeof *v->rows);
    for (uint32_t i = 0; i < v->n_rows; i++) {
        const int64_t step = v->rows_from + i;
        picked_row *rows = rows_of(a, step);
        /* What a checkpoint holds is not picked again: actors may play it already, and the sampler has counted it. */
        if (step > a->restored) sampler_pick(a->sampler, step, a->prompts, rows);
        memcpy(v->rows + (size_t)i * a->prompts, rows, sizeof *rows * a->prompts);
    }
    a->picked = last;
}

static int64_t rows_kept(const rows_ahead *a) { return a->steps * a->prompts; }

/* Section "shots_ahead": what the prompts of those steps show, by a ladder. */
static void shots_state(rows_ahead *a, saved_state *s)
{
    const int64_t n = rows_kept(a);
    double *more = xcalloc(3 * (size_t)n + 1, sizeof *more); /* + 1: no memory of 0 bytes */
    double *fewer = more + n, *n_fewer = fewer + n;
    for (int64_t i = 0; i < n; i++) {
        more[i] = a->rows[i].shots.more;
        fewer[i] = a->rows[i].shots.fewer;
        n_fewer[i] = a->rows[i].shots.n_fewer;
    }

    state_section(s, "shots_ahead", 1);
    state_numbers(s, "more", more, n, 0, MAX_SHOTS);
    state_numbers(s, "fewer", fewer, n, 0, MAX_SHOTS);
    state_numbers(s, "n_fewer", n_fewer, n, 0, MAX_GROUP);

    for (int64_t i = 0; state_loading(s) && i < n; i++)
        a->rows[i].shots = (shot_mixture){ true, (int32_t)more[i], (int32_t)fewer[i], (uint32_t)n_fewer[i] };
    free(more);
}

/* A state knows numbers alone, so each field of the rows is a list of its own. */
void rows_ahead_state(rows_ahead *a, saved_state *s)
{
    const int64_t n = rows_kept(a);
    double picked = (double)a->picked;
    double *rows = xcalloc(3 * (size_t)n + 1, sizeof *rows), *hints = rows + n, *templates = hints + n;
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (double)a->rows[i].row;
        hints[i] = (double)a->rows[i].hint;
        templates[i] = a->rows[i].template_id;
    }

    state_section(s, "rows_ahead", 1);
    state_numbers(s, "picked", &picked, 1, 0, MAX_STEP);
    state_numbers(s, "rows", rows, n, 0, (double)a->n_rows - 1);
    state_numbers(s, "hints", hints, n, 0, 1);
    state_numbers(s, "templates", templates, n, 0, SAMPLER_TEMPLATES);

    if (state_loading(s)) a->restored = (int64_t)picked;
    for (int64_t i = 0; state_loading(s) && i < n; i++)
        a->rows[i] =
            (picked_row){ .row = (uint64_t)rows[i], .hint = (float)hints[i], .template_id = (int32_t)templates[i] };
    free(rows);

    if (sampler_on_ladder(a->sampler)) shots_state(a, s);
}
