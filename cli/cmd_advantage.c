/* SPDX-License-Identifier: MIT */
/* troupe advantage: rewards in, the advantages of an algorithm out (learner/by_hand). */
#include "cli/numbers_call.h"

static const char USAGE[] =
    "usage: troupe advantage [name=ALGORITHM] [mean=... std=... filter_groups=...]\n\n"
    "Reads groups of rewards from standard input, one JSON object a line, and prints each one's advantages:\n"
    "  {\"groups\":[[1,0,0.5],[1,1]],\"lengths\":[[12,30,7],[9,9]]}  a reward a sample; null: missing; lengths: "
    "tokens\n"
    "  {\"groups\":[[{\"right\":1,\"brief\":0.2},{\"right\":0}]],\"weights\":{\"right\":1,\"brief\":0.5}}\n"
    "  -> {\"advantages\":[[...]],\"by_objective\":{\"right\":[[...]]}}\n\n"
    "Settings are the algorithm.* keys of a recipe, without their section (docs/keys.md).\n\n"
    "example: echo '{\"groups\":[[1,0,0,1]]}' | troupe advantage name=dr_grpo\n";

static int run_verb(call *c, error *err) { return numbers_run(c, by_hand_advantage, err); }

const verb VERB_ADVANTAGE = { .name = "advantage",
                              .synopsis = "[name=ALGORITHM ...]",
                              .help = "rewards to advantages, by any algorithm",
                              .usage = USAGE,
                              .words = "settings (the rewards come from standard input)",
                              .keys = true,
                              .run = run_verb };
