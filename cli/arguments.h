/* arguments - what the verbs' command lines have in common: positionals, --flags, key=value overrides. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum { MAX_POSITIONAL = 8, MAX_OVERRIDES = 64 };

typedef struct flag {
    const char *name;   /* "--model" */
    const char **value; /* takes a value, written here; or */
    bool *present;      /* takes none */
} flag;

typedef struct arguments {
    const char *positional[MAX_POSITIONAL];
    int n_positional;
    const char *overrides[MAX_OVERRIDES]; /* "key=value" */
    int n_overrides;
    bool help;
} arguments;

/* argv[0] is the verb. flags ends with a row without a name. ERR_ARGUMENT names the word, and the nearest flag. */
int arguments_parse(arguments *a, int argc, char **argv, const flag *flags, error *err);
