/* SPDX-License-Identifier: MIT */
/* coherence - whether an episode agrees with itself and with its task: whether an actor can have made it so
 * (actor/rollouts.h).
 *
 *     tokens      | prompt | hint | policy ... | observation ... | policy ... |
 *     turns              [ turn 0            )                   [ turn 1     )    they tile policy and hint
 *     wrote                    h  1 3 2 0 4                        2 1 5           a turn's add up to its text
 *     text        turn 0's text, turn 1's text, ... one after the other
 *     transcript  the same with what the tokens hold beyond it (residue), observations between
 *     calls       a turn's are its own; every turn but the last has some; every one was answered
 *     outcomes    of calls, and the opening before all: where episodes are played in an environment
 *     stop        how the last turn ends
 *
 * Rewards judge texts and the learner trains on tokens: what does not hold both together would let the one be rewarded
 * for the other.
 *
 * It knows neither tokenizer nor dialect nor tools. So it can't tell whether these ids spell that text, whether the
 * text calls what was called, what a tool would have said, how long it took, or whether the policy would have sampled
 * this with those probabilities. */
#pragma once

#include "exchange/limits.h"

/* Of an episode that did not fail, passed episode_check, and lies within the limits, which are known (limits_episode
 * asks in this order). ERR_PARSE names the first thing that does not fit, and what it does not fit. */
int coherence_check(const limits *l, const task *t, const episode *e, error *err);
