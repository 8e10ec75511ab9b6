/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 20000 };

static const process_options PLAIN = {
    .fd_in = -1, .fd_out = -1, .fd_err = -1, .new_group = true, .die_with_parent = true
};

/* Everything that `fd` gives until all its writers are gone; fails the test when that takes too long. */
static char *read_all(int fd)
{
    str out = { 0 };
    char block[4096];
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, PATIENCE_MS) <= 0) fail_msg("the other end was never closed");
        ssize_t n = read(fd, block, sizeof block);
        if (n <= 0) return str_take(&out);
        str_add(&out, block, (size_t)n);
    }
}

/* Runs a shell line, gives its output (the caller frees) and its status. */
static char *run_shell(const char *line, process_options options, int *status)
{
    const char *const argv[] = { "sh", "-c", line, NULL };
    int out[2];
    process p;
    error err;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    options.fd_out = out[1];
    test_ok(process_spawn(&p, argv, &options, &err), &err);
    close(out[1]);
    char *text = read_all(out[0]);
    close(out[0]);
    assert_int_equal(process_wait(&p, PATIENCE_MS, status), 1);
    return text;
}

static void a_child_runs_and_its_status_is_told(void **state)
{
    (void)state;
    int status;
    char text[64], *out = run_shell("echo hello; exit 3", PLAIN, &status);
    assert_string_equal(out, "hello\n");
    assert_string_equal(process_status_text(status, text, sizeof text), "exit status 3");
    free(out);
    out = run_shell("kill -9 $$", PLAIN, &status);
    assert_string_equal(process_status_text(status, text, sizeof text), "killed by signal 9 (Killed)");
    free(out);
}

static void a_program_that_cannot_be_executed_fails_here(void **state)
{
    (void)state;
    process p;
    error err = { 0 };
    char *folder = test_folder_new(), path[1024];
    test_file_write(folder, "text", "not a program");
    snprintf(path, sizeof path, "%s/text", folder);
    const char *const argvs[][2] = { { "no-such-program-anywhere", NULL }, { "/no/such/file", NULL }, { path, NULL } };
    for (int i = 0; i < 3; i++) {
        err.text[0] = '\0';
        assert_int_not_equal(process_spawn(&p, argvs[i], &PLAIN, &err), OK);
        assert_non_null(strstr(err.text, argvs[i][0]));
        assert_int_equal(p.pidfd, -1);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* and no child is left to reap */
        assert_int_equal(errno, ECHILD);
    }
    test_folder_remove(folder);
}

static void input_is_what_was_given_or_nothing(void **state)
{
    (void)state;
    int status, in[2];
    char *out = run_shell("cat", PLAIN, &status); /* /dev/null: ends at once */
    assert_string_equal(out, "");
    free(out);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], "fed", 3), 3);
    close(in[1]);
    process_options options = PLAIN;
    options.fd_in = in[0];
    out = run_shell("cat", options, &status);
    assert_string_equal(out, "fed");
    free(out);
    close(in[0]);
}

/* The promise: a child has 0, 1, 2 and what was passed on; a descriptor opened without CLOEXEC does not leak. */
static void only_the_descriptors_passed_on_are_open(void **state)
{
    (void)state;
    int status, passed = dup(2), leaked = dup(2), high = fcntl(2, F_DUPFD, 200);
    const int keep[] = { high, passed };
    process_options options = PLAIN;
    options.pass_fds = keep;
    options.n_pass_fds = 2;
    char line[256], *out;
    snprintf(line, sizeof line, "for fd in 0 1 2 %d %d %d; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true", passed,
             leaked, high);
    out = run_shell(line, options, &status);
    char want[64];
    snprintf(want, sizeof want, "0\n1\n2\n%d\n%d\n", passed, high);
    assert_string_equal(out, want);
    free(out);
    close(passed);
    close(leaked);
    close(high);
}

static void crossed_descriptors_do_not_overwrite_one_another(void **state)
{
    (void)state;
    const char *const argv[] = { "sh", "-c", "echo to-out; echo to-err >&2", NULL };
    int out[2], err_pipe[2], status;
    process p;
    error err;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err_pipe, O_CLOEXEC), 0);
    int old_out = dup(1), old_err = dup(2);
    dup2(err_pipe[1], 1); /* our 1 is to be the child's 2, and the other way round */
    dup2(out[1], 2);
    process_options options = PLAIN;
    options.fd_out = 2;
    options.fd_err = 1;
    int code = process_spawn(&p, argv, &options, &err);
    dup2(old_out, 1);
    dup2(old_err, 2);
    test_ok(code, &err);
    close(old_out);
    close(old_err);
    close(out[1]);
    close(err_pipe[1]);
    char *a = read_all(out[0]), *b = read_all(err_pipe[0]);
    assert_string_equal(a, "to-out\n");
    assert_string_equal(b, "to-err\n");
    free(a);
    free(b);
    close(out[0]);
    close(err_pipe[0]);
    assert_int_equal(process_wait(&p, PATIENCE_MS, &status), 1);
}

/* The promise: a daemon that has closed 0, 1 and 2 can still spawn, though new descriptors now get those numbers. */
static void a_parent_without_standard_descriptors_can_spawn(void **state)
{
    (void)state;
    int in[2], out[2], status;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], "fed ", 4), 4);
    close(in[1]);
    pid_t daemon_pid = fork();
    if (daemon_pid == 0) {
        const char *const good[] = { "sh", "-c", "cat; echo to-err >&2", NULL }, *const bad[] = { "/no/such", NULL };
        process p;
        process_options options = PLAIN;
        options.fd_in = in[0];
        options.fd_out = options.fd_err = out[1];
        close_range(0, 2, 0);
        if (process_spawn(&p, bad, &options, NULL) == OK) _exit(1);
        if (process_spawn(&p, good, &options, NULL) != OK) _exit(2);
        _exit(process_wait(&p, PATIENCE_MS, NULL) == 1 ? 0 : 3);
    }
    close(in[0]);
    close(out[1]);
    char *text = read_all(out[0]);
    assert_string_equal(text, "fed to-err\n");
    free(text);
    close(out[0]);
    assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
    assert_int_equal(status, 0);
}

static void the_environment_is_replaced_when_given(void **state)
{
    (void)state;
    const char *const env[] = { "ONLY=this", NULL };
    process_options options = PLAIN;
    options.env = env;
    int status;
    char *out = run_shell("echo $ONLY$HOME", options, &status);
    assert_string_equal(out, "this\n");
    free(out);
}

static void a_wait_has_a_deadline_and_the_pidfd_tells(void **state)
{
    (void)state;
    const char *const argv[] = { "sleep", "1000", NULL };
    process p;
    error err;
    int status;
    test_ok(process_spawn(&p, argv, &PLAIN, &err), &err);
    assert_int_equal(process_wait(&p, 30, &status), 0);
    assert_int_equal(process_signal(&p, SIGTERM), OK);
    struct pollfd pfd = { .fd = p.pidfd, .events = POLLIN };
    assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    assert_int_equal(process_wait(&p, 0, &status), 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(process_signal(&p, SIGTERM), ERR_STATE); /* no other process is hit once it has ended */
    assert_int_equal(process_wait(&p, 0, &status), 0);
}

/* The promise: killing the group reaches the grandchildren: the pipe they all hold is closed. */
static void the_whole_group_dies(void **state)
{
    (void)state;
    const char *const argv[] = { "sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait", NULL };
    int out[2], status;
    char up[3];
    process p;
    error err;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    process_options options = PLAIN;
    options.fd_out = out[1];
    test_ok(process_spawn(&p, argv, &options, &err), &err);
    close(out[1]);
    assert_int_equal(read(out[0], up, sizeof up), sizeof up);
    assert_int_equal(process_kill_group(&p, SIGKILL), OK);
    char *rest = read_all(out[0]);
    assert_string_equal(rest, "");
    free(rest);
    close(out[0]);
    assert_int_equal(process_wait(&p, PATIENCE_MS, &status), 1);
}

/* The promise: a parent that is killed takes its child along, however it is killed. */
static void a_child_dies_with_its_parent(void **state)
{
    (void)state;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        const char *const argv[] = { "sh", "-c", "echo up; exec sleep 1000", NULL };
        process p;
        process_options options = PLAIN;
        options.fd_out = out[1];
        if (process_spawn(&p, argv, &options, NULL) != OK) _exit(1);
        pause();
        _exit(0);
    }
    close(out[1]);
    char up[3];
    assert_int_equal(read(out[0], up, sizeof up), sizeof up);
    kill(parent, SIGKILL);
    char *rest = read_all(out[0]); /* ends only when the sleep is gone */
    free(rest);
    close(out[0]);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
}

static void ignored_and_blocked_signals_are_not_inherited(void **state)
{
    (void)state;
    int status;
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    signal(SIGPIPE, SIG_IGN);
    char *out = run_shell("kill -TERM $$; echo survived", PLAIN, &status);
    assert_string_equal(out, "");
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    free(out);
    out = run_shell("kill -PIPE $$; echo survived", PLAIN, &status);
    assert_string_equal(out, "");
    free(out);
    signal(SIGPIPE, SIG_DFL);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &before, &now);
    assert_true(sigismember(&now, SIGTERM)); /* ours are as we left them */
}

static void our_own_path_is_this_program(void **state)
{
    (void)state;
    char path[1024], tiny[4];
    error err;
    test_ok(process_self_path(path, sizeof path, &err), &err);
    assert_non_null(strstr(path, "test_base_process"));
    assert_int_equal(process_self_path(tiny, sizeof tiny, &err), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_runs_and_its_status_is_told),
        cmocka_unit_test(a_program_that_cannot_be_executed_fails_here),
        cmocka_unit_test(input_is_what_was_given_or_nothing),
        cmocka_unit_test(only_the_descriptors_passed_on_are_open),
        cmocka_unit_test(crossed_descriptors_do_not_overwrite_one_another),
        cmocka_unit_test(a_parent_without_standard_descriptors_can_spawn),
        cmocka_unit_test(the_environment_is_replaced_when_given),
        cmocka_unit_test(a_wait_has_a_deadline_and_the_pidfd_tells),
        cmocka_unit_test(the_whole_group_dies),
        cmocka_unit_test(a_child_dies_with_its_parent),
        cmocka_unit_test(ignored_and_blocked_signals_are_not_inherited),
        cmocka_unit_test(our_own_path_is_this_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
