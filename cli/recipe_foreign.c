/* SPDX-License-Identifier: MIT */
#include "cli/recipe_foreign.h"

#include <string.h>
#include <strings.h>

enum { SHORTEST = 4 }; /* letters of a word that can be a slip of the finger: of three, one is a third */

#define NO_CRITIC "there is no critic: advantages come from the group or the batch, see algorithm.name"
#define NO_ENVIRONMENT "an environment is its tools: env.tools"
#define NO_LOGGER "figures go to RUN/metrics.jsonl; 'troupe plot' draws them"

static const config_alias KEYS[] = {
    { "env.max_steps", "env.max_turns" },
    { "env.name", NO_ENVIRONMENT },
    { "optim.beta", "optim.betas" },
    { "optim.eps", "AdamW's epsilon is 1e-8" },
    { "optim.epsilon", "AdamW's epsilon is 1e-8" },
    { "optim.name", "AdamW is the one optimizer" },
    { "rollout.name", "Troupe's own actors are the one engine" },
    { "critic", NO_CRITIC },
    { "gamma", NO_CRITIC },
    { "lam", NO_CRITIC },
    { "vf_coef", NO_CRITIC },
    { "cliprange_value", NO_CRITIC },
    { "value_clip", NO_CRITIC },
    { "top_k", "there is no top-k sampling: rollout.temperature and rollout.top_p are what there is" },
    { "epochs", "data is read row after row, as often as it takes: steps says how long; algorithm.epochs: updates on a "
                "step's batch" },
    { "ppo_mini_batch_size",
      "a step is one update, or algorithm.epochs of them: rollout.prompts_per_step is its size" },
    { "mini_batch_size", "a step is one update, or algorithm.epochs of them: rollout.prompts_per_step is its size" },
    { "micro_batch_size", "learner.micro_tokens" },
    { "ppo_micro_batch_size", "learner.micro_tokens" },
    { "per_device_train_micro_batch_size", "learner.micro_tokens" },
    { "gradient_accumulation_steps", "learner.micro_tokens" },
    { "use_kl_loss", "algorithm.kl" },
    { "save_total_limit", "keep_checkpoints" },
    { "run_name", "name" },
    { "experiment_name", "name" },
    { "output_dir", "the run's folder is runs/NAME, or --run-dir DIR on the command line" },
    { "resume_from", "a run goes on by 'troupe train --resume RUN'" },
    { "resume_from_checkpoint", "a run goes on by 'troupe train --resume RUN'" },
    { "wandb", NO_LOGGER },
    { "logger", NO_LOGGER },
    { "report_to", NO_LOGGER },
    { "fp16", "precision" },
    { "num_generations", "rollout.group" },
    { "group_size", "rollout.group" },
    { "n_samples_per_prompt", "rollout.group" },
    { "rollout.n", "rollout.group" },
    { "generations_per_prompt", "rollout.group" },
    { "max_completion_length", "rollout.max_tokens" },
    { "max_response_length", "rollout.max_tokens" },
    { "max_new_tokens", "rollout.max_tokens" },
    { "generate_max_len", "rollout.max_tokens" },
    { "response_length", "rollout.max_tokens" },
    { "max_prompt_length", "rollout.max_context" },
    { "max_seq_length", "rollout.max_context" },
    { "max_model_len", "rollout.max_context" },
    { "context_length", "rollout.max_context" },
    { "train_batch_size", "rollout.prompts_per_step" },
    { "rollout_batch_size", "rollout.prompts_per_step" },
    { "batch_size", "rollout.prompts_per_step" },
    { "per_device_train_batch_size", "rollout.prompts_per_step" },
    { "max_off_policy_steps", "rollout.max_staleness" },
    { "max_head_offpolicyness", "rollout.max_staleness" },
    { "staleness", "rollout.max_staleness" },
    { "clip_ratio", "algorithm.clip" },
    { "clip_ratio_low", "algorithm.clip" },
    { "clip_ratio_high", "algorithm.clip" },
    { "epsilon", "algorithm.clip" },
    { "epsilon_high", "algorithm.clip" },
    { "eps_clip", "algorithm.clip" },
    { "beta", "algorithm.kl" },
    { "lora.r", "lora.rank" },
    { "model_path", "model" },
    { "kl_coef", "algorithm.kl" },
    { "kl_loss_coef", "algorithm.kl" },
    { "init_kl_coef", "algorithm.kl" },
    { "kl_loss_type", "algorithm.kl_kind" },
    { "kl_penalty", "algorithm.kl_kind" },
    { "loss_agg_mode", "algorithm.aggregation" },
    { "loss_type", "algorithm.loss" },
    { "adv_estimator", "algorithm.name" },
    { "advantage_estimator", "algorithm.name" },
    { "scale_rewards", "algorithm.std" },
    { "num_iterations", "algorithm.epochs" },
    { "ppo_epochs", "algorithm.epochs" },
    { "reward_weights", "reward.objectives" },
    { "weights", "reward.objectives" },
    { "reward_funcs", "reward.script" },
    { "learning_rate", "optim.lr" },
    { "actor_learning_rate", "optim.lr" },
    { "max_grad_norm", "optim.clip_norm" },
    { "grad_clip", "optim.clip_norm" },
    { "warmup_steps", "optim.warmup" },
    { "lr_warmup_steps", "optim.warmup" },
    { "adam_betas", "optim.betas" },
    { "lora_rank", "lora.rank" },
    { "lora_r", "lora.rank" },
    { "lora_alpha", "lora.alpha" },
    { "target_modules", "lora.targets" },
    { "max_steps", "steps" },
    { "total_steps", "steps" },
    { "total_training_steps", "steps" },
    { "num_steps", "steps" },
    { "total_epochs", "steps" },
    { "num_train_epochs", "steps" },
    { "save_freq", "checkpoint_every" },
    { "save_steps", "checkpoint_every" },
    { "test_freq", "eval_every" },
    { "eval_steps", "eval_every" },
    { "dtype", "precision" },
    { "bf16", "precision" },
    { "tools", "env.tools" },
    { "system_prompt", "prompt.instruction" },
    { "chat_template", "prompt.dialect" },
    { "dataset", "data.train" },
    { "train_files", "data.train" },
    { "val_files", "data.test" },
    { "model_name_or_path", "model" },
    { "model.path", "model" },
    { "pretrain", "model" },
    { "num_actors", "actors" },
    { "num_workers", "actors" },
    { NULL, NULL },
};

typedef struct foreign_word {
    const char *key, *word, *instead; /* a name of ours, or a sentence: it has a space */
} foreign_word;

static const foreign_word WORDS[] = {
    { "algorithm.name", "ppo", NO_CRITIC "; PPO's clipped loss is what most of these names use (algorithm.loss)" },
    { "algorithm.name", "gae", NO_CRITIC },
    { "algorithm.name", "vapo", NO_CRITIC },
    { "algorithm.name", "reinforce",
      "reinforce++ and rloo are REINFORCE with a baseline; algorithm.loss says the loss" },
    { "algorithm.name", "reinforce_plus_plus", "reinforce++" },
    { "algorithm.name", "reinforce_plus_plus_baseline", "reinforce++_baseline" },
    { "algorithm.name", "reinforce_baseline", "reinforce++_baseline" },
    { "algorithm.loss", "vanilla", "ppo" },
    { "algorithm.aggregation", "token-mean", "token" },
    { "algorithm.aggregation", "seq-mean-token-mean", "sequence" },
    { "algorithm.aggregation", "seq-mean-token-sum", "sequence_sum" },
    { "algorithm.aggregation", "seq-mean-token-sum-norm", "constant" },
    { "algorithm.kl_kind", "low_var_kl", "k3" },
    { "algorithm.kl_kind", "kl", "k1" },
    { "algorithm.kl_kind", "mse", "k2" },
    { "precision", "bfloat16", "bf16" },
    { "precision", "float32", "f32" },
    { "precision", "fp32", "f32" },
    { NULL, NULL, NULL },
};

const config_alias *recipe_foreign_keys(void) { return KEYS; }

static const char *instead_of(const char *key, const char *word)
{
    for (const foreign_word *w = WORDS; w->key; w++)
        if (strcmp(w->key, key) == 0 && strcasecmp(w->word, word) == 0) return w->instead;
    return NULL;
}

/* The same in other letters of the same size, or off by one in four. */
static const char *nearly(const char *word, const char *const *names)
{
    const size_t len = strlen(word);
    for (int i = 0; names[i]; i++)
        if (strcasecmp(names[i], word) == 0) return names[i];
    const char *nearest = len < SHORTEST ? NULL : str_nearest(word, names);
    return nearest && str_distance(word, nearest) <= len / SHORTEST ? nearest : NULL;
}

void recipe_foreign_hint(const char *key, const char *word, const char *const *names, str *hint)
{
    const char *instead = instead_of(key, word);
    if (!instead) instead = nearly(word, names);
    if (instead) str_printf(hint, strchr(instead, ' ') ? " (%s)" : " (did you mean '%s'?)", instead);
}
