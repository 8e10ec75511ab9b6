/* lua - a tool the recipe wrote: call(arguments, context) returns text, a number, or a table that becomes JSON. An
 * error it raises, or a cap it hits, is shown to the policy. Runs where the recipe's VM lives, at once: keep such tools
 * quick. */
#pragma once

#include "env/router.h"
#include "lua/vm.h"

typedef struct lua_tool_config {
    const char *name, *description, *parameters; /* copied; parameters: JSON Schema text */
    vm *vm;                                      /* borrowed */
    int function;                                /* reference in it, borrowed */
} lua_tool_config;

int lua_tool(const lua_tool_config *config, tool *out, error *err);
