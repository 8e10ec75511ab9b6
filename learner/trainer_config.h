/* SPDX-License-Identifier: MIT */
/* trainer_config - what a trainer is told: objectives, advantages, the loss, and each method's own settings.
 *
 * Plain values below trainer.h, so that what works inside a step (pass.h, the methods) reads them without knowing the
 * trainer. What only a method reads is a struct of its own file or header, in the method's place among `settings`:
 *
 *     typedef struct era_config { double k, low, high; } era_config;
 *
 *     { "algorithm.era_k", OPTION_NUMBER, SETTINGS_AT(ERA, era_config, k), ... }       its key
 *     const era_config own = SETTINGS(config, ERA, era_config);                        what it is set to
 *
 * What others read, too, is a member. */
#pragma once

#include <string.h>

#include "base/option.h"
#include "learner/advantage.h"
#include "learner/bucket.h"
#include "learner/comm.h"
#include "learner/loss.h"
#include "learner/optimizer.h"
#include "model/lora.h"
#include "rollout/dataset.h"

/* Whose gradients are reconciled; over nothing there is one gradient, and no word for it. */
#define MOO_OVERS(X)                                                                                                   \
    X(MOO_OVER_REWARDS, "rewards", "each objective of reward.objectives")                                              \
    X(MOO_OVER_GROUPS, "groups", "each group of data rows (a row's \"group\")")                                        \
    X(MOO_OVER_BOTH, "both", "each objective of each group")

typedef enum moo_over { MOO_OVER_NOTHING, MOO_OVERS(WORDS_MEMBER) } moo_over;

enum { GROUP_NAME = 64 };

/* Which gradients are kept apart and reconciled. Over rewards, each objective of the reward has a gradient, and costs a
 * backward pass. Over data groups (a row's "group": a language, a task), the scalar advantage trains and the rows of
 * each group have a gradient, all in one backward pass. Over both, each objective of each group has one, number
 * k * groups + g, at a backward pass for each objective. The reward's weights are the preferences of objectives. */
typedef struct moo_plan {
    moo_over over;
    /* Rewards only: the weights come from the gradients with respect to the tokens' logprobs, in one backward pass. */
    bool by_token;
    bucket_config bucket;
    char groups[MOO_MAX][GROUP_NAME];
    int n_groups;
} moo_plan;

/* The methods' places, in the order of their list. */
enum {
#define METHOD(NAME) PLACE_##NAME,
#include "learner/methods/methods.def"
#undef METHOD
    N_METHODS
};

/* Room for a method's struct of settings: numbers, switches, names; no pointer, as a configuration is copied. */
typedef struct method_settings {
    unsigned char bytes[128];
} method_settings;

typedef struct trainer_config {
    objective_set objectives;
    advantage_config advantage;
    moo_plan moo;
    loss_config loss;
    char preference[OBJECTIVE_NAME]; /* the rows' field with their own weights of the objectives; "": none */
    comm *comm;                      /* borrowed: several learners; NULL: one */
    const dataset *rows;             /* borrowed: what groups were played from; NULL: unknown */
    int reference_every; /* versions after which the reference becomes the policy of that moment; 0: it stays */
    optim_config optim;
    int epochs;           /* updates on a step's batch (1); later ones are clipped against the first's policy */
    double temperature;   /* of the policy that sampled: logprobs are of logits / temperature */
    int64_t oldest_token; /* versions behind after which a token is not trained on (partial rollouts); 0: any */
    int micro_tokens;     /* tokens a forward and backward pass holds activations of; 0: by trainer_tokens */
    bool shared_prompts;  /* a prompt that several episodes have is computed once for them */
    bool supervised;      /* nothing was sampled: the loss is a mean over given tokens (troupe sft) */
    lora_config lora;     /* rank 0: every parameter is trained */
    uint64_t seed;        /* of the adapter's start, and of blocks that are drawn */
    bool recompute;       /* activation recompute: less memory, a third more time */
    method_settings settings[N_METHODS];
} trainer_config;

/* The settings of method NAME, which are a `type`; and what they become. Both copy: bytes have no type that a pointer
 * to `type` could be followed to. */
#define SETTINGS(config, NAME, type)                                                                                   \
    (*(type *)memcpy(&(type){ 0 }, (config)->settings[PLACE_##NAME].bytes, sizeof(type)))
#define SETTINGS_SET(config, NAME, ...)                                                                                \
    memcpy((config)->settings[PLACE_##NAME].bytes, &__VA_ARGS__, sizeof(__VA_ARGS__))
/* The place of one of them, for a row of its keys: as OPTION_AT. A type that has no room does not compile. */
#define SETTINGS_AT(NAME, type, member)                                                                                \
    offsetof(trainer_config, settings) + PLACE_##NAME * sizeof(method_settings) + offsetof(type, member) +             \
        0 * sizeof(char[sizeof(type) <= sizeof(method_settings) ? 1 : -1]),                                            \
        sizeof(((type *)0)->member)

/* The keys of a trainer_config, by part: reward.objectives; what algorithm.* says of advantages and losses, and of
 * tokens that the policy did not sample; moo.*; optim.* and learner.*. A method's keys are in its row
 * (learner/method.h). */
extern const option_table OBJECTIVE_OPTIONS, ALGORITHM_OPTIONS, IMITATION_OPTIONS, MOO_OPTIONS, OPTIM_OPTIONS;

/* What other rooms' keys mean to a trainer: the run's steps, the tokens an episode may have at most, the temperature it
 * is sampled at. */
void trainer_config_join(trainer_config *c, uint64_t seed, int64_t steps, int64_t max_tokens, double temperature);

/* Whether the reward's objectives, and whether data groups, each keep a gradient of their own. */
static inline bool moo_of_rewards(const moo_plan *m) { return m->over == MOO_OVER_REWARDS || m->over == MOO_OVER_BOTH; }
static inline bool moo_of_groups(const moo_plan *m) { return m->over == MOO_OVER_GROUPS || m->over == MOO_OVER_BOTH; }
