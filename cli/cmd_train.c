/* SPDX-License-Identifier: MIT */
/* troupe train: everything on this machine. */
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include "run/run_dir.h"
#include "run/training.h"

_Static_assert((int)RUN_WORDS <= (int)MAX_OVERRIDES, "a process of a run reads all its words");

static const char USAGE[] =
    "usage: troupe train RECIPE.lua [key=value ...] [--run-dir DIR] [--fresh] [--every N]\n"
    "       troupe train --resume RUN [key=value ...] [--take-changes]\n\n"
    "  --run-dir DIR  where the run lives (default: runs/NAME)\n"
    "  --fresh        start over when the run exists\n"
    "  --resume RUN   continue from the last checkpoint as if nothing had happened, with the run's own copy of\n"
    "                 recipe, scripts and data; key=value changes it from here on, and is recorded\n"
    "  --take-changes with --resume: take recipe, scripts and data anew from where they came from\n"
    "  --without-episodes  with --resume: continue although rollouts.db is gone or damaged\n"
    "  --every N      without a terminal: print each N-th step (default 10)\n"
    "  --keys         list the recipe's keys with their defaults; with --markdown as a page, a paragraph each\n\n"
    "example: troupe train recipes/calculator/recipe.lua steps=50 rollout.group=4\n";

/* What can't be said together; NULL: nothing. */
static const char *contradiction(const training_options *o, const arguments *a)
{
    if (o->resume && a->n_positional > 0)
        return "--resume takes no RECIPE.lua: a run continues with its own copy (--take-changes takes the file as it "
               "is "
               "now)";
    if (o->resume && o->fresh) return "--resume continues a run and --fresh starts it over: give one of them";
    if (o->resume && o->dir) return "--resume names the run's folder: --run-dir is for a new one";
    if (!o->resume && o->take_changes) return "--take-changes goes with --resume RUN";
    if (!o->resume && o->without_episodes) return "--without-episodes goes with --resume RUN";
    return NULL;
}

static int print_keys(call *c, bool markdown)
{
    if (markdown)
        recipe_print_page(stdout);
    else
        recipe_print_keys(stdout);
    c->prints_text = true;
    return OK;
}

static int run_verb(call *c, error *err)
{
    training_options o = { .every = 10 };
    bool keys = false, markdown = false;
    const flag flags[] = { { .name = "--resume", .text = &o.resume },
                           { .name = "--run-dir", .text = &o.dir },
                           { .name = "--take-changes", .present = &o.take_changes },
                           { .name = "--without-episodes", .present = &o.without_episodes },
                           { .name = "--every", .whole = &o.every, .min = 1, .max = 1e9 },
                           { .name = "--fresh", .present = &o.fresh },
                           { .name = "--keys", .present = &keys },
                           { .name = "--markdown", .present = &markdown },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    if (keys) return print_keys(c, markdown); /* needs no recipe */

    const char *wrong = markdown ? "--markdown goes with --keys" : contradiction(&o, &c->arguments);
    if (wrong) return call_wrong(c, err, "%s", wrong);
    if (!o.resume && c->arguments.n_positional == 0) return call_wrong(c, err, "expected RECIPE.lua, or --resume RUN");

    o.recipe = c->arguments.positional[0];
    o.overrides = c->arguments.overrides;
    o.n_overrides = c->arguments.n_overrides;
    return run_training(&o, err);
}

const verb VERB_TRAIN = { .name = "train",
                          .synopsis = "RECIPE.lua [key=value ...]",
                          .help = "train on this machine: learner, actors, reward workers",
                          .usage = USAGE,
                          .words = "RECIPE.lua",
                          .max_words = 1,
                          .keys = true,
                          .reports = true,
                          .run = run_verb };
