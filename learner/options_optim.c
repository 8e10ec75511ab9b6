/* SPDX-License-Identifier: MIT */
/* The keys of the optimizer, and of how much is computed at once; those of parameters at rest and of adapters are their
 * methods' (learner/methods/isolation.c, adapter.c). */
#include <string.h>

#include "learner/trainer_config.h"

/* More tokens than a step has are no use; 1 is enough for a batch. */
static int read_micro_tokens(void *config, const json_t *value, option_reading *r)
{
    enum { MAX_TOKENS = 1 << 24 };
    trainer_config *c = config;
    const json_int_t n = json_integer_value(value); /* 0 for what is no whole number */

    if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0) return OK;
    if (n < 1 || n > MAX_TOKENS)
        return option_expected(r, "learner.micro_tokens", "\"auto\", or a whole number of tokens from 1 to %d",
                               MAX_TOKENS);
    c->micro_tokens = (int)n;
    return OK;
}

static const word_row SCHEDULES[] = { LR_SCHEDULES(WORDS_ROW){ 0 } };

#define AT(member) OPTION_AT(trainer_config, member)
_Static_assert(offsetof(optim_config, beta2) == offsetof(optim_config, beta1) + sizeof(double), "a pair");

static const option ROWS[] = {
    { "optim.lr", OPTION_NUMBER, AT(optim.lr), 0, 10, "1e-6", .help = "learning rate of AdamW",
      .more = "After the warm-up it goes as `optim.schedule` says. 1e-6 is usual for models of billions of parameters; "
              "models of "
              "millions take 1e-4 and adapters about ten times what the whole model takes.",
      .elsewhere = "learning_rate actor_learning_rate" },
    { "optim.warmup", OPTION_WHOLE, AT(optim.warmup), 0, 1e15, "10",
      .help = "steps over which the learning rate rises from 0",
      .more = "AdamW's second moments are poor in the first steps; too short a warm-up shows as a jump of "
              "`actor/ppo_kl`. A step without an update does not count.",
      .elsewhere = "warmup_steps lr_warmup_steps" },
    { "optim.schedule", OPTION_WORD, AT(optim.schedule), 0, 0, "constant", .words = SCHEDULES,
      .help = "how the learning rate continues after the warm-up, until the run's last step",
      .more =
          "linear and cosine end at `optim.min_lr_ratio` of `optim.lr`: large steps while there is much to learn, "
          "small ones where the few steps that still have a signal would only push the policy about. They go by the "
          "step and by `steps`, so a resumed run has the same rates. Resumed with `steps=MORE` it continues along "
          "the longer run's curve, from a higher rate than it had stopped at. Metric `actor/lr`.",
      .elsewhere = "lr_scheduler_type lr_scheduler lr_schedule lr_decay_style warmup_style" },
    { "optim.min_lr_ratio", OPTION_NUMBER, AT(optim.min_lr_ratio), 0, 1, "0.1",
      .help = "share of the learning rate that a falling schedule ends with", .needs = "optim.schedule",
      .more = "The last step has exactly optim.lr times this; with 0 it moves nothing.",
      .elsewhere = "min_lr_rate lr_min_ratio cosine_min_lr_ratio" },
    { "optim.clip_norm", OPTION_NUMBER, AT(optim.clip_norm), 0, 1e6, "1.0",
      .help = "largest norm of the whole gradient; 0: no clipping",
      .more = "A longer gradient is scaled down to it. Compare `actor/grad_norm`: where most steps are clipped the "
              "norm sets the pace, not the learning rate.",
      .elsewhere = "max_grad_norm grad_clip" },
    { "optim.betas", OPTION_PAIR, AT(optim.beta1), 0, 1, "0.9,0.95",
      .help = "{ beta1, beta2 }: AdamW's decay of the first and second moments",
      .more = "Per step, each from 0 to below 1. A larger beta2 (0.999) suits small batches, whose gradients are "
              "noisy.",
      .elsewhere = "adam_betas optim.beta" },
    { "optim.weight_decay", OPTION_NUMBER, AT(optim.weight_decay), 0, 10, "0.0",
      .help = "AdamW's decoupled weight decay, on matrices and never on norms",
      .more = "A step takes lr times this share off each weight. In RL fine-tuning 0 to 0.1 are usual; it pulls "
              "towards 0, not towards the base model." },
    { "learner.micro_tokens", OPTION_VALUE, 0, 0, 0, 0, "auto", .read = read_micro_tokens,
      .help = "tokens a forward and backward pass holds in memory: a number, or \"auto\"",
      .more = "A step's episodes are cut into passes of so many tokens, whose gradients add up. auto: 16384, or "
              "what lets learners fit into a sixth of the machine's memory, but 1024 where half of it has room for "
              "that; `troupe plan` shows what it comes to. Other sizes give other roundings, so a resumed run keeps "
              "its own.",
      .elsewhere = "micro_batch_size ppo_micro_batch_size per_device_train_micro_batch_size "
                   "gradient_accumulation_steps" },
    { "learner.shared_prompts", OPTION_BOOL, AT(shared_prompts), 0, 0, "true",
      .help = "a prompt that several samples have is computed once for them",
      .more = "Prompts are most of the learner's work where they hold worked examples. Logprobs keep every bit; "
              "gradients are the same sums, added up in another order. `training/tokens_computed` beside "
              "`training/tokens_unshared` says what is saved. false is for comparison." },
    { 0 },
};

const option_table OPTIM_OPTIONS = {
    .title = "Optimizer, parameters at rest, adapters",
    .about = "AdamW and what it moves.",
    .rows = ROWS,
};
