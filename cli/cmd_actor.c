/* SPDX-License-Identifier: MIT */
/* troupe actor: plays episodes for the exchange of a learner, until it says goodbye. */
#include <stdio.h>

#include "actor/actor.h"
#include "cli/check_data.h"
#include "cli/player.h"
#include "cli/role.h"
#include "cli/verbs.h"

static const char USAGE[] =
    "usage: troupe actor --connect ADDRESS [RECIPE.lua] [--name NAME] [--wait S] [key=value ...]\n\n"
    "  --connect ADDRESS  where the learner listens: ipc:///path or tcp://127.0.0.1:PORT\n"
    "  --name NAME        in logs and metrics, each its own (default actor-XXXXXX)\n"
    "  --wait S           give up when no learner has answered for so many seconds (default 60)\n\n"
    "The learner sends the recipe, and the files that an actor needs of it. With RECIPE.lua those of this machine are\n"
    "used, and have to be the same. 'troupe train' starts all roles on one machine; this is one of them by hand.\n"
    "example: troupe actor --connect tcp://127.0.0.1:5555 actor_threads=4\n";

/* What one actor of the fleet needs to hold so that a step is played in one go. */
static int slots_of(const recipe *r)
{
    if (r->run.actor_slots > 0) return (int)r->run.actor_slots;
    return (int)((r->exchange.group * r->exchange.prompts_per_step + r->run.actors - 1) / r->run.actors);
}

static int run_verb(call *c, error *err)
{
    const char *address, *name;
    role r;
    const int opened = role_open_worker(&r, c, PACK_FOR_ACTOR, &address, &name, err);
    if (opened != OK) return opened;

    const int slots = slots_of(r.recipe);
    episode_runner *p = NULL;
    if (check_data(r.recipe, NEEDS_MODEL | NEEDS_WORDS, err) == OK)
        p = episode_runner_new_shapes(r.recipe, (int)r.recipe->run.actor_threads, slots, r.log, err);
    int rc = p ? OK : err->code;
    if (rc == OK) {
        const actor_config config = { .address = address,
                                      .name = name,
                                      .slots = slots,
                                      .rollouts = p->rollouts,
                                      .engine = p->engine,
                                      .device = p->device,
                                      .shapes = p->model->table,
                                      .recipe = &r.files,
                                      .patience_ms = r.wait_s * 1000 };
        rc = actor_run(r.loop, &config, r.log, err);
    }
    episode_runner_free(p);
    return role_close(&r, rc, err);
}

const verb VERB_ACTOR = { .name = "actor",
                          .synopsis = "--connect ADDRESS",
                          .help = "one role, for fleets",
                          .usage = USAGE,
                          .words = "RECIPE.lua",
                          .max_words = 1,
                          .keys = true,
                          .reports = true,
                          .run = run_verb };
