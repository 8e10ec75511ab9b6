/* SPDX-License-Identifier: MIT */
/* enclosed alone|network COMMAND [ARGUMENT ...]: the process in whose sandbox a program of T.env or T.mcp runs. */
#include <string.h>

#include "cli/verbs.h"
#include "env/sandbox/enclose.h"

enum { SCRATCH_MB = 1024 };

static int run_verb(call *c, error *err)
{
    const bool network = c->argc > 2 && strcmp(c->argv[1], "network") == 0;
    if (c->argc < 3 || (!network && strcmp(c->argv[1], "alone") != 0))
        return call_wrong(c, err, "a run starts it for a program with sandbox = true");
    const enclose_config config = { .network = network, .scratch_mb = SCRATCH_MB };
    const int rc = enclose_run(&config, c->argv + 2, &c->status, err);
    return rc == OK ? CALL_OVER : rc;
}

const verb VERB_ENCLOSED = { .name = "enclosed", .reports = true, .run = run_verb };
