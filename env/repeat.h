/* SPDX-License-Identifier: MIT */
/* repeat - one tool call made many times, as callers make it that each wait for their answer before they ask again: how
 * long a call takes, and how many a machine bears at once. */
#pragma once

#include "env/router.h"

typedef struct repetition {
    const char *tool, *arguments_json;
    int calls;
    int callers; /* calls under way at any time */
} repetition;

typedef struct latency {
    double p50, p90, p99, max; /* ms */
} latency;

/* Makes the calls. *first: the result that came first, its text the caller's (free); without text when none came.
 * ERR_PEER: the machinery failed; then the others are given up, and *first may be there all the same. */
int repeat_calls(router *r, const repetition *what, tool_result *first, latency *out, error *err);

/* Of n > 0 calls; sorts `ms`. */
latency latency_of(double *ms, int n);
