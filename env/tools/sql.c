/* SPDX-License-Identifier: MIT */
#include "env/tools/sql.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "env/sandbox/confine.h"
#include "env/sandbox/host.h"
#include "env/sql/database.h"
#include "env/tools/boxed.h"
#include "env/tools/cells.h"

const char SQL_DESCRIPTION[] =
    "Runs SQL (SQLite) on a database and returns the rows. What a query changes lasts until the end.";
const char SQL_PARAMETERS[] =
    "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"}},\"required\":[\"query\"]}";

enum {
    DEFAULT_MEMORY_MB = 64,
    DEFAULT_ROWS = 50,
    DEFAULT_OUTPUT = 8192,
    BEYOND_OUTPUT = 1024,     /* that it was cut, and an error */
    BEYOND_MB = 64,           /* of addresses: the text, the queries before, what malloc leaves unused */
    MAX_DATABASE = 256 << 20, /* bytes of the file, and of what comes of it */
    BUILD_S = 15              /* of computing, to make a database of a file; less than a box waits for its host */
};
/* They should end before the time is up, as that is another on each machine: a recursion without an end, the commonest
 * one, takes 40 to 65 ns a step, 0.8 to 1.3 s. */
static const int64_t STEPS = 20000000;

/* ---- the tool ---- */

static char *request_of(void *owner, uint64_t call, const json_t *arguments, const tool_context *ctx, size_t *len)
{
    const json_t *query = json_object_get(arguments, "query"); /* the router has checked that it is one */
    tool_context read = *ctx;
    read.seed >>= 1; /* jansson reads whole numbers of 63 bits */
    return cells_request(owner, call, json_string_value(query), json_string_length(query), &read, len);
}

static void ended(void *owner, uint64_t call, bool ran) { cells_ended(owner, call, ran); }

static void leave(void *owner, uint64_t play) { cells_leave(owner, play); }

static void free_cells(void *owner) { cells_free(owner); }

static int positive(int value, int fallback) { return value > 0 ? value : fallback; }

int sql_tool(const sql_config *config, tool *out, error *err)
{
    char memory[16], rows[16], output[16];
    const int output_bytes = positive(config->output_bytes, DEFAULT_OUTPUT);
    snprintf(memory, sizeof memory, "%d", positive(config->memory_mb, DEFAULT_MEMORY_MB));
    snprintf(rows, sizeof rows, "%d", positive(config->rows, DEFAULT_ROWS));
    snprintf(output, sizeof output, "%d", output_bytes);
    const char *const host[] = { config->self, "sql-host", config->database ? config->database : "", memory, rows,
                                 output,       NULL };
    const boxed_config boxed = {
        .name = config->name ? config->name : SQL_NAME,
        .description = config->description ? config->description : SQL_DESCRIPTION,
        .parameters = SQL_PARAMETERS,
        .box = { .timeout_ms = config->timeout_ms, .output_bytes = output_bytes + BEYOND_OUTPUT, .host = host },
        .at_once = config->at_once,
        .owner = cells_new(),
        .request = request_of,
        .ended = ended,
        .leave = leave,
        .free_owner = free_cells,
    };
    return boxed_tool(&boxed, out, err);
}

/* ---- pipes ---- */

static bool write_all(int fd, const void *bytes, size_t len)
{
    for (const char *at = bytes; len > 0;) {
        const ssize_t n = write(fd, at, len);
        if (n <= 0) return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, void *bytes, size_t len)
{
    for (char *at = bytes; len > 0;) {
        const ssize_t n = read(fd, at, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* ---- a file becomes the bytes of a database ----
 *
 * In a process of its own, as a query is run: whoever sent the file need not be a friend. */

typedef struct image {
    void *bytes; /* of sqlite3_malloc64; NULL: an empty database */
    size_t len;
} image;

/* How it went, and how many bytes follow: of the image, or of a sentence. */
typedef struct answer_head {
    int rc;
    size_t len;
} answer_head;

static bool is_sqlite(const char *bytes, size_t len)
{
    static const char MARK[16] = "SQLite format 3";
    return len >= sizeof MARK && memcmp(bytes, MARK, sizeof MARK) == 0;
}

/* What a program that has the file open has not brought into it yet lies beside it. */
static int check_log(const char *path, error *err)
{
    char log[4200];
    struct stat st;
    snprintf(log, sizeof log, "%s-wal", path);
    if (stat(log, &st) != 0 || st.st_size == 0) return OK;
    return error_set(
        err, ERR_ARGUMENT,
        "%s: changes that are not in it yet lie in its log, %s-wal: close the program that has it open, or "
        "run PRAGMA wal_checkpoint(TRUNCATE)",
        path, path);
}

static database *open_copy(const char *bytes, size_t len, const database_limits *limits, error *err)
{
    void *copy = NULL;
    if (bytes) {
        copy = sqlite3_malloc64(len);
        if (!copy) {
            error_set(err, ERR_MEMORY, "out of memory: the database has %zu bytes", len);
            return NULL;
        }
        memcpy(copy, bytes, len);
    }
    return database_open(copy, len, limits, err);
}

/* Of an encrypted database, too, no byte says what it is. */
static int refuse_bytes(const char *bytes, size_t len, error *err)
{
    return error_set(err, ERR_PARSE,
                     "neither an SQLite database nor a text of SQL: byte %zu is NUL (an encrypted database has to be "
                     "decrypted first)",
                     (size_t)((const char *)memchr(bytes, 0, len) - bytes) + 1);
}

/* In the child. */
static int build(const char *bytes, size_t len, image *out, error *err)
{
    static const database_limits LIMITS = { .memory_bytes = 2LL * MAX_DATABASE };
    int rc = confine(&(confine_config){ 0 }, err);
    const bool file = is_sqlite(bytes, len);
    database *d = rc == OK ? open_copy(file ? bytes : NULL, len, &LIMITS, err) : NULL;
    if (!d) return err->code;
    if (!file) rc = memchr(bytes, 0, len) ? refuse_bytes(bytes, len, err) : database_build(d, bytes, err);
    if (rc != OK) return rc;
    out->bytes = database_image(d, &out->len);
    return out->bytes || out->len == 0 ? OK : error_set(err, ERR_MEMORY, "out of memory: a copy of the database");
}

static _Noreturn void build_child(const char *bytes, size_t len, int fd)
{
    error err = { 0 };
    image made = { 0 };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CPU, &(struct rlimit){ BUILD_S, BUILD_S + 1 });
    const int rc = build(bytes, len, &made, &err);
    const answer_head head = { rc, rc == OK ? made.len : strlen(err.text) };
    const bool told = write_all(fd, &head, sizeof head) && write_all(fd, rc == OK ? made.bytes : err.text, head.len);
    _exit(!told);
}

static int take_answer(const char *path, int fd, image *out, error *err)
{
    char text[sizeof err->text] = "";
    answer_head head;
    if (!read_all(fd, &head, sizeof head))
        return error_set(err, ERR_TIMEOUT, "%s: no database could be made of it in %d s", path, BUILD_S);
    if (head.rc != OK) {
        if (head.len < sizeof text && read_all(fd, text, head.len)) error_set(err, head.rc, "%s: %s", path, text);
        return head.rc;
    }
    if (head.len > MAX_DATABASE)
        return error_set(err, ERR_LIMIT, "%s: a database of %zu bytes (at most %d are allowed)", path, head.len,
                         MAX_DATABASE);
    if (head.len == 0) return OK; /* there is nothing in it */
    *out = (image){ sqlite3_malloc64(head.len), head.len };
    if (out->bytes && read_all(fd, out->bytes, head.len)) return OK;
    return error_set(err, ERR_MEMORY, "%s: out of memory: its database has %zu bytes", path, head.len);
}

static int build_apart(const char *path, const char *bytes, size_t len, image *out, error *err)
{
    int ends[2];
    if (pipe(ends) != 0) return error_sys(err, errno, "pipe");
    const pid_t pid = fork();
    if (pid == 0) build_child(bytes, len, ends[1]);
    close(ends[1]);
    const int rc = pid > 0 ? take_answer(path, ends[0], out, err) : error_sys(err, errno, "fork");
    close(ends[0]);
    if (pid > 0) kill(pid, SIGKILL); /* it has said all, or too much */
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return rc;
}

static int load(const char *path, image *out, error *err)
{
    static const char NONE[] = "";
    size_t len = 0;
    if (!path[0]) return build_apart("sql", NONE, 0, out, err); /* tries whether a child can lock itself in */
    if (check_log(path, err) != OK) return ERR_ARGUMENT;
    char *bytes = file_read(path, MAX_DATABASE, &len, err);
    if (!bytes) return err->code;
    const int rc = build_apart(path, bytes, len, out, err);
    free(bytes);
    return rc;
}

int sql_check(const char *path, error *err)
{
    image made = { 0 };
    const int rc = load(path, &made, err);
    sqlite3_free(made.bytes);
    return rc;
}

/* ---- the host ---- */

typedef struct serving {
    image image;
    database_limits limits;
    confine_config lock;
} serving;

/* The cell's seed and query: [seed, query]. Only the last one's text is wanted. */
static bool run_cell(database *d, const json_t *cell, str *out)
{
    const json_t *query = json_array_get(cell, 1);
    const uint64_t seed = (uint64_t)json_integer_value(json_array_get(cell, 0));
    return database_query(d, seed, json_string_value(query), json_string_length(query), out);
}

/* In the child. The image is the host's memory, of which this process has a copy that it may do with as it likes. */
static bool run(void *ctx, const char *request, size_t len, int out_fd)
{
    const serving *s = ctx;
    error err = { 0 };
    str out = { 0 };
    bool ok = false;
    json_t *queries = json_parse(request, len, "request", &err);
    database *d = NULL;
    if (queries && confine(&s->lock, &err) == OK) d = database_open(s->image.bytes, s->image.len, &s->limits, &err);
    const size_t n = json_array_size(queries);
    for (size_t i = 0; d && i < n; i++) ok = run_cell(d, json_array_get(queries, i), i + 1 == n ? &out : NULL);
    if (!d) str_printf(&out, "error: %s", err.text);
    write_all(out_fd, str_text(&out), out.len);
    return ok; /* what is held here goes with the process */
}

int sql_serve(const sql_host *h, error *err)
{
    serving s = { .limits = { .memory_bytes = (int64_t)h->memory_mb << 20,
                              .steps = STEPS,
                              .rows = h->rows,
                              .output_bytes = (size_t)h->output_bytes } };
    /* SQLite keeps to its own limit on memory, and says so; that on addresses is for a fault of it. */
    s.lock.memory_mb = h->memory_mb + h->memory_mb / 2 + BEYOND_MB;
    setenv("TZ", "UTC", 1); /* of 'localtime' */
    tzset();
    const int rc = load(h->database, &s.image, err);
    if (rc == OK)
        box_host_main(&(box_host){ .ctx = &s, .run = run }, h->sock);
    else
        box_host_refuse(err->text, h->sock);
    sqlite3_free(s.image.bytes);
    return rc;
}
