/* SPDX-License-Identifier: MIT */
/* troupe actor: plays episodes for the exchange of a learner, until it says goodbye. */
#include "cli/worker_call.h"
#include "run/workers.h"

static const char USAGE[] =
    "usage: troupe actor --connect ADDRESS [RECIPE.lua] [--name NAME] [--wait S] [key=value ...]\n\n"
    "  --connect ADDRESS  where the learner listens: ipc:///path or tcp://127.0.0.1:PORT\n"
    "  --name NAME        in logs and metrics, each its own (default actor-XXXXXX)\n"
    "  --wait S           give up when no learner has answered for so many seconds (default 60)\n\n"
    "The learner sends the recipe, and the files that an actor needs of it. With RECIPE.lua those of this machine are\n"
    "used, and have to be the same. 'troupe train' starts all roles on one machine; this is one of them by hand.\n"
    "example: troupe actor --connect tcp://127.0.0.1:5555 actor_threads=4\n";

static int run_verb(call *c, error *err) { return worker_call(c, run_actor, err); }

const verb VERB_ACTOR = { .name = "actor",
                          .synopsis = "--connect ADDRESS",
                          .help = "one role, for fleets",
                          .usage = USAGE,
                          .words = "RECIPE.lua",
                          .max_words = 1,
                          .keys = true,
                          .reports = true,
                          .run = run_verb };
