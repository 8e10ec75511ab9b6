/* SPDX-License-Identifier: MIT */
/* machine - what this machine can and can't do for a run: processor and accelerator, memory, limits, folders, the
 * sandbox and each of its layers, tried by breaking it. Takes a few seconds, changes nothing, and needs no recipe. */
#pragma once

typedef enum finding_kind {
    FINDING_GOOD,
    FINDING_BAD,    /* a run would suffer */
    FINDING_ABSENT, /* not there, and not needed */
} finding_kind;

typedef struct finding {
    finding_kind kind;
    const char *what;   /* a word or two: "memory" */
    const char *detail; /* what was found, or why it isn't there */
    const char *advice; /* what to do about it when it is bad; NULL: nothing that we know of */
} finding;

/* Calls `say` for each thing as it is found, in one order. The texts are borrowed for the call. */
void machine_examine(void (*say)(void *ctx, const finding *f), void *ctx);
