/* SPDX-License-Identifier: MIT */
/* troupe plan: what the processes of a run would take of memory, and whether it is there. */
#include <stdio.h>

#include "cli/verbs.h"
#include "run/memory_plan.h"

static const char USAGE[] =
    "usage: troupe plan RECIPE.lua [key=value ...]\n\n"
    "Prints a memory map of the run: a process a column, and what each part takes at most (passes of\n"
    "learner.micro_tokens, every episode as long as rollout.max_context). Status 1, with the key to turn, when this\n"
    "machine has no room for it now; 'troupe train' then refuses to start, too. Nothing is started or written.\n\n"
    "example: troupe plan recipes/calculator/recipe.lua learner.micro_tokens=4096\n";

static int run_verb(call *c, error *err)
{
    memory_plan plan;
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;

    const arguments *a = &c->arguments;
    recipe *r = recipe_open(a->positional[0], a->overrides, a->n_overrides, err);
    int rc = r ? memory_plan_open(r, &plan, err) : err->code;
    if (rc == OK) {
        const memory_room room = memory_machine_now("");

        memory_plan_print(&plan, &room, stdout); /* before it is judged: who is refused needs to see what is large */
        rc = memory_plan_check(&plan, &room, err);
    }
    recipe_free(r);
    return rc;
}

const verb VERB_PLAN = { .name = "plan",
                         .synopsis = "RECIPE.lua [key=value ...]",
                         .help = "the memory that a run would take, by process and part",
                         .usage = USAGE,
                         .words = "RECIPE.lua",
                         .min_words = 1,
                         .max_words = 1,
                         .keys = true,
                         .run = run_verb };
