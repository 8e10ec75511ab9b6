/* SPDX-License-Identifier: MIT */
/* episodes - the episodes of a run as people and scripts read them, while it runs or after: from its rollouts.db. */
#pragma once

#include <stdio.h>

#include "exchange/store.h"

typedef enum episode_form {
    EPISODE_LINE,       /* id, step, shots, calls, how it ended, scores, the beginning of the prompt */
    EPISODE_TRANSCRIPT, /* the same, its data row, and all that was said */
    EPISODE_JSON,       /* an object on a line; an objective that is missing is null */
} episode_form;

typedef struct episodes_wanted {
    int64_t step;  /* -1: all */
    bool eval;     /* evaluations, not training */
    uint64_t id;   /* that one, of either kind; 0: all */
    int64_t limit; /* how many at most; -1: all */
    episode_form form;
    store_damage tell; /* hears of each episode that a disk has damaged; it is not shown */
} episodes_wanted;

/* Prints the episodes of `run` that are wanted, and after them, but not in JSON, how much was trained.
 * ERR_NOT_FOUND: the folder is no run, or has no such episode. ERR_PARSE: those that it has are damaged. ERR_IO: it
 * can't be read. What `out` doesn't take is for its owner to notice (ferror). */
int episodes_print(FILE *out, const char *run, const episodes_wanted *wanted, error *err);
