/* SPDX-License-Identifier: MIT */
/* recipe - recipe.lua -> each room's own config struct, by one row a key (name, type, range, default, help).
 *
 * Every role of a run opens the same recipe with the same overrides and takes what is its own. Relative paths in a
 * recipe are relative to the recipe's folder. All that can be wrong is found here, before any process starts: unknown
 * keys with the nearest right one, wrong types, values out of range, missing files; each with file, line, key and
 * value. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "actor/engine.h"
#include "env/router.h"
#include "curriculum/sampler.h"
#include "learner/trainer.h"
#include "curriculum/shot_schedule.h"
#include "lua/dialect.h"
#include "lua/vm.h"
#include "reward/scorer.h"

enum { RECIPE_PATH = 1024, RECIPE_TOOLS = 16 };

typedef struct recipe {
    vm *vm;                /* holds the recipe's Lua tools as long as it lives */
    struct config *config; /* lua/config.h: where its keys stand */
    char **words;          /* [n_words] the overrides, paths made absolute */
    int n_words;
    char path[RECIPE_PATH], dir[RECIPE_PATH];
    char name[64];
    char model[RECIPE_PATH];
    char train[RECIPE_PATH], test[RECIPE_PATH]; /* data; test may be "" */
    sampler_config sampler;
    int64_t drop_failed, drop_solved, templated, hinted, demonstrations;

    char dialect[RECIPE_PATH];
    char *instruction, *dialect_options; /* options: JSON text or NULL */
    char *templates[SAMPLER_TEMPLATES];
    double complexity[SAMPLER_TEMPLATES];
    int n_templates;
    char shots_file[RECIPE_PATH]; /* "" without shots */
    shot_schedule *shots;         /* NULL without shots */

    int64_t max_turns, max_observation;

    char reward_script[RECIPE_PATH];
    double reward_timeout_ms, reward_memory_mb;

    int64_t group, prompts_per_step, max_tokens, max_context, max_staleness, lag;
    double temperature, top_p, eval_temperature;

    trainer_config trainer;
    int64_t moo_refresh, epochs, nft_weight, refills, reference_every, pivot_steps;
    int64_t mixture_every, mixture_warmup, learners;
    int64_t lora_rank;
    double lora_alpha;

    int64_t patience;
    int64_t steps, seed, checkpoint_every, keep_checkpoints, keep_episodes, eval_every, eval_prompts, eval_shots;
    precision precision; /* of linear products, in every role */
    char device[32];
    int64_t actors, reward_workers, actor_slots, learner_threads, actor_threads;
    double lease_seconds;
} recipe;

/* overrides: "key=value" texts. A path in the recipe is relative to the recipe's folder; one on the command line to the
 * folder one is in, and if it isn't there, to the recipe's. NULL and `err` when anything is wrong. */
recipe *recipe_open(const char *path, const char *const *overrides, int n_overrides, error *err);
void recipe_free(recipe *r);
/* The same "key=value", with a path that is here made absolute, so that it means the same from another folder. The
 * caller frees. */
char *recipe_override(const char *word);

/* `why` as the error of a key: with the line of the recipe, or the argument, that gave it its value. */
int recipe_error(const recipe *r, const char *key, const error *why, error *err);

/* Keys on the command line that this verb has no use for are refused, rather than taken and forgotten. `used`: keys and
 * sections, NULL-terminated. ERR_ARGUMENT names the key. */
int recipe_uses(const recipe *r, const char *verb, const char *const *used, error *err);

/* How its reward script is to be run. Borrows from the recipe. */
scorer_config recipe_scorer(const recipe *r);

/* Of how many steps the store keeps the training episodes (0: of all): as many as asked for, and no fewer than a run
 * that goes on from its last checkpoint looks for. A run without checkpoints goes on from its start: it keeps all. */
int64_t recipe_keep_episodes(const recipe *r);

/* A router with the recipe's tools, started. The recipe must outlive it (Lua tools live in its VM). */
router *recipe_router(const recipe *r, logger *lg, error *err);

/* key, type, default and one line of help for every row: for --help and the docs. */
void recipe_print_keys(FILE *to);
