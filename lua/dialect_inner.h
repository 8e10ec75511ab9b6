/* SPDX-License-Identifier: MIT */
/* dialect_inner - what a dialect is made of; private to lua/dialect*.c.
 *
 *     dialect.c        opens a dialect, makes prompts, reads turns
 *     dialect_frame.c  what stands around results, and around what an environment says */
#pragma once

#include "lua/chat_speaker.h"
#include "lua/dialect.h"

struct dialect {
    vm *vm;
    chat_speaker *speaker;           /* NULL: the dialect speaks for itself */
    int table, options, tools, told; /* references; told: see told.h, keys are weak */
    int begun;                       /* what the template begins a reply with; LUA_REFNIL without one */
    char name[64];
};

/* What prompt, observation and reply are given: spec = { tojson, tools, render }. */
void dialect_push_spec(lua_State *L, const dialect *d);
