/* SPDX-License-Identifier: MIT */
/* transport - how messages reach an MCP server and come from it (MCP, "Transports"). env/mcp/client.h knows what they
 * mean; a transport only carries them:
 *
 *     stdio   a program, started by us; a message a line on its stdin and stdout              env/mcp/stdio.c
 *     http    a server that runs; a POST a message, answered by JSON or by a stream of events   env/mcp/streamable.c
 *
 * Nothing waits. After an error of start, say or turn the server is as after kill. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A text: a message, or a batch of them. Without one (NULL): nothing more will come for the request `of`, and if it was
 * not answered, `why` says why. of: the request for which it came; 0: unknown. Valid until the next hear or turn. */
typedef struct mcp_heard {
    const char *text;
    size_t len;
    int64_t of;
    const char *why;
} mcp_heard;

/* Those that a transport doesn't need are NULL: agreed, forget, resume, deadline_ms. */
typedef struct mcp_transport {
    void *self;
    const char *name; /* of the server, for sentences; lives as long as self */
    bool in_line;     /* a call in which it is stuck holds up all others */
    /* Begins anew; what was under way is forgotten. patient: a server that can't be reached is tried until kill. */
    int (*start)(void *self, bool patient, error *err);
    void (*agreed)(void *self, const char *revision);
    /* id: of a request; 0: a notification, or an answer. */
    int (*say)(void *self, const char *message, int64_t id, error *err);
    void (*forget)(void *self, int64_t id); /* no answer to this request is needed any more */
    /* After "nothing more will come": whether something may come nevertheless, by another way. */
    bool (*resume)(void *self, int64_t id);
    int (*turn)(void *self, error *err);
    bool (*hear)(void *self, mcp_heard *out); /* false: nothing more in this turn */
    int (*fds)(void *self, struct pollfd *out, int max);
    int64_t (*deadline_ms)(void *self); /* when turn must be called at the latest */
    void (*kill)(void *self);
    void (*free)(void *self);
} mcp_transport;

/* argv, NULL-terminated, and what sentences call it (NULL: argv[0]); copied. */
void mcp_stdio(const char *const *command, const char *name, mcp_transport *out);
/* headers: "Name: value", NULL-terminated; NULL: none. Both are copied. http_new's and http_check_url's errors. */
int mcp_streamable(const char *url, const char *const *headers, mcp_transport *out, error *err);
