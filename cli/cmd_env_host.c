/* SPDX-License-Identifier: MIT */
/* env-host FILE SANDBOX MEMORY_MB: the process in which an environment's file is played. Only T.env starts it, and
 * reads from its stdout what goes wrong. */
#include <stdlib.h>

#include "cli/verbs.h"
#include "env/plugin/plugin.h"

static int run_verb(call *c, error *err)
{
    const word_row *sandbox = c->argc == 4 ? words_named(PLUGIN_SANDBOX_WORDS, c->argv[2]) : NULL;
    if (!sandbox) return call_wrong(c, err, "a run starts it for the recipe's env.plugin");
    const plugin_limits limits = { (plugin_sandbox)sandbox->value, atoi(c->argv[3]) };
    return plugin_serve(c->argv[1], &limits, err);
}

const verb VERB_ENV_HOST = { .name = "env-host", .reports = true, .run = run_verb };
