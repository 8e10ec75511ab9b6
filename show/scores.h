/* SPDX-License-Identifier: MIT */
/* scores - what reward scripts gave, for people and for programs: a score, and a tally of many.
 *
 *     right 1  short missing                                      {"right": 1.0, "short": null}
 *
 *     3 episodes, 1 without a score
 *       1 without a score: reward.lua:4: attempt to index a nil value
 *       right                    mean 0.5000 over 2 */
#pragma once

#include <stdio.h>

#include "base/json.h"
#include "rollout/score.h"

/* NAME VALUE of each objective, so many digits a value, with `between` between them; one may be missing. */
void score_print_values(FILE *out, const score *sc, const char *between, int digits);
/* {NAME: VALUE or null}; the caller frees. NULL is a score without objectives. */
json_t *score_objectives_json(const score *sc);

enum { TALLY_REASONS = 4 };

typedef struct score_tally {
    uint64_t episodes, missing;
    uint64_t unread;                    /* of these: data that is no episode */
    char *reasons[TALLY_REASONS];       /* why episodes have no score: the first that differ; owned */
    uint64_t had_reason[TALLY_REASONS]; /* episodes */
    score sums;                         /* of each objective */
    score counts;                       /* how many had it */
} score_tally;                          /* zero-initialise */

void score_tally_add(score_tally *t, const score *sc);
void score_tally_print(FILE *out, const score_tally *t);
void score_tally_reset(score_tally *t);
