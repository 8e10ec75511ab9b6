/* SPDX-License-Identifier: MIT */
/* arguments - what the verbs' command lines have in common: words, --options with types and ranges, key=value.
 *
 *     const flag flags[] = { { .name = "--shots", .whole = &shots, .min = 0, .max = 64 },
 *                            { .name = "--json", .present = &json }, { 0 } };
 *     if ((rc = call_open(c, flags, err)) != OK) return rc;                     (verbs.h)
 *
 * All that can be wrong with a command line by itself is found here, before a verb has begun: options that don't exist,
 * values of another type or out of range, words too few or too many. The first wins of errors, the last of values. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum { MAX_POSITIONAL = 40, MAX_OVERRIDES = 96 };

/* One option. Exactly one of the places is set: it says what kind of value the option takes. An option that isn't given
 * leaves its place as it was. */
typedef struct flag {
    const char *name;           /* "--model" */
    bool *present;              /* takes no value */
    const char **text;          /* any text that isn't empty */
    const char **any;           /* any text, the empty one too */
    int64_t *whole;             /* a whole number from min to max */
    double *number;             /* a finite number from min to max */
    uint64_t *hex;              /* an id of up to 16 hexadecimal digits */
    int *choice;                /* the place of the value in `choices` */
    const char *const *choices; /* NULL-terminated */
    double min, max;
} flag;

typedef struct syntax {
    const flag *flags; /* ends with a row without a name; NULL: none */
    const char *words; /* as the usage line names them: "REWARD.lua FILE" */
    int min, max;      /* how many words */
    bool keys;         /* key=value is an override; else it is a word like others */
} syntax;

typedef struct arguments {
    const char *positional[MAX_POSITIONAL];
    int n_positional;
    int n_before;                         /* of these, how many stand before "--"; all where there is none */
    const char *overrides[MAX_OVERRIDES]; /* "key=value" */
    int n_overrides;
    bool help;
} arguments;

/* argv[0] is the verb. ERR_ARGUMENT names the word, what was expected, and the nearest option. */
int arguments_parse(arguments *a, int argc, char **argv, const syntax *s, error *err);

/* A value of `what` that has to be a number, whole or not, from min to max; the whole text is read. */
int value_whole(const char *what, const char *text, int64_t min, int64_t max, int64_t *out, error *err);
int value_number(const char *what, const char *text, double min, double max, double *out, error *err);
