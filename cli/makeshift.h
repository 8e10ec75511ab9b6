/* SPDX-License-Identifier: MIT */
/* makeshift - a recipe for an environment that has none yet, so that `troupe env test game.lua` needs nothing else. It
 * stands in a temporary folder, and says no more than which environment is played with which rows. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/held_folder.h"

typedef struct makeshift_words {
    const char *plugin;         /* a .lua, a .so, a program, KIND:NAME (adapter.h) or mcp:SERVER; NULL: the command */
    const char *const *command; /* [n_command] a program and its arguments */
    int n_command;
    const char *config; /* JSON objects; NULL: {} */
    const char *row;    /* NULL: those that KIND:NAME makes, or {} */
    const char *python; /* of KIND:NAME; NULL: as adapter_find chooses */
    int64_t rows;       /* of KIND:NAME; 0: the recipe's tools are all that is wanted */
} makeshift_words;

typedef struct makeshift {
    held_folder folder;
    char recipe[256];
} makeshift;

/* status: other than 0 when troupe_env.py could make no rows, and has told why. On an error everything is closed. */
int makeshift_open(makeshift *m, const makeshift_words *w, int *status, error *err);
/* Takes the recipe's name off the front of a sentence: the user has no such file. */
void makeshift_unname(const makeshift *m, error *err);
void makeshift_close(makeshift *m);
