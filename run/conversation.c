/* SPDX-License-Identifier: MIT */
#include "run/conversation.h"

#include "run/checks.h"
#include "run/episode_runner.h"

/* Each of them changes what is played. */
static const char *const KEYS[] = { "model",
                                    "env",
                                    "prompt",
                                    "rollout.max_tokens",
                                    "rollout.max_context",
                                    "rollout.top_p",
                                    "precision",
                                    "device",
                                    "seed",
                                    "learner_threads",
                                    NULL };

typedef struct talk {
    const recipe *recipe;
    const conversation *conversation;
    uint64_t asked;
} talk;

enum { LONGEST_QUESTION = MAX_ROW_BYTES / 8 }; /* JSON writes a byte as up to six */

static char *row_of(const str *question)
{
    str row = { 0 };
    str_puts(&row, "{\"prompt\": ");
    str_json(&row, str_text(question), question->len);
    str_putc(&row, '}');
    return str_take(&row);
}

static task task_of(const talk *k, const str *question)
{
    const conversation *c = k->conversation;
    return (task){ .id = k->asked,
                   .group = k->asked,
                   .group_size = 1,
                   .seed = (uint64_t)k->recipe->run.seed,
                   .n_shots = (int32_t)c->shots,
                   .temperature = (float)c->temperature,
                   .max_tokens = (int32_t)k->recipe->exchange.max_tokens,
                   .row = row_of(question) };
}

static int next_question(void *ctx, task *t)
{
    talk *k = ctx;
    str question = { 0 };
    const bool asked = k->conversation->ask(k->conversation->ctx, &question) && question.len <= LONGEST_QUESTION;
    if (asked) { /* each question is a task of its own number: the same question twice is answered by other draws */
        k->asked++;
        *t = task_of(k, &question);
    }
    str_free(&question);
    return asked ? OK : ERR_NOT_FOUND;
}

static void on_answer(void *ctx, episode *e)
{
    const conversation *c = ((talk *)ctx)->conversation;
    if (e->failed != FAIL_NONE)
        c->answer(c->ctx, NULL, e->failure_text);
    else
        c->answer(c->ctx, e->transcript ? e->transcript : "", NULL);
    episode_free(e);
}

static int check(const recipe *r, const conversation *c, error *err)
{
    checks found;
    const checks_for what = { .model = c->model, .test_shots = c->shots, .option = "--shots" };
    const int rc = recipe_uses(r, "chat", KEYS, err);
    return rc == OK ? checks_open(r, &what, &found, err) : rc;
}

int conversation_run(const recipe *r, const conversation *c, logger *log, error *err)
{
    if (check(r, c, err) != OK) return err->code;
    episode_runner *p = episode_runner_new(r, c->model, (int)r->run.learner_threads, 1, log, err);
    if (!p) return err->code;

    talk k = { .recipe = r, .conversation = c };
    const episode_runner_callbacks cb = { .ctx = &k, .next = next_question, .done = on_answer };
    const int rc = episode_runner_run(p, &cb, err);
    episode_runner_free(p);
    return rc;
}
