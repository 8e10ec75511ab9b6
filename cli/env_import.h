/* SPDX-License-Identifier: MIT */
/* env_import - `troupe env import KIND:NAME`: a folder with the recipe, reward and rows of a Python environment.
 * troupe_env.py writes it (plugins/python/troupe_adapters/recipe.py): it alone knows the packages. */
#pragma once

#include <stdint.h>

#include "base/error.h"

typedef struct env_import {
    const char *what;   /* KIND:NAME */
    const char *into;   /* NULL: a folder here, with the name of the environment */
    const char *model;  /* NULL: models/smollm2, here or beside Troupe */
    const char *python; /* NULL: as adapter_find chooses */
    const char *config; /* a JSON object; NULL: none */
    const char *data;   /* a file with rows; NULL: those that the environment makes */
    int64_t rows, seed;
} env_import;

/* -> the exit status of troupe_env.py, which has told what is wrong. An error of ours: it was not started. */
int env_import_run(const env_import *q, int *status, error *err);
/* The last part of NAME, without what can't be in the name of a folder. */
void env_import_folder(const char *what, char *out, int size);
