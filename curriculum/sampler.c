/* SPDX-License-Identifier: MIT */
#include "curriculum/sampler.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"
#include "curriculum/templates.h"
#include "rollout/signal.h"

static const double NEW_SHARE = 0.3; /* of a visit in the row's running success, from the fourth on */
static const double MIN_WEIGHT = 0.05;
static const double STAGE_SHARE = 0.2; /* of a step in the stage's moving success */
enum { STAGE_STEPS = 5 };              /* before which no gate opens: the moving success must mean something */

/* What is remembered: sampler_state names each of these. */
typedef struct row_memory {
    double visits, episodes, right, success; /* success: the running share */
} row_memory;

typedef struct stage_memory {
    double stage, steps, success;
} stage_memory;

struct sampler {
    sampler_config config;
    uint64_t n;
    row_memory *rows;           /* [n] */
    template_bandit *templates; /* NULL without templates */
    uint32_t *stages;           /* [n] bit k: stage k shows the row */
    stage_memory now;
    shot_ladder ladder;
};

bool sampler_needed(const sampler_config *c)
{
    return c->kind != SAMPLE_IN_TURN || c->drop_failed > 0 || c->drop_solved > 0 || c->n_stages > 0 ||
           c->max_hint > 0 || c->n_templates > 0 || c->ladder.n > 0;
}

/* ---- stages ---- */

static bool stage_has(const sampler_stage *s, const char *name)
{
    for (int i = 0; i < s->n_groups; i++)
        if (strcmp(s->groups[i], name) == 0) return true;
    return s->n_groups == 0;
}

static int read_stages(sampler *s, const dataset *rows, error *err)
{
    const sampler_config *c = &s->config;
    uint64_t members[SAMPLER_STAGES] = { 0 };
    for (uint64_t i = 0; i < s->n; i++) {
        const char *text = dataset_row(rows, i), *name = "";
        json_t *row = json_parse(text, strlen(text), "row", err);
        if (!row) return err ? err->code : ERR_PARSE;
        json_opt_string(row, "group", "row", "", &name, NULL);

        for (int k = 0; k < c->n_stages; k++) {
            if (!stage_has(&c->stages[k], name)) continue;
            s->stages[i] |= 1u << k;
            members[k]++;
        }
        json_decref(row);
    }

    for (int k = 0; k < c->n_stages; k++)
        if (members[k] == 0)
            return error_set(err, ERR_ARGUMENT, "stage %d has no rows: no row's \"group\" is '%s'", k + 1,
                             c->stages[k].groups[0]);
    return OK;
}

/* The gate looks at what the stage's own rows were worth: the moving mean of its steps. */
static void pass_gate(sampler *s, double success)
{
    stage_memory *m = &s->now;
    const int k = (int)m->stage;
    m->steps++;
    m->success += fmax(STAGE_SHARE, 1 / m->steps) * (success - m->success);
    if (k + 1 >= s->config.n_stages) return;

    const sampler_stage *stage = &s->config.stages[k];
    const bool passed = m->steps >= STAGE_STEPS && m->success >= stage->gate;
    const bool timed_out = stage->steps > 0 && m->steps >= (double)stage->steps;
    if (passed || timed_out) *m = (stage_memory){ .stage = k + 1 };
}

/* ---- life ---- */

sampler *sampler_new(const sampler_config *config, const dataset *rows, error *err)
{
    sampler *s = xcalloc(1, sizeof *s);
    s->config = *config;
    ladder_init(&s->ladder, &config->ladder);
    s->n = dataset_size(rows);
    s->rows = xcalloc((size_t)s->n, sizeof *s->rows);
    s->stages = xcalloc((size_t)s->n, sizeof *s->stages);

    int rc = config->n_stages > 0 ? read_stages(s, rows, err) : OK;
    const bool templates = rc == OK && config->n_templates > 0;
    if (templates) s->templates = template_bandit_new(config->complexity, config->n_templates, rows, err);

    if (rc == OK && (s->templates || !templates)) return s;
    sampler_free(s);
    return NULL;
}

void sampler_free(sampler *s)
{
    if (!s) return;
    free(s->rows);
    free(s->stages);
    template_bandit_free(s->templates);
    free(s);
}

/* ---- learning ---- */

/* What was helped, by a template or a hint, says nothing of the row. */
static bool speaks_of_row(const episode *e) { return e->template_id <= 0 && e->hint_len <= 0; }

/* A visit of a row: `right` of its `scored` episodes were. */
static void learn_row(row_memory *m, double scored, double right)
{
    m->visits++;
    m->episodes += scored;
    m->right += right;
    m->success += fmax(NEW_SHARE, 1 / m->visits) * (right / scored - m->success);
}

void sampler_learn(sampler *s, const group *const *groups, uint32_t n, const char *objective)
{
    double all = 0, all_right = 0;

    for (uint32_t g = 0; g < n; g++) {
        double scored = 0, right = 0;
        for (uint32_t i = 0; i < groups[g]->n; i++) {
            const episode *e = groups[g]->episodes[i];
            const double r = score_get(groups[g]->scores[i], objective);
            if (isnan(r)) continue;

            /* A template learns from each episode that it was shown in, a row only from those that nothing helped. */
            if (s->templates) template_bandit_learn(s->templates, e->template_id, signal_right(r));
            if (!speaks_of_row(e)) continue;
            scored++;
            right += signal_right(r);
        }

        if (scored == 0 || groups[g]->prompt_id >= s->n) continue;
        learn_row(&s->rows[groups[g]->prompt_id], scored, right);
        all += scored;
        all_right += right;
    }
    if (all > 0) pass_gate(s, all_right / all);
    if (sampler_on_ladder(s)) ladder_learn(&s->ladder, groups, n, objective);
}

/* ---- drawing ---- */

static bool left_out(const sampler_config *c, const row_memory *m)
{
    if (c->drop_failed > 0 && m->episodes >= c->drop_failed && m->right == 0) return true;
    return c->drop_solved > 0 && m->episodes >= c->drop_solved && m->right == m->episodes;
}

static double weight_of(const sampler_config *c, const row_memory *m)
{
    /* A group that failed whole is no proof that the next will: half an episode of doubt. */
    const double G = c->group, likely = (G * m->success + 0.5) / (G + 1);

    switch (m->visits > 0 ? c->kind : SAMPLE_IN_TURN) {
    case SAMPLE_BY_FAILURE:
        return MIN_WEIGHT + 1 - m->success;
    case SAMPLE_BY_SIGNAL:
        return MIN_WEIGHT + 1 - pow(likely, G) - pow(1 - likely, G); /* that not all of G are right, nor all wrong */
    case SAMPLE_IN_TURN:
        return MIN_WEIGHT + 1;
    }
    return 1;
}

typedef struct draw {
    double key;
    uint64_t row;
} draw;

static int ascending(const void *a, const void *b)
{
    const draw *x = a, *y = b;
    if (x->key < y->key) return -1;
    if (x->key > y->key) return 1;
    return x->row < y->row ? -1 : 1;
}

/* Rows of the stage that are not left out; when all of them are, all of the stage's. */
static uint64_t candidates(const sampler *s, draw *out)
{
    uint64_t n = 0;
    for (int leave_out = 1; n == 0 && leave_out >= 0; leave_out--)
        for (uint64_t i = 0; i < s->n; i++) {
            if (s->config.n_stages > 0 && !(s->stages[i] >> (int)s->now.stage & 1)) continue;
            if (leave_out && left_out(&s->config, &s->rows[i])) continue;
            out[n++].row = i;
        }
    return n;
}

/* The less a row succeeds, the more of its demonstration it is shown; nothing from `hint_until` on. */
static float hint_for(const sampler *s, uint64_t row)
{
    const double success = s->rows[row].success;
    if (success >= s->config.hint_until) return 0;
    return (float)(s->config.max_hint * (1 - success));
}

/* Weighted drawing without repetition by exponential clocks: the smallest -log(u) / w first (Efraimidis and Spirakis,
 * 2006). */
void sampler_pick(const sampler *s, int64_t step, uint32_t n, picked_row *rows)
{
    const rng_key key = { s->config.seed ^ UINT64_C(0x73616d706c65), (uint64_t)step };
    draw *draws = xcalloc((size_t)s->n, sizeof *draws);
    const uint64_t there = candidates(s, draws);

    for (uint64_t i = 0; i < there; i++) {
        const double u = 1 - rng_uniform(key, 0, draws[i].row); /* (0, 1] */
        draws[i].key = -log(u) / weight_of(&s->config, &s->rows[draws[i].row]);
    }
    qsort(draws, (size_t)there, sizeof *draws, ascending);

    /* `there` is never 0: a data set has a row, and so has each stage. Fewer than are asked for come again. */
    for (uint32_t i = 0; i < n && there > 0; i++) {
        const uint64_t row = draws[i % there].row;
        rows[i] = (picked_row){ .row = row, .hint = hint_for(s, row) };
        if (s->templates) rows[i].template_id = template_bandit_pick(s->templates, row);
        if (sampler_on_ladder(s)) rows[i].shots = ladder_pick(&s->ladder, s->config.group);
    }
    free(draws);
}

bool sampler_on_ladder(const sampler *s) { return s->config.ladder.n > 0; }

void sampler_metrics(const sampler *s, metrics *out)
{
    double seen = 0, success = 0, dropped = 0;

    for (uint64_t i = 0; i < s->n; i++) {
        seen += s->rows[i].visits > 0;
        success += s->rows[i].success;
        dropped += left_out(&s->config, &s->rows[i]);
    }

    metrics_set(out, "sampler/stage", s->now.stage + 1);
    metrics_set(out, "sampler/seen", seen / (double)s->n);
    metrics_set(out, "sampler/success", seen > 0 ? success / seen : 0);
    metrics_set(out, "sampler/left_out", dropped / (double)s->n);
    if (s->templates) template_bandit_metrics(s->templates, out);
    if (sampler_on_ladder(s)) ladder_metrics(&s->ladder, out);
}

/* ---- memory ---- */

void sampler_state(sampler *s, saved_state *to)
{
    const int64_t n = (int64_t)s->n;
    const int last_stage = s->config.n_stages > 0 ? s->config.n_stages - 1 : 0;
    row_memory *rows = s->rows;

    state_section(to, "sampler", 1);
    state_numbers(to, "stage", &s->now.stage, 1, 0, last_stage);
    state_numbers(to, "stage_steps", &s->now.steps, 1, 0, INFINITY);
    state_numbers(to, "stage_success", &s->now.success, 1, 0, 1);
    state_column(to, "visits", &rows->visits, n, sizeof *rows, 0, INFINITY);
    state_column(to, "episodes", &rows->episodes, n, sizeof *rows, 0, INFINITY);
    state_column(to, "right", &rows->right, n, sizeof *rows, 0, INFINITY);
    state_column(to, "success", &rows->success, n, sizeof *rows, 0, 1);

    if (s->templates) template_bandit_state(s->templates, to);
    if (sampler_on_ladder(s)) ladder_state(&s->ladder, to);
}
