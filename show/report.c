/* SPDX-License-Identifier: MIT */
#include "show/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "show/metrics_file.h"
#include "show/shell_word.h"

/* ---- paths, to be typed ---- */

/* As one would type it here: a path below the folder one is in without that folder. */
static const char *typed(const char *path)
{
    char here[1024];
    if (!getcwd(here, sizeof here)) return path;
    const size_t n = strlen(here);
    const bool below = strncmp(path, here, n) == 0 && path[n] == '/';
    return below ? path + n + 1 : path;
}

/* The same as a word of a shell: folder and, after a slash, what is in it ("": nothing). */
static void word(str *out, const char *path, const char *inside)
{
    str plain = { 0 };
    const char *begin = typed(path)[0] == '-' ? "./" : ""; /* or it would be an option */
    str_printf(&plain, "%s%s%s%s", begin, typed(path), inside[0] ? "/" : "", inside);

    shell_word(out, plain.data);
    str_free(&plain);
}

/* ---- before ---- */

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* How many rows an evaluation plays: eval_prompts, or all of them where that is 0. */
static uint64_t rows_evaluated(const recipe *r, uint64_t test_rows)
{
    const uint64_t asked = r->run.eval_prompts > 0 ? (uint64_t)r->run.eval_prompts : test_rows;
    return asked < test_rows ? asked : test_rows;
}

static void say_data(progress *p, const recipe *r, const report_facts *f)
{
    str line = { 0 };
    str_printf(&line, "  data  %" PRIu64 " rows", f->train_rows);
    if (r->run.eval_every > 0)
        str_printf(&line, "; an evaluation of %" PRIu64 " every %" PRId64 " steps, %" PRId64 " shots",
                   rows_evaluated(r, f->test_rows), r->run.eval_every, r->run.eval_shots);
    progress_say(p, "%s", line.data);
    str_free(&line);
}

static void say_plan(progress *p, const recipe *r)
{
    const objective_set *objectives = &r->trainer.objectives;
    str line = { 0 };
    str_printf(&line, "  plan  %" PRId64 " steps of %" PRId64 " prompts x %" PRId64 " episodes; rewards:", r->run.steps,
               r->exchange.prompts_per_step, r->exchange.group);
    for (int k = 0; k < objectives->n; k++)
        str_printf(&line, "%s %s %g", k ? "," : "", objectives->items[k].name, objectives->items[k].weight);
    progress_say(p, "%s", line.data);
    str_free(&line);
}

static void say_resume(progress *p, const char *run)
{
    str name = { 0 };
    word(&name, run, "");
    progress_say(p, "  stop  Ctrl-C ends the step and saves; continue with: troupe train --resume %s", name.data);
    str_free(&name);
}

void report_begin(progress *p, const recipe *r, const report_facts *f, const char *run, int64_t from_step)
{
    progress_say(p, "%s: %s, %.3g M parameters, %s, on %s", r->run.name, last_part(r->run.model),
                 (double)f->parameters * 1e-6, words_of(PRECISION_WORDS, (int)r->run.precision), f->device);
    say_data(p, r, f);
    say_plan(p, r);
    progress_say(p, "  needs %s", f->memory);
    progress_say(p, "  run   %s", typed(run));
    if (from_step > 0) progress_say(p, "  from  step %" PRId64, from_step);
    say_resume(p, run);

    if (f->note[0]) progress_say(p, "note: %s", f->note);
    if (f->reward_note[0]) progress_say(p, "note: %s", f->reward_note);
    if (r->trainer.optim.lr <= 0) progress_say(p, "note: optim.lr = 0: the model stays as it is");
}

/* ---- after ---- */

/* The first and the last value of a metric; NaN where it never had one. */
typedef struct ends {
    double first, last;
} ends;

typedef struct course {
    char name[OBJECTIVE_NAME];
    ends rollouts, evals;
} course;

typedef struct courses {
    course items[MAX_OBJECTIVES];
    int n;
    int64_t steps, signals; /* signals: steps that had something to learn from */
    int64_t last_eval;      /* -1: none */
} courses;

static void follow(ends *e, const json_t *line, const char *before, const char *name)
{
    char key[96];
    snprintf(key, sizeof key, "%s/%s/mean", before, name);
    const double value = metrics_file_number(line, key);
    if (isnan(value)) return;

    if (isnan(e->first)) e->first = value;
    e->last = value;
}

static void add_line(void *ctx, const json_t *line)
{
    courses *all = ctx;
    const double signal = metrics_file_number(line, "training/signal");
    const char *event = json_string_value(json_object_get(line, "event"));
    if (event && strcmp(event, "eval") == 0) all->last_eval = (int64_t)metrics_file_number(line, "step");

    all->steps += !isnan(signal); /* lines of evaluations have none */
    all->signals += signal > 0;   /* NaN isn't */
    for (int k = 0; k < all->n; k++) {
        course *c = &all->items[k];
        follow(&c->rollouts, line, "reward", c->name);
        follow(&c->evals, line, "eval", c->name);
    }
}

static courses read_courses(const recipe *r, const char *run)
{
    static const ends NONE = { NAN, NAN };
    courses all = { .n = r->trainer.objectives.n, .last_eval = -1 };
    for (int k = 0; k < all.n; k++) {
        course *c = &all.items[k];
        *c = (course){ .rollouts = NONE, .evals = NONE };
        snprintf(c->name, sizeof c->name, "%s", r->trainer.objectives.items[k].name);
    }
    metrics_file_read(run, add_line, &all, NULL); /* without one there is no course to tell, and that is no failure */
    return all;
}

bool report_finished(const recipe *r, const char *run, int64_t step)
{
    if (step < r->run.steps) return false;

    /* a run that was killed between its last step and that step's evaluation still owes it */
    return r->run.eval_every == 0 || read_courses(r, run).last_eval >= r->run.steps;
}

static void say_course(progress *p, const course *c)
{
    const bool played = !isnan(c->rollouts.first), evaluated = !isnan(c->evals.first);
    if (!played && !evaluated) return;

    str line = { 0 };
    str_printf(&line, "  %s:", c->name);
    if (played) str_printf(&line, "  rollouts %.3f -> %.3f", c->rollouts.first, c->rollouts.last);
    if (evaluated) str_printf(&line, "  evaluations %.3f -> %.3f", c->evals.first, c->evals.last);
    progress_say(p, "%s", line.data);
    str_free(&line);
}

static void say_finished(progress *p, int64_t steps, int64_t done)
{
    if (done > steps)
        progress_say(p, "finished: this run has done %" PRId64 " steps, more than steps = %" PRId64, done, steps);
    else
        progress_say(p, "finished: all %" PRId64 " steps of this run are done", steps);
}

static void say_done(progress *p, int64_t steps, int64_t from_step, double seconds)
{
    const int64_t done = steps - from_step;
    const char *plural = done == 1 ? "" : "s";
    if (from_step > 0)
        progress_say(p, "done: %" PRId64 " step%s in %.1f s, %" PRId64 " in all", done, plural, seconds, steps);
    else
        progress_say(p, "done: %" PRId64 " step%s in %.1f s", done, plural, seconds);
}

/* Says what the user may type next, with the newest checkpoint. */
static void say_next(progress *p, const recipe *r, const char *run, int64_t step)
{
    char inside[64];
    str text = { 0 };
    snprintf(inside, sizeof inside, "checkpoints/step-%" PRId64, step);
    progress_say(p, "  model: %s/%s", typed(run), inside);

    str_puts(&text, "  next:  troupe chat ");
    word(&text, r->path, "");
    str_puts(&text, " --model ");
    word(&text, run, inside);
    progress_say(p, "%s", text.data);

    str_clear(&text);
    str_puts(&text, "         troupe rollouts ");
    word(&text, run, "");
    progress_say(p, "%s --text --limit 5", text.data);
    str_free(&text);
}

/* An objective that weighs and that no step had a value of: a word that is misspelt, or a script that forgot it. What
 * the run has learned from the others is another thing than what was asked for. */
static int check_objectives(const recipe *r, const courses *all, error *err)
{
    for (int k = 0; k < all->n; k++) {
        const objective *o = &r->trainer.objectives.items[k];
        if (!objective_weighs(o) || !isnan(all->items[k].rollouts.first)) continue;
        return error_set(err, ERR_STATE,
                         "reward.objectives.%s: %s returned no such objective in %" PRId64
                         " steps; the others were trained on (patience = 0 takes this for a success)",
                         o->name, last_part(r->reward.script), all->steps);
    }
    return OK;
}

/* Whoever asked for a run that learns hears it from the exit status, too; with patience = 0 no step has to teach. */
static int check_learned(const recipe *r, const courses *all, error *err)
{
    if (all->steps == 0 || r->run.patience == 0 || r->trainer.optim.lr <= 0) return OK;
    if (all->signals > 0) return check_objectives(r, all, err);
    return error_set(err, ERR_STATE,
                     "nothing was learned: in none of %" PRId64
                     " steps did rewards differ within a group (patience = 0 takes this for a success)",
                     all->steps);
}

int report_end(progress *p, const recipe *r, const char *run, int64_t from_step, double seconds, error *err)
{
    const courses all = read_courses(r, run);
    const int64_t steps = r->run.steps, last = from_step > steps ? from_step : steps;
    if (seconds < 0)
        say_finished(p, steps, from_step);
    else
        say_done(p, steps, from_step, seconds);

    if (all.steps > 0 && all.signals == 0)
        progress_say(p, "  nothing was learned: no step had rewards that differ within a group");
    for (int k = 0; k < all.n; k++) say_course(p, &all.items[k]);
    say_next(p, r, run, last);
    return check_learned(r, &all, err);
}
