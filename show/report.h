/* SPDX-License-Identifier: MIT */
/* report - what a run says of itself before its first step and after its last, to the person at the terminal. */
#pragma once

#include "show/progress.h"
#include "recipe/recipe.h"

/* What was found when the recipe's files were looked at. Texts are borrowed. */
typedef struct report_facts {
    int64_t parameters; /* of the model */
    const char *device; /* "cpu (avx512, 2 threads)" */
    const char *memory; /* what each process takes, in a line */
    uint64_t train_rows, test_rows;
    const char *note, *reward_note; /* what had better be known; "": nothing */
} report_facts;

/* Model, device, data, plan, where the run lives, how to stop and continue. from_step > 0: the run is resumed there. */
void report_begin(progress *p, const recipe *r, const report_facts *f, const char *run, int64_t from_step);
/* Steps and time, each objective from the first to the last step and evaluation, the checkpoint, what to type next.
 * Figures are the whole run's, of its metrics.jsonl. from_step as above; seconds < 0: nothing was done, the run was
 * finished already, perhaps with more steps than the recipe now has. ERR_STATE: no step of the run had anything to
 * learn from, though it was to learn. */
int report_end(progress *p, const recipe *r, const char *run, int64_t from_step, double seconds, error *err);
/* Whether all steps of the run are done, and the evaluation after the last: then there is nothing to resume. */
bool report_finished(const recipe *r, const char *run, int64_t step);
