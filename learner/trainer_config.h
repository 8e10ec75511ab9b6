/* SPDX-License-Identifier: MIT */
/* trainer_config - what a trainer is told: objectives, advantages, the loss, and each method's own settings.
 *
 * Plain values below trainer.h, so that what works inside a step (pass.h, the methods) reads them without knowing the
 * trainer. A method's settings are a struct of the method's own header. */
#pragma once

#include "base/option.h"
#include "learner/advantage.h"
#include "learner/bucket.h"
#include "learner/comm.h"
#include "learner/loss.h"
#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/mixture.h"
#include "learner/methods/moa.h"
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

/* Many objectives. Reward dimensions: each objective of the reward keeps its gradient, a backward pass each. Data
 * groups (a row's "group": language, task, ...): the scalar advantage trains, each group's rows keep their gradient,
 * one backward pass. Both: each objective of each group, a backward pass an objective; gradient k * groups + g. The
 * reward's weights are the preferences of objectives. */
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

typedef struct trainer_config {
    objective_set objectives;
    advantage_config advantage;
    moo_plan moo;
    loss_config loss;
    era_config era;
    moa_config moa;
    mixture_config mixture;
    char preference[OBJECTIVE_NAME]; /* the rows' field with their own weights of the objectives; "": none */
    comm *comm;                      /* borrowed: several learners; NULL: one */
    const dataset *rows;             /* borrowed: what groups were played from; NULL: unknown */
    double reward_kl; /* coefficient of the episode's sum of log mu - log ref, taken off the heaviest reward; 0: off */
    int reference_every; /* versions after which the reference becomes the policy of that moment; 0: it stays */
    optim_config optim;
    isolation_config isolation;
    int epochs;           /* updates on a step's batch (1); later ones are clipped against the first's policy */
    double temperature;   /* of the policy that sampled: logprobs are of logits / temperature */
    int64_t oldest_token; /* versions behind after which a token is not trained on (partial rollouts); 0: any */
    int micro_tokens;     /* tokens a forward and backward pass holds activations of; 0: by micro_tokens_for */
    bool shared_prompts;  /* a prompt that several episodes have is computed once for them */
    lora_config lora;     /* rank 0: every parameter is trained */
    uint64_t seed;        /* of the adapter's start */
    bool carry;           /* successes with shots are imitated without them (methods/carry.c) */
    bool recompute;       /* activation recompute: less memory, a third more time */
} trainer_config;

/* The keys of a trainer_config, by part: reward.objectives and reward.preference; what algorithm.* says of advantages
 * and losses, and of the methods beside them; moo.*; optim.*, lora.* and learner.micro_tokens. */
extern const option_table OBJECTIVE_OPTIONS, ALGORITHM_OPTIONS, IMITATION_OPTIONS, MOO_OPTIONS, OPTIM_OPTIONS;

/* What other rooms' keys mean to a trainer: the run's steps, the tokens an episode may have at most, the temperature it
 * is sampled at. */
void trainer_config_join(trainer_config *c, uint64_t seed, int64_t steps, int64_t max_tokens, double temperature);

/* Whether the reward's objectives, and whether data groups, each keep a gradient of their own. */
static inline bool moo_of_rewards(const moo_plan *m) { return m->over == MOO_OVER_REWARDS || m->over == MOO_OVER_BOTH; }
static inline bool moo_of_groups(const moo_plan *m) { return m->over == MOO_OVER_GROUPS || m->over == MOO_OVER_BOTH; }
