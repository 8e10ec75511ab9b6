/* SPDX-License-Identifier: MIT */
/* ingredients - what a run was begun with, and its own copy of it: recipe, modules, reward script, dialect, shots,
 * data.
 *
 *     RUN/recipe/   recipe.lua, the modules beside it, reward.lua, shots.jsonl, train.jsonl ...
 *     run.json      "files": key, where it came from, the copy, size and hash
 *
 * A run's processes read the copies alone, from its first step on: whoever edits, moves or deletes an original changes
 * nothing. Files above 64 MB and the model stay where they are, held against their hash (XXH64) each time; of a model's
 * weights above 256 MB the first and the last 64 MB count. */
#pragma once

#include <jansson.h>

#include "base/vec.h"
#include "recipe/recipe.h"

typedef struct ingredient {
    char key[96]; /* "recipe", "require", or the recipe's key: "data.train" */
    char from[RECIPE_PATH];
    char copy[RECIPE_PATH]; /* below the run's folder; "": there is none */
    uint64_t hash, bytes;
} ingredient;

typedef vec(ingredient) ingredients;

/* Takes what the opened recipe consists of: copies into RUN/recipe what isn't there, drops what is no longer used.
 * `taken` (may be NULL): a JSON array that gets the keys whose content is new. */
int ingredients_take(ingredients *all, const char *run, const recipe *r, json_t *taken, error *err);
/* The recipe's path for the run's processes, and the "key=path" words that lead it to the copies: up to `max`, the
 * caller frees each. Returns how many. */
const char *ingredients_recipe(const ingredients *all, const char *run, char *out, size_t size);
const char *ingredients_origin(const ingredients *all, const char *key); /* where a file came from, or NULL */
int ingredients_words(const ingredients *all, const char *run, char **words, int max);
/* Holds every copy, and every file without one, against its hash. ERR_STATE names the first that is another. words:
 * "key=value" texts; a key that they give a new place is not looked for in the old one. */
int ingredients_check(const ingredients *all, const char *run, const char *const *words, int n_words, error *err);
/* Each original that is no longer what the run was begun with, in a sentence. */
void ingredients_differences(const ingredients *all, const char *run, void (*tell)(void *ctx, const char *sentence),
                             void *ctx);

json_t *ingredients_to_json(const ingredients *all);
/* ERR_PARSE for what Troupe has not written: a copy outside RUN/recipe, a key without a place. */
int ingredients_from_json(ingredients *all, const json_t *list, error *err);
/* Removes the copies, and RUN/recipe when nothing else is in it. */
void ingredients_remove(const ingredients *all, const char *run);
