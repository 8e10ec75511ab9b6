/* SPDX-License-Identifier: MIT */
/* boxed - a tool whose calls run in a box: what python and the recipe's own tools have in common. Calls beyond the
 * places wait their turn with their clock stopped; how a call ended becomes what the policy reads, or a failure of the
 * machinery. */
#pragma once

#include "base/json.h"
#include "env/router.h"
#include "env/sandbox/box.h"

typedef struct boxed_config {
    const char *name, *description, *parameters; /* copied */
    box_config box;
    int at_once;
    void *owner; /* of the functions below, and what they are given first; taken, also where no tool is made of it */
    /* What the box is asked, of the arguments (which keep to the parameters): owned by the caller; *len:
     * without a NUL. */
    char *(*request)(void *owner, uint64_t call, const json_t *arguments, const tool_context *ctx, size_t *len);
    /* NULL, all three: nothing is kept of a call. ran: it came to its own end. */
    void (*ended)(void *owner, uint64_t call, bool ran);
    void (*leave)(void *owner, uint64_t play);
    void (*free_owner)(void *owner);
} boxed_config;

int boxed_tool(const boxed_config *config, tool *out, error *err);
