/* SPDX-License-Identifier: MIT */
/* troupe eval: plays a recipe's test questions with a model, in this process, and prints the scores. */
#include <stdio.h>

#include "cli/verbs.h"
#include "run/evaluation.h"

static const char USAGE[] =
    "usage: troupe eval RECIPE.lua [--model DIR] [--shots N] [--prompts N] [--out FILE.jsonl] [--json] "
    "[key=value ...]\n\n"
    "  --model DIR       a model folder or a checkpoint (default: the recipe's model)\n"
    "  --shots N         worked examples before each question (default: eval_shots of the recipe)\n"
    "  --prompts N       questions (default: eval_prompts of the recipe; 0: all of data.test)\n"
    "  --out FILE.jsonl  each episode: row, transcript, objectives\n"
    "  --json            the summary as one JSON object\n\n"
    "example: troupe eval recipes/calculator/recipe.lua --model runs/calculator/checkpoints/step-120\n";

static void print_json(const metric *all, size_t n)
{
    for (size_t i = 0; i < n; i++) printf("%s\"%s\": %.6g", i ? ", " : "{", all[i].name, all[i].value);
    puts("}");
}

static void print_lines(const metric *all, size_t n, const char *model, const char *questions)
{
    printf("%s on %s\n", model, questions);
    for (size_t i = 0; i < n; i++) printf("  %-28s %.4g\n", all[i].name, all[i].value);
}

static int evaluate(const recipe *r, const evaluation_options *o, bool json, error *err)
{
    logger *log = logger_new(2, "eval", LOG_WARN, false);
    metrics *summary = metrics_new();
    const int rc = evaluation_run(r, o, log, summary, err);

    size_t n; /* 0: it failed, and a part of the questions is no score */
    const metric *all = metrics_all(summary, &n);
    if (n > 0 && json) print_json(all, n);
    if (n > 0 && !json) print_lines(all, n, o->model ? o->model : r->run.model, r->curriculum.test);

    metrics_free(summary);
    logger_free(log);
    return rc;
}

static int run_verb(call *c, error *err)
{
    bool json = false;
    evaluation_options o = { .shots = -1, .prompts = -1 }; /* the recipe's */
    const flag flags[] = { { .name = "--model", .text = &o.model },
                           { .name = "--shots", .whole = &o.shots, .min = 0, .max = 64 },
                           { .name = "--prompts", .whole = &o.prompts, .min = 0, .max = 1e9 },
                           { .name = "--out", .text = &o.out },
                           { .name = "--json", .present = &json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    recipe *r = recipe_open(c->arguments.positional[0], c->arguments.overrides, c->arguments.n_overrides, err);
    if (r) recipe_use_model(r, o.model);
    const int rc = r ? evaluate(r, &o, json, err) : err->code;
    recipe_free(r);
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
