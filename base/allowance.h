/* SPDX-License-Identifier: MIT */
/* allowance - so many at once, and then one every so often: what keeps a log from growing with whoever talks most.
 * Zero-initialise one: it is full at its first use. Time is an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct allowance {
    int64_t last_ms; /* up to when it has been filled */
    int left;
    bool begun;
} allowance;

/* Whether there is one left now. max: at once; every_ms: how often another comes. */
bool allowance_has(allowance *a, int64_t now_ms, int max, int64_t every_ms);
/* Takes one that there is. */
void allowance_take(allowance *a);
