/* SPDX-License-Identifier: MIT */
/* guard - what a query may do to its database: everything inside of it, and nothing outside.
 *
 * An allow-list of SQLite's actions and functions, asked when a statement is prepared (sqlite3_set_authorizer): no
 * ATTACH, no VACUUM INTO, no extension, no virtual table, no pragma but those that describe tables. Under it a file
 * system of SQLite's own kind that opens nothing, in which it is always noon of 1 January 2025 and chance follows from
 * a seed: the same query says the same, whenever it runs. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct guard {
    sqlite3_vfs files; /* the file system that has none */
    uint64_t seed, drawn;
    bool writes; /* a statement that was prepared since this was false changes rows */
} guard;

#define GUARD_FILES "troupe-no-files"

/* Becomes the process' file system; one guard at a time. Before sqlite3_open_v2, with GUARD_FILES. */
void guard_open(guard *g);
void guard_close(guard *g);
/* From now on: what is random follows from `seed`. */
void guard_seed(guard *g, uint64_t seed);
/* From now on: statements of `db` are a stranger's. */
void guard_lock(guard *g, sqlite3 *db);
