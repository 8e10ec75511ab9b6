/* SPDX-License-Identifier: MIT */
/* verbs - what the program does, a file a verb: cli/cmd_NAME.c exports one row,
 *
 *     const verb VERB_MOO = { .name = "moo", .synopsis = "--method M", .help = "many gradients to one direction",
 *                             .usage = "usage: troupe moo --method METHOD ...", .run = run };
 *
 * and verbs.def lists it. The rest is said once, in verbs.c: --help and -h print the usage, an error is one line
 * `troupe: moo: SENTENCE` on stderr, and the exit status is
 *
 *     0  done        1  it could not be done        2  called wrongly        130  stopped by a signal
 *
 * What a verb prints is its result: one that could not be written is a failure, whatever the verb says of itself. Not
 * so for a training and its roles, whose results are in the run folder: a terminal that goes away must not end them. */
#pragma once

#include "cli/arguments.h"

typedef struct call call;

typedef struct verb {
    const char *name;
    const char *synopsis;          /* what it takes, in the list of verbs; NULL: nothing */
    const char *help;              /* one line there; NULL: hidden */
    const char *usage;             /* what --help prints first */
    void (*print_usage)(FILE *to); /* and then, where a table is to be printed; NULL: nothing */
    const char *words;             /* the words it takes, as an error names them: "REWARD.lua FILE" */
    int min_words, max_words;
    bool keys;    /* key=value is an override; else it is a word like others */
    bool reports; /* what it prints is a report on work that is safe elsewhere */
    /* OK, CALL_OVER, or an error whose sentence is printed. */
    int (*run)(call *c, error *err);
} verb;

struct call {
    const verb *verb;
    int argc;
    char **argv;         /* argv[0] is the verb's name */
    arguments arguments; /* once call_open has read them */
    bool prints_text;    /* --help or another text was asked for, and is the result */
    int status;          /* the exit status, where it isn't said by what `run` returns; 0: it is */
};

enum { CALL_OVER = -1 }; /* all is said: the usage, or a problem that has been reported */

/* Reads the command line by the verb's row and `flags` (ends with a row without a name; NULL: none). OK: continue.
 * Anything else is for `run` to return. */
int call_open(call *c, const flag *flags, error *err);
/* ERR_ARGUMENT with a sentence: the command line itself can't be, so the exit status is 2. */
int call_wrong(call *c, error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `rc`, and status 2 where it is ERR_ARGUMENT. */
int call_checked(call *c, int rc);
/* Prints the usage on stderr; CALL_OVER, status 2. */
int call_misused(call *c);

/* Runs a verb; its exit status. */
int verb_main(const verb *v, int argc, char **argv);
/* `status`, once all that was printed has reached standard output; 1, with a sentence, when it has not. name: of the
 * verb, or "". */
int verbs_finish_output(const char *name, int status);

#define VERB(NAME) extern const verb VERB_##NAME;
#include "cli/verbs.def"
#undef VERB
