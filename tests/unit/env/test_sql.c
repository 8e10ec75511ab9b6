/* SPDX-License-Identifier: MIT */
/* T.sql: a database for each episode, which no query gets out of. This program is its own host, as "sql-host ...". */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "env/sql/database.h"
#include "env/tools/sql.h"
#include "tests/support/played.h"

static const char SHOP[] = "CREATE TABLE goods(id INTEGER PRIMARY KEY, name TEXT, price REAL);\n"
                           "INSERT INTO goods VALUES (1, 'apple', 0.5), (2, 'pear', NULL);\n";

static char *folder;
static char shop[TEST_PATH]; /* the file of it */

/* ---- a query alone, in this process ---- */

static const database_limits LIMITS = { .memory_bytes = 16 << 20, .steps = 2000000, .rows = 5, .output_bytes = 1000 };

static database *open_database(const database_limits *limits)
{
    error err = { 0 };
    database *d = database_open(NULL, 0, limits, &err);
    assert_non_null(d);
    test_ok(database_build(d, SHOP, &err), &err);
    return d;
}

static void says(database *d, const char *query, bool ok, const char *expected)
{
    str out = { 0 };
    const bool did = database_query(d, 7, query, strlen(query), &out);
    if (did != ok || strcmp(str_text(&out), expected) != 0)
        fail_msg("%s: expected '%s', found (ok %d): '%s'", query, expected, did, str_text(&out));
    str_free(&out);
}

static void results_read_as_plain_tables(void **state)
{
    (void)state;
    static const char *const ALL[][2] = {
        { "SELECT * FROM goods", "id | name | price\n1 | apple | 0.5\n2 | pear | NULL\n" },
        { "SELECT name FROM goods WHERE 0", "name\n(no rows)\n" },
        { "SELECT x'00ff', 'a\nb\r', zeroblob(20) AS z",
          "x'00ff' | 'a\\nb\\r' | z\nx'00FF' | a\\nb\\r | x'00000000000000000000000000000000...'\n" },
        { "INSERT INTO goods(name) VALUES ('fig'); UPDATE goods SET price = 1; DELETE FROM goods WHERE id = 9",
          "(1 row changed)\n(3 rows changed)\n(0 rows changed)\n" },
        { "DELETE FROM goods WHERE id = 3 RETURNING name", "name\nfig\n" },
        { "CREATE TABLE t(a); BEGIN; COMMIT -- and that is it", "(done)\n(done)\n(done)\n" },
        { "SELECT value FROM json_each('[1,2,3,4,5]')", "value\n1\n2\n3\n4\n5\n" },
        { "SELECT value FROM json_each('[1,2,3,4,5,6]')",
          "value\n1\n2\n3\n4\n5\n[more rows: the first 5 are shown]\n" },
        { "PRAGMA table_info(t)", "cid | name | type | notnull | dflt_value | pk\n0 | a |  | 0 | NULL | 0\n" },
        { "SELECT date('now'), CURRENT_TIME", "date('now') | CURRENT_TIME\n2025-01-01 | 12:00:00\n" },
    };
    database *d = open_database(&LIMITS);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) says(d, ALL[i][0], true, ALL[i][1]);
    database_free(d);
}

static void mistakes_are_told_in_the_words_of_sqlite(void **state)
{
    (void)state;
    static const char *const ALL[][2] = {
        { "SELECT * FROM god", "error: no such table: god" },
        { "SELEC 1", "error: near \"SELEC\": syntax error" },
        { "SELECT 1 AS a; SELECT b", "a\n1\nerror: no such column: b" },
        { "INSERT INTO goods VALUES (1, 'x', 2)", "error: UNIQUE constraint failed: goods.id" },
        { "", "error: there is no SQL in the query" },
        { " ;; -- nothing", "error: there is no SQL in the query" },
        { "/* nothing */", "error: there is no SQL in the query" },
    };
    database *d = open_database(&LIMITS);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) says(d, ALL[i][0], false, ALL[i][1]);
    str out = { 0 };
    assert_false(database_query(d, 7, "SELECT 1\0", 9, &out));
    assert_string_equal(out.data, "error: there is a NUL in the query");
    str_free(&out);
    database_free(d);
}

/* What a policy tries, and what SQLite can do for it elsewhere. */
static void no_query_gets_out_of_its_database(void **state)
{
    (void)state;
    static const char *const ATTACKS[] = {
        "ATTACH '/tmp/troupe-sql-x' AS y",
        "ATTACH ':memory:' AS y",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/tmp/troupe-sql-x'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/troupe-sql-x', 'x')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT fts3_tokenizer('simple', x'0000000000000000')",
        "SELECT sqlite_compileoption_get(1)",
        "SELECT sqlite_source_id()",
        "SELECT sqlite_rename_table(1, 2, 3, 4, 5, 6, 7)",
        "SELECT edit('x')",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "CREATE VIRTUAL TABLE v USING dbstat",
        "CREATE VIRTUAL TABLE temp.v USING csv(filename='/etc/passwd')",
        "SELECT * FROM sqlite_dbpage",
        "SELECT * FROM dbstat",
        "SELECT * FROM sqlite_stmt",
        "SELECT * FROM fsdir('/')",
        "PRAGMA writable_schema = 1",
        "PRAGMA writable_schema = RESET",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA data_store_directory = '/tmp'",
        "PRAGMA temp_store = FILE",
        "PRAGMA journal_mode = WAL",
        "PRAGMA hard_heap_limit = 0",
        "PRAGMA soft_heap_limit = 0",
        "PRAGMA max_page_count = 4294967294",
        "PRAGMA mmap_size = 1000000000",
        "PRAGMA trusted_schema = ON",
        "PRAGMA schema_version = 1",
        "PRAGMA threads = 8",
        "PRAGMA compile_options",
        "PRAGMA database_list",
        "PRAGMA function_list",
        "PRAGMA wal_checkpoint",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_compile_options",
        "UPDATE sqlite_schema SET sql = 'x'",
        "INSERT INTO sqlite_schema VALUES ('table', 'a', 'a', 2, 'x')",
        "DELETE FROM sqlite_master",
        "DROP TABLE sqlite_schema",
        "CREATE TABLE sqlite_x(a)",
        "CREATE TRIGGER r AFTER INSERT ON goods BEGIN SELECT load_extension('x'); END; INSERT INTO goods(id) VALUES "
        "(9)",
        "CREATE VIEW w AS SELECT readfile('/etc/passwd'); SELECT * FROM w",
        "CREATE TABLE a(x, y AS (load_extension(x))); INSERT INTO a(x) VALUES (1); SELECT * FROM a",
        "CREATE INDEX i ON goods(fts3_tokenizer(name))",
        "WITH x AS (SELECT load_extension('y')) SELECT * FROM x",
        "EXPLAIN ATTACH 'x' AS y",
        "SELECT ?; ATTACH ? AS y",
        "BEGIN; ATTACH 'x' AS y; COMMIT",
    };
    for (size_t i = 0; i < sizeof ATTACKS / sizeof *ATTACKS; i++) {
        str out = { 0 };
        database *d = open_database(&LIMITS);
        if (database_query(d, 7, ATTACKS[i], strlen(ATTACKS[i]), &out) || !strstr(str_text(&out), "error: "))
            fail_msg("%s: %s", ATTACKS[i], str_text(&out));
        str_free(&out);
        database_query(d, 7, "ROLLBACK", 8, NULL);
        database_query(d, 7, "DROP TRIGGER r", 14, NULL);
        says(d, "SELECT count(*) AS n FROM goods WHERE id < 3", true, "n\n2\n"); /* it goes on */
        database_free(d);
    }
    assert_int_equal(access("/tmp/troupe-sql-x", F_OK), -1);
}

static void what_a_query_takes_is_bounded(void **state)
{
    (void)state;
#define COUNT "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    static const char *const ALL[][2] = {
        { COUNT "SELECT count(*) AS n FROM c", "n\nerror: the query takes too long: more than 2 million steps" },
        { COUNT "INSERT INTO goods(name) SELECT hex(zeroblob(50000)) FROM c", "error: out of memory" },
        { COUNT "SELECT x FROM c ORDER BY x DESC", "x\nerror: the query takes too long: more than 2 million steps" },
        { "SELECT hex(zeroblob(2000000)) AS n", "n\nerror: string or blob too big" },
        { "SELECT replace(hex(zeroblob(1000)), '0', hex(zeroblob(1000))) AS n", "n\nerror: string or blob too big" },
    };
    database *d = open_database(&LIMITS);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) says(d, ALL[i][0], false, ALL[i][1]);
    says(d, "SELECT count(*) AS n FROM goods", true, "n\n2\n");
    database_free(d);
}

/* The longest text that comes of anything, and in whole characters; an error is said whatever was cut. */
static void a_long_text_is_cut_and_says_so(void **state)
{
    (void)state;
    str out = { 0 }, query = { 0 };
    database *d = open_database(&LIMITS);
    for (int i = 0; i < 20; i++) str_puts(&query, "SELECT replace(hex(zeroblob(150)), '00', 'é') AS n;");
    str_puts(&query, "SELECT nope");
    assert_false(database_query(d, 7, query.data, query.len, &out));
    const char *mark = strstr(out.data, "\n[output truncated: cut at 1000 bytes]\nerror: no such column: nope");
    assert_true(mark && (size_t)(mark - out.data) <= LIMITS.output_bytes);
    for (const char *p = out.data; p < mark; p++)
        if (*p == '\xc3') assert_int_equal(p[1], '\xa9');
    str_clear(&out);
    str_clear(&query);
    str_puts(&query, "SELECT replace(hex(zeroblob(150)), '00', 'éé') AS n");
    assert_true(database_query(d, 7, query.data, query.len, &out));
    assert_int_equal(out.len, strlen("n\n") + 200 * 2 + strlen("...\n"));
    str_free(&out);
    str_free(&query);
    database_free(d);
}

/* ---- the tool ---- */

static tool made_of(const char *path, int timeout_ms)
{
    error err = { 0 };
    char self[1024];
    tool t = { 0 };
    test_ok(process_self_path(self, sizeof self, &err), &err);
    test_ok(sql_tool(&(sql_config){ .database = path, .self = self, .timeout_ms = timeout_ms }, &t, &err), &err);
    return t;
}

static router *open_desk(const char *path, int timeout_ms)
{
    error err = { 0 };
    router *r = router_new(NULL);
    const tool t = made_of(path, timeout_ms);
    test_ok(router_add(r, &t, &err), &err);
    return r;
}

/* The call of this number in episode `play`, as its seed. */
static tool_result asked(router *r, uint64_t play, uint64_t number, const char *query)
{
    json_t *arguments = json_pack("{s:s}", "query", query);
    char *text = json_text(arguments, false);
    const tool_context context = { .play = play, .seed = number | (uint64_t)1 << 63 };
    tool_result t = result_of(r, router_begin(r, SQL_NAME, text, &context, clock_ms()));
    free(text);
    json_decref(arguments);
    return t;
}

static void answers(router *r, uint64_t play, const char *query, bool ok, const char *expected)
{
    tool_result t = asked(r, play, 1, query);
    if (t.failed || t.ok != ok || strcmp(t.text, expected) != 0)
        fail_msg("%s: expected '%s', found (failed %d, ok %d): %s", query, expected, t.failed, t.ok, t.text);
    tool_result_reset(&t);
}

static void a_change_lasts_for_its_episode_and_reaches_no_other(void **state)
{
    (void)state;
    size_t len;
    router *r = open_desk(shop, 0);
    char *before = file_read(shop, 1 << 20, &len, NULL);
    answers(r, 1, "DELETE FROM goods WHERE id = 1", true, "(1 row changed)");
    answers(r, 1, "SELECT name FROM goods", true, "name\npear");
    answers(r, 2, "SELECT name FROM goods", true, "name\napple\npear");
    answers(r, 1, "INSERT INTO goods(name) VALUES ('fig'); SELECT nope", false,
            "(1 row changed)\nerror: no such column: nope");
    answers(r, 1, "SELECT name FROM goods", true, "name\npear\nfig");
    answers(r, 0, "SELECT name FROM goods", true, "name\napple\npear"); /* by hand: each call alone */
    answers(r, 1, "BEGIN; DELETE FROM goods", true, "(done)\n(2 rows changed)");
    answers(r, 1, "ROLLBACK; SELECT count(*) AS n FROM goods", true, "(done)\nn\n2");
    router_leave(r, 1);
    answers(r, 1, "SELECT name FROM goods", true, "name\napple\npear");
    router_free(r);
    char *after = file_read(shop, 1 << 20, &len, NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* Kills the processes that this one has started, and sees them dead: the next call finds no host, and is not lost. */
static void kill_hosts(void)
{
    char path[80], children[400] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && read(fd, children, sizeof children - 1) > 0);
    close(fd);
    for (char *at = children, *end; strtol(at, &end, 10) > 0; at = end) {
        const pid_t pid = (pid_t)strtol(at, NULL, 10);
        siginfo_t info;
        kill(pid, SIGKILL);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    }
}

/* Whoever plays the episode, and whatever dies meanwhile: chance is the call's. */
static void the_same_calls_say_the_same(void **state)
{
    (void)state;
    static const char *const CALLS[] = {
        "SELECT random(); INSERT INTO goods(name, price) VALUES (hex(randomblob(4)), random())",
        "SELECT hex(randomblob(8))",
        "UPDATE goods SET price = abs(random() % 100) WHERE price IS NULL",
        "SELECT *, datetime('now') FROM goods",
    };
    char *first[4];
    for (int pass = 0; pass < 3; pass++) {
        router *r = open_desk(shop, 0);
        for (size_t i = 0; i < 4; i++) {
            if (pass == 2 && i > 0) kill_hosts();
            tool_result t = asked(r, 5, i, CALLS[i]);
            if (!t.ok || t.failed) fail_msg("%d, %zu (failed %d): %s", pass, i, t.failed, t.text);
            if (pass > 0) assert_string_equal(t.text, first[i]);
            if (pass > 0) free(first[i]);
            first[i] = xstrdup(t.text);
            tool_result_reset(&t);
        }
        router_free(r);
    }
    assert_null(strstr(first[0], strrchr(first[1], '\n') + 1));
    for (size_t i = 0; i < 4; i++) free(first[i]);
}

/* One step of SQLite's machine that takes minutes: no count of steps ends it. The query leaves nothing. */
static void a_query_that_hangs_is_killed(void **state)
{
    (void)state;
    router *r = open_desk(shop, 300);
    answers(r, 1, "INSERT INTO goods(name) VALUES ('fig')", true, "(1 row changed)");
    answers(r, 1,
            "DELETE FROM goods; SELECT sum(instr(hex(zeroblob(250000)), hex(zeroblob(200000)) || 'x')) FROM goods, "
            "json_each('[1,2,3]'); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000) SELECT "
            "sum(instr(hex(zeroblob(250000)), hex(zeroblob(125000)) || 'x')) FROM c",
            false, "error: time limit of 0.3 s exceeded");
    answers(r, 1, "SELECT count(*) AS n FROM goods", true, "n\n3");
    router_free(r);
}

/* So few that they end before the two seconds of a call are up on any machine that trains. */
static void a_recursion_without_an_end_is_ended_by_its_steps(void **state)
{
    (void)state;
    router *r = open_desk(shop, 60000);
    answers(r, 1, COUNT "SELECT count(*) AS n FROM c", false,
            "n\nerror: the query takes too long: more than 20 million steps");
    router_free(r);
}

static void bytes_write(const char *path, const char *bytes, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

static void a_database_may_be_of_sqlite_s_of_sql_or_none(void **state)
{
    (void)state;
    static const char *const MODES[] = { "DELETE", "WAL" };
    for (int i = 0; i < 2; i++) {
        char path[TEST_PATH], query[100];
        sqlite3 *db;
        snprintf(path, sizeof path, "%s/%s.sqlite", folder, MODES[i]);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        snprintf(query, sizeof query, "PRAGMA journal_mode = %s", MODES[i]);
        assert_int_equal(sqlite3_exec(db, query, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, SHOP, NULL, NULL, NULL), SQLITE_OK);
        error err = { 0 };
        if (i == 1) { /* it has not been closed */
            assert_int_equal(sql_check(path, &err), ERR_ARGUMENT);
            assert_non_null(strstr(err.text, "lie in its log"));
        }
        sqlite3_close(db);
        router *r = open_desk(path, 0);
        answers(r, 1, "INSERT INTO goods(name) VALUES ('fig'); SELECT name FROM goods", true,
                "(1 row changed)\nname\napple\npear\nfig");
        router_free(r);
    }
    router *r = open_desk(NULL, 0);
    answers(r, 1, "CREATE TABLE t(a); INSERT INTO t VALUES (3)", true, "(done)\n(1 row changed)");
    answers(r, 1, "SELECT * FROM t", true, "a\n3");
    router_free(r);
}

static void a_file_that_makes_no_database_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } BAD[] = {
        { "CREATE TABLE (", "near \"(\": syntax error" },
        { "SELECT load_extension('/x')", "not authorized" },
        { "hello", "near \"hello\": syntax error" },
    };
    char path[TEST_PATH], text[400] = "SQLite format 3";
    error err = { 0 };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        test_file_at(folder, "bad.sql", BAD[i].text, path);
        if (sql_check(path, &err) == OK || !strstr(err.text, BAD[i].says) || !strstr(err.text, "bad.sql"))
            fail_msg("%s: %s", BAD[i].text, err.text);
    }
    /* Its author may attach what he likes: it is in memory, too. */
    test_file_at(folder, "odd.sql",
                 "ATTACH '/tmp/troupe-sql-x' AS x; CREATE TABLE x.t(a); VACUUM INTO '/tmp/troupe-sql-x'", path);
    test_ok(sql_check(path, &err), &err);
    memset(text + 16, 'x', sizeof text - 16);
    snprintf(path, sizeof path, "%s/bad.sqlite", folder);
    bytes_write(path, text, sizeof text);
    assert_true(sql_check(path, &err) != OK && strstr(err.text, "file is not a database"));
    memset(text, 1, 8); /* as of an encrypted one: no byte says what it is */
    text[8] = 0;
    snprintf(path, sizeof path, "%s/bytes.sqlite", folder);
    bytes_write(path, text, sizeof text);
    assert_true(sql_check(path, &err) != OK &&
                strstr(err.text, "neither an SQLite database nor a text of SQL: byte 9"));
    assert_int_equal(sql_check("/nowhere.sql", &err), ERR_NOT_FOUND);
    assert_int_equal(access("/tmp/troupe-sql-x", F_OK), -1);
}

static int open_folder(void **state)
{
    (void)state;
    folder = test_folder_new();
    test_file_at(folder, "shop.sql", SHOP, shop);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

int main(int argc, char **argv)
{
    error err = { 0 };
    if (argc == 7 && strcmp(argv[1], "sql-host") == 0)
        return sql_serve(&(sql_host){ argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6]) }, &err) !=
               OK;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_read_as_plain_tables),
        cmocka_unit_test(mistakes_are_told_in_the_words_of_sqlite),
        cmocka_unit_test(no_query_gets_out_of_its_database),
        cmocka_unit_test(what_a_query_takes_is_bounded),
        cmocka_unit_test(a_long_text_is_cut_and_says_so),
        cmocka_unit_test(a_change_lasts_for_its_episode_and_reaches_no_other),
        cmocka_unit_test(the_same_calls_say_the_same),
        cmocka_unit_test(a_query_that_hangs_is_killed),
        cmocka_unit_test(a_recursion_without_an_end_is_ended_by_its_steps),
        cmocka_unit_test(a_database_may_be_of_sqlite_s_of_sql_or_none),
        cmocka_unit_test(a_file_that_makes_no_database_is_named),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
