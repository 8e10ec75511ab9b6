/* SPDX-License-Identifier: MIT */
/* witness - whether an episode is what comes of its task: plays it again, with the tokens that it says were sampled and
 * what it says that the tools said, and compares.
 *
 *     task, tokenizer, dialect, shots   ->  prompt and hint, token by token
 *     the sampled ids                   ->  texts, turns, calls, answer, how it ends, where the next token is sampled
 *     what the tools said               ->  observations as tokens
 *
 * It needs neither model nor tools, and takes what a dialect takes to read a text. What is left to whoever played:
 * which tokens were sampled, with which probability, what a tool said and how long it took.
 *
 * A dialect is a function of what it reads: one that is not can't be witnessed. One thread uses a witness. */
#pragma once

#include "actor/rollouts.h"

typedef struct witness witness;

/* `words`: as an actor of the run has it, but for engine and router, which are not needed. Copied; what it points to is
 * borrowed. */
witness *witness_new(const rollout_config *words, int max_context);
void witness_free(witness *w);
/* Of an episode that did not fail and lies within the run's limits (exchange/limits.h), or that says that its prompt
 * can't be made. ERR_PARSE: the first thing that an actor would have made differently. */
int witness_check(witness *w, const task *t, const episode *e, error *err);
