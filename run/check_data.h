/* SPDX-License-Identifier: MIT */
/* check_data - the files that a recipe names, looked at once by the roles that need them.
 *
 *     learner    model, rows of data.train and data.test          actor    model, dialect, shots
 *     reward     the reward script                                train    all of it, before any of them starts
 *
 * recipe_open reads keys alone, so that an actor on another machine has no use for the learner's files. Each mistake is
 * said with the recipe's line, or the argument, that named the file. */
#pragma once

#include "recipe/recipe.h"

enum {
    NEEDS_MODEL = 1, /* the folder is there */
    NEEDS_TRAIN = 2, /* rows can be read, and have what moo, preferences, stages and hints look for in them */
    NEEDS_TEST = 4,
    NEEDS_WORDS = 8,   /* the dialect can be loaded, and has the options; the file of the shots is there */
    NEEDS_SCRIPT = 16, /* the reward script can be loaded */
    NEEDS_ALL = 31
};

/* `needs`: the sum of what is to be looked at. ERR_ARGUMENT for the first file that is not as it should be. */
int check_data(const recipe *r, unsigned needs, error *err);
