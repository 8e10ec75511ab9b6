/* SPDX-License-Identifier: MIT */
/* troupe learner: the exchange and the training of one run. */
#include "cli/verbs.h"
#include "run/session.h"

static const char USAGE[] =
    "usage: troupe learner RECIPE.lua --run DIR --bind ADDRESS [--resume] [key=value ...]\n\n"
    "  --run DIR       where checkpoints, rollouts.db and metrics.jsonl go\n"
    "  --bind ADDRESS  where actors and reward workers connect: ipc:///path or tcp://127.0.0.1:PORT\n"
    "  --resume        continue from the newest checkpoint in DIR\n"
    "  --rank R --of N --meet DIR\n"
    "                  one of N learners of this machine, which meet in DIR; the first (0) is who others connect "
    "to\n"
    "  --mpi           the same by MPI: mpirun -n 4 troupe learner ... --mpi; all see the same files\n\n"
    "'troupe train' starts all roles on one machine; this is one of them by hand.\n"
    "example: troupe learner recipe.lua --run runs/a --bind tcp://127.0.0.1:5555\n";

static int run_verb(call *c, error *err)
{
    session_options o = { .rank = -1, .of = -1 };
    int64_t report = -1; /* 'troupe train' reads the run's progress from it: for programs, so not in the usage */
    const flag flags[] = { { .name = "--run", .text = &o.run },
                           { .name = "--bind", .text = &o.address },
                           { .name = "--report-fd", .whole = &report, .min = 0, .max = 1 << 20 },
                           { .name = "--resume", .present = &o.resume },
                           { .name = "--mpi", .present = &o.mpi },
                           { .name = "--rank", .whole = &o.rank, .min = 0, .max = 4095 },
                           { .name = "--of", .whole = &o.of, .min = 1, .max = 4096 },
                           { .name = "--meet", .text = &o.meet },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    o.report_fd = (int)report;
    const role_options as = { .verb = c->verb->name,
                              .recipe = c->arguments.positional[0],
                              .overrides = c->arguments.overrides,
                              .n_overrides = c->arguments.n_overrides };
    return call_checked(c, run_learner(&as, &o, err));
}

const verb VERB_LEARNER = { .name = "learner",
                            .synopsis = "RECIPE.lua --run DIR",
                            .help = "one role, for fleets",
                            .usage = USAGE,
                            .words = "RECIPE.lua",
                            .min_words = 1,
                            .max_words = 1,
                            .keys = true,
                            .reports = true,
                            .run = run_verb };
