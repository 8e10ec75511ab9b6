/* SPDX-License-Identifier: MIT */
/* What is done to a run's processes: a signal to the run or to its learner, a kill, Ctrl-Z, a terminal that is closed,
 * a reader that leaves. It ends with the bytes of an undisturbed run, and nothing is left of what was killed. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/integration/calm.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { LOOK_MS = 5 };

/* A terminal that is closed, and what schedulers send some time before they kill. */
static void whoever_says_stop_gets_a_checkpoint(void **state)
{
    (void)state;
    static const int SIGNALS[] = { SIGHUP, SIGUSR1, SIGQUIT };
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        place p;
        char words[120];
        process t = begun(&p, KEYS);
        process_signal(&t, SIGNALS[i]);
        assert_int_equal(troupe_wait(&t, SECONDS), 130);
        snprintf(words, sizeof words, "stopped by %s (continue with: troupe train --resume", strsignal(SIGNALS[i]));
        assert_said(&p, words);
        assert_nobody_left(&p);
        resumed_to_the_same_end(&p);
        test_folder_remove(p.dir);
    }
}

static void wait_until_said(const place *p, const char *words)
{
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; clock_ms() < until_ms; poll(NULL, 0, LOOK_MS)) {
        size_t len;
        char *said = bytes_of(p->out, &len);
        const bool found = strstr(said, words) != NULL;
        free(said);
        if (found) return;
    }
    fail_msg("'%s' was not said", words);
}

/* Both wait for the run, which reads the first: what asks again ends it before the step does. */
static void who_asks_twice_is_told_how_to_continue(void **state)
{
    (void)state;
    place p;
    int status;
    char words[400];
    process t = begun(&p, KEYS);
    process_signal(&t, SIGINT);
    process_signal(&t, SIGTERM);
    assert_true(process_wait(&t, SECONDS * 1000, &status));
    assert_true(WIFSIGNALED(status));
    snprintf(words, sizeof words, "troupe: train: stopped at once (continue with: troupe train --resume %s)\n", p.run);
    assert_said(&p, words);
    resumed_to_the_same_end(&p);
    assert_nobody_left(&p); /* nor of those that died with the first */
    test_folder_remove(p.dir);
}

/* A terminal that is closed is told of by the shell and by the kernel, a limit on CPU time each second: neither is the
 * second Ctrl-C, which would end the run without its checkpoint. */
static void what_is_told_twice_is_not_asked_twice(void **state)
{
    (void)state;
    static const int SIGNALS[] = { SIGHUP, SIGXCPU };
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        place p;
        process t = begun(&p, KEYS);
        process_signal(&t, SIGNALS[i]);
        wait_until_said(&p, "stopping: ");
        process_signal(&t, SIGNALS[i]);
        process_signal(&t, SIGHUP);
        assert_int_equal(troupe_wait(&t, SECONDS), 130);
        assert_said(&p, "stopped by ");
        assert_nobody_left(&p);
        resumed_to_the_same_end(&p);
        test_folder_remove(p.dir);
    }
}

/* timeout(1) signals the program and then its group: that is no second Ctrl-C. */
static void one_event_may_come_as_two_signals(void **state)
{
    (void)state;
    enum { SOON_MS = 500 }; /* half of what fleet.c allows: on a busy machine this test may be late, and tries again */
    for (bool soon = false; !soon;) {
        place p;
        process t = begun(&p, KEYS);
        const int64_t first_ms = clock_ms();
        process_signal(&t, SIGINT);
        wait_until_said(&p, "stopping: ");
        process_signal(&t, SIGINT);
        soon = clock_ms() - first_ms < SOON_MS;
        const int code = troupe_wait(&t, SECONDS);
        if (soon) {
            assert_int_equal(code, 130);
            assert_said(&p, "stopped by Interrupt (continue with: troupe train --resume");
            resumed_to_the_same_end(&p);
        }
        assert_nobody_left(&p);
        test_folder_remove(p.dir);
    }
}

/* By its process list, or a scheduler's signal to one process: the learner saves, and the run says what Ctrl-C says. */
static void a_learner_that_is_asked_to_stop_stops_its_run_in_order(void **state)
{
    (void)state;
    static const int SIGNALS[] = { SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        place p;
        int pid;
        process t = begun(&p, KEYS);
        assert_int_equal(find_processes("troupe learner", p.run, &pid, 1), 1);
        assert_int_equal(kill(pid, SIGNALS[i]), 0);
        assert_int_equal(troupe_wait(&t, SECONDS), 130);
        assert_said(&p, "troupe: train: stopped by a signal to the learner: stopped at step ");
        assert_said(&p, "; its checkpoint is written (continue with: troupe train --resume ");
        assert_nobody_left(&p);
        resumed_to_the_same_end(&p);
        test_folder_remove(p.dir);
    }
}

/* Not the folders of tests. */
static int of_troupe(const struct dirent *e)
{
    return strncmp(e->d_name, "troupe-", 7) == 0 && strncmp(e->d_name, "troupe-tests", 12) != 0;
}

/* The first name of ours in `folder`; "": none. */
static void first_in(const char *folder, char out[300])
{
    struct dirent **found = NULL;
    const int n = scandir(folder, &found, of_troupe, alphasort);
    snprintf(out, 300, "%s", n > 0 ? found[0]->d_name : "");
    for (int i = 0; i < n; i++) free(found[i]);
    free(found);
}

/* What has none is gone with the last who has it open. */
static void assert_weights_have_no_name(const place *p)
{
    int pid, seen = 0;
    char path[300], link[300];
    assert_int_equal(find_processes("troupe learner", p->run, &pid, 1), 1);
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        const ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        if (!strstr(link, "/troupe-weights-")) continue;
        if (!strstr(link, " (deleted)")) fail_msg("%s has a name", link);
        seen++;
    }
    closedir(d);
    assert_true(seen > 0);
}

/* Processes that die with another one need a moment. */
static void wait_until_empty(const char *folder)
{
    char left[300] = "";
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; clock_ms() < until_ms; poll(NULL, 0, LOOK_MS)) {
        first_in(folder, left);
        if (!left[0]) return;
    }
    fail_msg("%s/%s is left", folder, left);
}

static void wait_until_nobody_is_left(const place *p)
{
    int pid, n = 1;
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; n > 0 && clock_ms() < until_ms;) {
        n = find_processes("troupe", p->run, &pid, 1);
        if (n > 0) poll(NULL, 0, LOOK_MS);
    }
    assert_int_equal(n, 0);
}

/* The run alone, or all of its processes at once: what it had in temporary places goes with it. */
static void kill_run(const place *p, process *t, bool all)
{
    static const char *const ROLES[] = { "troupe learner", "troupe actor", "troupe reward" };
    int status, pid;
    for (size_t i = 0; all && i < sizeof ROLES / sizeof *ROLES; i++)
        if (find_processes(ROLES[i], p->run, &pid, 1) == 1) kill(pid, SIGKILL);
    process_signal(t, SIGKILL);
    process_wait(t, SECONDS * 1000, &status);
}

static void a_killed_run_leaves_nothing_in_temporary_places(void **state)
{
    (void)state;
    char name[300], *const before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    for (int all = 0; all < 2; all++) {
        char *temporary = test_folder_new();
        setenv("TMPDIR", temporary, 1);
        place p;
        process t = begun(&p, KEYS);
        first_in(temporary, name);
        assert_true(name[0]); /* its sockets */
        assert_weights_have_no_name(&p);

        kill_run(&p, &t, all);
        wait_until_empty(temporary);
        wait_until_nobody_is_left(&p);
        resumed_to_the_same_end(&p);
        test_folder_remove(p.dir); /* in there, too */
        wait_until_empty(temporary);
        if (before)
            setenv("TMPDIR", before, 1);
        else
            unsetenv("TMPDIR");
        test_folder_remove(temporary);
    }
    free(before);
}

static void ctrl_z_pauses_all_and_fg_goes_on(void **state)
{
    (void)state;
    char sockets[256];
    int pids[16];
    place p;
    process t = begun(&p, KEYS);
    sockets_of(p.run, sockets);
    process_signal(&t, SIGTSTP);
    wait_for_state(t.pid, 'T');
    const int n = find_processes("troupe", sockets, pids, 16); /* learner, actor, reward worker */
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) wait_for_state(pids[i], 'T');
    process_signal(&t, SIGCONT);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_said(&p, "paused");
    assert_same_model(&calm, &p, LAST);
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
}

/* `troupe train ... 2>&1 | head -1` */
static void a_reader_that_leaves_ends_nothing(void **state)
{
    (void)state;
    need_sandbox();
    int ends[2];
    char link[40], byte = 0;
    place p = place_new();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", ends[1]);
    snprintf(p.out, sizeof p.out, "%s", link);
    process t = place_start(&p, KEYS);
    close(ends[1]);
    while (read(ends[0], &byte, 1) == 1 && byte != '\n') continue;
    close(ends[0]);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_says_stop_gets_a_checkpoint),
        cmocka_unit_test(who_asks_twice_is_told_how_to_continue),
        cmocka_unit_test(what_is_told_twice_is_not_asked_twice),
        cmocka_unit_test(one_event_may_come_as_two_signals),
        cmocka_unit_test(a_learner_that_is_asked_to_stop_stops_its_run_in_order),
        cmocka_unit_test(a_killed_run_leaves_nothing_in_temporary_places),
        cmocka_unit_test(ctrl_z_pauses_all_and_fg_goes_on),
        cmocka_unit_test(a_reader_that_leaves_ends_nothing),
    };
    return cmocka_run_group_tests(tests, play_calm, forget_calm);
}
