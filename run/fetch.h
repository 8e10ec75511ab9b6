/* SPDX-License-Identifier: MIT */
/* fetch - the recipe of a learner, for a worker that was started with nothing but an address.
 *
 *     HELLO (for_recipe) ->                <- WELCOME, with the list        (proto/parcel.h)
 *     RECIPE_GET ...     ->                <- RECIPE_CHUNK ...
 *     BYE                ->                the recipe is opened from a private folder, as any other
 *
 * The folder (0700) is a temporary one and goes when the worker ends, however it ends (base/held_folder.h). What comes
 * is not trusted beyond what a recipe's Lua may do in its VM: names lead nowhere but into the folder, sizes and numbers
 * are bounded, the recipe may name no file of this machine and no tool without a sandbox. */
#pragma once

#include "base/held_folder.h"
#include "base/log.h"
#include "run/pack.h"

typedef struct fetched {
    held_folder folder;
    parcel_list list; /* of what came */
} fetched;

typedef struct fetch_config {
    const char *address, *name;
    pack_for role;
    int64_t patience_ms;      /* without a word, or without a part of the recipe, for so long: give up */
    const char *const *words; /* "key=value" of this worker's own, said after the learner's */
    int n_words;
} fetch_config;

/* NULL: ERR_TIMEOUT, ERR_INTERRUPTED by a signal, ERR_PEER, ERR_PARSE or what recipe_open says. To be called before the
 * process has threads, its signals blocked. The recipe must be freed before fetched_reset. */
recipe *fetch_recipe(fetched *f, const fetch_config *config, logger *lg, error *err);
void fetched_reset(fetched *f); /* removes the folder; one that is zero is allowed */
