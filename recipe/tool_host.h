/* SPDX-License-Identifier: MIT */
/* tool_host - the life of a process in which the calls of a recipe's own tool run (T.tool{...}; env/tools/lua.h starts
 * it). It runs the recipe for its tools alone: keys are not checked, no data and no model are looked at. */
#pragma once

#include "base/error.h"

typedef struct tool_host {
    const char *recipe, *tool; /* path; name */
    const char *const *words;  /* [n_words] "key=value" */
    int n_words;
    int sock; /* from which calls come */
} tool_host;

/* Serves calls until its box closes the socket. What hinders it is told through the socket, too: there is no other way
 * to the box. ERR_NOT_FOUND: the recipe has no such tool; others as config_open. */
int tool_host_serve(const tool_host *h, error *err);
