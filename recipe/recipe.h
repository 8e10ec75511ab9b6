/* SPDX-License-Identifier: MIT */
/* recipe - recipe.lua -> each room's own config struct, side by side.
 *
 *     recipe/parts.c   which rooms have keys, and where their structs are in here
 *     recipe.c         opens the file, has it read by the rooms' tables (base/option.h), joins what rooms share
 *     tools.c          T.python{...}, T.tool{...}: the tools that the recipe's Lua declares
 *     tools_check.c    whether they are such
 *     keys.c           --keys and docs/keys.md
 *
 * No key is described here: each stands in its room. Nothing that the recipe names is opened here either: a role opens
 * what it needs, so a remote actor has no use for the learner's files. What can be wrong with the text itself is found
 * here, before any process starts: unknown keys with the nearest right one, wrong types, values out of range; each with
 * file, line, key and value.
 *
 * Relative paths in a recipe are relative to the recipe's folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "actor/options.h"
#include "curriculum/options.h"
#include "env/options.h"
#include "env/router.h"
#include "exchange/options.h"
#include "learner/trainer_config.h"
#include "lua/prompt_options.h"
#include "lua/vm.h"
#include "recipe/run_options.h"
#include "recipe/sft_options.h"
#include "reward/options.h"

enum { RECIPE_PATH = OPTION_PATH_BYTES, RECIPE_TOOLS = 16 };

typedef struct recipe {
    vm *vm;                    /* holds the recipe's Lua tools as long as it lives */
    struct config *config;     /* lua/config.h: where its keys stand */
    struct config_part *parts; /* lua/config.h: whose they are */
    char **words;              /* [n_words] the overrides, paths made absolute */
    int n_words;
    char path[RECIPE_PATH], dir[RECIPE_PATH];
    bool sent; /* its owner's: it came over the wire, so nothing may run without a sandbox */

    run_options run;
    sft_options sft;
    curriculum_options curriculum;
    exchange_options exchange;
    env_options env;
    prompt_options prompt;
    reward_options reward;
    actor_options actor;
    trainer_config trainer;
} recipe;

/* overrides: "key=value" texts. A path in the recipe is relative to the recipe's folder; one on the command line to the
 * folder one is in, and if it isn't there, to the recipe's. NULL and `err` when anything is wrong. */
recipe *recipe_open(const char *path, const char *const *overrides, int n_overrides, error *err);
void recipe_free(recipe *r);
/* Another model in place of the recipe's: its tokenizer and its chat template are the ones that count. NULL: stays. */
void recipe_use_model(recipe *r, const char *dir);
/* The same "key=value", with a path that is here made absolute, so that it means the same from another folder. The
 * caller frees. */
char *recipe_override(const char *word);
/* Whether the value of a "key=value" is a file's or a folder's name, or can be. */
bool recipe_is_path(const char *word);

/* `why` as the error of a key: with the line of the recipe, or the argument, that gave it its value. */
int recipe_error(const recipe *r, const char *key, const error *why, error *err);
/* The argument of the command line that gave the key its value; NULL: the recipe's file did. */
const char *recipe_argument(const recipe *r, const char *key);
/* Whether what a path key names is there: OK, or ERR_ARGUMENT with the recipe's line. "" is: there is nothing to be. */
int recipe_file(const recipe *r, const char *key, const char *path, error *err);

/* Keys on the command line that this verb has no use for are refused, rather than taken and forgotten. `used`: keys and
 * sections, NULL-terminated. ERR_ARGUMENT names the key. */
int recipe_uses(const recipe *r, const char *verb, const char *const *used, error *err);

/* The number of steps whose training episodes the store keeps (0: of all). It is what the recipe asks for, and no less
 * than a run that continues from its last checkpoint needs. A run without checkpoints starts over, so it keeps all. */
int64_t recipe_keep_episodes(const recipe *r);

/* Whether its episodes are played in an environment: a T.env{...} of env.tools. */
bool recipe_has_environment(const recipe *r);
/* Whether its episodes may end by a call of submit: a T.submit{} of env.tools. */
bool recipe_has_submit(const recipe *r);
/* Rows of the recipe's data; of an environment's they need no question. dataset_open's errors. */
dataset *recipe_rows(const recipe *r, const char *path, error *err);
/* A router with the recipe's tools, started. The recipe must outlive it (Lua tools live in its VM). */
router *recipe_router(const recipe *r, logger *lg, error *err);
/* One that only has their words (router_add_words): nothing is started. */
router *recipe_router_of_words(const recipe *r, error *err);

struct dialect;
/* The recipe's dialect, with its options, for tools of these signatures; through the model's chat template where the
 * recipe says so. NULL: dialect_new's and dialect_use_template's errors; recipe_dialect_key says whose key they are. */
struct dialect *recipe_dialect(const recipe *r, const char *tools_json, error *err);
const char *recipe_dialect_key(const error *why);

/* A line a key: its name, kind, default and help. */
void recipe_print_keys(FILE *to);
/* All of it as a page: docs/keys.md. */
void recipe_print_page(FILE *to);
