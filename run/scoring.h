/* SPDX-License-Identifier: MIT */
/* scoring - a reward script on episodes that are already there: lines of JSON, or a run's rollouts.db.
 *
 * A line is a data row with the model's "response": {"prompt": ..., "answer": ..., "response": ...}. One that can't be
 * read costs itself: it has its number, no score, and the reason. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct scoring_request {
    const char *script;  /* reward.lua */
    const char *file;    /* "*.db": a run's episodes; else lines of JSON */
    const char *dialect; /* how an answer stands in a response of a line */
    int64_t timeout_ms;  /* CPU time of one call */
    bool json;           /* a line of JSON an episode; else a line each for people, and a summary */
    /* Hears what isn't a result: of episodes that a disk has damaged, and of what a training would refuse. */
    void (*tell)(void *ctx, const char *sentence);
} scoring_request;

/* Scores them in their order and prints to `out`. ERR_SCRIPT: the script can't be loaded; other errors: the file can't
 * be read, or not one of its lines. */
int scoring_run(FILE *out, const scoring_request *request, error *err);
