/* SPDX-License-Identifier: MIT */
/* bind_episode - a task and an episode as a reward script sees them: plain tables, made anew for each call, so that a
 * script that changes or keeps them harms only itself. */
#pragma once

#include <lua.h>

#include "rollout/episode.h"

/* Pushes the task's row as a table (task.prompt, task.answer, ...); null in it is json.null, but for its own fields,
 * where it is nil. Reading a field that is almost one of the row's raises with that one. Raises when the row is not
 * JSON. */
void bind_push_task(lua_State *L, const task *t);
/* Pushes text, transcript, answer, turns[], tool_calls[], tokens, stop_reason, wall_ms, n_shots; reading another field
 * raises with the list. */
void bind_push_episode(lua_State *L, const episode *e);
