/* SPDX-License-Identifier: MIT */
/* option - one key that a user may set, described once: name, type, range, default, spellings, help.
 *
 *     a room:   static const option ROWS[] = {
 *                   { "optim.lr", OPTION_NUMBER, AT(optim.lr), 0, 10, "1e-6", .help = "learning rate" }, ...
 *               const option_table OPTIM_OPTIONS = { "The optimizer", "AdamW with ...", ROWS, check };
 *
 *     recipe/:  joins the rooms' tables, reads a recipe's values into the rooms' own config structs, prints the keys
 *
 * The row belongs to the room whose struct it fills, which alone knows the struct's insides; who reads the user's file
 * knows none of them. A key is added by adding its row: the reader, --keys and docs/keys.md follow from it.
 *
 * Values reach a room as plain C, or, where a key is more than one number or word, as JSON (OPTION_VALUE). No Lua here:
 * every floor may use this file. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"

/* What stands at the row's place in the struct, and what a user writes for it. */
typedef enum option_kind {
    OPTION_TEXT,    /* char[size] */
    OPTION_STRING,  /* char *, of any length: malloc'ed, the struct's owner frees */
    OPTION_PATH,    /* char[size]: relative to the recipe's folder. Whether it exists is asked by who opens it */
    OPTION_NAMED,   /* char[size]: a name of ours, or a path when it has a dot or a slash */
    OPTION_WHOLE,   /* a whole number: int, int32_t, uint32_t or int64_t, as `size` says */
    OPTION_NUMBER,  /* double or float, as `size` says */
    OPTION_BOOL,    /* bool */
    OPTION_WORD,    /* an enum: one of `words` */
    OPTION_PAIR,    /* two doubles, one after the other: { a, b }, each from min to below max */
    OPTION_PRESETS, /* nothing: one of `presets`, which stands for defaults of other keys */
    OPTION_VALUE,   /* what `read` makes of it; without `read` the key is known, and other code reads it */
} option_kind;

/* A name that stands for what its paper does. `defaults` are keys of the same section and their values, with blanks
 * between: "mean=group clip=0.2,0.2"; what a user sets wins over them. The last preset of a list has no name. */
typedef struct option_preset {
    const char *name, *defaults, *help;
} option_preset;

typedef struct option_reading option_reading;

typedef struct option {
    const char *key; /* "rollout.group"; a table's rows end without one */
    option_kind kind;
    size_t offset, size; /* of its place in the room's struct */
    double min, max;
    const char *fallback; /* the default, as text; NULL: the key is needed; OPTION_VALUE, and "": left as it is */
    const char *help;     /* one line */
    const char *more;     /* its paragraph in docs/keys.md, after `help`: when to change it, paper, what goes with it */
    const char *elsewhere; /* what other trainers call it, between blanks: for "did you mean" */
    const char *needs;     /* the key without which this one says nothing, and is refused; NULL: none */
    const char *unless;    /* the section beside which this one is not needed, though it has no default; NULL: none */
    const word_row *words;
    const option_preset *presets;
    /* Puts the value into `config`, the room's struct. Returns OK, or what option_wrong or option_expected return. */
    int (*read)(void *config, const json_t *value, option_reading *reading);
} option;

/* A member's place, for a row: #define AT(member) OPTION_AT(trainer_config, member) */
#define OPTION_AT(type, member) offsetof(type, member), sizeof(((type *)0)->member)

typedef struct option_table {
    const char *title, *about; /* of its part of docs/keys.md; without a title its keys are printed among others' */
    const char *after;         /* without a title: the key of another table after which they are printed */
    const option *rows;
    /* After all rows of all tables: what keys of this table mean together, and which can't be. NULL: nothing. */
    int (*check)(void *config, option_reading *reading);
} option_table;

/* ---- for the functions of a row or a table ---- */

enum { OPTION_KEY_BYTES = 128, OPTION_PATH_BYTES = 1024 };

/* A reading of a recipe, as a room sees it. Filled by the reader; `key`, `text` and `found` by the two below. */
struct option_reading {
    const char *dir; /* the recipe's folder */
    bool (*given)(void *ctx, const char *key);
    void *ctx;
    char key[OPTION_KEY_BYTES]; /* what is wrong */
    char text[320];             /* why */
    bool found;                 /* the value that was found belongs after it */
};

/* Whether the user has set the key, in the recipe or on the command line. */
bool option_given(const option_reading *r, const char *key);
/* Something about a key is wrong: a sentence. Returns ERR_ARGUMENT. */
int option_wrong(option_reading *r, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same as "expected WHAT, found VALUE". */
int option_expected(option_reading *r, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A list of `min` to `max` names of at most size - 1 characters -> out [max][size], *n of them. */
int option_names(option_reading *r, const char *key, const json_t *list, int min, int max, char *out, int size, int *n);
/* Whether every field of the object `value` is one of `names` (NULL-terminated); one that is not is named, with the one
 * that was meant. What is no object has none. */
int option_fields(option_reading *r, const char *key, const json_t *value, const char *const *names);

/* ---- for the reader ---- */

/* Puts a value where the row says, in the room's struct. It lies within min and max, and is whole where the kind is. */
void option_set_number(const option *o, void *config, double value);
void option_set_word(const option *o, void *config, int value);
void option_set_bool(const option *o, void *config, bool value);
void option_set_pair(const option *o, void *config, const double value[2]);
/* A default, as rows and presets write it. ERR_ARGUMENT for a text that the row can't mean: a mistake in a table. */
int option_set_text(const option *o, void *config, const char *text, error *err);
/* Every default of the table, presets left out: what a recipe that sets nothing means. Needed keys are left alone. */
int option_defaults(const option_table *table, void *config, error *err);
/* The value that a preset gives the key, or NULL. `section` is that of the presets' row: "algorithm.". The caller
 * frees. */
char *option_preset_text(const option_preset *p, const char *section, const char *key);
