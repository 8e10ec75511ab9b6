/* SPDX-License-Identifier: MIT */
/* source - where a key stands in the text of a Lua file.
 *
 * Lua tables don't remember lines, but whoever typed a wrong key wants to be sent there. So the text is read once more,
 * without running it: names of nested constructors ({ rollout = { ["group"] = 8 } }), assignments (r.rollout.group =
 * 8), strings, comments and long brackets are understood; what a program computes is not. */
#pragma once

/* How well a line fits a key. */
typedef enum source_fit {
    SOURCE_NOWHERE, /* the line of the last `return`, or 1 */
    SOURCE_TAIL,    /* its last names, under a table of another name: local r = { group = 8 } */
    SOURCE_ABOVE,   /* the table that it is in, or should be */
    SOURCE_KEY,     /* the key itself */
} source_fit;

/* The line (from 1) that `key` ("rollout.group") is given its value in: the last of the best. */
int source_line_of(const char *source, const char *key, source_fit *fit);
