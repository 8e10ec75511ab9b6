/* SPDX-License-Identifier: MIT */
/* database - a scratch SQLite database in memory, and what queries of a policy's say of it as text:
 *
 *     id | name  | price          a result: names, then a row a line; NULL; blobs as x'00FF...'; a newline is \n
 *     1  | apple | 0.5            (without the spaces that this picture has: columns are separated by " | ")
 *     [more rows: the first 50 are shown]
 *     (2 rows changed)            a statement that changes rows; (done): any other that has no result
 *     error: no such table: x     SQLite's own words; what stood before it in the query is done
 *
 * What a query may do: env/sql/guard.h. What it may take: `steps` of SQLite's machine, so that the same query is too
 * long on any machine, and `memory_bytes`. Not bounded is the time of one step, nor what a fault of SQLite's could do:
 * so a database lives in a process that can be killed and can make no system call of consequence (env/tools/sql.h).
 *
 * One at a time in a process, and one thread: memory and chance are SQLite's, of the whole process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct database database;

typedef struct database_limits {
    int64_t memory_bytes; /* of SQLite, beyond what the database takes when it is opened */
    int64_t steps;        /* of a query's statements together */
    int rows;             /* of a result that are shown */
    size_t output_bytes;  /* of a query's text, about */
} database_limits;

/* image: the bytes of a database's file, from sqlite3_malloc64; taken, also on failure. NULL: an empty one. ERR_PARSE:
 * it is none. */
database *database_open(void *image, size_t len, const database_limits *limits, error *err);
void database_free(database *d);
/* Runs SQL of the author's: it may do what it likes inside. ERR_ARGUMENT with SQLite's words. */
int database_build(database *d, const char *sql, error *err);
/* The bytes of its file; sqlite3_free. NULL: no memory, or with *len 0, nothing is in it. */
void *database_image(database *d, size_t *len);
/* Runs a query of the policy's, and writes what it says into the empty `out`; NULL: in silence, of one that was run
 * before.
 * What is random follows from `seed`. False: it ended with an error, which stands last. */
bool database_query(database *d, uint64_t seed, const char *sql, size_t len, str *out);
