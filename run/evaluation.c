/* SPDX-License-Identifier: MIT */
#include "run/evaluation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "exchange/scheduler.h"
#include "reward/scorer.h"
#include "run/checks.h"
#include "run/episode_runner.h"
#include "show/batch_metrics.h"
#include "show/result_file.h"

enum { SLOTS = 64 }; /* episodes under way at once: what decoding is batched over */

/* Each of them changes what is played, or how it is scored. */
static const char *const KEYS[] = { "model",
                                    "data.test",
                                    "env",
                                    "prompt",
                                    "reward",
                                    "rollout.max_tokens",
                                    "rollout.max_context",
                                    "rollout.top_p",
                                    "eval_prompts",
                                    "eval_shots",
                                    "eval_temperature",
                                    "precision",
                                    "device",
                                    "seed",
                                    "learner_threads",
                                    NULL };

typedef struct evaluation {
    const recipe *recipe;
    const evaluation_options *options;
    logger *log;
    episode_runner *runner;
    scorer *scorer;
    scheduler_config schedule;
    uint32_t next, size; /* questions begun, and all of them */

    vec(group *) groups; /* of one episode each, as they ended */
    uint32_t unscored;
    char why[300]; /* of the first without a score */

    result_file out;
    error out_failed; /* the first failure to write to it */
} evaluation;

/* ---- the file of episodes ---- */

/* A file of lines like ours. Anything else that ends with .jsonl, such as data, is a file of the user's. */
static bool is_evaluation(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);
    json_t *line = json_parse(text, end ? (size_t)(end - text) : len, "line", NULL);
    const bool ours = line && json_object_size(line) == 3 && json_object_get(line, "row") &&
                      json_object_get(line, "transcript") && json_object_get(line, "objectives");
    const bool cut = !end && strncmp(text, "{\"row\":", 7) == 0; /* a line longer than what was read */
    json_decref(line);
    return ours || cut;
}

static json_t *objectives_of(const score *sc)
{
    json_t *values = json_object();
    for (int i = 0; i < sc->n_values; i++) {
        const double value = sc->values[i].value;
        json_object_set_new(values, sc->values[i].name, isfinite(value) ? json_real(value) : json_null());
    }
    return values;
}

/* A disk that is full ends the lines, not the evaluation: what was played is still counted. */
static void write_line(evaluation *v, const task *t, const episode *e, const score *sc)
{
    if (!v->options->out || v->out_failed.code != OK) return;
    json_t *line = json_object();
    json_object_set_new(line, "row", json_parse(t->row, strlen(t->row), "row", NULL));
    json_object_set_new(line, "transcript", json_bytes(e->transcript ? e->transcript : ""));
    json_object_set_new(line, "objectives", objectives_of(sc));

    char *text = json_text(line, false);
    if (result_file_add(&v->out, text, strlen(text), &v->out_failed) == OK)
        result_file_add(&v->out, "\n", 1, &v->out_failed);
    free(text);
    json_decref(line);
}

/* ---- episodes ---- */

static int next_task(void *ctx, task *t)
{
    evaluation *v = ctx;
    if (v->next == v->size) return ERR_NOT_FOUND;
    scheduler_eval_task(&v->schedule, 0, v->next++, t);
    return OK;
}

static const char *why_unscored(const episode *e, const score *sc)
{
    if (e->failed != FAIL_NONE) return e->failure_text;
    if (sc->status != SCORE_OK) return sc->error;
    return "the script returns no objective";
}

static void count_unscored(evaluation *v, const episode *e, const score *sc)
{
    if (e->failed == FAIL_NONE && sc->n_values > 0) return;
    if (v->unscored++ == 0) snprintf(v->why, sizeof v->why, "%s", why_unscored(e, sc));
}

static void on_episode(void *ctx, episode *e)
{
    evaluation *v = ctx;
    const uint32_t question = task_id_index(e->id);
    task t;
    score *sc = xcalloc(1, sizeof *sc);
    scheduler_eval_task(&v->schedule, 0, question, &t);

    if (e->failed == FAIL_NONE)
        scorer_score(v->scorer, &t, e, sc);
    else
        log_warn(v->log, "question %u failed (%s): %s", question, failure_name(e->failed), e->failure_text);
    count_unscored(v, e, sc);
    write_line(v, &t, e, sc);

    group *g = group_new(e->group, e->prompt_id, 0, 1);
    group_add(g, e, sc, NULL);
    vec_push(&v->groups, g);
    task_reset(&t);
}

/* ---- begin ---- */

static int64_t shots_of(const evaluation *v)
{
    return v->options->shots >= 0 ? v->options->shots : v->recipe->run.eval_shots;
}

static int check(evaluation *v, error *err)
{
    const recipe *r = v->recipe;
    const evaluation_options *o = v->options;
    checks found;
    if (recipe_uses(r, "eval", KEYS, err) != OK) return err->code;
    if (!r->curriculum.test[0]) return error_set(err, ERR_ARGUMENT, "%s has no data.test to evaluate on", r->path);

    const checks_for what = { .model = o->model,
                              .test = true,
                              .scored = true,
                              .test_shots = shots_of(v),
                              .option = o->shots >= 0 ? "--shots" : NULL };
    if (checks_open(r, &what, &found, err) != OK) return err->code;
    if (found.note[0]) log_warn(v->log, "%s", found.note);
    if (found.reward_note[0]) log_warn(v->log, "%s", found.reward_note);
    return OK;
}

static int open_questions(evaluation *v, error *err)
{
    const recipe *r = v->recipe;
    const int64_t prompts = v->options->prompts >= 0 ? v->options->prompts : r->run.eval_prompts;
    v->schedule = (scheduler_config){ .seed = (uint64_t)r->run.seed,
                                      .max_tokens = (int32_t)r->exchange.max_tokens,
                                      .eval_prompts = (uint64_t)prompts,
                                      .eval_shots = (int32_t)shots_of(v),
                                      .eval_temperature = (float)r->run.eval_temperature };
    if (!(v->schedule.eval = recipe_rows(r, r->curriculum.test, err))) return err->code;
    v->size = scheduler_eval_size(&v->schedule);
    return OK;
}

/* The file comes first: whether it can be written is known at once, a model may take a minute to load. */
static int open_all(evaluation *v, error *err)
{
    const recipe *r = v->recipe;
    const evaluation_options *o = v->options;
    if (o->out && result_file_begin(&v->out, o->out, is_evaluation, err) != OK) return err->code;

    v->runner = episode_runner_new(r, o->model, (int)r->run.learner_threads, SLOTS, v->log, err);
    if (!v->runner) return err->code;
    return OK;
}

/* ---- playing, and the end ---- */

static int play(evaluation *v, error *err)
{
    const scorer_config script = reward_scorer(&v->recipe->reward);
    if (!(v->scorer = scorer_new(&script, err)) || open_questions(v, err) != OK) return err->code;

    const episode_runner_callbacks cb = { .ctx = v, .next = next_task, .done = on_episode };
    if (episode_runner_run(v->runner, &cb, err) != OK) return err->code;

    if (v->unscored == v->size)
        return error_set(err, ERR_SCRIPT, "none of %u questions has a score: %s", v->size, v->why);
    if (v->out_failed.code != OK) {
        *err = v->out_failed;
        return err->code;
    }
    if (v->unscored > 0) log_warn(v->log, "%u of %u questions have no score: %s", v->unscored, v->size, v->why);
    return OK;
}

static void summarize(const evaluation *v, int64_t began_ms, metrics *out)
{
    const group *const *groups = (const group *const *)v->groups.data;
    batch_eval_metrics(groups, (uint32_t)v->groups.len, &v->recipe->trainer.objectives, out);
    metrics_set(out, "eval/seconds", (double)(clock_ms() - began_ms) * 1e-3);
}

static void close_all(evaluation *v)
{
    for (size_t i = 0; i < v->groups.len; i++) group_free(v->groups.data[i]);
    vec_free(&v->groups);
    scorer_free(v->scorer);
    dataset_free(v->schedule.eval);
    episode_runner_free(v->runner);
}

int evaluation_run(const recipe *r, const evaluation_options *o, logger *log, metrics *summary, error *err)
{
    evaluation v = { .recipe = r, .options = o, .log = log };
    int rc = check(&v, err);
    if (rc == OK) rc = open_all(&v, err);

    const int64_t began_ms = clock_ms(); /* the model's loading is no part of it */
    if (rc == OK) rc = play(&v, err);
    if (rc == OK) summarize(&v, began_ms, summary);

    const int written = result_file_end(&v.out, rc == OK, rc == OK ? err : NULL);
    close_all(&v);
    return rc == OK ? written : rc;
}
