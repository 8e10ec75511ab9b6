/* SPDX-License-Identifier: MIT */
/* tools - env.tools as the recipe's Lua declares them. Private to recipe/. */
#pragma once

#include "recipe/recipe.h"

#define TOOL_KINDS                                                                                                     \
    "T.python{...}, T.calculator{}, T.search{...}, T.sql{...}, T.mcp{...}, T.env{...}, T.submit{} and T.tool{...}"

/* Whether env.tools is a list of tools, with one T.env{...} at most; nothing is started. ERR_ARGUMENT with its line. */
int recipe_check_tools(const recipe *r, error *err);
