/* SPDX-License-Identifier: MIT */
/* troupe score: a reward script on episodes that are already there (run/scoring). */
#include "cli/verbs.h"
#include "run/scoring.h"

static const char USAGE[] =
    "usage: troupe score REWARD.lua FILE.jsonl [--dialect NAME] [--timeout MS] [--json]\n"
    "       troupe score REWARD.lua RUN/rollouts.db [--timeout MS] [--json]\n\n"
    "  --dialect NAME  how the answer stands in a response: xml (default), qwen, or a dialect file\n"
    "  --json          a line of JSON an episode\n"
    "  --timeout MS    CPU time of one call (default 1000)\n\n"
    "A line of FILE.jsonl is a data row with the model's \"response\": {\"prompt\": ..., \"answer\": ..., "
    "\"response\": ...}\n"
    "example: troupe score recipes/calculator/reward.lua runs/calculator/rollouts.db\n";

static void tell(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "troupe: score: %s\n", sentence);
}

static int run_verb(call *c, error *err)
{
    scoring_request r = { .dialect = "xml", .timeout_ms = 1000, .tell = tell };
    const flag flags[] = { { .name = "--dialect", .text = &r.dialect },
                           { .name = "--timeout", .whole = &r.timeout_ms, .min = 1, .max = 600000 },
                           { .name = "--json", .present = &r.json },
                           { 0 } };
    const int rc = call_open(c, flags, err);
    if (rc != OK) return rc;

    r.script = c->arguments.positional[0];
    r.file = c->arguments.positional[1];
    return scoring_run(stdout, &r, err);
}

const verb VERB_SCORE = { .name = "score",
                          .synopsis = "REWARD.lua FILE.jsonl|rollouts.db",
                          .help = "run a reward script offline",
                          .usage = USAGE,
                          .words = "REWARD.lua FILE",
                          .min_words = 2,
                          .max_words = 2,
                          .run = run_verb };
