/* SPDX-License-Identifier: MIT */
#include "env/sql/database.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "env/sql/guard.h"

enum {
    STEPS_A_QUESTION = 1000, /* of SQLite's machine between two looks at how many there were */
    CELL_CHARACTERS = 200,   /* of a value that are shown */
    BLOB_BYTES = 16
};

struct database {
    sqlite3 *db;
    guard guard;
    database_limits limits;
    int64_t steps; /* left */
    bool locked;
};

/* ---- opening ---- */

static int take_image(database *d, void *image, size_t len, error *err)
{
    enum { WAL_BYTE = 18, HEAD = 100 };
    unsigned char *head = image;

    /* Of a database that keeps a log: its file says so in two bytes, and there is no log in memory. */
    if (len >= HEAD && head[WAL_BYTE] == 2) head[WAL_BYTE] = head[WAL_BYTE + 1] = 1;
    sqlite3_int64 tables = 0;
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_deserialize(d->db, "main", image, (sqlite3_int64)len, (sqlite3_int64)len,
                                 SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
    if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(d->db, "SELECT count(*) FROM sqlite_schema", -1, &st, NULL);
    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) tables = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    (void)tables;
    return rc == SQLITE_OK ? OK : error_set(err, ERR_PARSE, "%s", sqlite3_errmsg(d->db));
}

/* Memory is counted from here on. A soft limit of SQLite's own would only give pages back that a database in memory
 * needs. */
static void bound_memory(const database *d)
{
    sqlite3_hard_heap_limit64(sqlite3_memory_used() + d->limits.memory_bytes);
}

static int count_steps(void *ctx)
{
    database *d = ctx;
    d->steps -= STEPS_A_QUESTION;
    return d->steps <= 0;
}

database *database_open(void *image, size_t len, const database_limits *limits, error *err)
{
    database *d = xcalloc(1, sizeof *d);
    d->limits = *limits;
    guard_open(&d->guard);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    int rc = OK;
    if (sqlite3_open_v2(":memory:", &d->db, flags, GUARD_FILES) != SQLITE_OK) {
        rc = error_set(err, ERR_MEMORY, "%s", sqlite3_errmsg(d->db));
        sqlite3_free(image);
    } else if (image) {
        rc = take_image(d, image, len, err);
    }
    if (rc == OK) { /* what is sorted and temporary stays in memory, too */
        sqlite3_exec(d->db, "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON", NULL, NULL, NULL);
        bound_memory(d);
        return d;
    }
    database_free(d);
    return NULL;
}

void database_free(database *d)
{
    if (!d) return;
    sqlite3_hard_heap_limit64(0);
    sqlite3_close(d->db);
    guard_close(&d->guard);
    free(d);
}

int database_build(database *d, const char *sql, error *err)
{
    guard_seed(&d->guard, 0);
    if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK) return OK;
    return error_set(err, ERR_ARGUMENT, "%s", sqlite3_errmsg(d->db));
}

void *database_image(database *d, size_t *len)
{
    sqlite3_int64 bytes = 0;
    sqlite3_hard_heap_limit64(0);
    void *image = sqlite3_serialize(d->db, "main", &bytes, 0);
    *len = (size_t)bytes;
    return image;
}

/* ---- a result as text ---- */

/* So many bytes of the text at p that they are `characters` at most. Bytes that continue a character count with it. */
static size_t bytes_of(const char *p, size_t len, int characters)
{
    size_t n = 0;
    for (; n < len; n++)
        if (((unsigned char)p[n] & 0xc0) != 0x80 && characters-- == 0) break;
    return n;
}

/* A row is a line, whatever is in it. */
static void add_text(str *out, const char *text, size_t len)
{
    const size_t n = bytes_of(text, len, CELL_CHARACTERS);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            str_puts(out, "\\n");
        else if (text[i] == '\r')
            str_puts(out, "\\r");
        else
            str_putc(out, text[i]);
    }
    if (n < len) str_puts(out, "...");
}

static void add_blob(str *out, const unsigned char *bytes, size_t len)
{
    str_puts(out, "x'");
    for (size_t i = 0; i < len && i < BLOB_BYTES; i++) str_printf(out, "%02X", bytes[i]);
    str_puts(out, len > BLOB_BYTES ? "...'" : "'");
}

static void add_cell(str *out, sqlite3_stmt *st, int column)
{
    const int type = sqlite3_column_type(st, column);
    const void *value = type == SQLITE_BLOB ? sqlite3_column_blob(st, column) : sqlite3_column_text(st, column);
    const size_t len = (size_t)sqlite3_column_bytes(st, column);
    if (type == SQLITE_NULL)
        str_puts(out, "NULL");
    else if (type == SQLITE_BLOB)
        add_blob(out, value, len);
    else if (value)
        add_text(out, value, len);
}

static bool is_full(const database *d, const str *out) { return out->len > d->limits.output_bytes; }

static void add_row(const database *d, str *out, sqlite3_stmt *st, bool names)
{
    const int n = sqlite3_column_count(st);
    for (int i = 0; i < n && !is_full(d, out); i++) {
        const char *name = names ? sqlite3_column_name(st, i) : NULL;
        if (i > 0) str_puts(out, " | ");
        if (name)
            add_text(out, name, strlen(name));
        else if (!names)
            add_cell(out, st, i);
    }
    str_putc(out, '\n');
}

/* ---- a statement ---- */

/* Rows beyond the first are computed all the same where the statement changes something: it is to be done. */
static int show_rows(database *d, sqlite3_stmt *st, str *out)
{
    int rc, n = 0;
    const bool reads = sqlite3_stmt_readonly(st) != 0;
    if (out) add_row(d, out, st, true);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const bool shown = out && n < d->limits.rows && !is_full(d, out);
        n++;
        if (shown) add_row(d, out, st, false);
        if (!shown && reads) break;
    }
    if (!out) return rc;
    if (n == 0 && rc == SQLITE_DONE) str_puts(out, "(no rows)\n");
    if (n > d->limits.rows) str_printf(out, "[more rows: the first %d are shown]\n", d->limits.rows);
    return rc;
}

static int run_silent_rest(sqlite3_stmt *st)
{
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) { /* its rows are known */
    }
    return rc;
}

static int run_statement(database *d, sqlite3_stmt *st, str *out)
{
    if (sqlite3_column_count(st) > 0) return show_rows(d, st, out);
    const bool writes = d->guard.writes;
    const int rc = run_silent_rest(st);
    if (!out || rc != SQLITE_DONE) return rc;
    if (writes)
        str_printf(out, "(%d %s changed)\n", sqlite3_changes(d->db), sqlite3_changes(d->db) == 1 ? "row" : "rows");
    else
        str_puts(out, "(done)\n");
    return rc;
}

static bool is_blank(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n;", *p)) p++;
    return p == end;
}

/* A query that reads, the last of its text: run again it would change nothing, not even what the next draws. Within a
 * transaction it could end that, if it ran out of memory. */
static bool can_be_left_out(const database *d, sqlite3_stmt *st, const char *rest, const char *end)
{
    return sqlite3_stmt_readonly(st) && sqlite3_column_count(st) > 0 && sqlite3_get_autocommit(d->db) &&
           is_blank(rest, end);
}

/* Last, and whole, whatever was cut. */
static void say_error(const database *d, int rc, str *out)
{
    if (rc == SQLITE_INTERRUPT)
        str_printf(out, "error: the query takes too long: more than %" PRId64 " million steps",
                   d->limits.steps / 1000000);
    else if (rc == SQLITE_EMPTY)
        str_puts(out, "error: there is no SQL in the query");
    else
        str_printf(out, "error: %.500s", sqlite3_errmsg(d->db));
}

/* SQLITE_ROW: more rows than are shown. */
static bool went_well(int rc) { return rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE; }

static int run_all(database *d, const char *sql, size_t len, str *out)
{
    const char *at = sql, *end = sql + len;
    int rc = SQLITE_OK, n = 0;
    while (at < end && went_well(rc)) {
        sqlite3_stmt *st = NULL;
        const char *rest = end;
        d->guard.writes = false;
        rc = sqlite3_prepare_v2(d->db, at, (int)(end - at), &st, &rest);
        if (rc == SQLITE_OK && st && (out || !can_be_left_out(d, st, rest, end))) rc = run_statement(d, st, out);
        if (st) n++;
        sqlite3_finalize(st);
        if (rest == at) break; /* nothing but blanks or a comment is left */
        at = rest;
    }
    return n > 0 || rc != SQLITE_OK ? rc : SQLITE_EMPTY;
}

static void cut(const database *d, str *out)
{
    size_t n = d->limits.output_bytes;
    if (out->len <= n) return;
    while (n > 0 && ((unsigned char)out->data[n] & 0xc0) == 0x80) n--; /* not within a character */
    out->len = n;
    out->data[n] = 0;
    str_printf(out, "\n[output truncated: cut at %zu bytes]\n", d->limits.output_bytes);
}

bool database_query(database *d, uint64_t seed, const char *sql, size_t len, str *out)
{
    if (!d->locked) guard_lock(&d->guard, d->db);
    d->locked = true;
    if (memchr(sql, 0, len)) {
        if (out) str_puts(out, "error: there is a NUL in the query");
        return false;
    }

    guard_seed(&d->guard, seed);
    d->steps = d->limits.steps;
    sqlite3_progress_handler(d->db, STEPS_A_QUESTION, count_steps, d);
    const int rc = run_all(d, sql, len, out);
    sqlite3_progress_handler(d->db, 0, NULL, NULL);
    if (out) cut(d, out);
    if (out && !went_well(rc)) say_error(d, rc, out);
    return went_well(rc);
}
