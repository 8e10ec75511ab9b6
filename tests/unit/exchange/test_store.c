#include "exchange/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
    trajectory_append(&e->tokens, ROLE_QUESTION, (const int32_t[]){ 5, 6 }, 2);
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
    assert_non_null(strstr(err.text, "rollouts.db"));
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back_in_order_to_the_bit),
        cmocka_unit_test(a_task_played_again_replaces_episode_and_score),
        cmocka_unit_test(steps_are_counted_and_forgotten_behind_a_checkpoint),
        cmocka_unit_test(a_killed_process_keeps_what_it_committed),
        cmocka_unit_test(it_can_be_read_while_it_is_written),
        cmocka_unit_test(what_is_no_database_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
