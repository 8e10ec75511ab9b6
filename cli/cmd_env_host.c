/* SPDX-License-Identifier: MIT */
/* env-host FILE: the process in which an environment's file is played. Only T.env starts it, and reads from its stdout
 * what goes wrong. */
#include "cli/verbs.h"
#include "env/plugin/plugin.h"

static int run_verb(call *c, error *err)
{
    if (c->argc != 2) return call_wrong(c, err, "a run starts it for the recipe's env.plugin");
    return plugin_serve(c->argv[1], err);
}

const verb VERB_ENV_HOST = { .name = "env-host", .reports = true, .run = run_verb };
