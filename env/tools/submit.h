/* SPDX-License-Identifier: MIT */
/* submit - the tool by which a policy hands in: { "answer": text } ends the episode, and that is its answer. Made for
 * models that were taught to call a tool for everything.
 *
 * It is an answer in the shape of a call: who plays the episode (actor/rollouts_calls.c) takes it before any tool is
 * asked, so that it counts neither as a call nor towards env.max_turns. What is left for the router is a call whose
 * arguments are wrong, of which the policy reads. */
#pragma once

#include "env/router.h"

#define SUBMIT_NAME "submit"
extern const char SUBMIT_DESCRIPTION[], SUBMIT_PARAMETERS[];

tool submit_tool(void);
/* What a call hands in; NULL: it is of another tool, or hands in nothing. Follows from the words alone, so that an
 * episode that is played again ends in the same place. The caller frees. */
char *submit_answer(const char *name, const char *arguments_json);
