/* SPDX-License-Identifier: MIT */
/* python - the tool that runs Python code: { "code": text } -> what the code printed.
 *
 * Plain script semantics, nothing survives a call. An exception's last line, a time limit or too much output are the
 * code's own doing and are shown to the policy; a sandbox that died is a failure of the machinery. */
#pragma once

#include "env/router.h"
#include "env/sandbox/box.h"

/* What a policy is told of it. */
#define PYTHON_NAME "python"
extern const char PYTHON_DESCRIPTION[], PYTHON_SESSION_DESCRIPTION[], PYTHON_PARAMETERS[];

/* at_once: calls that run at the same time; the others wait their turn, with their clock stopped. 0: 64. Waiting for a
 * processor is not counted as a call's time, so that it may be more than there are cores; memory may come to at_once
 * times (memory_mb + tmp_mb). */
int python_tool(const box_config *config, int at_once, tool *out, error *err);
/* The same, but what a call defines the next calls of its episode find (cells.h). A time limit is for a call and the
 * earlier ones that it runs again, together. */
int python_session_tool(const box_config *config, int at_once, tool *out, error *err);

/* A router with this tool alone, for who has no recipe. */
router *python_router(const box_config *config, error *err);
