/* SPDX-License-Identifier: MIT */
#include "base/held_folder.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/support/support.h"

static held_folder open_in(const char *root)
{
    held_folder h;
    error err = { 0 };
    test_ok(held_folder_open(&h, root, "thing", &err), &err);
    return h;
}

static void it_is_private_and_goes_with_what_is_in_it(void **state)
{
    (void)state;
    struct stat st;
    char *root = test_folder_new(), path[256];
    umask(0);
    held_folder h = open_in(root);
    assert_int_equal(stat(h.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    test_file_write(h.path, "f", "x");
    snprintf(path, sizeof path, "%s", h.path);
    held_folder_close(&h);
    assert_false(dir_exists(path));
    held_folder_close(&h); /* closed already */
    test_folder_remove(root);
    error err = { 0 };
    assert_int_not_equal(held_folder_open(&h, "/nowhere", "thing", &err), OK);
    assert_non_null(strstr(err.text, "TMPDIR names another"));
}

/* A holder that was killed, reaped or not: a zombie still has its process id. */
static void a_killed_holder_s_is_swept_even_while_it_is_a_zombie(void **state)
{
    (void)state;
    int told[2];
    char *root = test_folder_new(), path[256] = "";
    assert_int_equal(pipe(told), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        held_folder h;
        if (held_folder_open(&h, root, "thing", NULL) != OK || write(told[1], h.path, sizeof h.path) < 0) _exit(1);
        alarm(60);
        for (;;) pause();
    }
    assert_int_equal(read(told[0], path, sizeof path), sizeof((held_folder *)0)->path);
    held_folder living = open_in(root);
    assert_true(dir_exists(path));
    siginfo_t info;
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* dead, and not reaped */
    held_folder_sweep(root, "thing");
    assert_false(dir_exists(path));
    assert_true(dir_exists(living.path));
    waitpid(pid, NULL, 0);
    held_folder_close(&living);
    close(told[0]);
    close(told[1]);
    test_folder_remove(root);
}

static void what_is_not_one_stays(void **state)
{
    (void)state;
    char *root = test_folder_new(), *elsewhere = test_folder_new(), path[300];
    test_file_write(elsewhere, "mine", "x");
    snprintf(path, sizeof path, "%s/thing-link", root);
    assert_int_equal(symlink(elsewhere, path), 0);
    snprintf(path, sizeof path, "%s/thingamajig", root);
    assert_int_equal(mkdir(path, 0700), 0);
    test_file_write(root, "thing-file", "x");
    char mine[300];
    snprintf(mine, sizeof mine, "%s/thing-abc123", root);
    assert_int_equal(mkdir(mine, 0700), 0);
    test_file_write(mine, "data", "x");
    held_folder_sweep(root, "thing");
    assert_true(dir_exists(path));
    free(test_file_read(root, "thing-file"));
    free(test_file_read(elsewhere, "mine"));
    free(test_file_read(mine, "data"));
    test_folder_remove(root);
    test_folder_remove(elsewhere);
}

static void a_root_that_can_not_be_written_is_named_with_the_reason(void **state)
{
    (void)state;
    held_folder h;
    error err = { 0 };
    assert_int_equal(held_folder_open(&h, "/proc", "thing", &err), ERR_IO);
    assert_non_null(strstr(err.text, "/proc"));
    held_folder_close(&h);
}

/* Its holder is killed, no process sweeps: and yet it goes. Its watcher is in no group of the holder's, and holds no
 * pipe of its open. */
static void a_watched_one_goes_with_its_holder_though_that_is_killed(void **state)
{
    (void)state;
    int told[2];
    char *root = test_folder_new(), path[256] = "", more;
    assert_int_equal(pipe(told), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        held_folder h;
        setpgid(0, 0);
        if (held_folder_open(&h, root, "thing", NULL) != OK || held_folder_watch(&h, NULL) != OK) _exit(1);
        test_file_write(h.path, "f", "x");
        if (write(told[1], h.path, sizeof h.path) < 0) _exit(1);
        alarm(60);
        for (;;) pause();
    }
    close(told[1]);
    assert_int_equal(read(told[0], path, sizeof path), sizeof((held_folder *)0)->path);
    assert_true(dir_exists(path));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(read(told[0], &more, 1), 0); /* the pipe's end: no other process has it */
    waitpid(pid, NULL, 0);
    for (const int64_t until_ms = clock_ms() + 20000; dir_exists(path);
         poll(NULL, 0, 5)) /* another process removes it */
        if (clock_ms() > until_ms) fail_msg("%s is still there", path);
    close(told[0]);
    test_folder_remove(root);
}

static void a_watcher_ends_when_the_folder_is_closed(void **state)
{
    (void)state;
    char *root = test_folder_new();
    error err = { 0 };
    held_folder h = open_in(root);
    test_ok(held_folder_watch(&h, &err), &err);
    const pid_t watcher = h.watcher;
    assert_int_equal(kill(watcher, 0), 0);
    held_folder_close(&h);
    assert_int_equal(kill(watcher, 0), -1);
    test_folder_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_private_and_goes_with_what_is_in_it),
        cmocka_unit_test(a_killed_holder_s_is_swept_even_while_it_is_a_zombie),
        cmocka_unit_test(a_watched_one_goes_with_its_holder_though_that_is_killed),
        cmocka_unit_test(a_watcher_ends_when_the_folder_is_closed),
        cmocka_unit_test(what_is_not_one_stays),
        cmocka_unit_test(a_root_that_can_not_be_written_is_named_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
