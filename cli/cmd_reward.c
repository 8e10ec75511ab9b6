/* SPDX-License-Identifier: MIT */
/* troupe reward: scores episodes for the exchange of a learner, until it says goodbye. And the process that its script
 * lives in, which can be killed. */
#include <limits.h>
#include <stdio.h>

#include "cli/role.h"
#include "cli/verbs.h"
#include "reward/worker.h"

enum { REQUESTS_HELD = 4 };

static int usage(FILE *to)
{
    fputs("usage: troupe reward RECIPE.lua --connect ADDRESS [--name NAME] [--wait S] [key=value ...]\n\n"
          "  --connect ADDRESS  where the learner listens: ipc:///path or tcp://127.0.0.1:PORT\n"
          "  --name NAME        in logs and metrics (default reward)\n"
          "  --wait S           give up when no learner has answered for so many seconds (default 60)\n\n"
          "'troupe train' starts all roles on one machine; this is one of them by hand.\n"
          "example: troupe reward recipe.lua --connect tcp://127.0.0.1:5555\n",
          to);
    return to == stdout ? 0 : 2;
}

int cmd_reward(int argc, char **argv)
{
    const char *address, *name;
    role r;
    error err = { 0 };
    const int status = role_open_worker(&r, argc, argv, &address, &name, usage);
    if (status != 0 || r.helped) return status;
    const scorer_config sc = recipe_scorer(r.recipe);
    scorer *s = scorer_new(&sc, &err);
    int rc = s ? OK : err.code;
    if (rc == OK) {
        const worker_config config = {
            .address = address, .name = name, .scorer = s, .slots = REQUESTS_HELD, .patience_ms = r.wait_s * 1000
        };
        rc = worker_run(r.loop, &config, r.log, &err);
    }
    scorer_free(s);
    return role_close(&r, rc, &err);
}

/* reward-host SCRIPT FD CPU_MS MEMORY_MB INSTRUCTIONS: only reward/scorer starts it. */
int cmd_reward_host(int argc, char **argv)
{
    static const char *const WHAT[] = { "descriptor", "cpu_ms", "memory_mb", "instructions" };
    int64_t numbers[4];
    error err = { 0 };
    int rc = argc == 6 ? OK : error_set(&err, ERR_ARGUMENT, "'troupe reward' and 'troupe score' start it");
    for (int i = 0; i < 4 && rc == OK; i++)
        rc = value_whole(WHAT[i], argv[2 + i], 0, i ? INT64_MAX : INT_MAX, &numbers[i], &err);
    if (rc != OK) return fprintf(stderr, "troupe: reward-host: %s\n", err.text), 2;
    const scorer_config config = {
        .script = argv[1], .cpu_ms = numbers[1], .memory_mb = numbers[2], .instructions = numbers[3]
    };
    return reward_host_main(&config, (int)numbers[0]);
}
