/* SPDX-License-Identifier: MIT */
/* environment_by_hand - `troupe env play`: an episode of a recipe's environment, played by whoever asks and answers. */
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "recipe/recipe.h"

typedef struct environment_by_hand {
    const recipe *recipe;
    uint64_t row;  /* of data.train, from 0 */
    uint32_t seed; /* as the environment is told it */
    void *ctx;
    /* What the environment says; a step's outcome is JSON text, NULL at the reset. */
    void (*hear)(void *ctx, const char *words, const char *outcome);
    /* The next move, appended to *line: a text, or the name of a tool and its arguments as a JSON object. False: no
     * more. */
    bool (*move)(void *ctx, str *line);
} environment_by_hand;

/* Until the episode is over or there are no more moves. ERR_ARGUMENT: no T.env, or no such row; ERR_PEER: the
 * environment is lost, with the reason. */
int environment_by_hand_play(const environment_by_hand *p, error *err);
