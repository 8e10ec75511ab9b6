/* SPDX-License-Identifier: MIT */
#include "exchange/options.h"

#define AT(member) OPTION_AT(exchange_options, member)

static const option ROWS[] = {
    { "rollout.group", OPTION_WHOLE, AT(group), 2, 4096, "8",
      .help = "episodes of each prompt, which are compared with each other",
      .more = "Larger groups have better baselines and find rarer successes: with success rate p a group of G has a "
              "signal with probability 1 - p^G - (1 - p)^G. 8 to 16 are usual.",
      .elsewhere = "num_generations group_size n_samples_per_prompt rollout.n generations_per_prompt" },
    { "rollout.prompts_per_step", OPTION_WHOLE, AT(prompts_per_step), 1, 65536, "16",
      .help = "prompts of a step, each with a group of episodes",
      .more = "The batch has prompts_per_step times group episodes. More prompts make the gradient less noisy and a "
              "step slower.",
      .elsewhere = "train_batch_size rollout_batch_size batch_size per_device_train_batch_size" },
    { "rollout.max_tokens", OPTION_WHOLE, AT(max_tokens), 1, 1e6, "512",
      .help = "tokens that the policy may write in an episode, all turns together",
      .more = "An episode that gets there ends with stop \"length\"; what it has written is scored as it is. See "
              "`rollout/stop/length` in the metrics.",
      .elsewhere = "max_completion_length max_response_length max_new_tokens generate_max_len response_length" },
    { "rollout.temperature", OPTION_NUMBER, AT(temperature), 0.01, 100, "1.0", .help = "temperature of sampling",
      .more = "The learner's logprobs are of logits divided by it, too, so the ratio is right at any value. Below 1 "
              "explores less; evaluations have `eval_temperature`." },
    { "rollout.max_staleness", OPTION_WHOLE, AT(max_staleness), 0, 16, "0",
      .help = "policy versions that a token may be behind when it is trained on; 0: synchronous",
      .more = "Above 0 actors play ahead while the learner trains: faster, and tokens are off-policy "
              "(`algorithm.correction`). 1 hides most of the waiting; above 4 most algorithms suffer. A run is then "
              "not repeatable to the bit.",
      .elsewhere = "max_off_policy_steps max_head_offpolicyness staleness" },
    { "rollout.lag", OPTION_WHOLE, AT(lag), 0, 16, "0",
      .help = "policy versions that every token is behind, for experiments",
      .more = "Staleness that is the same in every run, to compare corrections. Raises `rollout.max_staleness` to "
              "at least this." },
    { "algorithm.refills", OPTION_WHOLE, AT(refills), 0, 64, "0",
      .help = "rounds of further prompts in place of groups without signal; 0: none",
      .more = "DAPO's dynamic sampling (2503.14476): after a round is scored, as many further prompts are played as "
              "had groups of equal rewards. Costs rollouts, keeps the number of episodes with a gradient steady." },
    { 0 },
};

static int check(void *config, option_reading *r)
{
    exchange_options *o = config;
    (void)r;
    if (o->max_staleness < o->lag) o->max_staleness = o->lag;
    return OK;
}

const option_table ROLLOUT_OPTIONS = {
    .title = "Rollouts",
    .about = "How many episodes are played of each row, and how they are sampled.",
    .rows = ROWS,
    .check = check,
};

scheduler_config exchange_schedule(const exchange_options *o, uint64_t seed)
{
    return (scheduler_config){ .seed = seed,
                               .prompts_per_step = (uint32_t)o->prompts_per_step,
                               .group = (uint32_t)o->group,
                               .refills = (uint32_t)o->refills,
                               .max_staleness = o->max_staleness,
                               .lag = o->lag,
                               .temperature = (float)o->temperature,
                               .max_tokens = (int32_t)o->max_tokens };
}
