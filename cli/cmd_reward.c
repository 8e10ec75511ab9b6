/* SPDX-License-Identifier: MIT */
/* troupe reward: scores episodes for the exchange of a learner, until it says goodbye. And the process that its script
 * lives in, which can be killed. */
#include <limits.h>

#include "cli/worker_call.h"
#include "reward/scorer.h"
#include "run/workers.h"

static const char USAGE[] =
    "usage: troupe reward --connect ADDRESS [RECIPE.lua] [--name NAME] [--wait S] [key=value ...]\n\n"
    "  --connect ADDRESS  where the learner listens: ipc:///path or tcp://127.0.0.1:PORT\n"
    "  --name NAME        in logs and metrics, each its own (default reward-XXXXXX)\n"
    "  --wait S           give up when no learner has answered for so many seconds (default 60)\n\n"
    "The learner sends the recipe and the reward script. With RECIPE.lua those of this machine are used, and have to "
    "be\n"
    "the same. 'troupe train' starts all roles on one machine; this is one of them by hand.\n"
    "example: troupe reward --connect tcp://127.0.0.1:5555\n";

static int run_verb(call *c, error *err) { return worker_call(c, run_reward_worker, err); }

const verb VERB_REWARD = { .name = "reward",
                           .synopsis = "--connect ADDRESS",
                           .help = "one role, for fleets",
                           .usage = USAGE,
                           .words = "RECIPE.lua",
                           .max_words = 1,
                           .keys = true,
                           .reports = true,
                           .run = run_verb };

/* reward-host SCRIPT FD LINES_FD CPU_MS MEMORY_MB INSTRUCTIONS PRINT_BYTES: only reward/scorer starts it. */
static int run_host(call *c, error *err)
{
    static const char *const WHAT[] = { "descriptor", "lines' descriptor", "cpu_ms",
                                        "memory_mb",  "instructions",      "print_bytes" };
    int64_t numbers[6];
    int rc = c->argc == 8 ? OK : call_wrong(c, err, "'troupe reward' and 'troupe score' start it");
    for (int i = 0; i < 6 && rc == OK; i++) /* the first two are descriptors, ints of the kernel's */
        rc = value_whole(WHAT[i], c->argv[2 + i], 0, i > 1 ? INT64_MAX : INT_MAX, &numbers[i], err);
    if (rc != OK) return call_checked(c, rc);

    const scorer_config config = { .script = c->argv[1],
                                   .cpu_ms = numbers[2],
                                   .memory_mb = numbers[3],
                                   .instructions = numbers[4],
                                   .print_bytes = numbers[5] };
    c->status = reward_host_main(&config, (int)numbers[0], (int)numbers[1]);
    return OK;
}

const verb VERB_REWARD_HOST = { .name = "reward-host", .reports = true, .run = run_host };
