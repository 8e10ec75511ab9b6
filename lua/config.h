/* SPDX-License-Identifier: MIT */
/* config - reads a recipe's table by a schema: one row a key. What is wrong is said with file, line (or the argument
 * that said it), key, the value that was found and the nearest right key.
 *
 * Lua tables don't remember lines: they are looked for in the text (lua/source.h), and in the modules it requires. */
#pragma once

#include <stdbool.h>

#include "lua/vm.h"

typedef enum config_kind {
    CONFIG_TEXT,   /* char[size] */
    CONFIG_PATH,   /* char[size]; relative to the file's folder; must exist */
    CONFIG_INT,    /* int64_t */
    CONFIG_NUMBER, /* double */
    CONFIG_BOOL,   /* bool */
    CONFIG_VALUE,  /* known, but read by the caller (config_push) */
} config_kind;

typedef struct config_row {
    const char *key; /* "rollout.group"; NULL ends the schema */
    config_kind kind;
    size_t offset, size;
    double least, most;
    const char *otherwise; /* default, as text; NULL: the key is required (CONFIG_VALUE: it may be absent) */
    const char *help;
} config_row;

/* What a key, or a section, is called elsewhere: { "num_generations", "rollout.group" }; or, with a space in it, what
 * there is instead of it: { "top_k", "there is no top-k sampling" }. */
typedef struct config_alias {
    const char *name, *key;
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
    const config_alias *aliases; /* the caller's, set before config_read; ends without a name. NULL: none */
} config;

/* Runs the file (it must return a table), applies "key=value" overrides, keeps the table. The values of overrides are
 * Lua literals (numbers, true, false) or else text. */
int config_open(config *c, vm *v, const char *path, const char *const *overrides, int n, error *err);
void config_close(config *c);
/* Reads every row into `out`, and refuses what no row names. */
int config_read(config *c, const config_row *rows, void *out, error *err);
/* Pushes the value at a key path (nil when absent): for CONFIG_VALUE rows. Under vm_protect. */
void config_push(lua_State *L, const char *key);
/* The value at `at` for a sentence: 'text', 3.5, true, a table. */
enum { CONFIG_SHOWN = 84 };
const char *config_shown(lua_State *L, int at, char out[CONFIG_SHOWN]);
/* An error about a key: "FILE:LINE: KEY: sentence", or "argument 'KEY=VALUE': KEY: sentence" when the command line gave
 * the value. */
int config_error(const config *c, const char *key, error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
