/* SPDX-License-Identifier: MIT */
/* troupe chat: questions from the keyboard, each played as an episode with the recipe's tools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "run/checks.h"
#include "run/episode_runner.h"
#include "cli/verbs.h"

typedef struct chat {
    const recipe *recipe;
    float temperature;
    int32_t shots;
    bool terminal;
    uint64_t asked;
} chat;

static const char *const USED[] = { "model",
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

static const char USAGE[] =
    "usage: troupe chat RECIPE.lua [--model DIR] [--shots N] [--temperature T] [key=value ...]\n\n"
    "Each line is a question of its own; the model answers with the recipe's tools. Ctrl-D ends.\n\n"
    "  --model DIR       a model folder or a checkpoint (default: the recipe's model)\n"
    "  --shots N         worked examples before each question (default 0)\n"
    "  --temperature T   0 (default): always the likeliest token\n\n"
    "example: troupe chat recipes/calculator/recipe.lua --model runs/calculator/checkpoints/step-120\n";

static int next_question(void *ctx, task *t)
{
    chat *c = ctx;
    char *line = NULL;
    size_t capacity = 0;
    if (c->terminal) fputs("> ", stdout), fflush(stdout);
    ssize_t len = getline(&line, &capacity, stdin);
    if (len > 0 && line[len - 1] == '\n') line[--len] = 0;
    if (len < 0 || len > MAX_ROW_BYTES / 8) return free(line), ERR_NOT_FOUND;
    str row = { 0 };
    str_puts(&row, "{\"prompt\": ");
    str_json(&row, line, (size_t)len);
    str_putc(&row, '}');
    free(line);
    *t = (task){ .id = ++c->asked,
                 .group = c->asked,
                 .group_size = 1,
                 .seed = (uint64_t)c->recipe->run.seed,
                 .n_shots = c->shots,
                 .temperature = c->temperature,
                 .max_tokens = (int32_t)c->recipe->exchange.max_tokens,
                 .row = str_take(&row) };
    return OK;
}

static void on_answer(void *ctx, episode *e)
{
    (void)ctx;
    if (e->failed != FAIL_NONE)
        fprintf(stderr, "troupe: chat: %s\n", e->failure_text);
    else
        printf("%s\n", e->transcript ? e->transcript : "");
    fflush(stdout);
    episode_free(e);
}

static int run_verb(call *c, error *err)
{
    const char *model = NULL;
    int64_t shots = 0;
    double temperature = 0;
    const flag flags[] = { { .name = "--model", .text = &model },
                           { .name = "--shots", .whole = &shots, .min = 0, .max = 64 },
                           { .name = "--temperature", .number = &temperature, .min = 0, .max = 100 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    logger *log = logger_new(2, "chat", LOG_WARN, false);
    recipe *r = recipe_open(c->arguments.positional[0], c->arguments.overrides, c->arguments.n_overrides, err);
    checks found;
    const checks_for what = { .model = model, .test_shots = shots, .option = "--shots" };
    const bool fit = r && recipe_uses(r, "chat", USED, err) == OK && checks_open(r, &what, &found, err) == OK;
    episode_runner *p = fit ? episode_runner_new(r, model, (int)r->run.learner_threads, 1, log, err) : NULL;
    int rc = p ? OK : err->code;
    if (rc == OK) {
        chat talk = {
            .recipe = r, .temperature = (float)temperature, .shots = (int32_t)shots, .terminal = isatty(0) && isatty(1)
        };
        const episode_runner_callbacks cb = { .ctx = &talk, .next = next_question, .done = on_answer };
        rc = episode_runner_run(p, &cb, err);
    }
    episode_runner_free(p);
    recipe_free(r);
    logger_free(log);
    return rc;
}

const verb VERB_CHAT = { .name = "chat",
                         .synopsis = "RECIPE.lua [--model DIR]",
                         .help = "talk to a model that has its tools",
                         .usage = USAGE,
                         .words = "RECIPE.lua",
                         .min_words = 1,
                         .max_words = 1,
                         .keys = true,
                         .run = run_verb };
