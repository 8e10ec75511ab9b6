/* SPDX-License-Identifier: MIT */
/* role - what the three roles of a fleet share: recipe, loop and log; an end with a sentence. */
#pragma once

#include "base/log.h"
#include "proto/loop.h"
#include "recipe/recipe.h"
#include "run/fetch.h"

typedef struct role_options {
    const char *verb;   /* "actor" */
    const char *name;   /* in logs, and for the learner; NULL: the verb, and of a worker a number that is its own */
    const char *recipe; /* its path; NULL: a worker's is the learner's, which is waited for */
    const char *const *overrides;
    int n_overrides;
    const char *address; /* of the learner, which a worker needs */
    int64_t wait_s;      /* for so long a worker's learner may be silent */
} role_options;

typedef struct role {
    const role_options *options; /* borrowed */
    recipe *recipe;
    logger *log;
    loop *loop;
    char made[32];     /* the name of a worker that was given none */
    const char *name;  /* the options', or that */
    bool works;        /* it connects to a learner */
    bool *again;       /* of role_open_worker */
    parcel_list files; /* a worker's: what it plays or scores with; none where that can't be told */
    fetched fetched;   /* where the recipe lies that a learner has sent */
} role;

/* Opens recipe, log and loop. OK, or what the verb is to return: all is closed then. */
int role_open(role *r, const role_options *o, error *err);
/* The same for those who connect. *again becomes true when the role's end asks its supervisor, where there is one, to
 * start it again (RANK_AGAIN): its learner is silent. */
int role_open_worker(role *r, const role_options *o, pack_for what, bool *again, error *err);
/* Closes all, and tells the supervisor, where there is one (LAST_WORDS_FD), the sentence of `rc`. Returns `rc`. */
int role_close(role *r, int rc, const error *err);
/* Whether a supervisor has started this process, and is told the sentence of its end. */
bool role_is_supervised(void);
/* Ends the process at once, with the sentence and RANK_AGAIN: for a role of which a thread can't be ended any more.
 * What counts is on disk. */
__attribute__((noreturn)) void role_abandon(const role *r, const error *err);
