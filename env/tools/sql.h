/* SPDX-License-Identifier: MIT */
/* sql - the tool sql(query): a scratch SQLite database for each episode (env/sql/database.h), made from a file of
 * SQLite's or of SQL.
 *
 * Calls run in a host process that has the database's bytes and forks a child for each (sandbox/host.h); the child can
 * make no system call that opens, connects or starts anything (sandbox/confine.h), has the bytes as a copy of its own,
 * runs the earlier queries of the episode again, in silence, and then the new one (tools/cells.h). So no query reaches
 * another episode or a file, a query that hangs is killed, a host that dies costs no episode its rows, and a call says
 * the same however often it is made. */
#pragma once

#include "env/router.h"

#define SQL_NAME "sql"
extern const char SQL_DESCRIPTION[], SQL_PARAMETERS[];

typedef struct sql_config {
    const char *name, *description; /* NULL: SQL_NAME, SQL_DESCRIPTION; copied */
    int timeout_ms;                 /* of computing, of a call and the queries that it runs again; 0: 2000 */
    int memory_mb;                  /* of a call, beyond the database itself; 0: 64 */
    int rows;                       /* of a result that are shown; 0: 50 */
    int output_bytes;               /* of a call's text; 0: 8192 */
    int at_once;                    /* calls that run at the same time; 0: 64 */
    const char *database;           /* the file; NULL: none, it is empty at first */
    const char *self;               /* program whose verb sql-host calls sql_serve; copied */
} sql_config;

/* ERR_UNSUPPORTED with the host's sentence where the file can't be made a database. */
int sql_tool(const sql_config *config, tool *out, error *err);

typedef struct sql_host {
    const char *database; /* "": none */
    int memory_mb, rows, output_bytes;
    int sock; /* from which calls come */
} sql_host;

/* The host's main: serves calls until its box is gone. Errors are told through the socket, too. */
int sql_serve(const sql_host *h, error *err);
/* Whether the file can be made a database, by a process of its own. ERR_PARSE, ERR_ARGUMENT with SQLite's words. */
int sql_check(const char *path, error *err);
