/* SPDX-License-Identifier: MIT */
/* recipe_read - how the parts of recipe.c read keys that are more than a number. Private to cli/recipe*.c. */
#pragma once

#include <lauxlib.h>

#include "cli/recipe.h"
#include "lua/config.h"

typedef struct opening {
    recipe *r;
    config *c;
    error *err;
    int rc; /* of the first thing that was wrong */
} opening;

/* "expected ...", with file, line and what was found; returns the code. */
int recipe_bad(opening *o, const char *key, const char *expected);
/* Which of `names` (NULL-terminated) the key says; `otherwise` when it is absent. A wrong word is met with the nearest
 * right one. */
int recipe_choice(opening *o, lua_State *L, const char *key, const char *const *names, int otherwise);
/* The list of `least` to `most` names on top of the stack, each of at most size - 1 characters -> out [most][size];
 * how many. Wrong ones are the key's error. */
int recipe_names(opening *o, lua_State *L, const char *key, int least, int most, char *out, int size);

/* Rows of both data files, and what moo, preferences, stages and hints need of them (recipe_data.c). */
int recipe_check_data(const recipe *r, const config *c, error *err);
/* algorithm.*, reward.objectives, moo.*, lora.*: what the learner does (recipe_learning.c). Under vm_protect. */
void recipe_read_learning(opening *o, lua_State *L);
/* data.sampling, data.stages: which rows come (recipe_data.c). Under vm_protect. */
void recipe_read_sampling(opening *o, lua_State *L);
