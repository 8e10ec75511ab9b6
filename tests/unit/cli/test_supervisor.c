#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/supervisor.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 20000 };

typedef struct house {
    char *dir, log[400];
    supervisor *s;
} house;

static house open_house(void)
{
    house h = { .dir = test_folder_new(), .s = supervisor_new(NULL) };
    snprintf(h.log, sizeof h.log, "%s/log", h.dir);
    return h;
}

static void close_house(house *h)
{
    supervisor_free(h->s);
    test_folder_remove(h->dir);
}

static void add(house *h, const char *const *argv, const char *const *restart, bool principal, int max_restarts)
{
    error err = { 0 };
    const child_options options = { .name = "child",
                                    .argv = argv,
                                    .restart_argv = restart,
                                    .log_path = h->log,
                                    .report_fd = -1,
                                    .principal = principal,
                                    .max_restarts = max_restarts };
    test_ok(supervisor_add(h->s, &options, &err), &err);
}

/* Until the state changes. */
static supervisor_state watch(house *h, error *err)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    supervisor_state state;
    while ((state = supervisor_poll(h->s, err)) == RUN_GOES_ON) {
        int fds[8];
        struct pollfd pf[8];
        const int n = supervisor_fds(h->s, fds, 8);
        for (int i = 0; i < n; i++) pf[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
        if (clock_ms() > deadline_ms) fail_msg("nothing happened");
        poll(pf, (nfds_t)n, 1000);
    }
    return state;
}

static void the_run_is_over_when_the_principal_ends_well(void **state)
{
    (void)state;
    house h = open_house();
    error err = { 0 };
    add(&h, (const char *const[]){ "sleep", "60", NULL }, NULL, false, 0);
    add(&h, (const char *const[]){ "true", NULL }, NULL, true, 0);
    assert_int_equal(watch(&h, &err), RUN_FINISHED);
    const int64_t began_ms = clock_ms();
    supervisor_stop(h.s, 0);
    assert_true(clock_ms() - began_ms < 5000); /* the sleeper did not outlive it */
    int fds[8];
    assert_int_equal(supervisor_fds(h.s, fds, 8), 0);
    close_house(&h);
}

static void a_principal_that_says_why_it_failed_is_not_started_again(void **state)
{
    (void)state;
    house h = open_house();
    error err = { 0 };
    add(&h, (const char *const[]){ "sh", "-c", "echo started; exit 3", NULL }, NULL, true, 5);
    assert_int_equal(watch(&h, &err), RUN_FAILED);
    assert_non_null(strstr(err.text, "exit status 3"));
    assert_non_null(strstr(err.text, h.log));
    char *log = test_file_read(h.dir, "log");
    assert_string_equal(log, "started\n");
    free(log);
    close_house(&h);
}

static void a_child_that_was_killed_is_started_again_with_its_second_words(void **state)
{
    (void)state;
    house h = open_house();
    error err = { 0 };
    add(&h, (const char *const[]){ "sh", "-c", "echo first; kill -9 $$", NULL },
        (const char *const[]){ "sh", "-c", "echo second", NULL }, true, 1);
    assert_int_equal(watch(&h, &err), RUN_FINISHED);
    char *log = test_file_read(h.dir, "log");
    assert_string_equal(log, "first\nsecond\n");
    free(log);
    close_house(&h);
}

static void a_child_that_dies_again_and_again_ends_the_run(void **state)
{
    (void)state;
    house h = open_house();
    error err = { 0 };
    add(&h, (const char *const[]){ "sh", "-c", "echo x; exit 1", NULL }, NULL, false, 3);
    assert_int_equal(watch(&h, &err), RUN_FAILED);
    assert_non_null(strstr(err.text, "child ended 4 times"));
    char *log = test_file_read(h.dir, "log");
    assert_string_equal(log, "x\nx\nx\nx\n");
    free(log);
    close_house(&h);
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
    house h = open_house();
    add(&h, (const char *const[]){ "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done", NULL }, NULL, false,
        0);
    wait_until_up(&h);
    supervisor_stop(h.s, 0);
    int fds[8];
    assert_int_equal(supervisor_fds(h.s, fds, 8), 0);
    close_house(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_is_over_when_the_principal_ends_well),
        cmocka_unit_test(a_principal_that_says_why_it_failed_is_not_started_again),
        cmocka_unit_test(a_child_that_was_killed_is_started_again_with_its_second_words),
        cmocka_unit_test(a_child_that_dies_again_and_again_ends_the_run),
        cmocka_unit_test(a_child_that_ignores_the_signal_is_killed_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
