/* SPDX-License-Identifier: MIT */
#include "env/sql/guard.h"

#include <stddef.h>
#include <string.h>

#include "base/rng.h"

/* Noon of 1 January 2025, in milliseconds of the Julian day, which SQLite counts in. */
static const sqlite3_int64 NOW = (sqlite3_int64)(2460677 * 86400000.0);

/* ---- a file system without files ---- */

static int open_none(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *got)
{
    (void)v, (void)name, (void)flags, (void)got;
    f->pMethods = NULL;
    return SQLITE_CANTOPEN;
}

static int delete_none(sqlite3_vfs *v, const char *name, int sync)
{
    (void)v, (void)name, (void)sync;
    return SQLITE_IOERR_DELETE;
}

static int find_none(sqlite3_vfs *v, const char *name, int flags, int *found)
{
    (void)v, (void)name, (void)flags;
    *found = 0;
    return SQLITE_OK;
}

static int name_as_it_is(sqlite3_vfs *v, const char *name, int size, char *out)
{
    (void)v;
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

static int draw(sqlite3_vfs *v, int n, char *out)
{
    guard *g = v->pAppData;
    uint32_t bits[4];
    for (int i = 0; i < n; i++) {
        if (i % 16 == 0) rng_philox((rng_key){ g->seed, 0 }, 0, g->drawn++, bits);
        out[i] = ((const char *)bits)[i % 16];
    }
    return n;
}

static int no_sleep(sqlite3_vfs *v, int us)
{
    (void)v, (void)us;
    return 0;
}

static int now_ms(sqlite3_vfs *v, sqlite3_int64 *out)
{
    (void)v;
    *out = NOW;
    return SQLITE_OK;
}

static int now_days(sqlite3_vfs *v, double *out)
{
    (void)v;
    *out = (double)NOW / 86400000.0;
    return SQLITE_OK;
}

static int no_error(sqlite3_vfs *v, int n, char *out)
{
    (void)v, (void)n, (void)out;
    return 0;
}

void guard_open(guard *g)
{
    *g = (guard){ .files = { .iVersion = 2,
                             .szOsFile = sizeof(sqlite3_file),
                             .mxPathname = 512,
                             .zName = GUARD_FILES,
                             .pAppData = g,
                             .xOpen = open_none,
                             .xDelete = delete_none,
                             .xAccess = find_none,
                             .xFullPathname = name_as_it_is,
                             .xRandomness = draw,
                             .xSleep = no_sleep,
                             .xCurrentTime = now_days,
                             .xGetLastError = no_error,
                             .xCurrentTimeInt64 = now_ms } };
    sqlite3_initialize();               /* whatever else SQLite brings is made of the system's own files */
    sqlite3_vfs_register(&g->files, 1); /* chance is asked of the first one */
}

void guard_seed(guard *g, uint64_t seed)
{
    g->seed = seed;
    g->drawn = 0;
    sqlite3_randomness(0, NULL); /* forgets what it has drawn before */
}

void guard_close(guard *g)
{
    sqlite3_vfs_unregister(&g->files);
    sqlite3_randomness(0, NULL);
}

/* ---- what may be said ---- */

/* In the order of the alphabet. Those that begin with sqlite_ are SQLite's own, of ALTER TABLE and ANALYZE; no query
 * can call them. */
static const char *const FUNCTIONS[] = {
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_each",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_tree",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqlite_drop_column",
    "sqlite_rename_column",
    "sqlite_rename_quotefix",
    "sqlite_rename_table",
    "sqlite_rename_test",
    "sqlite_version",
    "sqrt",
    "stat_get",
    "stat_init",
    "stat_push",
    "strftime",
    "string_agg",
    "subtype",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
};
/* They tell of the schema, and change nothing. */
static const char *const PRAGMAS[] = { "foreign_key_list", "index_info", "index_list", "index_xinfo",
                                       "table_info",       "table_list", "table_xinfo" };
/* Tables that are there in any database, and show what is under it. */
static const char *const INSIDES[] = { "bytecode", "dbstat", "sqlite_dbpage", "sqlite_stmt", "tables_used" };

static bool is_among(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; name && i < n; i++)
        if (sqlite3_stricmp(name, list[i]) == 0) return true;
    return false;
}
#define AMONG(name, list) is_among(name, list, sizeof(list) / sizeof *(list))

static int authorize(void *ctx, int action, const char *first, const char *second, const char *db, const char *trigger)
{
    guard *g = ctx;
    (void)db, (void)trigger;
    switch (action) {
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        if (first && strncmp(first, "sqlite_", 7) != 0) g->writes = true; /* a new table is a row of sqlite_schema */
        return AMONG(first, INSIDES) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_READ:
        return AMONG(first, INSIDES) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_ALTER_TABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return AMONG(second, FUNCTIONS) ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        return AMONG(first, PRAGMAS) ? SQLITE_OK : SQLITE_DENY;
    default: /* ATTACH, DETACH, virtual tables, and what is not known yet */
        return SQLITE_DENY;
    }
}

/* Bounds of what one statement may be; a database of the recipe's is within them, or its author is told. */
static void bound(sqlite3 *db)
{
    static const int LIMITS[][2] = {
        { SQLITE_LIMIT_LENGTH, 1 << 20 },       { SQLITE_LIMIT_SQL_LENGTH, 1 << 16 },
        { SQLITE_LIMIT_EXPR_DEPTH, 200 },       { SQLITE_LIMIT_COMPOUND_SELECT, 100 },
        { SQLITE_LIMIT_VDBE_OP, 250000 },       { SQLITE_LIMIT_FUNCTION_ARG, 100 },
        { SQLITE_LIMIT_ATTACHED, 0 },           { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200 },
        { SQLITE_LIMIT_VARIABLE_NUMBER, 1000 }, { SQLITE_LIMIT_TRIGGER_DEPTH, 20 },
        { SQLITE_LIMIT_WORKER_THREADS, 0 },
    };
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) sqlite3_limit(db, LIMITS[i][0], LIMITS[i][1]);
}

void guard_lock(guard *g, sqlite3 *db)
{
    static const int SETTINGS[][2] = {
        { SQLITE_DBCONFIG_DEFENSIVE, 1 },
        { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
        { SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0 },
        { SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
        { SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0 },
    };
    for (size_t i = 0; i < sizeof SETTINGS / sizeof *SETTINGS; i++)
        sqlite3_db_config(db, SETTINGS[i][0], SETTINGS[i][1], NULL);
    bound(db);
    sqlite3_set_authorizer(db, authorize, g);
}
