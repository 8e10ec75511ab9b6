/* SPDX-License-Identifier: MIT */
#include "exchange/store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/messages.h"

enum { BUSY_MS = 5000, FORMAT = 4 };

static const char SETTINGS[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";

/* IMMEDIATE takes the lock of writers at the start, where a second process waits for it (BUSY_MS). A transaction that
 * begins by reading and writes later can be refused at once. */
static const char SCHEMA[] = "BEGIN IMMEDIATE;"
                             "CREATE TABLE IF NOT EXISTS episodes(task_id INTEGER PRIMARY KEY, group_id INTEGER, step "
                             "INTEGER, sample INTEGER, eval INTEGER,"
                             " prompt_id INTEGER, n_shots INTEGER, stop TEXT, version_min INTEGER, version_max "
                             "INTEGER, n_tokens INTEGER, n_sampled INTEGER,"
                             " text TEXT, transcript TEXT, row TEXT, record BLOB, hash INTEGER);"
                             "CREATE INDEX IF NOT EXISTS episodes_by_step ON episodes(eval, step);"
                             "CREATE TABLE IF NOT EXISTS scores(task_id INTEGER PRIMARY KEY, status INTEGER, "
                             "objectives TEXT, error TEXT, ms REAL, record BLOB, hash INTEGER);"
                             "CREATE TABLE IF NOT EXISTS steps(step INTEGER PRIMARY KEY, weight_hash TEXT, n_groups "
                             "INTEGER, n_episodes INTEGER, trained_unix_ms INTEGER);"
                             "PRAGMA user_version = 4; COMMIT;";

struct store {
    sqlite3 *db;
    sqlite3_stmt *put_episode, *drop_score, *put_score, *put_step;
    str bytes;      /* scratch */
    size_t pending; /* bytes of the transaction under way */
    store_damage damage;
    void *damage_ctx;
};

/* The database, or its log, as `which` says: why the last write to it failed. */
static int last_errno(sqlite3 *db, int which)
{
    sqlite3_file *file = NULL;
    int why = 0;
    sqlite3_file_control(db, "main", which, &file);
    if (file && file->pMethods) file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &why);
    return why;
}

/* The disk, a quota, or a limit on file sizes: 0 or its errno. */
static int no_room(sqlite3 *db)
{
    static const int FILES[] = { SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER };
    const int code = sqlite3_errcode(db) & 0xff;
    if (code != SQLITE_FULL && code != SQLITE_IOERR) return 0;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        const int why = last_errno(db, FILES[i]);
        if (why == ENOSPC || why == EDQUOT || why == EFBIG) return why;
    }
    return code == SQLITE_FULL ? ENOSPC : 0;
}

/* What is to be written goes to the log, in whole pages, with those of the indexes. */
static int failed_for_room(const store *s, const char *path, int why, error *err)
{
    enum { PAGE = 4096, OTHER_PAGES = 16 };
    struct statvfs fs;
    const uint64_t need = ((uint64_t)s->pending / PAGE + OTHER_PAGES) * PAGE;
    const uint64_t left = statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize : 0;
    return error_sys(err, why,
                     "%s could not be written (it needs at least %" PRIu64 " bytes more, %" PRIu64 " are free)", path,
                     need, left);
}

static int failed(store *s, const char *what, error *err)
{
    const char *const path = sqlite3_db_filename(s->db, "main");
    const int why = no_room(s->db);
    if (why) return failed_for_room(s, path, why, err);

    const bool corrupt = sqlite3_errcode(s->db) == SQLITE_CORRUPT;
    return error_set(err, ERR_IO, "%s: %.200s: %s%s", path, what, sqlite3_errmsg(s->db),
                     corrupt ? " (the file is damaged: restore a copy, or start over with --fresh)" : "");
}

static int run(store *s, const char *sql, error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : failed(s, sql, err);
}

static int prepare(store *s, const char *sql, sqlite3_stmt **out, error *err)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out, NULL) == SQLITE_OK ? OK : failed(s, sql, err);
}

/* The one number that a query answers with. */
static int ask(store *s, const char *sql, const char *path, int *out, error *err)
{
    sqlite3_stmt *st = NULL;
    const bool read = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;
    const int rc = read ? OK : error_set(err, ERR_IO, "%s: %s", path, sqlite3_errmsg(s->db));
    if (read) *out = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc;
}

/* A file of another Troupe's, of another program's, or of no tables yet (`fresh`). */
static int check_format(store *s, const char *path, bool *fresh, error *err)
{
    int version = 0, tables = 0;
    int rc = ask(s, "PRAGMA user_version", path, &version, err);
    if (rc == OK) rc = ask(s, "SELECT count(*) FROM sqlite_master", path, &tables, err);
    if (rc != OK) return rc;
    *fresh = version == 0 && tables == 0;
    if (*fresh || version == FORMAT) return OK;
    if (version == 0) return error_set(err, ERR_PARSE, "%s: a database of another program, not a run's", path);
    return error_set(err, ERR_UNSUPPORTED,
                     "%s: written in format %d by %s Troupe, this build reads format %d: continue with the build that "
                     "began the run, or start over with --fresh",
                     path, version, version < FORMAT ? "an older" : "a newer", FORMAT);
}

/* `name`: the path as SQLite is told it. */
static store *open_file(const char *path, const char *name, int flags, bool *fresh, error *err)
{
    /* SQLite would wait for a pipe's other end. */
    if (file_check(path, err) != OK) return NULL;

    store *s = xcalloc(1, sizeof *s);
    int rc = OK;
    if (sqlite3_open_v2(name, &s->db, flags, NULL) != SQLITE_OK)
        rc = error_set(err, ERR_IO, "%s: %s", path, sqlite3_errmsg(s->db));
    if (rc == OK) sqlite3_busy_timeout(s->db, BUSY_MS);
    if (rc == OK) rc = check_format(s, path, fresh, err);

    if (rc == OK) return s;
    store_close(s);
    return NULL;
}

static bool in_a_locked_folder(const char *path)
{
    char folder[PATH_MAX];
    return file_exists(path) && access(path_dirname(folder, sizeof folder, path), W_OK) != 0;
}

/* A database with a log needs a file beside it even to be read. Where none can be made no process writes to it either:
 * it is read as it stands, once its log is empty. */
static store *open_unchanging(const char *path, bool *fresh, error *err)
{
    struct stat st;
    str name = { 0 };
    str_printf(&name, "%s-wal", path);
    const bool pending = stat(name.data, &st) == 0 && st.st_size > 0;
    str_clear(&name);
    if (pending) {
        str_free(&name);
        error_set(err, ERR_IO,
                  "%s: cannot be read here: its folder cannot be written, and its last commits are still in its -wal "
                  "file (copy the run, and read the copy)",
                  path);
        return NULL;
    }

    /* A URI, in which these three characters have a meaning (sqlite.org/uri.html). */
    str_puts(&name, "file:");
    for (const char *p = path; *p; p++) str_printf(&name, strchr("%?#", *p) ? "%%%02x" : "%c", (unsigned)*p);
    str_puts(&name, "?immutable=1");
    store *s = open_file(path, name.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, fresh, err);
    str_free(&name);
    return s;
}

store *store_open_read(const char *path, error *err)
{
    bool fresh = false;
    store *s = open_file(path, path, SQLITE_OPEN_READONLY, &fresh, err);
    if (!s && in_a_locked_folder(path)) s = open_unchanging(path, &fresh, err);

    if (!s || !fresh) return s;
    error_set(err, ERR_PARSE, "%s: there are no episodes in it", path);
    store_close(s);
    return NULL;
}

store *store_open(const char *path, error *err)
{
    static const char PUT_EPISODE[] = "INSERT OR REPLACE INTO episodes VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    bool fresh;
    store *s = open_file(path, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &fresh, err);

    if (!s) return NULL;

    int rc = run(s, SETTINGS, err);
    if (rc == OK) rc = run(s, SCHEMA, err);
    if (rc == OK) rc = prepare(s, PUT_EPISODE, &s->put_episode, err);
    if (rc == OK) rc = prepare(s, "DELETE FROM scores WHERE task_id = ?", &s->drop_score, err);
    if (rc == OK) rc = prepare(s, "INSERT OR REPLACE INTO scores VALUES(?,?,?,?,?,?,?)", &s->put_score, err);
    if (rc == OK) rc = prepare(s, "INSERT OR REPLACE INTO steps VALUES(?,?,?,?,?)", &s->put_step, err);

    if (rc == OK) return s;
    store_close(s);
    return NULL;
}

void store_close(store *s)
{
    if (!s) return;
    sqlite3_finalize(s->put_episode);
    sqlite3_finalize(s->drop_score);
    sqlite3_finalize(s->put_score);
    sqlite3_finalize(s->put_step);
    sqlite3_close(s->db);
    str_free(&s->bytes);
    free(s);
}

void store_on_damage(store *s, store_damage fn, void *ctx)
{
    s->damage = fn;
    s->damage_ctx = ctx;
}

/* Its first word, or "" where that can't be asked either. */
static void ask_whether_whole(sqlite3 *db, char *out, size_t size)
{
    sqlite3_stmt *st = NULL;
    out[0] = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        snprintf(out, size, "%s", (const char *)sqlite3_column_text(st, 0));
    else
        snprintf(out, size, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(st);
    for (char *c = out; *c; c++)
        if (*c == '\n') *c = ' ';
}

int store_check_whole(const char *path, error *err)
{
    char said[200];
    sqlite3 *db = NULL;
    if (file_check(path, err) != OK) return err ? err->code : ERR_IO;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) sqlite3_busy_timeout(db, BUSY_MS);
    ask_whether_whole(db, said, sizeof said);
    sqlite3_close(db);
    return strcmp(said, "ok") == 0 ? OK : error_set(err, ERR_PARSE, "%s is damaged (%s)", path, said);
}

int store_begin(store *s, error *err)
{
    s->pending = 0;
    return run(s, "BEGIN", err);
}

int store_commit(store *s, error *err) { return run(s, "COMMIT", err); }

static int step_and_reset(store *s, sqlite3_stmt *st, const char *what, error *err)
{
    const int rc = sqlite3_step(st) == SQLITE_DONE ? OK : failed(s, what, err);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st); /* bound texts are the caller's (SQLITE_STATIC), who may free them now */
    return rc;
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
    sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
}

/* ---- hashes: of all that is read again, and of the columns that say for which task and step ---- */

static int64_t hash_of(uint64_t task_id, int64_t step, bool eval, const void *record, size_t len)
{
    const uint64_t place = hash_combine(hash_combine(task_id, (uint64_t)step), eval);
    return (int64_t)hash_combine(place, hash_bytes(record, len, 0));
}

static int64_t episode_hash(uint64_t task_id, int64_t step, bool eval, const char *row, const void *record, size_t len)
{
    const uint64_t bytes = (uint64_t)hash_of(task_id, step, eval, record, len);
    return (int64_t)hash_combine(bytes, hash_bytes(row, strlen(row), 0));
}

/* ---- writing ---- */

static size_t length(const char *text) { return text ? strlen(text) : 0; }

int store_put_episode(store *s, const task *t, const episode *e, error *err)
{
    sqlite3_stmt *st = s->put_episode;
    const trajectory *tr = &e->tokens;
    str_clear(&s->bytes);
    episode_encode(e, &s->bytes);
    s->pending += s->bytes.len + length(e->text) + length(e->transcript) + length(t->row);

    /* SQLite's integers have a sign: ids keep their bits, and hashes theirs. */
    sqlite3_bind_int64(st, 1, (int64_t)e->id);
    sqlite3_bind_int64(st, 2, (int64_t)e->group);
    sqlite3_bind_int64(st, 3, e->step);
    sqlite3_bind_int64(st, 4, e->sample);
    sqlite3_bind_int(st, 5, e->eval);
    sqlite3_bind_int64(st, 6, (int64_t)e->prompt_id);
    sqlite3_bind_int(st, 7, e->n_shots);
    bind_text(st, 8, stop_reason_name(e->stop));
    sqlite3_bind_int64(st, 9, trajectory_oldest_version(tr));
    sqlite3_bind_int64(st, 10, tr->n_segments ? tr->segments[tr->n_segments - 1].version : -1);
    sqlite3_bind_int64(st, 11, tr->n);
    sqlite3_bind_int64(st, 12, trajectory_sampled(tr));
    bind_text(st, 13, e->text);
    bind_text(st, 14, e->transcript);
    bind_text(st, 15, t->row);
    sqlite3_bind_blob64(st, 16, s->bytes.data, s->bytes.len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 17, episode_hash(e->id, e->step, e->eval, t->row, s->bytes.data, s->bytes.len));

    sqlite3_bind_int64(s->drop_score, 1, (int64_t)e->id); /* it would be the score of another text */
    const int rc = step_and_reset(s, s->drop_score, "an old score", err);
    return rc == OK ? step_and_reset(s, st, "an episode", err) : rc;
}

static void objectives_text(const score *sc, str *out)
{
    str_putc(out, '{');
    for (int i = 0; i < sc->n_values; i++) {
        if (i) str_putc(out, ',');
        str_json(out, sc->values[i].name, strlen(sc->values[i].name));
        if (isnan(sc->values[i].value))
            str_puts(out, ":null");
        else
            str_printf(out, ":%.9g", sc->values[i].value);
    }
    str_putc(out, '}');
}

int store_put_score(store *s, const score *sc, error *err)
{
    sqlite3_stmt *st = s->put_score;

    str objectives = { 0 };
    str_clear(&s->bytes);
    score_encode(sc, &s->bytes);
    s->pending += s->bytes.len;
    objectives_text(sc, &objectives);

    sqlite3_bind_int64(st, 1, (int64_t)sc->task);
    sqlite3_bind_int(st, 2, sc->status);
    bind_text(st, 3, objectives.data);
    if (sc->error) bind_text(st, 4, sc->error);
    sqlite3_bind_double(st, 5, sc->ms);
    sqlite3_bind_blob64(st, 6, s->bytes.data, s->bytes.len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 7, hash_of(sc->task, 0, false, s->bytes.data, s->bytes.len));

    const int rc = step_and_reset(s, st, "a score", err);
    str_free(&objectives);
    return rc;
}

int store_put_step(store *s, int64_t step, uint64_t weight_hash, uint32_t groups, uint32_t episodes, error *err)
{
    sqlite3_stmt *st = s->put_step;
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, weight_hash);
    sqlite3_bind_int64(st, 1, step);
    bind_text(st, 2, hash);
    sqlite3_bind_int64(st, 3, groups);
    sqlite3_bind_int64(st, 4, episodes);
    sqlite3_bind_int64(st, 5, clock_unix_ms());
    return step_and_reset(s, st, "a step", err);
}

/* The record of a step that was trained but whose record was lost: counted from the episodes that are left of it. */
int store_complete_step(store *s, int64_t step, uint64_t weight_hash, uint32_t min, error *err)
{
    static const char SQL[] =
        "INSERT OR IGNORE INTO steps SELECT ?1, ?2, count(*), coalesce(sum(n), 0), ?3 FROM (SELECT count(*) AS n FROM"
        " episodes WHERE eval = 0 AND step = ?1 GROUP BY group_id HAVING count(*) >= ?4)";
    sqlite3_stmt *st;
    char hash[24];
    int rc = prepare(s, SQL, &st, err);
    if (rc != OK) return rc;

    snprintf(hash, sizeof hash, "%016" PRIx64, weight_hash);
    sqlite3_bind_int64(st, 1, step);
    bind_text(st, 2, hash);
    sqlite3_bind_int64(st, 3, clock_unix_ms());
    sqlite3_bind_int64(st, 4, min);

    rc = step_and_reset(s, st, "a step", err);
    sqlite3_finalize(st);
    return rc;
}

typedef vec(int64_t) step_list;

/* Those between the first on record and `step` that are not. */
static int find_missing_steps(store *s, int64_t step, step_list *out, error *err)
{
    static const char SQL[] =
        "WITH RECURSIVE all_steps(i) AS (SELECT min(step) FROM steps WHERE step < ?1 UNION ALL SELECT i + 1 FROM"
        " all_steps WHERE i + 1 < ?1) SELECT i FROM all_steps WHERE i NOT NULL AND i NOT IN (SELECT step FROM steps)";
    sqlite3_stmt *st;
    int got;
    const int rc = prepare(s, SQL, &st, err);
    if (rc != OK) return rc;

    sqlite3_bind_int64(st, 1, step);
    while ((got = sqlite3_step(st)) == SQLITE_ROW) vec_push(out, sqlite3_column_int64(st, 0));
    sqlite3_finalize(st);
    return got == SQLITE_DONE ? OK : failed(s, "looking for steps", err);
}

int store_complete_steps(store *s, int64_t step, uint32_t min, error *err)
{
    char text[200];
    step_list missing = { 0 };
    int rc = find_missing_steps(s, step, &missing, err);
    for (size_t i = 0; rc == OK && i < missing.len; i++) rc = store_complete_step(s, missing.data[i], 0, min, err);

    if (rc == OK && missing.len > 0 && s->damage) {
        snprintf(text, sizeof text,
                 "rollouts.db: step %" PRId64 " was trained but has no record (and %zu more): counted again from the"
                 " stored episodes",
                 missing.data[0], missing.len - 1);
        s->damage(s->damage_ctx, text);
    }
    vec_free(&missing);
    return rc;
}

int store_forget_steps(store *s, int64_t step, error *err)
{
    char sql[80];
    snprintf(sql, sizeof sql, "DELETE FROM steps WHERE step > %" PRId64 " OR step < 0", step);
    return run(s, sql, err);
}

int store_drop_episodes(store *s, int64_t step, error *err)
{
    char sql[160];

    /* Scores first: of which step they are is known by their episodes alone. */
    snprintf(sql, sizeof sql,
             "DELETE FROM scores WHERE task_id IN (SELECT task_id FROM episodes WHERE eval = 0 AND step < %" PRId64 ")",
             step);
    int rc = run(s, sql, err);
    snprintf(sql, sizeof sql, "DELETE FROM episodes WHERE eval = 0 AND step < %" PRId64, step);
    return rc == OK ? run(s, sql, err) : rc;
}

/* ---- reading ---- */

/* The columns of what store_read selects. */
enum { ROW, RECORD, HASH, TASK, STEP, EVAL, SCORE, SCORE_HASH };

static void tell_damage(const store *s, sqlite3_stmt *st, const char *what, const char *then)
{
    char text[200];
    if (!s->damage) return;
    snprintf(text, sizeof text, "rollouts.db: the %s of task %016" PRIx64 ", step %" PRId64 ", is damaged: %s", what,
             (uint64_t)sqlite3_column_int64(st, TASK), (int64_t)sqlite3_column_int64(st, STEP), then);
    s->damage(s->damage_ctx, text);
}

/* NULL: not what was stored. */
static episode *read_episode(sqlite3_stmt *st)
{
    const char *row = (const char *)sqlite3_column_text(st, ROW);
    const void *record = sqlite3_column_blob(st, RECORD);
    const size_t len = (size_t)sqlite3_column_bytes(st, RECORD);
    if (!row || !record) return NULL;

    const int64_t found = episode_hash((uint64_t)sqlite3_column_int64(st, TASK), sqlite3_column_int64(st, STEP),
                                       sqlite3_column_int(st, EVAL) != 0, row, record, len);
    return found == sqlite3_column_int64(st, HASH) ? episode_decode(record, len, NULL) : NULL;
}

static score *read_score(sqlite3_stmt *st)
{
    const void *record = sqlite3_column_blob(st, SCORE);
    const size_t len = (size_t)sqlite3_column_bytes(st, SCORE);
    const int64_t found = hash_of((uint64_t)sqlite3_column_int64(st, TASK), 0, false, record, len);
    return record && found == sqlite3_column_int64(st, SCORE_HASH) ? score_decode(record, len, NULL) : NULL;
}

/* Whether to stop. */
static bool read_row(const store *s, sqlite3_stmt *st, store_row fn, void *ctx)
{
    episode *e = read_episode(st);
    score *sc = NULL;
    if (!e) {
        tell_damage(s, st, "episode", "it is ignored");
        return false;
    }

    /* A score whose record or hash is lost is damaged; only where both are missing there was none. */
    const bool scored =
        sqlite3_column_type(st, SCORE) != SQLITE_NULL || sqlite3_column_type(st, SCORE_HASH) != SQLITE_NULL;
    if (scored && !(sc = read_score(st))) tell_damage(s, st, "score", "the episode counts as not scored");

    return fn(ctx, (const char *)sqlite3_column_text(st, ROW), e, sc) != 0;
}

int store_read(store *s, int64_t step, int64_t after_step, int evals, store_row fn, void *ctx, error *err)
{
    static const char SQL[] =
        "SELECT e.row, e.record, e.hash, e.task_id, e.step, e.eval, s.record, s.hash FROM episodes e LEFT JOIN scores "
        "s ON s.task_id = e.task_id"
        " WHERE (?1 < 0 OR e.step = ?1) AND e.step > ?2 AND (?3 = 2 OR e.eval = ?3) ORDER BY e.step, e.eval, e.task_id";
    sqlite3_stmt *st;
    int rc = prepare(s, SQL, &st, err), got = SQLITE_DONE;
    bool stop = false;
    if (rc != OK) return rc;

    sqlite3_bind_int64(st, 1, step);
    sqlite3_bind_int64(st, 2, after_step);
    sqlite3_bind_int(st, 3, evals);

    while (!stop && (got = sqlite3_step(st)) == SQLITE_ROW) stop = read_row(s, st, fn, ctx);
    if (got != SQLITE_DONE && got != SQLITE_ROW) /* ROW: the callback has stopped */
        rc = failed(s, "reading episodes", err);
    sqlite3_finalize(st);
    return rc;
}

/* A step that can be, with a hash as it is written. */
static bool read_step(sqlite3_stmt *st, int64_t *step, uint64_t *hash)
{
    enum { DIGITS = 16 };
    const char *text = (const char *)sqlite3_column_text(st, 1);
    *step = sqlite3_column_int64(st, 0);
    if (*step < 0 || !text || strlen(text) != DIGITS || strspn(text, "0123456789abcdef") != DIGITS) return false;
    *hash = strtoull(text, NULL, 16);
    return true;
}

static void tell_damaged_step(const store *s, int64_t step)
{
    char text[160];
    if (!s->damage) return;
    snprintf(text, sizeof text,
             "rollouts.db: the record of step %" PRId64 " is damaged: episodes of its version are played again", step);
    s->damage(s->damage_ctx, text);
}

int store_read_steps(store *s, store_step fn, void *ctx, error *err)
{
    sqlite3_stmt *st;
    int got;
    const int rc = prepare(s, "SELECT step, weight_hash FROM steps ORDER BY step", &st, err);
    if (rc != OK) return rc;

    while ((got = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t step;
        uint64_t hash;
        if (read_step(st, &step, &hash))
            fn(ctx, step, hash);
        else
            tell_damaged_step(s, step);
    }
    sqlite3_finalize(st);
    return got == SQLITE_DONE ? OK : failed(s, "reading steps", err);
}

int store_counts(store *s, int64_t *steps, int64_t *groups, int64_t *episodes, error *err)
{
    static const char SQL[] = "SELECT count(*), coalesce(sum(n_groups), 0), coalesce(sum(n_episodes), 0) FROM steps"
                              " WHERE step > 0";
    sqlite3_stmt *st;
    int rc = prepare(s, SQL, &st, err);
    if (rc != OK) return rc;
    if (sqlite3_step(st) != SQLITE_ROW) rc = failed(s, "counting steps", err);
    *steps = sqlite3_column_int64(st, 0);
    *groups = sqlite3_column_int64(st, 1);
    *episodes = sqlite3_column_int64(st, 2);
    sqlite3_finalize(st);
    return rc;
}
