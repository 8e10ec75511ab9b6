/* SPDX-License-Identifier: MIT */
/* tool-host RECIPE NAME [key=value ...] SOCKET: the process in which the calls of a recipe's own tool run. Only
 * env/tools/lua starts it, and reads through the socket what goes wrong: nothing is printed. */
#include <limits.h>

#include "cli/verbs.h"
#include "recipe/tool_host.h"

static int run_verb(call *c, error *err)
{
    int64_t sock = -1;
    if (c->argc < 4 || value_whole("socket", c->argv[c->argc - 1], 0, INT_MAX, &sock, err) != OK)
        return call_wrong(c, err, "a run starts it for the tools of its recipe");

    const tool_host host = { .recipe = c->argv[1],
                             .tool = c->argv[2],
                             .words = (const char *const *)c->argv + 3,
                             .n_words = c->argc - 4,
                             .sock = (int)sock };
    if (tool_host_serve(&host, err) == OK) return OK;
    c->status = 1;
    return CALL_OVER;
}

const verb VERB_TOOL_HOST = { .name = "tool-host", .reports = true, .run = run_verb };
