/* SPDX-License-Identifier: MIT */
/* Programs with sandbox = true: what they need works, what would change this machine or reach out does not, as root and
 * as a plain user, with namespaces and by Landlock alone. This program is the process in whose sandbox they run:
 * "enclosed MODE COMMAND ...". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/str.h"
#include "env/sandbox/enclose.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/landlock.h"
#include "tests/support/support.h"

enum { PLAIN_USER = 12345, LONG_PATH = 1200, SCRATCH_MB = 64 };

static const char *MODE = "alone"; /* "alone", "network"; "landlock", which is the first without namespaces */

/* ---- running ---- */

/* Its exit status; what it printed is in `said`, the caller's to free. */
static int run(const char *mode, const char *const *command, char **said)
{
    error err = { 0 };
    process p;
    str text = { 0 };
    char self[1024], bytes[4096];
    int out[2], status;
    const char *argv[16] = { self, "enclosed", mode };
    for (int i = 0; command[i]; i++) argv[3 + i] = command[i];
    test_ok(process_self_path(self, sizeof self, &err), &err);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const process_options options = {
        .fd_in = -1, .fd_out = out[1], .fd_err = out[1], .new_group = true, .die_with_parent = true
    };
    test_ok(process_spawn(&p, argv, &options, &err), &err);
    close(out[1]);
    for (ssize_t n; (n = read(out[0], bytes, sizeof bytes)) > 0;) str_add(&text, bytes, (size_t)n);
    close(out[0]);
    assert_int_equal(process_wait(&p, -1, &status), 1);
    *said = xstrdup(str_text(&text));
    str_free(&text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run_shell(const char *script, char **said)
{
    return run(MODE, (const char *const[]){ "/bin/sh", "-c", script, NULL }, said);
}

static void expect_said(const char *script, int status, const char *said)
{
    char *found;
    const int ended = run_shell(script, &found);
    if (ended != status || !strstr(found, said))
        fail_msg("%s: %s: status %d, said '%s' (expected %d, '%s')", MODE, script, ended, found, status, said);
    free(found);
}

static bool has_namespaces(void)
{
    char *said;
    run_shell("true", &said);
    const bool there = strstr(said, "no namespaces") == NULL;
    free(said);
    return there;
}

/* ---- what it needs ---- */

static void a_program_works(void **state)
{
    (void)state;
    expect_said("cat /etc/hostname > /dev/null; echo read; exit 7", 7, "read");
    expect_said("echo a | tr a b; (sleep 0; echo background) & wait", 0, "background");
    expect_said("exec /no-such-program", 127, "/no-such-program");
    if (!has_namespaces()) return;
    expect_said("kill -TERM $$", 128 + SIGTERM, "");
    expect_said("echo text > $TMPDIR/file && cat $TMPDIR/file", 0, "text");
    expect_said("echo text > $TMPDIR/a && chmod 700 $TMPDIR/a && mv $TMPDIR/a $TMPDIR/b && ls $TMPDIR", 0, "b");
    expect_said("dd if=/dev/zero of=$TMPDIR/much bs=1M count=100 2>&1", 1, "No space left");
    expect_said("ls -d /proc/[0-9]* | wc -l | grep -q '^[0-9]$' && echo few", 0, "few");
}

static void a_program_that_is_missing_is_named(void **state)
{
    (void)state;
    char *said;
    assert_int_equal(run(MODE, (const char *const[]){ "/no-such-program", NULL }, &said), 127);
    assert_non_null(strstr(said, "/no-such-program could not be executed: No such file or directory"));
    free(said);
}

/* ---- what it may not ---- */

typedef struct scene {
    char *folder;
    pid_t victim;
    int listening, local;
} scene;

static int listen_at(struct sockaddr *at, socklen_t len)
{
    const int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, at, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, at, &len), 0);
    return fd;
}

/* What the attempts find in their environment: FOLDER, VICTIM, PORT. */
static scene set_scene(void)
{
    char text[32];
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    scene s = { .folder = test_folder_new(), .victim = fork() };
    if (s.victim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (true) pause();
    }
    s.listening = listen_at((struct sockaddr *)&at, sizeof at);
    snprintf(local.sun_path, sizeof local.sun_path, "%.80s/socket", s.folder);
    s.local = listen_at((struct sockaddr *)&local, sizeof local);
    test_file_write(s.folder, "kept.txt", "kept");
    setenv("FOLDER", s.folder, 1);
    snprintf(text, sizeof text, "%d", (int)s.victim);
    setenv("VICTIM", text, 1);
    snprintf(text, sizeof text, "%d", ntohs(at.sin_port));
    setenv("PORT", text, 1);
    return s;
}

static void check_and_clear(scene *s)
{
    struct stat st;
    char path[LONG_PATH];
    char *kept = test_file_read(s->folder, "kept.txt");
    assert_string_equal(kept, "kept");
    free(kept);
    snprintf(path, sizeof path, "%.900s/kept.txt", s->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0111, 0);
    assert_int_not_equal(access("/dev/shm/troupe_escape", F_OK), 0);
    assert_true(accept(s->local, NULL, NULL) < 0);
    assert_int_equal(waitpid(s->victim, NULL, WNOHANG), 0);
    kill(s->victim, SIGKILL);
    waitpid(s->victim, NULL, 0);
    close(s->listening);
    close(s->local);
    test_folder_remove(s->folder);
}

#define PYTHON(code) "python3 -S -c '" code "'"

/* Each says 0 when it got what it should not have. */
static const char *const ATTEMPTS[] = {
    "echo x > $FOLDER/kept.txt",
    "echo x >> $FOLDER/kept.txt",
    "echo x > $FOLDER/troupe_escape",
    "rm -f $FOLDER/kept.txt && test ! -e $FOLDER/kept.txt",
    "mv $FOLDER/kept.txt $FOLDER/moved.txt",
    "mkdir $FOLDER/made",
    "ln $FOLDER/kept.txt $FOLDER/hard",
    "ln -s kept.txt $FOLDER/soft",
    "chmod 777 $FOLDER/kept.txt",
    "chown $(id -u) $FOLDER/kept.txt",
    "touch $FOLDER/kept.txt",
    "truncate -s 0 $FOLDER/kept.txt",
    "mkfifo $FOLDER/pipe",
    "touch $HOME/troupe_escape",
    "touch ./troupe_escape",
    "touch /etc/troupe_escape",
    "touch /usr/troupe_escape",
    "kill -TERM $VICTIM",
    "cat /proc/$VICTIM/environ",
    "readlink /proc/$VICTIM/fd/0",
    "head -c 1 /proc/$VICTIM/mem",
    "renice 10 $VICTIM && false",
    "mount -t tmpfs none /mnt",
    "mount -o remount,rw /",
    "umount /proc",
    "unshare -U true",
    "unshare -m true",
    "chroot / true",
    "nsenter -t $VICTIM -m true",
    "echo 1000 > /proc/sys/kernel/pid_max",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo h > /proc/sysrq-trigger",
    "hostname troupe-escape",
    "date -s 2000-01-01",
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(103, 3, bytes(4096), 4096) < 0)"),
    PYTHON("import socket; socket.create_connection((\"127.0.0.1\", int(__import__(\"os\").environ[\"PORT\"])), 2)"),
    PYTHON("import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(os.environ[\"FOLDER\"] + \"/socket\")"),
    PYTHON("import socket; socket.socket(socket.AF_UNIX).bind(\"\\0troupe_escape\")"),
    PYTHON("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).ptrace(16, int(__import__(\"os\").environ[\"VICTIM\"]), 0, 0) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(425, 8, bytes(120)) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(428, -100, b\"/\", 1) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(321, 0, bytes(128), 128) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(250, 0, -3, 0, 0, 0) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(323, 0) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(308, 0, 0) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).syscall(56, 0x10000011, 0, 0, 0, 0) < 0)"),
    PYTHON("import ctypes as c; exit(c.CDLL(None).prctl(24, 0, 0, 0, 0) < 0)"),
    PYTHON("import fcntl; fcntl.ioctl(2, 0x5412, b\"x\")"),
};

static void nothing_is_changed_and_nobody_reached(void **state)
{
    (void)state;
    int escaped = 0;
    scene s = set_scene();
    for (size_t i = 0; i < sizeof ATTEMPTS / sizeof *ATTEMPTS; i++) {
        char *said;
        if (run_shell(ATTEMPTS[i], &said) == 0)
            print_message("%s: ESCAPED %s: %s\n", MODE, ATTEMPTS[i], said), escaped++;
        free(said);
    }
    assert_int_equal(escaped, 0);
    check_and_clear(&s);
}

/* In memory, and gone with it. */
static void its_files_are_gone_with_it(void **state)
{
    (void)state;
    if (!has_namespaces()) return;
    expect_said("touch /dev/shm/troupe_escape && echo made", 0, "made");
    assert_int_not_equal(access("/dev/shm/troupe_escape", F_OK), 0);
    expect_said("test -e /dev/shm/troupe_escape || echo gone", 0, "gone");
}

/* A background process would hold the pipe open, and run would not end. */
static void its_processes_end_with_it(void **state)
{
    (void)state;
    if (!has_namespaces()) return;
    expect_said("setsid sleep 1000 & echo started", 0, "started");
}

static void the_network_is_there_if_asked(void **state)
{
    (void)state;
    char *said;
    scene s = set_scene();
    const char *const command[] = { "/bin/sh", "-c", ATTEMPTS[35], NULL };
    assert_int_equal(run("network", command, &said), 0);
    free(said);
    check_and_clear(&s);
}

/* ---- as whom, and with what ---- */

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(a_program_works),
    cmocka_unit_test(a_program_that_is_missing_is_named),
    cmocka_unit_test(nothing_is_changed_and_nobody_reached),
    cmocka_unit_test(its_files_are_gone_with_it),
    cmocka_unit_test(its_processes_end_with_it),
    cmocka_unit_test(the_network_is_there_if_asked),
};

static int run_modes(const char *who)
{
    static const char *const MODES[] = { "alone", "landlock" };
    int failed = 0;
    MODE = MODES[0];
    if (!has_namespaces() && landlock_version() == 0) {
        fprintf(stderr, "no namespaces and no Landlock on this machine\n");
        return 0;
    }
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        char name[64];
        MODE = MODES[i];
        if (i > 0 && landlock_version() < 6) continue; /* signals are not its matter before */
        snprintf(name, sizeof name, "%s, %s", who, MODE);
        failed += cmocka_run_group_tests_name(name, TESTS, NULL, NULL);
    }
    return failed;
}

/* In a process of its own, as there is no way back. */
static int run_as_plain_user(void)
{
    int status = 0;
    if (geteuid() != 0) return 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(PLAIN_USER) != 0 || setuid(PLAIN_USER) != 0) _exit(99);
        const int failed = run_modes("plain user");
        fflush(NULL);
        _exit(failed);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static int enclosed(int argc, char **argv)
{
    error err = { 0 };
    int status = 1;
    assert_true(argc > 3);
    if (strcmp(argv[2], "landlock") == 0) filter_install(FILTER_ONLINE, NULL); /* namespaces are refused */
    const enclose_config config = { .network = strcmp(argv[2], "network") == 0, .scratch_mb = SCRATCH_MB };
    if (enclose_run(&config, argv + 3, &status, &err) != OK) fprintf(stderr, "%s\n", err.text);
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "enclosed") == 0) return enclosed(argc, argv);
    setenv("TMPDIR", "/var/tmp", 1); /* in /tmp the program has its own files, and would not find ours */
    if (chdir("/") != 0) return 1;
    return run_modes("as we are") + run_as_plain_user();
}
