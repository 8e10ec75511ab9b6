/* SPDX-License-Identifier: MIT */
/* rows_ahead - the rows of the steps that a policy version lets begin, as the sampler chose them.
 *
 *     version v is handed out -> the steps up to v + 1 + max_staleness may begin -> each is given its rows, once
 *
 * Steps that have begun keep their rows, whatever is learned meanwhile. They are saved with a checkpoint: a resumed run
 * plays them with the rows that they had. Without a sampler rows come in turn, and nothing is here. */
#pragma once

#include "base/state.h"
#include "curriculum/sampler.h"
#include "exchange/server.h"
#include "recipe/recipe.h"

typedef struct rows_ahead {
    sampler *sampler; /* borrowed; NULL: rows come in turn */
    uint64_t n_rows;  /* of the data set */
    uint32_t prompts; /* rows of a step */
    int64_t steps;    /* that may be ahead at once: max_staleness + 1 */
    int64_t last;     /* step of the run */
    picked_row *rows; /* [steps, prompts] of the last steps that were given rows; a step's at step % steps; owned */
    int64_t picked;   /* the last step that was given rows */
    int64_t restored; /* steps up to this one have their rows from a checkpoint */
} rows_ahead;

void rows_ahead_init(rows_ahead *a, const recipe *r, const dataset *rows, sampler *s, uint32_t prompts);
void rows_ahead_reset(rows_ahead *a);

/* The rows of all steps that version `v` lets begin and that have none, into `v`. */
void rows_ahead_pick(rows_ahead *a, new_version *v);

/* Sections "rows_ahead" and, with a ladder of shots, "shots_ahead", in both directions: what may have begun. */
void rows_ahead_state(rows_ahead *a, saved_state *s);
