/* SPDX-License-Identifier: MIT */
/* lua - a tool the recipe wrote: call(arguments, context) returns text, a number, true or false, or a table that
 * becomes JSON. An error it raises, or a cap it hits, is shown to the policy.
 *
 * It runs in a host process that has loaded the recipe and forks a child for each call (sandbox/host.h): no call sees
 * what another has left in an upvalue, a pattern that never ends is killed, and a host that dies is replaced. The
 * context has seed (of this call), episode (its id) and row (the data row). */
#pragma once

#include "env/router.h"
#include "lua/vm.h"

typedef struct lua_tool_config {
    const char *name, *description, *parameters; /* copied; parameters: JSON Schema text */
    int timeout_ms;                              /* 0: 2000 */
    const char *const *host; /* argv of a process that calls lua_tool_serve; its socket's number is added. Copied */
} lua_tool_config;

int lua_tool(const lua_tool_config *config, tool *out, error *err);

/* The host's main: serves calls of the function `function` (a reference in `v`) on `sock`. Returns the exit status. */
int lua_tool_serve(vm *v, int function, int sock);
