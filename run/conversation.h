/* SPDX-License-Identifier: MIT */
/* conversation - questions as they come, each played with a recipe's tools as an episode of its own.
 *
 *     ask -> "text" -> task { "prompt": text } -> episode -> answer
 *
 * One after the other: the next question is asked for when the last is answered. Nothing carries over from one to the
 * next but the numbers that seed their tools. */
#pragma once

#include "base/log.h"
#include "base/str.h"
#include "recipe/recipe.h"

typedef struct conversation {
    const char *model;  /* a model folder or a checkpoint; NULL: the recipe's */
    int64_t shots;      /* worked examples before each question */
    double temperature; /* 0: always the likeliest token */
    void *ctx;
    /* Adds the next question, any bytes, to `out`, which is empty; false ends. One longer than a row may be ends,
     * too. */
    bool (*ask)(void *ctx, str *out);
    /* What became of it, borrowed: the transcript, or, where the machinery failed, NULL and the sentence why. */
    void (*answer)(void *ctx, const char *transcript, const char *why);
} conversation;

/* Until `ask` ends it. ERR_ARGUMENT: a key on the command line that a conversation doesn't read, or what checks_open
 * refuses. */
int conversation_run(const recipe *r, const conversation *c, logger *log, error *err);
