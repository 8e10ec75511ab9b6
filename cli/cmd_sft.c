/* SPDX-License-Identifier: MIT */
/* troupe sft: supervised fine-tuning on rows. */
#include <stdio.h>

#include "cli/verbs.h"
#include "run/tuning.h"

static const char USAGE[] = "usage: troupe sft RECIPE.lua [key=value ...] [--run-dir DIR] [--fresh] [--every N]\n"
                            "       troupe sft --resume RUN [key=value ...] [--take-changes]\n\n"
                            "Rows of data.train: {\"prompt\", \"answer\", \"steps\"}, {\"prompt\", \"completion\"}, "
                            "{\"messages\"} or {\"text\"}\n"
                            "(docs/sft.md). Rows of data.test, where there are some, are foretold before and after.\n\n"
                            "  --run-dir DIR  where the run lives (default: runs/NAME-sft)\n"
                            "  --fresh        start over when the run exists\n"
                            "  --resume RUN   continue from the last checkpoint as if nothing had happened\n"
                            "  --take-changes with --resume: take recipe and data anew from where they came from\n"
                            "  --every N      print each N-th step (default 10)\n\n"
                            "example: troupe sft recipes/calculator/sft.lua steps=50 optim.lr=1e-4\n";

static int run_verb(call *c, error *err)
{
    tuning_options o = { .every = 10 };
    const flag flags[] = { { .name = "--resume", .text = &o.resume },
                           { .name = "--run-dir", .text = &o.dir },
                           { .name = "--fresh", .present = &o.fresh },
                           { .name = "--take-changes", .present = &o.take_changes },
                           { .name = "--every", .whole = &o.every, .min = 1, .max = 1e9 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    if (!o.resume && c->arguments.n_positional == 0) return call_wrong(c, err, "expected RECIPE.lua, or --resume RUN");
    if (o.resume && (c->arguments.n_positional > 0 || o.fresh || o.dir))
        return call_wrong(c, err, "--resume continues a run with its own copy: no RECIPE.lua, --fresh or --run-dir");
    if (!o.resume && o.take_changes) return call_wrong(c, err, "--take-changes goes with --resume RUN");

    o.recipe = c->arguments.positional[0];
    o.overrides = c->arguments.overrides;
    o.n_overrides = c->arguments.n_overrides;
    return run_tuning(&o, stdout, err);
}

const verb VERB_SFT = { .name = "sft",
                        .synopsis = "RECIPE.lua [key=value ...]",
                        .help = "supervised fine-tuning on rows: demonstrations, messages, text",
                        .usage = USAGE,
                        .words = "RECIPE.lua",
                        .max_words = 1,
                        .keys = true,
                        .reports = true,
                        .run = run_verb };
