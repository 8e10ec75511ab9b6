/* SPDX-License-Identifier: MIT */
/* The keys of advantages and policy losses, and the names that stand for a paper's choice of them. */
#include "learner/trainer_config.h"

static const word_row MEANS[] = { ADVANTAGE_MEANS(WORDS_ROW){ 0 } };
static const word_row STDS[] = { ADVANTAGE_STDS(WORDS_ROW){ 0 } };
static const word_row CREDITED[] = { CREDIT_TOS(WORDS_ROW){ "stretch", CREDIT_SPAN, NULL }, { 0 } };
static const word_row KINDS[] = { LOSS_KINDS(WORDS_ROW){ 0 } };
static const word_row AGGREGATIONS[] = { LOSS_AGGREGATIONS(WORDS_ROW){ 0 } };
static const word_row CORRECTIONS[] = { LOSS_CORRECTIONS(WORDS_ROW){ 0 } };
static const word_row KLS[] = { LOSS_KLS(WORDS_ROW){ 0 } };

/* What differs from the rows' own defaults, which are GRPO's. */
static const option_preset PRESETS[] = {
    { "grpo", "", "GRPO (2402.03300), with DAPO's clip" },
    { "dapo", "filter_groups=true", "DAPO (2503.14476): groups without signal leave the denominators" },
    { "dr_grpo", "std=none aggregation=constant clip=0.2,0.2", "Dr.GRPO (2503.20783): no division by std or length" },
    { "rloo", "mean=loo std=none clip=0.2,0.2", "RLOO (2402.14740): leave-one-out baseline" },
    { "reinforce++", "mean=batch std=batch clip=0.2,0.2",
      "REINFORCE++ (2501.03262): whitened over the batch's tokens" },
    { "reinforce++_baseline", "std=batch clip=0.2,0.2", "the same with the group's mean as baseline" },
    { "opo", "mean=length std=none clip=0.2,0.2", "OPO (2505.23585): baseline weighed by length" },
    { "gspo", "loss=gspo aggregation=sequence clip=3e-4,4e-4", "GSPO (2507.18071): the ratio of whole episodes" },
    { "cispo", "loss=cispo clip=1.0,0.28", "CISPO, MiniMax-M1 (2506.13585): no token loses its gradient" },
    { "kimi", "std=none loss=kimi aggregation=sequence_sum", "Kimi k1.5 (2501.12599), equation 3" },
    { "raft", "mean=best std=none loss=reinforce", "RAFT (2304.06767): rejection sampling" },
    { "nft", "loss=nft std=none filter_groups=true", "NFT (2505.18116): learns from wrong answers as negatives" },
    { 0 },
};

#define AT(member) OPTION_AT(trainer_config, member)
_Static_assert(offsetof(loss_config, clip_high) == offsetof(loss_config, clip_low) + sizeof(double), "a pair");

static const option ROWS[] = {
    { "algorithm.name", OPTION_PRESETS, 0, 0, 0, 0, "grpo", .presets = PRESETS,
      .help = "the paper whose choices are the other keys' defaults",
      .more = "A name sets `mean`, `std`, `loss`, `aggregation`, `clip` and `filter_groups` as its paper has them; "
              "each of these keys still wins when it is set. [algorithms.md](algorithms.md) compares them.",
      .elsewhere = "adv_estimator advantage_estimator" },
    { "algorithm.mean", OPTION_WORD, AT(advantage.mean), 0, 0, "group", .words = MEANS,
      .help = "baseline that is taken off a reward",
      .more = "The baseline decides which answers count as good: an episode's advantage is its reward minus this, "
              "divided by `algorithm.std`. `best` turns the group into rejection sampling." },
    { "algorithm.std", OPTION_WORD, AT(advantage.std), 0, 0, "group", .words = STDS,
      .help = "divisor of a reward that is above or below its baseline",
      .more = "`group` brings every group to one scale, so hard and easy prompts pull alike; `none` keeps the "
              "rewards' own scale (Dr.GRPO), which preferences and rewards in fixed units need.",
      .elsewhere = "scale_rewards" },
    { "algorithm.loss", OPTION_WORD, AT(loss.kind), 0, 0, "ppo", .words = KINDS, .help = "the policy loss",
      .more = "How a token's advantage becomes a gradient. All but `kimi` weigh by r, the ratio of the policy that "
              "is trained to the one at the step's start; with `algorithm.epochs = 1` and fresh episodes r is 1 and "
              "ppo, cispo and reinforce have the same gradient. Formulas: `learner/loss.h`.",
      .elsewhere = "loss_type" },
    { "algorithm.clip", OPTION_PAIR, AT(loss.clip_low), 0, 1e6, "0.2,0.28",
      .help = "{ low, high }: the ratio is clipped to 1 - low and 1 + high",
      .more = "A token whose ratio has left this range, in the direction its advantage pushes, has no gradient. A "
              "larger `high` lets rare tokens grow (DAPO's clip-higher, 2503.14476). gspo's ratios are of whole "
              "episodes: its range is a thousand times narrower. Not used by kimi, reinforce and nft.",
      .elsewhere = "clip_ratio clip_ratio_low clip_ratio_high epsilon epsilon_high eps_clip" },
    { "algorithm.dual_clip", OPTION_NUMBER, AT(loss.dual_clip), 0, 1e6, "0",
      .help = "largest ratio that a token with a negative advantage counts with; 0: no bound",
      .more = "PPO bounds the ratio of a bad token only from below: one that has become much more likely since it "
              "was sampled can outweigh the batch. Dual clip (Ye et al., arXiv 1912.09729) bounds its loss; 3 is "
              "usual. Turn it on when `actor/ratio/max` shows spikes. For ppo and gspo." },
    { "algorithm.ratio_cap", OPTION_NUMBER, AT(loss.ratio_cap), 0, 1e6, "2",
      .help = "largest ratio that weighs a token of the reinforce loss",
      .more = "The reinforce loss weighs log-likelihood by min(r, ratio_cap). Smaller values hold back tokens that "
              "have become likelier since they were sampled; only matters with several epochs or stale episodes." },
    { "algorithm.tau", OPTION_NUMBER, AT(loss.tau), 0, 1e6, "0.1",
      .help = "of the kimi loss: weight of the episode's squared log-ratio",
      .more = "Kimi k1.5 (2501.12599) has no clip: tau / 2 times the squared log-ratio holds the policy near the "
              "one that the step began with. Larger is slower and steadier." },
    { "algorithm.nft_weight", OPTION_WHOLE, AT(loss.nft_weight), 0, 2, "1",
      .help = "of the nft loss: what a prompt counts by its share q of right answers; 0: 1, 1: 1 - q, 2: sqrt((1 - "
              "q) / q)",
      .more = "NFT (2505.18116) learns more from prompts that mostly fail. 0 counts all alike, 1 and 2 put weight "
              "on hard ones, 2 most of all; 2 gives the weighting that GRPO's division by the standard deviation "
              "has." },
    { "algorithm.aggregation", OPTION_WORD, AT(loss.aggregation), 0, 0, "token", .words = AGGREGATIONS,
      .help = "what the loss is a mean over",
      .more = "`token` gives long answers more weight, `sequence` all answers the same (GRPO as published: then a "
              "token of a long answer counts less); `constant` does neither (Dr.GRPO).",
      .elsewhere = "loss_agg_mode" },
    { "algorithm.kl", OPTION_NUMBER, AT(loss.kl), 0, 100, "0.0",
      .help = "coefficient of a KL term in the loss, to the base model or `algorithm.reference_every`; 0: none",
      .more = "Holds every trained token near the reference, whatever its reward. Costs a copy of the model and one "
              "more forward pass. 0.001 to 0.05 are usual; 0 is common where the reward can be verified.",
      .elsewhere = "beta kl_coef kl_loss_coef init_kl_coef use_kl_loss" },
    { "algorithm.kl_kind", OPTION_WORD, AT(loss.kl_kind), 0, 0, "k3", .words = KLS,
      .help = "estimator of the KL in the loss",
      .more = "Of one sampled token, after Schulman's note. Only `k2` and `k3+` have the gradient of the KL itself. "
              "k3 is at most 10, as verl has it: a token far below the reference is no longer pulled by it.",
      .elsewhere = "kl_loss_type kl_penalty" },
    { "algorithm.correction", OPTION_WORD, AT(loss.correction), 0, 0, "token_tis", .words = CORRECTIONS,
      .help = "how stale tokens are weighed: pi_old is the policy at the step's start, mu the one that sampled",
      .more = "Matters with `rollout.max_staleness` or `rollout.lag` above 0, or a `rollout.top_p` below 1. The "
              "sequence-wise ones are unbiased for whole episodes and noisier; where tokens are many versions old "
              "and steps are large, `none` held best in our experiments ([experiments.md](experiments.md))." },
    { "algorithm.tis_cap", OPTION_NUMBER, AT(loss.tis_cap), 0, 1e6, "2",
      .help = "largest weight of a stale token or, with sequence_tis, episode",
      .more = "Truncated importance sampling: a smaller cap has less variance and more bias." },
    { "algorithm.floor", OPTION_NUMBER, AT(loss.floor), 0, 1, "0.5",
      .help = "smallest weight that correction = \"mask\" lets through",
      .more = "A token whose weight is below is not trained on; one above `algorithm.tis_cap` neither." },
    { "algorithm.band", OPTION_NUMBER, AT(loss.band), 0, 10, "0.001",
      .help = "of correction = \"geometric\": an episode counts while its mean weight is within 1 / (1 + band) and "
              "1 + band",
      .more = "The mean is geometric, over the episode's tokens. Rejected episodes stay in the denominators." },
    { "algorithm.epochs", OPTION_WHOLE, AT(epochs), 1, 64, "1", .help = "updates on each step's batch",
      .more = "The second and later updates use the same episodes with ratios to the policy at the step's start. "
              "More than 1 saves rollouts and risks over-fitting the batch: watch `actor/pg_clipfrac`.",
      .elsewhere = "num_iterations ppo_epochs" },
    { "algorithm.filter_groups", OPTION_BOOL, AT(advantage.drop_dead), 0, 0, "false",
      .help = "whether groups whose rewards are all equal leave the denominators, too",
      .more =
          "Such groups have no gradient in either case. With true the others count for the whole batch (DAPO), "
          "so the step's size does not depend on how many groups have no signal. `algorithm.refills` plays others in "
          "their place." },
    { "algorithm.credit", OPTION_WORD, AT(advantage.credit), 0, 0, "span", .words = CREDITED,
      .help = "which tokens a reward on a span of the answer is for",
      .more = "Only for reward scripts that return lists, `{ { byte, value }, ... }` (docs/algorithms.md, rewards "
              "on spans). `span` is fine-grained reward (2306.01693), `return` GRPO's process supervision "
              "(2402.03300)." },
    { "algorithm.overlong_cushion", OPTION_NUMBER, AT(advantage.length_shaping.overlong_cushion), 0, 1e6, "0",
      .help = "tokens before rollout.max_tokens from which the reward falls, by 1 at the limit; 0: off",
      .more = "DAPO's soft punishment of answers that get too long (2503.14476, equation 13). Acts on the heaviest "
              "objective before it is normalised; metrics show the raw reward." },
    { "algorithm.length_weight", OPTION_NUMBER, AT(advantage.length_shaping.length_weight), 0, 100, "0",
      .help = "weight of Kimi's preference for the shorter of right answers; 0: off",
      .more = "Within a group right answers gain up to half the weight when short and lose as much when long; wrong "
              "ones only lose (Kimi k1.5, 2501.12599)." },
    { "algorithm.length_from", OPTION_WHOLE, AT(advantage.length_shaping.length_from), 0, 1e15, "0",
      .help = "step from which algorithm.length_weight counts",
      .more = "First right, then short: too early a preference for short answers keeps the policy from learning to "
              "think." },
    { 0 },
};

static int check(void *config, option_reading *r)
{
    trainer_config *c = config;

    if (c->loss.kind == LOSS_NFT && estimator_of(c->advantage.mean)->scope == SCOPE_NONE)
        return option_expected(r, "algorithm.mean", "a baseline: nft tells right from wrong by the advantage's sign");

    /* GRPO's sum of one objective is normalised already; of several, each normalised by itself, it is not (GDPO). */
    c->advantage.whiten = objective_weighing(&c->objectives) > 1;
    return OK;
}

const option_table ALGORITHM_OPTIONS = {
    .title = "Algorithm",
    .about = "Advantages and the policy loss. `algorithm.name` chooses a paper; each part can be changed by itself.",
    .rows = ROWS,
    .check = check,
};
