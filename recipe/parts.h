/* SPDX-License-Identifier: MIT */
/* parts - the rooms that have keys, in the order in which they are read and printed, and then the learner's methods,
 * whose keys are printed where they say. Private to recipe/. */
#pragma once

#include "learner/method.h"
#include "lua/config.h"
#include "recipe/recipe.h"

enum { RECIPE_PARTS = 16 + N_METHODS };

/* Every table with the place of its struct in `r`, after the last one an empty part. r NULL: without places. */
void recipe_parts(recipe *r, config_part parts[RECIPE_PARTS + 1]);
