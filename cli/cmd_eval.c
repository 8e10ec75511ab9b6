/* SPDX-License-Identifier: MIT */
/* troupe eval: plays a recipe's test questions with a model, in this process, and prints the scores. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "show/batch_metrics.h"
#include "run/checks.h"
#include "run/episode_runner.h"
#include "show/result_file.h"
#include "cli/verbs.h"
#include "exchange/scheduler.h"

enum { SLOTS = 64 };

typedef struct evaluation {
    const recipe *recipe;
    scheduler_config schedule;
    scorer *scorer;
    uint32_t next, size;
    vec(group *) groups;
    uint32_t unscored;
    char why[300]; /* of the first without a score */
    bool writes;
    result_file out;
    error out_failed; /* the first failure to write to it */
    logger *log;
} evaluation;

static const char *const USED[] = { "model",
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

static const char USAGE[] =
    "usage: troupe eval RECIPE.lua [--model DIR] [--shots N] [--prompts N] [--out FILE.jsonl] [--json] "
    "[key=value ...]\n\n"
    "  --model DIR       a model folder or a checkpoint (default: the recipe's model)\n"
    "  --shots N         worked examples before each question (default: eval_shots of the recipe)\n"
    "  --prompts N       questions (default: eval_prompts of the recipe; 0: all of data.test)\n"
    "  --out FILE.jsonl  each episode: row, transcript, objectives\n"
    "  --json            the summary as one JSON object\n\n"
    "example: troupe eval recipes/calculator/recipe.lua --model runs/calculator/checkpoints/step-120\n";

static int next_task(void *ctx, task *t)
{
    evaluation *v = ctx;
    if (v->next == v->size) return ERR_NOT_FOUND;
    scheduler_eval_task(&v->schedule, 0, v->next++, t);
    return OK;
}

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

static void write_out(evaluation *v, const task *t, const episode *e, const score *sc)
{
    json_t *values = json_object();
    for (int i = 0; i < sc->n_values; i++)
        json_object_set_new(values, sc->values[i].name,
                            isfinite(sc->values[i].value) ? json_real(sc->values[i].value) : json_null());
    json_t *line = json_pack("{s:o, s:o, s:o}", "row", json_parse(t->row, strlen(t->row), "row", NULL), "transcript",
                             json_bytes(e->transcript ? e->transcript : ""), "objectives", values);
    char *text = json_text(line, false);
    if (v->out_failed.code == OK && result_file_add(&v->out, text, strlen(text), &v->out_failed) == OK)
        result_file_add(&v->out, "\n", 1, &v->out_failed);
    free(text);
    json_decref(line);
}

static void on_episode(void *ctx, episode *e)
{
    evaluation *v = ctx;
    task t;
    scheduler_eval_task(&v->schedule, 0, task_id_index(e->id), &t);
    score *sc = xcalloc(1, sizeof *sc);
    if (e->failed == FAIL_NONE)
        scorer_score(v->scorer, &t, e, sc);
    else
        log_warn(v->log, "question %u failed (%s): %s", task_id_index(e->id), failure_name(e->failed), e->failure_text);
    const char *why = e->failed != FAIL_NONE ? e->failure_text : sc->status != SCORE_OK ? sc->error : NULL;
    if (e->failed != FAIL_NONE || sc->n_values == 0) {
        if (v->unscored++ == 0) snprintf(v->why, sizeof v->why, "%s", why ? why : "the script returns no objective");
    }
    if (v->writes) write_out(v, &t, e, sc);
    group *g = group_new(e->group, e->prompt_id, 0, 1);
    group_add(g, e, sc, NULL);
    vec_push(&v->groups, g);
    task_reset(&t);
}

static void print(const evaluation *v, const char *model, double seconds, bool json)
{
    size_t n;
    metrics *m = metrics_new();
    batch_eval_metrics((const group *const *)v->groups.data, (uint32_t)v->groups.len, &v->recipe->trainer.objectives,
                       m);
    metrics_set(m, "eval/seconds", seconds);
    const metric *all = metrics_all(m, &n);
    if (!json) printf("%s on %s\n", model, v->recipe->curriculum.test);
    for (size_t i = 0; i < n; i++) {
        if (json)
            printf("%s\"%s\": %.6g", i ? ", " : "{", all[i].name, all[i].value);
        else
            printf("  %-28s %.4g\n", all[i].name, all[i].value);
    }
    if (json) puts("}");
    metrics_free(m);
}

static int evaluate(evaluation *v, episode_runner *p, const char *model, bool json, error *err)
{
    const recipe *r = v->recipe;
    const int64_t began = clock_ms();
    const scorer_config sc = reward_scorer(&r->reward);
    if (!(v->scorer = scorer_new(&sc, err))) return err->code;
    if (!(v->schedule.eval = dataset_open(r->curriculum.test, 0, err))) return err->code;
    v->size = scheduler_eval_size(&v->schedule);
    const episode_runner_callbacks cb = { .ctx = v, .next = next_task, .done = on_episode };
    const int rc = episode_runner_run(p, &cb, err);
    if (rc == OK && v->unscored == v->size)
        return error_set(err, ERR_SCRIPT, "none of %u questions has a score: %s", v->size, v->why);
    if (rc == OK && v->out_failed.code != OK) return *err = v->out_failed, err->code;
    if (rc == OK && v->unscored > 0)
        log_warn(v->log, "%u of %u questions have no score: %s", v->unscored, v->size, v->why);
    if (rc == OK) print(v, model, (double)(clock_ms() - began) * 1e-3, json);
    return rc;
}

static int run_verb(call *c, error *err)
{
    bool json = false;
    const char *model = NULL, *out = NULL;
    int64_t shots = -1, prompts = -1;
    const flag flags[] = { { .name = "--model", .text = &model },
                           { .name = "--shots", .whole = &shots, .min = 0, .max = 64 },
                           { .name = "--prompts", .whole = &prompts, .min = 0, .max = 1e9 },
                           { .name = "--out", .text = &out },
                           { .name = "--json", .present = &json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    recipe *r = recipe_open(c->arguments.positional[0], c->arguments.overrides, c->arguments.n_overrides, err);
    evaluation v = { .recipe = r, .log = logger_new(2, "eval", LOG_WARN, false) };
    episode_runner *p = NULL;
    checks found;
    int rc = r ? recipe_uses(r, "eval", USED, err) : err->code;
    if (rc == OK && !r->curriculum.test[0])
        rc = error_set(err, ERR_ARGUMENT, "%s has no data.test to evaluate on", r->path);
    if (rc == OK) {
        const checks_for what = { .model = model,
                                  .test = true,
                                  .scored = true,
                                  .test_shots = shots >= 0 ? shots : r->run.eval_shots,
                                  .option = shots >= 0 ? "--shots" : NULL };
        rc = checks_open(r, &what, &found, err);
        if (rc == OK && found.note[0]) log_warn(v.log, "%s", found.note);
        if (rc == OK && found.reward_note[0]) log_warn(v.log, "%s", found.reward_note);
    }
    if (rc == OK && out) {
        rc = result_file_begin(&v.out, out, is_evaluation, err);
        v.writes = rc == OK;
    }
    if (rc == OK)
        rc = (p = episode_runner_new(r, model, (int)r->run.learner_threads, SLOTS, v.log, err)) ? OK : err->code;
    if (rc == OK) {
        v.schedule = (scheduler_config){ .seed = (uint64_t)r->run.seed,
                                         .max_tokens = (int32_t)r->exchange.max_tokens,
                                         .eval_prompts = (uint64_t)(prompts >= 0 ? prompts : r->run.eval_prompts),
                                         .eval_shots = (int32_t)(shots >= 0 ? shots : r->run.eval_shots),
                                         .eval_temperature = (float)r->run.eval_temperature };
        rc = evaluate(&v, p, model ? model : r->run.model, json, err);
    }
    for (size_t i = 0; i < v.groups.len; i++) group_free(v.groups.data[i]);
    vec_free(&v.groups);
    if (v.writes) {
        const int ended = result_file_end(&v.out, rc == OK, rc == OK ? err : NULL);
        if (rc == OK) rc = ended;
    }
    scorer_free(v.scorer);
    dataset_free(v.schedule.eval);
    episode_runner_free(p);
    recipe_free(r);
    logger_free(v.log);
    return rc;
}

const verb VERB_EVAL = { .name = "eval",
                         .synopsis = "RECIPE.lua [--model DIR] [--shots N]",
                         .help = "play the test questions, print the scores",
                         .usage = USAGE,
                         .words = "RECIPE.lua",
                         .min_words = 1,
                         .max_words = 1,
                         .keys = true,
                         .run = run_verb };
