/* SPDX-License-Identifier: MIT */
/* config - reads a recipe's table into the rooms' structs, by their tables of options (base/option.h). What is wrong is
 * said with file, line (or the argument that said it), key, the value that was found and, where one is near, the key or
 * word that was meant.
 *
 * Lua tables don't remember lines: they are looked for in the text (lua/source.h), and in the modules it requires. */
#pragma once

#include <stdbool.h>

#include "base/option.h"
#include "lua/vm.h"

/* A table of options, and the struct that its rows fill. A list of parts ends without a table. */
typedef struct config_part {
    const option_table *table;
    void *out;
} config_part;

/* What other programs have a key, or a section, for, and ours has not: { "top_k", "there is no top-k sampling" }. */
typedef struct config_alias {
    const char *name, *instead;
} config_alias;

typedef struct config {
    vm *vm;           /* borrowed */
    const char *path; /* of the file */
    char *source;     /* its text; owned */
    const char *const *overrides;
    int n_overrides;
    bool others; /* keys that no row names may be there if they are neither number nor switch; the caller's, set before
                    config_read */
    const char *keys_in;         /* what lists the keys, for a sentence; the caller's. NULL: "troupe train --keys" */
    const config_alias *aliases; /* the caller's; ends without a name. NULL: none */
    /* The caller's: for `word`, which is none of the key's `names` (NULL-terminated), adds " (did you mean ...?)" to
     * `hint`, or nothing. NULL: a name that is near. */
    void (*hint)(const char *key, const char *word, const char *const *names, str *hint);
    const config_part *parts; /* borrowed, since config_read */
} config;

/* Runs the file (it must return a table), applies "key=value" overrides, keeps the table. The values of overrides are
 * what their keys take: text as it stands, numbers, true and false, lists and tables as Lua has them, "{ 0.2, 0.28
 * }". */
int config_open(config *c, vm *v, const char *path, const char *const *overrides, int n, error *err);
void config_close(config *c);
/* Reads every row of the parts, and refuses what no row names; then asks each table's check. `parts` is borrowed until
 * config_close. Strings and what OPTION_VALUE rows have made are the structs' owner's, after an error, too. */
int config_read(config *c, const config_part *parts, error *err);
/* Pushes the value at a key path (nil when absent): for keys that C can't hold, such as functions. Under vm_protect. */
void config_push(lua_State *L, const char *key);
/* The value at `at` as an error message shows it: 'text', 3.5, true, a table. */
enum { CONFIG_SHOWN = 84 };
const char *config_shown(lua_State *L, int at, char out[CONFIG_SHOWN]);
/* An error about a key: "FILE:LINE: KEY: sentence", or "argument 'KEY=VALUE': KEY: sentence" when the command line gave
 * the value. */
int config_error(const config *c, const char *key, error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether a key's file or folder is there: OK, also for "", or config_error's "there is no PATH". */
int config_file(const config *c, const char *key, const char *path, error *err);

/* ---- inside config_open and config_read: what the command line says (lua/config_words.c) ---- */

#define CONFIG_TABLE "troupe.config" /* the file's table, in the VM's registry */

/* The argument that gave the key its value, or a part of it; NULL: the file did. */
const char *config_argument(const config *c, const char *key);
/* Sets "key=value" in the table; tables on the way are made. Of what kind the value is, is guessed. */
int config_override(config *c, const char *word, error *err);
/* The same once more by what the rows of the keys take, now that they are known. Under vm_protect. */
int config_retype(const config *c, lua_State *L, error *err);

/* ---- inside config_read: what may have been meant (lua/config_hints.c) ---- */

/* The i-th row of all parts' rows, or NULL after the last: for (i = 0; (o = config_option(c, i)); i++). */
const option *config_option(const config *c, int i);
const option *config_option_of(const config *c, const char *key); /* NULL: there is none */
/* The key that was most likely meant, or a sentence (it has a space) that says what there is instead; NULL: neither. */
const char *config_near(const config *c, const char *key);
/* For a word that is none of the row's: what was most likely meant, if anything, is added to `hint`. */
void config_hint(const config *c, const option *o, const char *word, str *hint);
