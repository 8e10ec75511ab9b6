/* SPDX-License-Identifier: MIT */
#include "recipe/foreign.h"

#include <string.h>
#include <strings.h>

enum { SHORTEST = 4 }; /* letters of a word that can be a slip of the finger: of three, one is a third */

#define NO_CRITIC "there is no critic: advantages come from the group or the batch, see algorithm.name"
#define NO_ENVIRONMENT "an environment is its tools: env.tools"
#define NO_LOGGER "figures go to RUN/metrics.jsonl; 'troupe plot' draws them"

/* What there is no key for; names of keys that there are stand in the keys' own rows (`elsewhere`). */
static const config_alias KEYS[] = {
    { "env.name", NO_ENVIRONMENT },
    { "optim.eps", "AdamW's epsilon is 1e-8" },
    { "optim.epsilon", "AdamW's epsilon is 1e-8" },
    { "optim.name", "AdamW is the one optimizer" },
    { "min_lr", "a share of optim.lr: optim.min_lr_ratio" },
    { "warmup_ratio", "a number of steps, not a share of them: optim.warmup" },
    { "lr_warmup_steps_ratio", "a number of steps, not a share of them: optim.warmup" },
    { "rollout.name", "Troupe's own actors are the one engine" },
    { "critic", NO_CRITIC },
    { "gamma", NO_CRITIC },
    { "lam", NO_CRITIC },
    { "vf_coef", NO_CRITIC },
    { "cliprange_value", NO_CRITIC },
    { "value_clip", NO_CRITIC },
    { "top_k", "there is no top-k sampling: use rollout.temperature or rollout.top_p" },
    { "epochs", "data is read row after row, as often as it takes: steps says how long; algorithm.epochs: updates on a "
                "step's batch" },
    { "ppo_mini_batch_size",
      "a step is one update, or algorithm.epochs of them: rollout.prompts_per_step is its size" },
    { "mini_batch_size", "a step is one update, or algorithm.epochs of them: rollout.prompts_per_step is its size" },
    { "output_dir", "the run's folder is runs/NAME, or --run-dir DIR on the command line" },
    { "resume_from", "use 'troupe train --resume RUN'" },
    { "resume_from_checkpoint", "use 'troupe train --resume RUN'" },
    { "wandb", NO_LOGGER },
    { "logger", NO_LOGGER },
    { "report_to", NO_LOGGER },
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
    { "optim.schedule", "constant_with_warmup", "constant" },
    { "optim.schedule", "cosine_with_min_lr", "cosine" },
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

    if (len < SHORTEST) return NULL;
    const char *nearest = str_nearest(word, names);
    const bool is_slip = nearest && str_distance(word, nearest) <= len / SHORTEST;
    return is_slip ? nearest : NULL;
}

void recipe_foreign_hint(const char *key, const char *word, const char *const *names, str *hint)
{
    /* First what the word means elsewhere: "kl" is near to many names and is none of them. */
    const char *instead = instead_of(key, word);
    if (!instead) instead = nearly(word, names);
    if (!instead) return;

    const bool is_sentence = strchr(instead, ' ');
    str_printf(hint, is_sentence ? " (%s)" : " (did you mean '%s'?)", instead);
}
