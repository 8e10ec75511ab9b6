/* SPDX-License-Identifier: MIT */
#include "env/search/passages.h"

#include <ctype.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/map.h"
#include "env/search/passages_file.h"
#include "env/search/shown.h"

/* Of a query: more words than a question has, longer ones than a language. */
enum { MAX_WORDS = 32, MAX_WORD = 64 };
/* BM25 is computed for each passage that has one of the words, so a search costs what its words are frequent. Words are
 * taken from the rarest on, while all their passages together stay below this: "the" says next to nothing about a
 * passage, and would cost more than all others. Of a query of such words alone, the first so many
 * passages with the rarest are ranked: no policy can make a search slow. */
enum { MAX_RANKED = 2048 };
enum { STEPS_A_QUESTION = 10000 };   /* of SQLite's machine between two looks at the clock */
enum { REMEMBERED_WORDS = 1 << 17 }; /* whose frequency is known; then they are counted anew */
enum { MAP_BYTES = 1 << 30 };        /* of the file, that are read without a copy */

struct passages {
    sqlite3 *db;
    sqlite3_stmt *frequency, *last, *best;
    map *known; /* word -> its passages, at most MAX_RANKED + 1, and 1 more: NULL is none yet */
    size_t n_known;
    int64_t count;
};

typedef struct word {
    char text[MAX_WORD + 1];
    int64_t passages;
} word;

/* ---- the file ---- */

static int ask(sqlite3 *db, const char *sql, const char *path, int64_t *out, error *err)
{
    sqlite3_stmt *st = NULL;
    const bool read = sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;
    if (read) *out = sqlite3_column_int64(st, 0);
    const int rc =
        read ? OK : error_set(err, ERR_PARSE, "%s: it can't be read as an index: %s", path, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    return rc;
}

static int no_index(const char *path, error *err)
{
    return error_set(err, ERR_PARSE, "%s: it is no index; make one with: troupe index CORPUS.jsonl INDEX", path);
}

static int check_format(sqlite3 *db, const char *path, error *err)
{
    int64_t application = 0, format = 0;
    int rc = ask(db, "PRAGMA application_id", path, &application, err);
    if (rc == OK) rc = ask(db, "PRAGMA user_version", path, &format, err);
    if (rc != OK) return sqlite3_errcode(db) == SQLITE_NOTADB ? no_index(path, err) : rc;
    if (application != PASSAGES_APPLICATION) return no_index(path, err);
    if (format == PASSAGES_FORMAT) return OK;
    return error_set(err, ERR_UNSUPPORTED, "%s: an index of format %" PRId64 ", this build reads %d: make it again",
                     path, format, PASSAGES_FORMAT);
}

/* A file from elsewhere is no program: its views and triggers do nothing here. */
static void distrust(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
}

static int prepare(passages *p, const char *path, const char *sql, sqlite3_stmt **out, error *err)
{
    if (sqlite3_prepare_v2(p->db, sql, -1, out, NULL) == SQLITE_OK) return OK;
    return error_set(err, ERR_PARSE, "%s: it can't be read as an index: %s", path, sqlite3_errmsg(p->db));
}

static int open_file(passages *p, const char *path, error *err)
{
    char settings[80];
    if (file_check(path, err) != OK) return err ? err->code : ERR_IO;
    if (sqlite3_open_v2(path, &p->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return error_set(err, ERR_NOT_FOUND, "%s: %s", path, sqlite3_errmsg(p->db));
    distrust(p->db);
    snprintf(settings, sizeof settings, "PRAGMA mmap_size = %d", MAP_BYTES);
    sqlite3_exec(p->db, settings, NULL, NULL, NULL); /* where it can't be, pages are read */

    /* Ties in the order of the corpus. */
    int rc = check_format(p->db, path, err);
    if (rc == OK) rc = ask(p->db, "SELECT count(*) FROM passages", path, &p->count, err);
    if (rc == OK)
        rc = prepare(p, path, "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ?1 LIMIT ?2)", &p->frequency,
                     err);
    if (rc == OK)
        rc = prepare(p, path, "SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid LIMIT 1 OFFSET ?2", &p->last,
                     err);
    if (rc == OK)
        rc = prepare(p, path,
                     "SELECT p.title, p.text FROM (SELECT rowid, rank FROM words WHERE words MATCH ?1"
                     " AND rowid <= ?3 ORDER BY rank, rowid LIMIT ?2) AS best JOIN passages AS p ON p.id = best.rowid"
                     " ORDER BY best.rank, best.rowid",
                     &p->best, err);
    return rc;
}

passages *passages_open(const char *path, error *err)
{
    passages *p = xcalloc(1, sizeof *p);
    p->known = map_new();
    if (open_file(p, path, err) == OK) return p;
    passages_free(p);
    return NULL;
}

void passages_free(passages *p)
{
    if (!p) return;
    sqlite3_finalize(p->frequency);
    sqlite3_finalize(p->last);
    sqlite3_finalize(p->best);
    sqlite3_close(p->db);
    map_free(p->known);
    free(p);
}

int64_t passages_count(const passages *p) { return p->count; }

/* ---- the words of a query ---- */

/* Whatever FTS5 takes for a letter, and more: what it doesn't is a word without letters, which no passage has. */
static bool is_letter(char c) { return isalnum((unsigned char)c) || (unsigned char)c >= 0x80; }

static bool has_word(const word *words, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (strcmp(words[i].text, text) == 0) return true;
    return false;
}

/* Each word once, in small letters, so that its frequency is remembered once. */
static int words_of(const char *query, word words[MAX_WORDS])
{
    int n = 0;
    for (const char *p = query; *p && n < MAX_WORDS;) {
        size_t len = 0;
        while (*p && !is_letter(*p)) p++;
        for (; is_letter(*p); p++)
            if (len < MAX_WORD) words[n].text[len++] = (char)tolower((unsigned char)*p);
        words[n].text[len] = 0;
        if (len > 0 && !has_word(words, n, words[n].text)) n++;
    }
    return n;
}

/* In how many passages; above MAX_RANKED it doesn't matter in how many. */
static int count_passages(passages *p, word *w)
{
    str quoted = { 0 };
    const uintptr_t known = (uintptr_t)map_get(p->known, w->text);
    w->passages = (int64_t)known - 1;
    if (known) return SQLITE_ROW;

    str_printf(&quoted, "\"%s\"", w->text);
    sqlite3_bind_text(p->frequency, 1, quoted.data, -1, SQLITE_TRANSIENT);
    str_free(&quoted);
    sqlite3_bind_int(p->frequency, 2, MAX_RANKED + 1);
    const int rc = sqlite3_step(p->frequency);
    if (rc == SQLITE_ROW) w->passages = sqlite3_column_int64(p->frequency, 0);
    sqlite3_reset(p->frequency);
    if (rc != SQLITE_ROW) return rc;

    if (p->n_known++ == REMEMBERED_WORDS) {
        map_free(p->known);
        p->known = map_new();
        p->n_known = 1;
    }
    map_set(p->known, w->text, (void *)(uintptr_t)(w->passages + 1));
    return rc;
}

static int rarer(const void *a, const void *b)
{
    const word *x = a, *y = b;
    if (x->passages != y->passages) return x->passages < y->passages ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* "a" OR "b": FTS5's language. The words hold no quote, so that nothing else of it can be said. */
static void write_match(const word *words, int n, str *out)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum += words[i].passages;
        if (words[i].passages == 0 || (out->len > 0 && sum > MAX_RANKED)) continue;
        str_printf(out, "%s\"%s\"", out->len > 0 ? " OR " : "", words[i].text);
    }
}

/* ---- a search ---- */

static void add_passage(sqlite3_stmt *row, int number, str *out)
{
    const char *title = (const char *)sqlite3_column_text(row, 0), *text = (const char *)sqlite3_column_text(row, 1);
    passage_show(number, title, text ? text : "", out);
}

/* The last passage that is ranked, so that they are MAX_RANKED at most; INT64_MAX where there are fewer. */
static int64_t last_ranked(passages *p, const str *match)
{
    sqlite3_bind_text(p->last, 1, match->data, (int)match->len, SQLITE_STATIC);
    sqlite3_bind_int(p->last, 2, MAX_RANKED - 1);
    const int64_t last = sqlite3_step(p->last) == SQLITE_ROW ? sqlite3_column_int64(p->last, 0) : INT64_MAX;
    sqlite3_reset(p->last);
    sqlite3_clear_bindings(p->last);
    return last;
}

static int find_best(passages *p, const str *match, int k, int64_t last, str *out, int *found)
{
    int rc;
    sqlite3_bind_text(p->best, 1, match->data, (int)match->len, SQLITE_STATIC);
    sqlite3_bind_int(p->best, 2, k);
    sqlite3_bind_int64(p->best, 3, last);
    while ((rc = sqlite3_step(p->best)) == SQLITE_ROW) add_passage(p->best, ++*found, out);
    sqlite3_reset(p->best);
    sqlite3_clear_bindings(p->best); /* `match` is gone when the statement is used again */
    return rc;
}

static int search(passages *p, const char *query, int k, str *out, int *found)
{
    word words[MAX_WORDS];
    str match = { 0 };
    int rc = SQLITE_ROW;
    const int n = words_of(query, words);
    for (int i = 0; i < n && rc == SQLITE_ROW; i++) rc = count_passages(p, &words[i]);
    if (rc != SQLITE_ROW) return rc;

    qsort(words, (size_t)n, sizeof *words, rarer);
    write_match(words, n, &match);
    rc = match.len > 0 ? find_best(p, &match, k, last_ranked(p, &match), out, found) : SQLITE_DONE;
    str_free(&match);
    return rc;
}

typedef struct patience {
    bool (*stops)(void *ctx);
    void *ctx;
} patience;

static int asks(void *ctx)
{
    const patience *p = ctx;
    return p->stops && p->stops(p->ctx);
}

int passages_search(passages *p, const char *query, int k, bool (*stops)(void *ctx), void *ctx, str *out, int *found,
                    error *err)
{
    patience how_long = { stops, ctx };
    *found = 0;
    sqlite3_progress_handler(p->db, STEPS_A_QUESTION, asks, &how_long);
    const int rc = search(p, query, k, out, found);
    sqlite3_progress_handler(p->db, 0, NULL, NULL);

    if (rc == SQLITE_INTERRUPT) return error_set(err, ERR_TIMEOUT, "the search took too long");
    if (rc != SQLITE_DONE) return error_set(err, ERR_IO, "the index can't be read: %s", sqlite3_errmsg(p->db));
    if (*found == 0) str_puts(out, "No passage has any of these words.");
    return OK;
}
