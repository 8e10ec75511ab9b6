/* SPDX-License-Identifier: MIT */
/* episode_runner - a recipe's model, tokenizer, dialect, tools and shots, opened and tied together: what an actor, an
 * evaluation and a chat play episodes with. */
#pragma once

#include "actor/rollouts.h"
#include "run/shots.h"
#include "model/hf_folder.h"
#include "recipe/recipe.h"

typedef struct episode_runner {
    device *device;
    hf_folder *model;
    tokenizer *tokenizer;
    router *router;
    dialect *dialect;
    shot_pool shots;         /* the pool */
    rollout_config rollouts; /* all but the engine */
    engine_config engine;
} episode_runner;

/* `model_dir` NULL: the recipe's. The recipe must outlive it. slots: episodes in flight. */
episode_runner *episode_runner_new(const recipe *r, const char *model_dir, int threads, int slots, logger *lg,
                                   error *err);
/* The engine that it has for `slots` episodes. */
engine_config episode_runner_engine(const recipe *r, const model_config *model, int slots);
/* The same of the recipe's model without its weights (model->weights is NULL), for an actor: a learner sends them. */
episode_runner *episode_runner_new_shapes(const recipe *r, int threads, int slots, logger *lg, error *err);
/* Without model, device, engine and tools that run: what an episode is read with (actor/witness.h), whose tokens end as
 * `model` says. Its stage has a router that has only the tools' words. */
episode_runner *episode_runner_of_words(const recipe *r, const model_config *model, error *err);
void episode_runner_free(episode_runner *p);

/* Plays tasks to their end in this process. `next` fills a task (OK) or says that there is none (ERR_NOT_FOUND); `done`
 * gets each episode (its own to free) and the task. For one-process verbs: eval, chat. */
typedef struct episode_runner_callbacks {
    void *ctx;
    int (*next)(void *ctx, task *t);
    void (*done)(void *ctx, episode *e);
} episode_runner_callbacks;
int episode_runner_run(episode_runner *p, const episode_runner_callbacks *cb, error *err);
