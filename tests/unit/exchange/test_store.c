/* SPDX-License-Identifier: MIT */
#include "exchange/store.h"

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "tests/support/support.h"

typedef struct desk {
    char *dir, path[400];
    store *s;
} desk;

static store *open_at(const char *path)
{
    error err = { 0 };
    store *s = store_open(path, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static desk open_desk(void)
{
    desk d = { .dir = test_folder_new() };
    snprintf(d.path, sizeof d.path, "%s/rollouts.db", d.dir);
    d.s = open_at(d.path);
    return d;
}

static void close_desk(desk *d)
{
    store_close(d->s);
    test_folder_remove(d->dir);
}

static task task_of(bool eval, int64_t step, uint32_t index)
{
    return (task){ .id = task_id(eval, step, index),
                   .group = task_id(eval, step, 0),
                   .sample = index,
                   .group_size = 8,
                   .step = step,
                   .eval = eval,
                   .max_version = step,
                   .max_tokens = 8,
                   .row = xstrdup("{\"prompt\": \"one\\u00e9\"}") };
}

static void put(store *s, bool eval, int64_t step, uint32_t index, float logprob)
{
    error err = { 0 };
    task t = task_of(eval, step, index);
    episode *e = episode_new(&t);
    trajectory_append(&e->tokens, TOKEN_QUESTION, (const int32_t[]){ 5, 6 }, 2);
    trajectory_append_sampled(&e->tokens, 7, logprob, eval ? step : step - 1, 99);
    e->text = xstrdup("said");
    e->transcript = xstrdup("said so");
    e->stop = STOP_EOS;
    test_ok(store_put_episode(s, &t, e, &err), &err);
    episode_free(e);
    task_reset(&t);
}

static void put_score(store *s, uint64_t id, double value)
{
    error err = { 0 };
    score sc = { .task = id };
    test_ok(score_set(&sc, "accuracy", value, &err), &err);
    test_ok(store_put_score(s, &sc, &err), &err);
    score_reset(&sc);
}

typedef struct seen {
    int n, scored;
    uint64_t ids[32];
    float logprob[32];
} seen;

static int look(void *ctx, const char *row, episode *e, score *sc)
{
    seen *all = ctx;
    assert_non_null(strstr(row, "one"));
    all->ids[all->n] = e->id;
    all->logprob[all->n++] = e->tokens.logprob[2];
    all->scored += sc != NULL;
    episode_free(e);
    score_free(sc);
    return 0;
}

static seen read_all(store *s, int64_t step, int64_t after, int evals)
{
    error err = { 0 };
    seen all = { 0 };
    test_ok(store_read(s, step, after, evals, look, &all, &err), &err);
    return all;
}

static void what_was_put_comes_back_in_order_to_the_bit(void **state)
{
    (void)state;
    desk d = open_desk();
    const float odd = nextafterf(-1.25f, 0);
    put(d.s, false, 2, 1, -3);
    put(d.s, false, 1, 3, odd);
    put(d.s, true, 0, 0, -4);
    put(d.s, false, 1, 0, -2);
    put_score(d.s, task_id(false, 1, 3), 0.5);
    const seen all = read_all(d.s, -1, -1, 0);
    assert_int_equal(all.n, 3);
    assert_true(all.ids[0] == task_id(false, 1, 0) && all.ids[1] == task_id(false, 1, 3) &&
                all.ids[2] == task_id(false, 2, 1));
    assert_true(all.logprob[1] == odd);
    assert_int_equal(all.scored, 1);
    assert_int_equal(read_all(d.s, -1, -1, 1).n, 1);
    assert_int_equal(read_all(d.s, -1, -1, 2).n, 4);
    assert_int_equal(read_all(d.s, 2, -1, 0).n, 1);
    assert_int_equal(read_all(d.s, -1, 1, 0).n, 1);
    close_desk(&d);
}

static void a_task_played_again_replaces_episode_and_score(void **state)
{
    (void)state;
    desk d = open_desk();
    put(d.s, false, 1, 0, -1);
    put_score(d.s, task_id(false, 1, 0), 1);
    put(d.s, false, 1, 0, -2);
    const seen all = read_all(d.s, -1, -1, 0);
    assert_int_equal(all.n, 1);
    assert_true(all.logprob[0] == -2);
    assert_int_equal(all.scored, 0);
    close_desk(&d);
}

static void count_step(void *ctx, int64_t step, uint64_t hash)
{
    assert_true(hash == 1000 + (uint64_t)step);
    *(int64_t *)ctx = *(int64_t *)ctx * 10 + step;
}

static void steps_are_counted_and_forgotten_behind_a_checkpoint(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    int64_t steps, groups, episodes, seen_steps = 0;
    for (int64_t i = 0; i <= 4; i++)
        test_ok(store_put_step(d.s, i, 1000 + (uint64_t)i, i ? 3 : 0, i ? 12 : 0, &err), &err);
    test_ok(store_counts(d.s, &steps, &groups, &episodes, &err), &err);
    assert_true(steps == 4 && groups == 12 && episodes == 48);
    test_ok(store_forget_steps(d.s, 2, &err), &err);
    test_ok(store_counts(d.s, &steps, &groups, &episodes, &err), &err);
    assert_true(steps == 2 && groups == 6 && episodes == 24);
    test_ok(store_read_steps(d.s, count_step, &seen_steps, &err), &err);
    assert_int_equal(seen_steps, 12);
    close_desk(&d);
}

/* A process that is killed keeps what it committed and nothing of what it had not. */
static void a_killed_process_keeps_what_it_committed(void **state)
{
    (void)state;
    desk d = open_desk();
    store_close(d.s);
    const pid_t child = fork();
    if (child == 0) {
        error err = { 0 };
        store *s = store_open(d.path, &err);
        if (!s || store_begin(s, &err) != OK) _exit(1);
        put(s, false, 1, 0, -1);
        if (store_commit(s, &err) != OK || store_begin(s, &err) != OK) _exit(1);
        put(s, false, 1, 1, -1);
        _exit(0); /* as if killed: nothing is closed */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    d.s = open_at(d.path);
    const seen all = read_all(d.s, -1, -1, 0);
    assert_int_equal(all.n, 1);
    assert_true(all.ids[0] == task_id(false, 1, 0));
    close_desk(&d);
}

static void it_can_be_read_while_it_is_written(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    put(d.s, false, 1, 0, -1);
    test_ok(store_begin(d.s, &err), &err);
    put(d.s, false, 1, 1, -1);
    store *reader = store_open_read(d.path, &err);
    if (!reader) fail_msg("%s", err.text);
    assert_int_equal(read_all(reader, -1, -1, 0).n, 1);
    test_ok(store_commit(d.s, &err), &err);
    assert_int_equal(read_all(reader, -1, -1, 0).n, 2);
    store_close(reader);
    close_desk(&d);
}

/* ---- the disk ---- */

/* SQLite calls these, since the program's symbols come before libc's. */
static int syncs;
int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

/* What is acked after it survives a power cut: an episode, a score, the record of a step. */
static void a_commit_is_on_the_disk_when_it_returns(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    for (uint32_t i = 0; i < 4; i++) {
        test_ok(store_begin(d.s, &err), &err);
        put(d.s, false, 1, i, -1);
        put_score(d.s, task_id(false, 1, i), 0.5);
        const int before = syncs;
        test_ok(store_commit(d.s, &err), &err);
        assert_true(syncs > before);
    }
    const int before = syncs;
    test_ok(store_put_step(d.s, 1, 1000, 1, 4, &err), &err);
    assert_true(syncs > before);
    close_desk(&d);
}

/* On a medium that can't be written, under a name that a URI would read otherwise. */
static void a_run_is_read_where_nothing_can_be_written(void **state)
{
    (void)state;
    error err = { 0 };
    char folder[300], path[400];
    char *dir = test_folder_new();
    snprintf(folder, sizeof folder, "%s/100%% #1?a=b", dir);
    snprintf(path, sizeof path, "%s/rollouts.db", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    store *s = open_at(path);
    put(s, false, 1, 0, -1);
    store_close(s);
    assert_int_equal(chmod(folder, 0500), 0);
    if (access(folder, W_OK) == 0) { /* nothing is locked for a root */
        assert_int_equal(chmod(folder, 0700), 0);
        test_folder_remove(dir);
        skip();
    }
    if (!(s = store_open_read(path, &err))) fail_msg("%s", err.text);
    assert_int_equal(read_all(s, -1, -1, 0).n, 1);
    store_close(s);
    assert_int_equal(chmod(folder, 0700), 0);
    test_file_write(folder, "rollouts.db-wal", "commits that were not merged");
    assert_int_equal(chmod(folder, 0500), 0);
    assert_null(store_open_read(path, &err));
    assert_non_null(strstr(err.text, "copy the run, and read the copy"));
    assert_int_equal(chmod(folder, 0700), 0);
    test_folder_remove(dir);
}

/* ---- damage ---- */

/* All places of `from` in the file become `to`, of the same length, as a bad disk would have it: below SQLite. */
static int edit(const char *path, const char *from, const char *to)
{
    error err = { 0 };
    size_t len, n = strlen(from);
    int found = 0;
    char *bytes = file_read(path, 1 << 24, &len, &err);
    if (!bytes) fail_msg("%s", err.text);
    for (size_t i = 0; i + n <= len; i++)
        if (memcmp(bytes + i, from, n) == 0) memcpy(bytes + i, to, n), found++;
    test_ok(file_write_atomic(path, bytes, len, &err), &err);
    free(bytes);
    return found;
}

typedef struct told {
    int n;
    char first[200];
} told;

static void tell(void *ctx, const char *sentence)
{
    told *t = ctx;
    if (t->n++ == 0) snprintf(t->first, sizeof t->first, "%s", sentence);
}

/* As a program beside us would: by SQL. */
static void change(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Versions find their weights by a step's number: one that can't be a step must not come that far. */
static void a_step_that_can_not_be_is_named_and_not_read(void **state)
{
    (void)state;
    static const char *const BAD[] = { "step = -3", "step = -9223372036854775808", "weight_hash = NULL",
                                       "weight_hash = '12'", "weight_hash = '00000000000003e9and'" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        desk d = open_desk();
        error err = { 0 };
        char sql[120];
        told t = { 0 };
        int64_t seen_steps = 0;
        for (int64_t k = 1; k <= 3; k++) test_ok(store_put_step(d.s, k, 1000 + (uint64_t)k, 1, 2, &err), &err);
        snprintf(sql, sizeof sql, "UPDATE steps SET %s WHERE step = 2", BAD[i]);
        change(d.path, sql);
        store_on_damage(d.s, tell, &t);
        test_ok(store_read_steps(d.s, count_step, &seen_steps, &err), &err);
        if (seen_steps != 13 || t.n != 1 || !strstr(t.first, "is damaged")) fail_msg("%s: %s", BAD[i], t.first);
        test_ok(store_forget_steps(d.s, 3, &err), &err);
        t = (told){ 0 };
        test_ok(store_read_steps(d.s, count_step, &seen_steps, &err), &err);
        assert_int_equal(t.n, i < 2 ? 0 : 1); /* what is no step at all is gone for good */
        close_desk(&d);
    }
}

static void steps_that_a_disk_has_lost_are_counted_anew(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    told t = { 0 };
    int64_t steps, groups, episodes;
    store_on_damage(d.s, tell, &t);
    test_ok(store_complete_steps(d.s, 9, 2, &err), &err); /* of a run without any record there is nothing to say */
    for (int64_t k = 0; k <= 5; k++) {
        if (k > 0) test_ok(store_put_step(d.s, k, 7, 1, 4, &err), &err);
        for (uint32_t i = 0; i < 4; i++) put(d.s, false, k, i, -1);
    }
    test_ok(store_complete_steps(d.s, 5, 2, &err), &err);
    assert_int_equal(t.n, 0);
    change(d.path, "DELETE FROM steps WHERE step IN (2, 3, 5)");
    test_ok(store_complete_steps(d.s, 5, 2, &err), &err); /* 5 is the checkpoint's, which knows its hash */
    assert_int_equal(t.n, 1);
    assert_non_null(strstr(t.first, "step 2 was trained but has no record (and 1 more)"));
    test_ok(store_counts(d.s, &steps, &groups, &episodes, &err), &err);
    assert_true(steps == 4 && groups == 4 && episodes == 16);
    close_desk(&d);
}

/* A page that is not read when a run is resumed would be found when it is too late for a copy. */
static void a_database_that_is_not_whole_is_found_without_reading_its_rows(void **state)
{
    (void)state;
    enum { PAGE = 4096 };
    desk d = open_desk();
    error err = { 0 };
    size_t len;
    for (uint32_t i = 0; i < 40; i++) put(d.s, false, 1 + i / 8, i % 8, -1);
    test_ok(store_check_whole(d.path, &err), &err); /* its last commits are in the log */
    store_close(d.s);
    test_ok(store_check_whole(d.path, &err), &err);
    char *bytes = file_read(d.path, 1 << 24, &len, &err);
    for (size_t at = 0; at + PAGE <= len; at += PAGE) {
        for (size_t i = 0; i < PAGE; i++) bytes[at + i] ^= 0x55;
        test_ok(file_write_atomic(d.path, bytes, len, &err), &err);
        const int rc = store_check_whole(d.path, &err);
        if (rc != ERR_PARSE || !strstr(err.text, "rollouts.db is damaged (")) fail_msg("page %zu: %d", at / PAGE, rc);
        for (size_t i = 0; i < PAGE; i++) bytes[at + i] ^= 0x55;
    }
    test_ok(file_write_atomic(d.path, bytes, len / PAGE / 2 * PAGE, &err), &err);
    assert_int_equal(store_check_whole(d.path, &err), ERR_PARSE);
    free(bytes);
    test_ok(file_write_atomic(d.path, "", 0, &err), &err);
    d.s = open_at(d.path);
    close_desk(&d);
}

static void a_damaged_row_is_named_and_counts_as_not_there(void **state)
{
    (void)state;
    desk d = open_desk();
    told t = { 0 };
    for (uint32_t i = 0; i < 3; i++) put(d.s, false, 4, i, -1);
    put_score(d.s, task_id(false, 4, 0), 0.25);
    put_score(d.s, task_id(false, 4, 1), 0.75);
    store_close(d.s);                                          /* all of it is in the one file then */
    assert_int_equal(edit(d.path, "accuracy", "accurate"), 4); /* as text and in the record, of two scores */
    d.s = open_at(d.path);
    store_on_damage(d.s, tell, &t);
    seen all = read_all(d.s, -1, -1, 0);
    assert_true(all.n == 3 && all.scored == 0 && t.n == 2);
    assert_non_null(strstr(t.first, "the score of task 0000"));
    assert_non_null(strstr(t.first, "step 4, is damaged: the episode counts as not scored"));
    put_score(d.s, task_id(false, 4, 0), 0.25); /* scored again */
    store_close(d.s);
    assert_true(edit(d.path, "said so", "laid so") >= 3);
    d.s = open_at(d.path);
    t = (told){ 0 };
    store_on_damage(d.s, tell, &t);
    all = read_all(d.s, -1, -1, 0);
    assert_true(all.n == 0 && t.n == 3);
    assert_non_null(strstr(t.first, "the episode of task"));
    put(d.s, false, 4, 0, -1); /* played again */
    assert_int_equal(read_all(d.s, -1, -1, 0).n, 1);
    close_desk(&d);
}

static int same_as_before(void *ctx, const char *row, episode *e, score *sc)
{
    const uint64_t *seed = ctx;
    const bool same = strcmp(row, "{\"prompt\": \"one\\u00e9\"}") == 0 && e->step == 4 && !e->eval && e->sample < 8 &&
                      e->id == task_id(false, 4, e->sample) && e->tokens.n == 3 &&
                      e->tokens.logprob[2] == -1 - (float)e->sample && strcmp(e->text, "said") == 0 &&
                      strcmp(e->transcript, "said so") == 0;
    if (!same || (sc && score_get(sc, "accuracy") != 0.5))
        fail_msg("byte of seed %ju: read as if it were so", (uintmax_t)*seed);
    episode_free(e);
    score_free(sc);
    return 0;
}

/* Whatever byte of the file changes: what is read is what was written, or is refused, or isn't there. */
static void no_flipped_byte_is_read_as_an_episode(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    size_t len;
    for (uint32_t i = 0; i < 8; i++) put(d.s, false, 4, i, -1 - (float)i), put_score(d.s, task_id(false, 4, i), 0.5);
    store_close(d.s);
    char *bytes = file_read(d.path, 1 << 24, &len, &err);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        test_random rnd = test_random_seed(seed);
        const size_t at = test_random_below(&rnd, len);
        const char was = bytes[at];
        bytes[at] = (char)(was ^ (1 << test_random_below(&rnd, 8)));
        test_ok(file_write_atomic(d.path, bytes, len, &err), &err);
        bytes[at] = was;
        store *s = store_open_read(d.path, &err);
        if (s) store_read(s, -1, -1, 2, same_as_before, &seed, &err);
        store_close(s);
    }
    free(bytes);
    d.s = NULL;
    close_desk(&d);
}

/* What a long run needs no more goes; what it has counted stays, and so do its evaluations. */
static void old_episodes_go_and_their_counts_stay(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    int64_t steps, groups, episodes;
    put(d.s, true, 1, 0, -1);
    for (int64_t step = 1; step <= 4; step++) {
        for (uint32_t i = 0; i < 2; i++) put(d.s, false, step, i, -1), put_score(d.s, task_id(false, step, i), 0.5);
        test_ok(store_put_step(d.s, step, 1000, 1, 2, &err), &err);
    }
    test_ok(store_drop_episodes(d.s, 3, &err), &err);
    seen all = read_all(d.s, -1, -1, 0);
    assert_true(all.n == 4 && all.scored == 4 && all.ids[0] == task_id(false, 3, 0));
    assert_int_equal(read_all(d.s, -1, -1, 1).n, 1);
    test_ok(store_counts(d.s, &steps, &groups, &episodes, &err), &err);
    assert_true(steps == 4 && groups == 4 && episodes == 8);
    put(d.s, false, 1, 0, -1); /* of a step that goes: its old score has gone too */
    assert_int_equal(read_all(d.s, 1, -1, 0).scored, 0);
    close_desk(&d);
}

static void what_is_no_database_is_refused_by_name(void **state)
{
    (void)state;
    error err = { 0 };
    char path[400];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/rollouts.db", dir);
    assert_null(store_open_read(path, &err));
    assert_non_null(strstr(err.text, "rollouts.db"));
    test_file_write(
        dir, "rollouts.db",
        "this is no database, whatever its name says; it is longer than a header of one hundred bytes is, too");
    assert_null(store_open(path, &err));
    assert_non_null(strstr(err.text, "rollouts.db: file is not a database"));
    test_file_write(dir, "rollouts.db", "");
    assert_null(store_open_read(path, &err));
    assert_non_null(strstr(err.text, "no episodes in it"));
    test_folder_remove(dir);
}

static void a_database_of_another_format_or_program_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *says;
    } OTHERS[] = {
        { "CREATE TABLE episodes(task_id INTEGER PRIMARY KEY); PRAGMA user_version = 1",
          "format 1 by an older Troupe" },
        { "PRAGMA user_version = 3", "format 3 by an older Troupe" },
        { "PRAGMA user_version = 5", "format 5 by a newer Troupe" },
        { "CREATE TABLE customers(name TEXT)", "of another program" },
    };
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        error err = { 0 };
        char path[400];
        char *dir = test_folder_new();
        sqlite3 *db;
        snprintf(path, sizeof path, "%s/rollouts.db", dir);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, OTHERS[i].sql, NULL, NULL, NULL), SQLITE_OK);
        assert_null(store_open(path, &err));
        if (!strstr(err.text, OTHERS[i].says)) fail_msg("expected '%s' in: %s", OTHERS[i].says, err.text);
        assert_null(store_open_read(path, &err));
        assert_int_equal(sqlite3_exec(db, "SELECT * FROM scores", NULL, NULL, NULL),
                         SQLITE_ERROR); /* nothing was made */
        sqlite3_close(db);
        test_folder_remove(dir);
    }
}

/* A limit on file sizes stands for a full disk, which says the same with another reason. */
static void what_there_is_no_room_for_says_where_and_how_much(void **state)
{
    (void)state;
    error err = { 0 };
    desk d = open_desk();
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 1 << 16;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    task t = task_of(false, 1, 0);
    free(t.row);
    t.row = xcalloc(1, (1 << 17) + 1);
    memset(t.row, 'x', 1 << 17);
    episode *e = episode_new(&t);

    test_ok(store_begin(d.s, &err), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = store_put_episode(d.s, &t, e, &err);
    if (rc == OK) rc = store_commit(d.s, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    if (rc != ERR_SPACE) fail_msg("%d: %s", rc, err.text);
    assert_non_null(strstr(err.text, d.path));
    const char *need = strstr(err.text, "it needs at least ");
    if (!need || atoll(need + strlen("it needs at least ")) < 1 << 17) fail_msg("%s", err.text);
    assert_non_null(strstr(err.text, "File too large (raise ulimit -f)"));
    episode_free(e);
    free(t.row);
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back_in_order_to_the_bit),
        cmocka_unit_test(a_task_played_again_replaces_episode_and_score),
        cmocka_unit_test(steps_are_counted_and_forgotten_behind_a_checkpoint),
        cmocka_unit_test(a_killed_process_keeps_what_it_committed),
        cmocka_unit_test(it_can_be_read_while_it_is_written),
        cmocka_unit_test(a_commit_is_on_the_disk_when_it_returns),
        cmocka_unit_test(a_run_is_read_where_nothing_can_be_written),
        cmocka_unit_test(a_damaged_row_is_named_and_counts_as_not_there),
        cmocka_unit_test(a_step_that_can_not_be_is_named_and_not_read),
        cmocka_unit_test(steps_that_a_disk_has_lost_are_counted_anew),
        cmocka_unit_test(a_database_that_is_not_whole_is_found_without_reading_its_rows),
        cmocka_unit_test(no_flipped_byte_is_read_as_an_episode),
        cmocka_unit_test(old_episodes_go_and_their_counts_stay),
        cmocka_unit_test(what_is_no_database_is_refused_by_name),
        cmocka_unit_test(a_database_of_another_format_or_program_is_refused),
        cmocka_unit_test(what_there_is_no_room_for_says_where_and_how_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
