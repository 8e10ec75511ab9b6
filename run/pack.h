/* SPDX-License-Identifier: MIT */
/* pack - what a worker needs of a recipe, packed to be sent; and what of it a worker makes of it.
 *
 *     in the parcel        what it is                                       key          for
 *     recipe.lua           the recipe                                                    both
 *     NAME.lua             the modules beside it that it requires                        both
 *     prompt/dialect.lua   the dialect, when it is a file        prompt.dialect          actors
 *     prompt/shots.jsonl   the worked examples                   prompt.shots.file       actors
 *     model/...            configuration, tokenizer, template    model                   actors
 *     reward/script.lua    the reward script                     reward.script           reward workers
 *
 * and the learner's key=value words. No weights (they come by WEIGHTS), no data: rows come with the tasks. A learner
 * that goes by a run's own copies (run/ingredients.h) packs those. */
#pragma once

#include "proto/parcel.h"
#include "recipe/recipe.h"

typedef enum pack_for { PACK_FOR_ACTOR, PACK_FOR_REWARD } pack_for;

/* NULL, and a sentence, when something is missing or more than a parcel holds. */
parcel *pack_recipe(const recipe *r, pack_for role, error *err);

/* The words that a recipe is opened with whose files lie in `folder` as they were packed: the learner's, and where its
 * files are. Up to `max`, the caller frees each. Returns how many. */
int pack_words(const parcel_list *list, const char *folder, char **words, int max);
/* Whether all files that a worker would open are those of the parcel: a recipe that was sent names no file of the
 * machine that it came to. ERR_ARGUMENT names the key. */
int pack_check_paths(const recipe *r, pack_for role, const char *folder, error *err);
