/* SPDX-License-Identifier: MIT */
/* adapter - plugins/python/troupe_env.py, which plays other people's Python environments (docs/env_python.md), as verbs
 * start it. An environment is named KIND:NAME there, as in gymnasium:FrozenLake-v1. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum { ADAPTER_PATH = 1024 };

typedef struct adapter {
    char python[ADAPTER_PATH];  /* absolute; a link of a virtual environment is not followed, since Python goes by it */
    char program[ADAPTER_PATH]; /* troupe_env.py */
    char root[ADAPTER_PATH];    /* the folder that holds plugins/ and models/ */
} adapter;

/* All kinds, as troupe_env.py knows them; NULL-terminated. */
extern const char *const ADAPTER_KINDS[];

/* Whether `what` is KIND:NAME. ERR_ARGUMENT proposes the nearest KIND. */
int adapter_check_name(const char *what, error *err);
/* python: a program, or the folder of a virtual environment; NULL: that of $VIRTUAL_ENV, else `python3`. troupe_env.py
 * is looked for where we are: in the source tree, or where we are installed. ERR_IO: which is missing. */
int adapter_find(adapter *a, const char *python, error *err);
/* Runs it with `words`, NULL-terminated, to its end, -> its exit status. out: becomes its stdout; -1: ours. */
int adapter_run(const adapter *a, const char *const *words, int out, int *status, error *err);
