/* SPDX-License-Identifier: MIT */
/* role - what the three roles of a fleet share: recipe, loop and log, opened from a command line; an end with a
 * sentence. */
#pragma once

#include "base/log.h"
#include "cli/arguments.h"
#include "cli/recipe.h"
#include "proto/loop.h"

typedef struct role {
    const char *name; /* of the verb */
    arguments arguments;
    recipe *recipe;
    logger *log;
    loop *loop;
    int64_t wait_s; /* --wait: for so long a learner may be silent */
    bool works;     /* it connects to a learner */
    bool helped;    /* --help was asked for: `usage` is printed, there is nothing to do */
} role;

/* Parses, opens, prints what is wrong. 0, or the process's exit status. `log_name`: where --name is written,
 * or NULL. */
int role_open(role *r, int argc, char **argv, const flag *flags, const char *const *log_name, int (*usage)(FILE *to));
/* The same for those who connect: --connect ADDRESS, which they need, --name NAME and --wait SECONDS. */
int role_open_worker(role *r, int argc, char **argv, const char **address, const char **name, int (*usage)(FILE *to));
/* Closes all; the exit status for `rc`, with its sentence printed, and told to the supervisor where there is one
 * (LAST_WORDS_FD). A worker whose learner is silent asks its supervisor to be started again (RANK_AGAIN). */
int role_close(role *r, int rc, const error *err);
