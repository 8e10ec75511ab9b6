/* SPDX-License-Identifier: MIT */
/* client - the tools of a server of the Model Context Protocol (modelcontextprotocol.io, revisions 2024-11-05 to
 * 2025-11-25): JSON-RPC 2.0, over the stdin and stdout of a child of ours or over HTTP (env/mcp/transport.h).
 *
 *     start -> initialize -> notifications/initialized -> tools/list -> ready: tools/call, many at a time
 *
 * The list of tools is the one at the start: the policy was told it. A server that ends, or that has forgotten its
 * session, is started again by the next call; calls that were under way are lost (FAIL_TOOL_LOST, which the router asks
 * again). A call that takes too long is cancelled, and the policy reads so: its arguments may be why. A child that says
 * nothing meanwhile is ended. */
#pragma once

#include "base/log.h"
#include "env/router.h"

typedef struct mcp_client mcp_client;

typedef struct mcp_config {
    const char *const *command; /* argv, NULL-terminated; copied */
    const char *name;           /* what sentences call the program; copied. NULL: command[0]. Or: */
    const char *url;            /* of a server that runs; copied */
    const char *const *headers; /* "Name: value", for url; NULL-terminated, copied; NULL: none */
    int timeout_ms;             /* of a call; 0: 30000 */
    int start_ms;               /* until the tools are listed; 0: 60000 */
} mcp_config;

/* A tool as the policy is told of it. */
typedef struct mcp_tool {
    char *name;  /* of letters, digits, _ and -: what isn't is _ */
    char *asked; /* the server's name for it */
    char *description, *parameters;
} mcp_tool;

/* Starts the server and waits until its tools are listed. ERR_PEER: it ended, or said something that is not the
 * protocol; ERR_TIMEOUT: it said too little in start_ms; ERR_UNSUPPORTED: a revision that is not known here. */
mcp_client *mcp_open(const mcp_config *config, error *err);
void mcp_free(mcp_client *c);
const char *mcp_name(const mcp_client *c); /* its program or its address, for sentences */
size_t mcp_n_tools(const mcp_client *c);
const mcp_tool *mcp_tool_at(const mcp_client *c, size_t i);

/* As a tool's functions in env/router.h; at: of which tool. */
int mcp_begin(mcp_client *c, size_t at, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms,
              error *err);
void mcp_cancel(mcp_client *c, uint64_t call);
int mcp_fds(const mcp_client *c, struct pollfd *out, int max);
int mcp_poll(mcp_client *c, int64_t now_ms, tool_result *out, int max);
int64_t mcp_deadline_ms(const mcp_client *c);
