/* SPDX-License-Identifier: MIT */
/* environment_trial - `troupe env test`: whether a recipe's environment keeps what docs/env.md asks of one. It is
 * played with texts, and with calls that are made from its tools' schemas; none of them is meant to be a good move.
 *
 *     begins       the first rows can be reset
 *     same start   the same row and seed begin in the same way, in another process, too
 *     same play    the same steps after the same start are answered in the same way
 *     apart        many episodes at once, each goes as it does alone
 *     bad input    whatever a policy may write is answered, and costs no episode
 *     no leak      many resets, steps and closes leave its processes' memory as it was
 *     ends         its processes end with their stdin */
#pragma once

#include "recipe/recipe.h"

typedef struct environment_trial {
    const recipe *recipe;
    logger *log;    /* is told of resets that were lost and asked again, as in a run; NULL allowed */
    int64_t resets; /* of "no leak" */
    void *ctx;
    /* Of each check, in order: why is NULL where it holds, else what was found. note: figures, or "". */
    void (*tell)(void *ctx, const char *check, const char *note, const char *why);
} environment_trial;

/* ERR_STATE: some check fails (all are told of). ERR_ARGUMENT: the recipe has no T.env. */
int environment_trial_run(const environment_trial *t, error *err);
