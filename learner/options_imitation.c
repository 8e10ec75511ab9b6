/* SPDX-License-Identifier: MIT */
/* The keys of what else is trained on than what the policy sampled, and of what is not. The methods that go with them
 * have their keys in their own files (learner/methods/). */
#include "learner/trainer_config.h"

static const word_row IMITATIONS[] = { LOSS_IMITATIONS(WORDS_ROW){ 0 } };

#define AT(member) OPTION_AT(trainer_config, member)

static const option ROWS[] = {
    { "algorithm.given", OPTION_WORD, AT(loss.imitation), 0, 0, "not", .words = IMITATIONS,
      .help = "what trains the given tokens, those of hints and demonstrations",
      .more = "Imitation beside reinforcement, for `rollout.hinted` and `rollout.demonstrations`. Given tokens of "
              "an episode with a negative advantage are never trained on (ADHint, arXiv 2512.13095)." },
    { "algorithm.given_weight", OPTION_NUMBER, AT(loss.imitation_weight), 0, 1e6, "1",
      .help = "weight of the given tokens' loss",
      .more = "Beside the policy loss of weight 1. Lower it when imitation drowns the reward; `algorithm.mixture` "
              "learns the balance instead." },
    { "algorithm.oldest_token", OPTION_WHOLE, AT(oldest_token), 0, 1e6, "0",
      .help = "policy versions of staleness after which a token is not trained on; 0: any age",
      .more = "For partial rollouts (Kimi k1.5): with `rollout.max_staleness` a long episode is sampled by several "
              "versions. Older tokens are context, and have no gradient." },
    { 0 },
};

const option_table IMITATION_OPTIONS = {
    .title = "Imitation, trends and entropy",
    .about = "Methods beside the policy loss, each off by default.",
    .rows = ROWS,
};
