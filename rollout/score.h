/* SPDX-License-Identifier: MIT */
/* score - named objectives of one episode: a value or missing, never 0 in silence. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { MAX_OBJECTIVES = 16, OBJECTIVE_NAME = 32 };

/* No objective and no span is larger in size: one that were would drown all others of its group. Far beyond what
 * rewards are, so that it only catches mistakes. */
#define MAX_SCORE 1000.0

typedef struct objective_value {
    char name[OBJECTIVE_NAME];
    double value; /* NaN: missing */
} objective_value;

/* A reward on a span of what the policy wrote: from the objective's span before it (or the beginning) up to and with
 * byte `end` of the episode's text. */
typedef struct reward_span {
    char name[OBJECTIVE_NAME];
    uint32_t end;
    double value;
} reward_span;

enum { MAX_SPANS = 4096 };

typedef enum score_status {
    SCORE_OK,      /* the script returned; single objectives may still be missing */
    SCORE_SCRIPT,  /* the script raised, returned rubbish, or hit one of its caps: the author's fault, the score is
                      missing */
    SCORE_MACHINE, /* the worker died or timed out: will be asked again elsewhere */
} score_status;

typedef struct score {
    uint64_t task;
    score_status status;
    objective_value values[MAX_OBJECTIVES];
    int n_values;
    reward_span *spans; /* [n_spans] objective by objective, ends ascending; owned */
    uint32_t n_spans;
    char *error; /* a sentence with the script's line when status != SCORE_OK; owned */
    char *info;  /* JSON text for the viewer, or NULL; owned */
    double ms;
} score;

void score_reset(score *s);
score *score_copy(const score *s); /* for tests, whose groups own scores that they compare with afterwards */
void score_free(score *s);
/* Sets (or replaces) a value; NaN and infinities become missing. ERR_FULL beyond MAX_OBJECTIVES, ERR_ARGUMENT for a
 * name that is empty or too long. */
int score_set(score *s, const char *name, double value, error *err);
/* Adds a span after the others: an objective's one after the other, ends ascending. ERR_ARGUMENT for one that isn't in
 * order or whose objective has no value, ERR_FULL beyond MAX_SPANS. */
int score_add_span(score *s, const char *name, uint32_t end, double value, error *err);
bool score_has_spans(const score *s, const char *name);
double score_get(const score *s, const char *name); /* NaN: missing */
/* ERR_PARSE for what no scorer sends: a name that is empty or there twice, a value or span beyond MAX_SCORE, spans out
 * of order, no such status. */
int score_check(const score *s, error *err);
