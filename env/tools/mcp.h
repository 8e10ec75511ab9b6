/* SPDX-License-Identifier: MIT */
/* mcp - the tools of an MCP server (env/mcp/client.h) as tools of a router. */
#pragma once

#include "env/mcp/client.h"
#include "env/router.h"

typedef struct mcp_tools_config {
    mcp_config server;
    const char *const *only; /* names, NULL-terminated: of its tools these alone; NULL: all */
    bool words;              /* for router_add_words: the server is only asked what it has, and ended */
} mcp_tools_config;

/* Starts the server and adds its tools. mcp_open's and router_add's errors; ERR_NOT_FOUND: it has no tool of a name in
 * `only`. */
int mcp_add_tools(router *r, const mcp_tools_config *config, error *err);
