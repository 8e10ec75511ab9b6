/* SPDX-License-Identifier: MIT */
/* tools_by_hand - the tools that `troupe env` lists and calls: a recipe's, or the python tool with its defaults. */
#pragma once

#include "recipe/recipe.h"

typedef struct tools_by_hand {
    recipe *recipe; /* its VM holds the Lua tools; NULL: without a recipe */
    router *router;
} tools_by_hand;

/* `path` of a recipe, or NULL, with the words key=value for it. On an error everything is closed. */
int tools_by_hand_open(tools_by_hand *t, const char *path, const char *const *overrides, int n, error *err);
void tools_by_hand_close(tools_by_hand *t);
