/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "run/supervisor.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 20000 };

typedef struct house {
    char *dir, log[400];
    supervisor *s;
    char *said; /* all sentences, a line each */
} house;

static void hear(void *ctx, const char *sentence)
{
    house *h = ctx;
    str all = { 0 };
    str_printf(&all, "%s%s\n", h->said ? h->said : "", sentence);
    free(h->said);
    h->said = str_take(&all);
}

/* Deadlines of a test, not of a person. */
static house *open_house(void)
{
    house *h = calloc(1, sizeof *h);
    h->dir = test_folder_new();
    h->s = supervisor_new(
        &(supervisor_config){ .say = hear, .ctx = h, .stopped_ms = 1500, .lost_ms = 1500, .silent_ms = 1500 });
    snprintf(h->log, sizeof h->log, "%s/log", h->dir);
    return h;
}

static void close_house(house *h)
{
    supervisor_free(h->s);
    test_folder_remove(h->dir);
    free(h->said);
    free(h);
}

static void add_child(house *h, const child_options *o)
{
    error err = { 0 };
    child_options options = *o;
    options.name = o->name ? o->name : "child";
    options.log_path = h->log;
    options.report_fd = -1;
    test_ok(supervisor_add(h->s, &options, &err), &err);
}

static void add(house *h, const char *const *argv, const char *const *restart, bool principal)
{
    add_child(h, &(child_options){ .argv = argv, .restart_argv = restart, .principal = principal });
}

static void said(const house *h, const char *sentence)
{
    if (!h->said || !strstr(h->said, sentence)) fail_msg("expected '%s' in:\n%s", sentence, h->said ? h->said : "");
}

static void logged(const house *h, const char *lines)
{
    char *log = test_file_read(h->dir, "log");
    assert_string_equal(log, lines);
    free(log);
}

/* One turn of at most `wait_ms`. */
static supervisor_state turn(house *h, int wait_ms, error *err)
{
    int fds[8];
    struct pollfd pf[8];
    const int n = supervisor_fds(h->s, fds, 8);
    for (int i = 0; i < n; i++) pf[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
    poll(pf, (nfds_t)n, wait_ms);
    return supervisor_poll(h->s, err);
}

/* Until the state changes. */
static supervisor_state watch(house *h, error *err)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    supervisor_state state;
    while ((state = turn(h, 100, err)) == RUN_CONTINUES)
        if (clock_ms() > deadline_ms) fail_msg("nothing happened; said: %s", h->said ? h->said : "");
    return state;
}

/* Until the log has `word` so many times; the principal reports who is connected all the while. */
static void watch_until_logged(house *h, const char *word, int times, const char *peers)
{
    error err = { 0 };
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    for (int seen = 0; seen < times;) {
        if (peers) supervisor_heard(h->s, peers);
        if (turn(h, 50, &err) != RUN_CONTINUES) fail_msg("it ended: %s", err.text);
        char *log = test_file_read(h->dir, "log");
        seen = 0;
        for (const char *at = log; (at = strstr(at, word)); at++) seen++;
        free(log);
        if (clock_ms() > deadline_ms) fail_msg("waited in vain; said: %s", h->said ? h->said : "");
    }
}

static void the_run_is_over_when_the_principal_ends_well(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sleep", "60", NULL }, NULL, false);
    add(h, (const char *const[]){ "true", NULL }, NULL, true);
    assert_int_equal(watch(h, &err), RUN_FINISHED);
    const int64_t began_ms = clock_ms();
    supervisor_stop(h->s, 0);
    assert_true(clock_ms() - began_ms < 5000); /* the sleeper did not outlive it */
    int fds[8];
    assert_int_equal(supervisor_fds(h->s, fds, 8), 0);
    close_house(h);
}

/* Neither a failure nor a reason to start again: whoever asked it meant the run. Another child starts again. */
static void a_principal_that_was_asked_to_stop_stops_the_run(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "echo began; exit 130", NULL },
        (const char *const[]){ "sh", "-c", "echo again; sleep 60", NULL }, false);
    watch_until_logged(h, "again", 1, NULL);
    add(h, (const char *const[]){ "sh", "-c", "echo 'troupe: learner: stopped at step 3'; exit 130", NULL }, NULL,
        true);
    assert_int_equal(watch(h, &err), RUN_STOPPED);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    assert_string_equal(err.text, "stopped by a signal to the child: stopped at step 3");
    close_house(h);
}

static void a_principal_that_says_why_it_failed_is_not_started_again(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "echo started; echo 'troupe: learner: no more room'; exit 3", NULL },
        NULL, true);
    assert_int_equal(watch(h, &err), RUN_FAILED);
    assert_string_equal(err.text, "child: no more room (log: logs/child.log)");
    logged(h, "started\ntroupe: learner: no more room\n");
    close_house(h);
}

/* The last sentence comes through its own pipe: a full disk keeps no log. */
static void last_words_need_no_log(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "eval \"echo by the pipe >&$TROUPE_LAST_WORDS_FD\"; exit 3", NULL }, NULL,
        true);
    assert_int_equal(watch(h, &err), RUN_FAILED);
    assert_string_equal(err.text, "child: by the pipe (log: logs/child.log)");
    close_house(h);
}

static void a_child_that_was_killed_is_started_again_with_its_second_words(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "echo first; kill -9 $$", NULL },
        (const char *const[]){ "sh", "-c", "echo second", NULL }, true);
    assert_int_equal(watch(h, &err), RUN_FINISHED);
    logged(h, "first\nsecond\n");
    said(h, "child ended (killed by signal 9 (Killed)); starting it again");
    close_house(h);
}

static void a_child_that_dies_twice_for_one_reason_ends_the_run_with_it(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "echo x; echo \"troupe: actor: no dialect $$\" >&2; exit 1", NULL }, NULL,
        false);
    assert_int_equal(watch(h, &err), RUN_FAILED);
    if (strncmp(err.text, "child: no dialect ", 18) != 0 || !strstr(err.text, "ended twice")) fail_msg("%s", err.text);
    said(h, "child ended (no dialect ");
    char *log = test_file_read(h->dir, "log");
    assert_int_equal(strlen(log) - strlen(strrchr(log, 'x')), strlen(log) / 2); /* twice, no third time */
    free(log);
    close_house(h);
}

/* A learner that dies after every step does the steps after its checkpoint again and again: that is no progress. */
static void steps_that_are_done_again_are_no_progress(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "sleep 0.3; kill -SEGV $$", NULL }, NULL, true);
    int64_t step = 1;
    supervisor_state now = RUN_CONTINUES;
    for (int64_t until_ms = clock_ms() + PATIENCE_MS; now == RUN_CONTINUES; now = turn(h, 50, &err)) {
        supervisor_step(h->s, step = step % 3 + 1);
        if (clock_ms() > until_ms) fail_msg("it was started again for ever");
    }
    assert_int_equal(now, RUN_FAILED);
    assert_non_null(strstr(err.text, "killed by signal 11"));
    close_house(h);
}

static void a_crash_counts_as_a_reason(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "kill -SEGV $$", NULL }, NULL, true);
    assert_int_equal(watch(h, &err), RUN_FAILED);
    assert_non_null(strstr(err.text, "killed by signal 11"));
    close_house(h);
}

/* SIGTERM to an actor, or a script that calls exit: it leaves as if all were over, and it isn't. */
static void a_child_that_leaves_while_the_run_goes_on_is_started_again(void **state)
{
    (void)state;
    house *h = open_house();
    add(h, (const char *const[]){ "sh", "-c", "echo up", NULL }, NULL, false);
    watch_until_logged(h, "up", 3, NULL);
    said(h, "child ended (exit status 0); starting it again");
    close_house(h);
}

/* At the end the principal says goodbye, and the others leave before it does. */
static void who_leaves_at_the_farewell_is_let_go(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add(h, (const char *const[]){ "sh", "-c", "echo up", NULL }, NULL, false);
    add(h, (const char *const[]){ "sleep", "3", NULL }, NULL, true);
    supervisor_farewell(h->s);
    assert_int_equal(watch(h, &err), RUN_FINISHED);
    logged(h, "up\n");
    assert_null(h->said);
    close_house(h);
}

/* The principal had said goodbye, and then it crashed: the next one needs the others. */
static void who_left_is_called_back_by_the_next_principal(void **state)
{
    (void)state;
    house *h = open_house();
    add(h, (const char *const[]){ "sh", "-c", "echo up", NULL },
        (const char *const[]){ "sh", "-c", "echo back; sleep 60", NULL }, false);
    add(h, (const char *const[]){ "sh", "-c", "sleep 1; kill -9 $$", NULL },
        (const char *const[]){ "sleep", "60", NULL }, true);
    supervisor_farewell(h->s);
    watch_until_logged(h, "back", 1, NULL);
    close_house(h);
}

static void a_child_that_is_stopped_is_replaced(void **state)
{
    (void)state;
    house *h = open_house();
    add(h, (const char *const[]){ "sh", "-c", "echo up; kill -STOP $$; echo never", NULL },
        (const char *const[]){ "sh", "-c", "echo second; sleep 60", NULL }, false);
    watch_until_logged(h, "second", 1, NULL);
    logged(h, "up\nsecond\n");
    said(h, "child is stopped (SIGSTOP)");
    said(h, "replacing it");
    close_house(h);
}

static void a_child_that_computes_for_long_is_waited_for(void **state)
{
    (void)state;
    house *h = open_house();
    error err = { 0 };
    add_child(h, &(child_options){ .name = "actor-1",
                                   .argv = (const char *const[]){ "sh", "-c", "while :; do :; done", NULL },
                                   .connects = true });
    const int64_t until_ms = clock_ms() + 4000; /* more than lost_ms, less than what loading may take */
    while (clock_ms() < until_ms) {
        supervisor_heard(h->s, "actor-11 xactor-1 ");
        assert_int_equal(turn(h, 50, &err), RUN_CONTINUES);
    }
    assert_null(strstr(h->said ? h->said : "", "replacing"));
    close_house(h);
}

static void a_child_that_lives_but_is_lost_is_replaced(void **state)
{
    (void)state;
    house *h = open_house();
    add_child(h, &(child_options){ .name = "actor-1",
                                   .argv = (const char *const[]){ "sh", "-c", "echo up; sleep 60", NULL },
                                   .connects = true });
    watch_until_logged(h, "up", 2, "reward-1 ");
    said(h, "actor-1 is alive but has not been connected to the learner for ");
    close_house(h);
}

static void a_principal_that_hangs_is_replaced(void **state)
{
    (void)state;
    house *h = open_house();
    add(h, (const char *const[]){ "sh", "-c", "echo up; sleep 60", NULL },
        (const char *const[]){ "sh", "-c", "echo second; sleep 60", NULL }, true);
    supervisor_heard(h->s, ""); /* once, and never again */
    watch_until_logged(h, "second", 1, NULL);
    said(h, "uses no CPU time: replacing it");
    close_house(h);
}

/* Until its trap is set. */
static void wait_until_up(const house *h)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    for (bool up = false; !up; poll(NULL, 0, up ? 0 : 10)) {
        char *log = test_file_read(h->dir, "log");
        up = strstr(log, "up") != NULL;
        free(log);
        if (clock_ms() > deadline_ms) fail_msg("it never came up");
    }
}

static void a_child_that_ignores_the_signal_is_killed_in_the_end(void **state)
{
    (void)state;
    house *h = open_house();
    add(h, (const char *const[]){ "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done", NULL }, NULL, false);
    wait_until_up(h);
    supervisor_stop(h->s, 0);
    int fds[8];
    assert_int_equal(supervisor_fds(h->s, fds, 8), 0);
    close_house(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_is_over_when_the_principal_ends_well),
        cmocka_unit_test(a_principal_that_was_asked_to_stop_stops_the_run),
        cmocka_unit_test(a_principal_that_says_why_it_failed_is_not_started_again),
        cmocka_unit_test(a_child_that_was_killed_is_started_again_with_its_second_words),
        cmocka_unit_test(last_words_need_no_log),
        cmocka_unit_test(a_child_that_dies_twice_for_one_reason_ends_the_run_with_it),
        cmocka_unit_test(steps_that_are_done_again_are_no_progress),
        cmocka_unit_test(a_crash_counts_as_a_reason),
        cmocka_unit_test(a_child_that_leaves_while_the_run_goes_on_is_started_again),
        cmocka_unit_test(who_leaves_at_the_farewell_is_let_go),
        cmocka_unit_test(who_left_is_called_back_by_the_next_principal),
        cmocka_unit_test(a_child_that_is_stopped_is_replaced),
        cmocka_unit_test(a_child_that_computes_for_long_is_waited_for),
        cmocka_unit_test(a_child_that_lives_but_is_lost_is_replaced),
        cmocka_unit_test(a_principal_that_hangs_is_replaced),
        cmocka_unit_test(a_child_that_ignores_the_signal_is_killed_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
