/* SPDX-License-Identifier: MIT */
/* parts - the rooms that have keys, in the order in which they are read and printed. Private to recipe/. */
#pragma once

#include "lua/config.h"
#include "recipe/recipe.h"

enum { RECIPE_PARTS = 15 };

/* Every table with the place of its struct in `r`, behind the last one an empty part. r NULL: without places. */
void recipe_parts(recipe *r, config_part parts[RECIPE_PARTS + 1]);
