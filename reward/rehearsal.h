/* SPDX-License-Identifier: MIT */
/* rehearsal - a reward script played before a run on episodes that any policy can write whenever it likes: without an
 * answer, without a word, with bytes that are no UTF-8, as long as it may, with a tool call that failed.
 *
 * A script that raises on one of them lets the policy choose between a 0 and no score at all: the episode leaves its
 * group, and what should have cost it something teaches nothing. */
#pragma once

#include "reward/scorer.h"

enum { REHEARSAL_PRINTS = 512 }; /* bytes that print may say in all where a script is only tried (scorer_config) */

/* Scores the episodes with `row` (JSON text) as their task; the long ones have `long_bytes` of text.
 * ERR_SCRIPT: the script raised, or reached a cap, and `err` says its line and on which episode. Where an objective
 * is only missing (0/0, say), `note` [size] says so; else it is left as it is. What the machine does wrong is OK. */
int reward_rehearse(scorer *s, const char *row, size_t long_bytes, char *note, size_t size, error *err);
