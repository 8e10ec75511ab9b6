/* SPDX-License-Identifier: MIT */
/* troupe loss: logprobs and advantages in, the loss of an algorithm and its gradient out (learner/by_hand). */
#include "cli/numbers_call.h"

static const char USAGE[] =
    "usage: troupe loss [name=ALGORITHM] [loss=... aggregation=... clip=LOW,HIGH correction=... kl=... ...]\n\n"
    "Reads batches of episodes from standard input, one JSON object a line, and prints loss and d loss / d logprob:\n"
    "  "
    "{\"episodes\":[{\"advantage\":1,\"logprob\":[-1,-2],\"behaviour\":[-1.1,-2],\"old\":[-1,-2],\"reference\":[-1,-3],"
    "\n"
    "                \"success_rate\":0.5}]}  behaviour, old and reference are logprob where they are left out\n"
    "  -> {\"gradient\":[[...]],\"loss\":x}\n\n"
    "behaviour: as sampled; old: of the policy at the step's start; reference: of a KL's. Settings are the "
    "algorithm.*\n"
    "keys of a recipe, without their section (docs/keys.md); the formulas are in learner/loss.h.\n\n"
    "example: echo '{\"episodes\":[{\"advantage\":1,\"logprob\":[-1,-2]}]}' | troupe loss name=gspo\n";

static int run_verb(call *c, error *err) { return numbers_run(c, by_hand_loss, err); }

const verb VERB_LOSS = { .name = "loss",
                         .synopsis = "[name=ALGORITHM ...]",
                         .help = "logprobs to a policy loss and its gradient, by any algorithm",
                         .usage = USAGE,
                         .words = "settings (the episodes come from standard input)",
                         .keys = true,
                         .run = run_verb };
