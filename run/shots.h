/* SPDX-License-Identifier: MIT */
/* shots - the worked examples of a recipe: a file with one a line.
 *
 *     {"prompt": TEXT, "steps": [{"tool": NAME, "arguments": {...}, "result": TEXT}], "answer": TEXT}
 *                      (steps may be absent)
 *
 * All that a dialect will need of them is checked when the file is read: a shot without an answer would fail every
 * episode that shows it. */
#pragma once

#include <stddef.h>

#include "base/json.h"

typedef struct shot_pool {
    char **data; /* JSON texts */
    size_t len, capacity;
} shot_pool;

/* That it has an "answer", and "steps" that are such where it has some. what: "a shot", for the sentence; ERR_PARSE. */
int shot_check_reply(const json_t *example, const char *what, error *err);
/* Appends the file's shots. ERR_PARSE names file, line and what is missing; ERR_PARSE, too, for a file without any. */
int shots_read(shot_pool *s, const char *path, error *err);
/* That what the steps call are tools of this list (router_tools_json): ERR_PARSE names shot, step and tool. A policy
 * that is shown a tool that isn't there learns to call it. */
int shots_check_tools(const shot_pool *s, const char *tools_json, error *err);
void shots_free(shot_pool *s);
