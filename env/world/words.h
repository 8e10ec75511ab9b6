/* SPDX-License-Identifier: MIT */
/* words - the messages of an environment's protocol (docs/env.md) as JSON. No state. */
#pragma once

#include <jansson.h>

#include "env/world/world.h"

enum { WORLD_PROTOCOL = 1 };

/* A request's line; the caller frees. options, row, arguments: JSON text of objects, as read before. */
char *world_say_open(int64_t id, const char *options);
char *world_say_reset(int64_t id, const tool_context *ctx);
char *world_say_step(int64_t id, const char *name, const char *arguments, const tool_context *ctx);
char *world_say_close(uint64_t play);

/* What is heard. ERR_PEER: it is not the protocol; the sentence says what is missing or wrong, not who said so. */
int world_hear_tools(const json_t *answer, world_tool **tools, size_t *n, error *err); /* the caller frees each */
char *world_hear_opening(const json_t *answer, error *err);                            /* NULL: an error */
int world_hear_step(const json_t *answer, tool_result *out, error *err);
void world_tool_reset(world_tool *t);
