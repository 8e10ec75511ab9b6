/* SPDX-License-Identifier: MIT */
/* world - episodes that are played in an environment of a user's: programs that are talked to in JSON, a line a message
 * (docs/env.md is the protocol). Several run beside each other, the instances, so that one that crashes, hangs or talks
 * nonsense costs the episodes that it plays, and no other:
 *
 *     reset -> waits for a place -> an instance, started where needed -> step, step, ... -> leave: the place is free
 *
 * An instance is asked `at_once` episodes at a time. One that is lost is killed, and started again when a reset needs
 * it: at once the first time, then after a pause that doubles, until it has answered once. What an episode lost with it
 * fails with FAIL_TOOL_LOST; the exchange has it played again, from its beginning. */
#pragma once

#include "env/router.h"

typedef struct world world;

typedef struct world_config {
    const char *const *command; /* argv, NULL-terminated; copied */
    const char *name;           /* what sentences call it; copied. NULL: command[0] */
    const char *options;        /* JSON text of an object, for `open`; copied. NULL: {} */
    int instances, at_once;     /* 0: 8 and 1 */
    int timeout_ms;             /* of a reset or a step; 0: 30000 */
    int start_ms;               /* until it is open; 0: 60000 */
} world_config;

typedef struct world_tool {
    char *name, *description, *parameters; /* parameters: JSON Schema text */
} world_tool;

/* Starts an instance and waits until it is open. ERR_PEER: it ended, or said something that is not the protocol;
 * ERR_TIMEOUT: it said too little in start_ms. */
world *world_open(const world_config *config, error *err);
void world_free(world *w);
size_t world_n_tools(const world *w);
const world_tool *world_tool_at(const world *w, size_t i);

/* As a tool's functions in env/router.h. ctx->play says whose it is. A reset's result is the JSON text of what belongs
 * into the row: {"prompt"}, {"messages"} or {}. */
int world_reset(world *w, uint64_t call, const tool_context *ctx, int64_t now_ms, error *err);
/* name: of which tool; NULL: arguments are {"text": ...}, of a turn without a call. */
int world_step(world *w, uint64_t call, const char *name, const char *arguments, const tool_context *ctx,
               int64_t now_ms, error *err);
void world_cancel(world *w, uint64_t call);
void world_leave(world *w, uint64_t play);
int world_fds(const world *w, struct pollfd *out, int max);
int world_poll(world *w, int64_t now_ms, tool_result *out, int max);
int64_t world_deadline_ms(const world *w);
