/* SPDX-License-Identifier: MIT */
/* landlock - which files this process may touch from now on, by the kernel's Landlock: what no rule allows is refused.
 * Signals to processes outside are, too, and their abstract sockets (from version 6 on); TCP where it is asked (4). */
#pragma once

#include <stdbool.h>

#include "base/error.h"

typedef enum landlock_use {
    LANDLOCK_READ, /* and list */
    LANDLOCK_RUN,  /* and execute */
    LANDLOCK_ALL,  /* and write, make, remove */
} landlock_use;

/* This kernel's version; 0: it has none. */
int landlock_version(void);
/* A descriptor of no rules yet; -1 and `err`. */
int landlock_begin(bool tcp_too, error *err);
/* A file, or a folder and all below it. One that is not there, or that this user can't reach, needs no rule. */
int landlock_allow(int rules, const char *path, landlock_use use, error *err);
/* For good, of this thread and all that it starts. It has no_new_privs. Closes rules. */
int landlock_enter(int rules, error *err);
