/* SPDX-License-Identifier: MIT */
/* role - what the three roles of a fleet share: recipe, loop and log, opened from a command line; an end with a
 * sentence. */
#pragma once

#include "base/log.h"
#include "cli/fetch.h"
#include "cli/verbs.h"
#include "proto/loop.h"
#include "recipe/recipe.h"

typedef struct role {
    call *call; /* borrowed */
    recipe *recipe;
    logger *log;
    loop *loop;
    char name[32];     /* of a worker that was given none */
    int64_t wait_s;    /* --wait: for so long a learner may be silent */
    bool works;        /* it connects to a learner */
    parcel_list files; /* a worker's: what it plays or scores with; none where that can't be told */
    fetched fetched;   /* where the recipe lies that a learner has sent */
} role;

/* Reads the call's words and opens recipe, log and loop. OK, or what the verb is to return: all is closed then.
 * `log_name`: where --name is written, or NULL. */
int role_open(role *r, call *c, const flag *flags, const char *const *log_name, error *err);
/* The same for those who connect: --connect ADDRESS, which they need, --name NAME and --wait SECONDS. Without RECIPE.lua
 * the recipe is the learner's, which is waited for. */
int role_open_worker(role *r, call *c, pack_for what, const char **address, const char **name, error *err);
/* Closes all, and tells the supervisor, where there is one (LAST_WORDS_FD), the sentence of `rc`. Returns `rc` for the
 * verb. A worker whose learner is silent asks its supervisor to be started again (RANK_AGAIN). */
int role_close(role *r, int rc, const error *err);
/* Ends the process at once, with the sentence and RANK_AGAIN: for a role of which a thread can't be ended any more. What
 * counts is on disk. */
__attribute__((noreturn)) void role_abandon(const role *r, const error *err);
