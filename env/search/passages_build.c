/* SPDX-License-Identifier: MIT */
/* From a corpus of JSON lines to the file of an index. */
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "env/search/passages.h"
#include "env/search/passages_file.h"

enum { PATH_BYTES = 4200, MAX_PASSAGE = 1 << 20, STEPS_A_QUESTION = 10000 };

/* A file that no reader sees before it is whole needs no journal. The words' table has no copy of the texts: it reads
 * them where they are. */
static const char SCHEMA[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 8192;"
    "CREATE TABLE passages(id INTEGER PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL);"
    "CREATE VIRTUAL TABLE words USING fts5(title, text, content = 'passages', content_rowid = 'id',"
    " tokenize = 'porter unicode61 remove_diacritics 2');"
    "BEGIN;";

/* All lists of a word in one piece: a search reads each of its words once. */
static const char FINISH[] = "INSERT INTO words(words) VALUES('rebuild'); INSERT INTO words(words) VALUES('optimize');"
                             "COMMIT;";

typedef struct building {
    const char *corpus, *out;
    sqlite3 *db;
    sqlite3_stmt *put;
    int64_t line, count;
    bool (*stops)(void);
    error *err;
} building;

static bool is_stopped(const building *b) { return b->stops && b->stops(); }

static int broken(const building *b)
{
    if (is_stopped(b)) return error_set(b->err, ERR_INTERRUPTED, "stopped; no index was made");
    return error_set(b->err, ERR_IO, "%s: %s", b->out, sqlite3_errmsg(b->db));
}

static int wrong_line(const building *b, const char *why)
{
    return error_set(b->err, ERR_PARSE, "%s:%" PRId64 ": %s", b->corpus, b->line, why);
}

/* What other programs' corpora call it. */
static const json_t *text_of(const json_t *line)
{
    static const char *const NAMES[] = { "text", "contents", "content", "passage" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        const json_t *text = json_object_get(line, NAMES[i]);
        if (text) return text;
    }
    return NULL;
}

static int put_passage(building *b, const char *title, const char *text)
{
    sqlite3_reset(b->put);
    sqlite3_bind_text(b->put, 1, title, -1, SQLITE_STATIC);
    sqlite3_bind_text(b->put, 2, text, -1, SQLITE_STATIC);
    if (sqlite3_step(b->put) != SQLITE_DONE) return broken(b);
    b->count++;
    return OK;
}

static int add_object(building *b, const json_t *line)
{
    const json_t *text = text_of(line), *title = json_object_get(line, "title");
    if (!json_is_object(line)) return wrong_line(b, "expected an object: {\"title\": ..., \"text\": ...}");
    if (!json_is_string(text)) return wrong_line(b, "it has no \"text\" (or \"contents\") that is a text");
    if (title && !json_is_null(title) && !json_is_string(title)) return wrong_line(b, "its title is no text");
    if (json_has_nul(line)) return wrong_line(b, "a text with a NUL byte");
    return put_passage(b, json_is_string(title) ? json_string_value(title) : "", json_string_value(text));
}

static int add_line(building *b, const char *text, size_t len)
{
    error why = { 0 };
    if (len > MAX_PASSAGE) return wrong_line(b, "a passage of more than 1 MB: cut it into passages");
    json_t *line = json_parse(text, len, "passage", &why);
    const int rc = line ? add_object(b, line) : wrong_line(b, why.text);
    json_decref(line);
    return rc;
}

static bool is_blank(const char *text, size_t len) { return strspn(text, " \t\r\n") >= len; }

static int add_lines(building *b, FILE *from)
{
    char *text = NULL;
    size_t room = 0;
    int rc = OK;
    for (ssize_t n; rc == OK && (n = getline(&text, &room, from)) >= 0;) {
        b->line++;
        if (is_stopped(b))
            rc = broken(b);
        else if (!is_blank(text, (size_t)n))
            rc = add_line(b, text, (size_t)n);
    }
    if (rc == OK && ferror(from)) rc = error_set(b->err, ERR_IO, "%s: %s", b->corpus, strerror(errno));
    if (rc == OK && b->count == 0) rc = error_set(b->err, ERR_PARSE, "%s: there is no passage in it", b->corpus);
    free(text);
    return rc;
}

static int run(const building *b, const char *sql)
{
    return sqlite3_exec(b->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : broken(b);
}

static int mark(const building *b)
{
    char sql[120];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;", PASSAGES_APPLICATION,
             PASSAGES_FORMAT);
    return run(b, sql);
}

static int asks(void *ctx) { return is_stopped(ctx); }

static int fill(building *b, FILE *from)
{
    sqlite3_progress_handler(b->db, STEPS_A_QUESTION, asks, b); /* making the index itself takes most of the time */
    int rc = run(b, SCHEMA);
    if (rc == OK && sqlite3_prepare_v2(b->db, "INSERT INTO passages(title, text) VALUES(?, ?)", -1, &b->put, NULL))
        rc = broken(b);
    if (rc == OK) rc = add_lines(b, from);
    sqlite3_finalize(b->put);
    if (rc == OK) rc = run(b, FINISH);
    return rc == OK ? mark(b) : rc;
}

static int write_index(building *b, FILE *from, const char *path)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &b->db, flags, NULL) == SQLITE_OK ? fill(b, from) : broken(b);
    if (sqlite3_close(b->db) != SQLITE_OK && rc == OK) rc = error_set(b->err, ERR_IO, "%s: it can't be closed", path);
    return rc;
}

/* Only an index is ever replaced. */
static int check_place(const char *out, error *err)
{
    error why = { 0 };
    if (dir_exists(out)) return error_set(err, ERR_STATE, "%s is a folder; name a file", out);
    if (!file_exists(out)) return OK;
    passages *old = passages_open(out, &why);
    passages_free(old);
    return old ? OK : error_set(err, ERR_STATE, "%s exists and is no index; name another file", out);
}

/* On the disk before it has its name: a power cut leaves the old one or the new one. */
static int put_in_place(const char *made, const char *out, error *err)
{
    char folder[PATH_BYTES];
    const int fd = file_open(made, 0, 0, err);
    if (fd < 0) return err ? err->code : ERR_IO;
    const bool synced = fsync(fd) == 0;
    close(fd);
    if (!synced || rename(made, out) != 0) return error_set(err, ERR_IO, "%s: %s", out, strerror(errno));
    return dir_sync(path_dirname(folder, sizeof folder, out), err);
}

int passages_build(const char *corpus, const char *out, bool (*stops)(void), int64_t *count, error *err)
{
    char made[PATH_BYTES];
    building b = { .corpus = corpus, .out = out, .stops = stops, .err = err };
    if (check_place(out, err) != OK) return err ? err->code : ERR_STATE;
    if (snprintf(made, sizeof made, "%s.making-%d", out, getpid()) >= (int)sizeof made)
        return error_set(err, ERR_ARGUMENT, "%.80s...: the path is too long", out);
    FILE *from = fopen(corpus, "r");
    if (!from) return error_set(err, ERR_NOT_FOUND, "%s: %s", corpus, strerror(errno));

    int rc = write_index(&b, from, made);
    fclose(from);
    if (rc == OK) rc = put_in_place(made, out, err);
    if (rc != OK) unlink(made);
    *count = b.count;
    return rc;
}
