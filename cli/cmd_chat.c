/* SPDX-License-Identifier: MIT */
/* troupe chat: questions from the keyboard, each played as an episode with the recipe's tools. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "run/conversation.h"

static const char USAGE[] =
    "usage: troupe chat RECIPE.lua [--model DIR] [--shots N] [--temperature T] [key=value ...]\n\n"
    "Each line is a question of its own; the model answers with the recipe's tools. Ctrl-D ends.\n\n"
    "  --model DIR       a model folder or a checkpoint (default: the recipe's model)\n"
    "  --shots N         worked examples before each question (default 0)\n"
    "  --temperature T   0 (default): always the likeliest token\n\n"
    "example: troupe chat recipes/calculator/recipe.lua --model runs/calculator/checkpoints/step-120\n";

static bool ask(void *ctx, str *question)
{
    const bool *terminal = ctx;
    if (*terminal) {
        fputs("> ", stdout);
        fflush(stdout); /* no newline: a terminal would wait for one */
    }

    char *line = NULL;
    size_t capacity = 0;
    ssize_t len = getline(&line, &capacity, stdin);
    if (len > 0 && line[len - 1] == '\n') len--;
    if (len > 0) str_add(question, line, (size_t)len);
    free(line);
    return len >= 0;
}

static void answer(void *ctx, const char *transcript, const char *why)
{
    (void)ctx;
    if (transcript)
        printf("%s\n", transcript);
    else
        fprintf(stderr, "troupe: chat: %s\n", why);
    fflush(stdout); /* a program at the other end of a pipe waits for this answer before it asks again */
}

static int run_verb(call *c, error *err)
{
    bool terminal = isatty(0) && isatty(1); /* else the mark "> " would be read as a part of an answer */
    conversation talk = { .ctx = &terminal, .ask = ask, .answer = answer };
    const flag flags[] = { { .name = "--model", .text = &talk.model },
                           { .name = "--shots", .whole = &talk.shots, .min = 0, .max = 64 },
                           { .name = "--temperature", .number = &talk.temperature, .min = 0, .max = 100 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    logger *log = logger_new(2, "chat", LOG_WARN, false);
    recipe *r = recipe_open(c->arguments.positional[0], c->arguments.overrides, c->arguments.n_overrides, err);
    if (r) recipe_use_model(r, talk.model);
    const int rc = r ? conversation_run(r, &talk, log, err) : err->code;
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
