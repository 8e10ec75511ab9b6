/* SPDX-License-Identifier: MIT */
/* The keys of what trains beside the policy loss: given tokens, AMFT, MOA, ERA. */
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
    { "algorithm.carry", OPTION_BOOL, AT(carry), 0, 0, "false",
      .help = "what succeeds with worked examples is imitated under the prompt with the fewest of its group",
      .more = "For groups whose samples are shown different numbers of shots (`prompt.shots`): carries a skill from "
              "the shown prompt to the unshown one, as `algorithm.given` says (context distillation, arXiv "
              "2209.15189). Metric `training/episodes_carried`." },
    { "algorithm.anchor", OPTION_NUMBER, AT(loss.anchor), 0, 1e6, "0.05",
      .help = "of given = \"asft\": weight of the KL from the base model to the policy, over the whole vocabulary",
      .more = "Keeps imitation from drifting far from the base model. Costs a forward pass of the reference over "
              "given tokens. 0 is dft." },
    { "algorithm.mixture", OPTION_NUMBER, AT(mixture.start), 0, 0.95, "0",
      .help = "AMFT: share of imitation in the loss at first; 0: off, reward and imitation count in full",
      .more = "The loss is (1 - mu) of the reward's and mu of imitation's; mu starts here and is then learned by "
              "its effect on rollouts that the step has not seen (AMFT, arXiv 2508.06944). Needs `algorithm.given` "
              "\"sft\" or \"dft\". Metrics `actor/mixture`, `actor/mixture_slope`." },
    { "algorithm.mixture_rate", OPTION_NUMBER, AT(mixture.rate), 0, 1, "0.1",
      .help = "AMFT: step of learning mu; 0: mu stays where it started",
      .more = "A measurement moves mu by at most this much (more where entropy acts). Smaller is steadier, for "
              "small groups whose measurements are noisy." },
    { "algorithm.mixture_every", OPTION_WHOLE, AT(mixture.every), 1, 1e6, "20",
      .help = "AMFT: steps between two measurements of mu",
      .more = "A step that measures keeps four gradients apart and takes more time and memory than the others." },
    { "algorithm.mixture_warmup", OPTION_WHOLE, AT(mixture.warmup), 0, 1e6, "0",
      .help = "AMFT: first steps, of imitation alone",
      .more = "For a base model that can't solve anything yet: it begins with plain fine-tuning on demonstrations." },
    { "algorithm.mixture_entropy", OPTION_NUMBER, AT(mixture.entropy), 0, 100, "0",
      .help = "AMFT: nats a token that the policy's entropy should have; 0: entropy has no effect",
      .more = "Below it imitation gains, above it the reward does: holds off a collapse of entropy. Take the value "
              "of `actor/entropy` in a run that still explores." },
    { "algorithm.oldest_token", OPTION_WHOLE, AT(oldest_token), 0, 1e6, "0",
      .help = "versions behind after which a token is not trained on; 0: any age",
      .more = "For partial rollouts (Kimi k1.5): with `rollout.max_staleness` a long episode is sampled by several "
              "versions. Older tokens are context, and have no gradient." },
    { "algorithm.pivot_steps", OPTION_WHOLE, AT(moa.window), 0, MOA_WINDOW, "0",
      .help = "MOA: steps of the trend that an objective has to beat to weigh more; 0: off, else 2 or more",
      .more = "Objectives weigh softmax(pivot_beta u), u being how far a step's mean reward is above a line through "
              "the last so many (MOA, arXiv 2512.09756). 8 is a good start. Not together with `reward.preference`." },
    { "algorithm.pivot_beta", OPTION_NUMBER, AT(moa.beta), 0, 1000, "10",
      .help = "MOA: sharpness of the softmax over objectives",
      .more = "0 weighs all alike; large values give all weight to the objective that beats its trend most." },
    { "algorithm.eliminate", OPTION_BOOL, AT(moa.eliminate), 0, 0, "false",
      .help = "MOA: leaves out episodes that the leading objective and the weighted sum order differently",
      .more = "As few as can be, group by group; they are in no mean and not trained on. Metric `reward/eliminated`." },
    { "algorithm.era_k", OPTION_NUMBER, AT(era.k), 0, 100, "0",
      .help = "ERA: factor on the logits of good answers that are too sure, its inverse on those too unsure; 0: off",
      .more = "Entropy-regularising activation (arXiv 2510.08549; the authors use 2): a policy that is sure already "
              "learns less from being right. Sampling is not touched." },
    { "algorithm.era_low", OPTION_NUMBER, AT(era.low), 0, 100, "0.45",
      .help = "ERA: nats below which an answer is too sure",
      .more = "Mean entropy of the most uncertain fifth of its tokens." },
    { "algorithm.era_high", OPTION_NUMBER, AT(era.high), 0, 100, "3",
      .help = "ERA: nats above which an answer is too unsure",
      .more = "The same mean; between the two bounds nothing is changed." },
    { 0 },
};

static int check(void *config, option_reading *r)
{
    const trainer_config *c = config;

    if (c->mixture.start > 0 && c->loss.imitation != IMITATION_SFT && c->loss.imitation != IMITATION_DFT)
        return option_expected(r, "algorithm.mixture", "given = \"sft\" or \"dft\": a mixture of reward and imitation");
    if (c->carry && c->loss.imitation == IMITATION_NONE)
        return option_expected(r, "algorithm.carry",
                               "algorithm.given beside it, which says how carried tokens are trained");
    if (c->moa.window > 0 && c->preference[0])
        return option_expected(r, "algorithm.pivot_steps", "0 with reward.preference: each would set the weights");
    if (c->moa.window == 1)
        return option_expected(r, "algorithm.pivot_steps", "0, or two steps or more: a line goes through two points");
    return OK;
}

const option_table METHOD_OPTIONS = {
    .title = "Imitation, trends and entropy",
    .about = "Methods beside the policy loss, each off by default.",
    .rows = ROWS,
    .check = check,
};
