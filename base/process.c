/* SPDX-License-Identifier: MIT */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

/* Everything the child needs, made before the fork: between fork and exec only calls that are safe after a fork in a
 * threaded program are left, and so nothing that allocates. */
typedef struct plan {
    const char *path; /* of the program, PATH already searched */
    char *const *argv, *const *env;
    int fds[3]; /* become 0, 1, 2; -1 for /dev/null */
    int *keep;  /* sorted: the descriptors that stay open */
    int n_keep;
    int report_fd; /* CLOEXEC: closed by a good exec, tells errno of a bad one */
    pid_t parent;
    bool new_group, die_with_parent, same_addresses;
} plan;

char *process_find(const char *name)
{
    if (strchr(name, '/')) return xstrdup(name);

    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; p;) {
        const char *end = strchrnul(p, ':');
        str candidate = { 0 };

        str_add(&candidate, p, (size_t)(end - p));
        str_printf(&candidate, "%s%s", end == p ? "./" : "/", name);
        if (access(candidate.data, X_OK) == 0) return str_take(&candidate);
        str_free(&candidate);

        p = *end ? end + 1 : NULL;
    }
    return NULL;
}

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void close_all_but(const int *keep, int n)
{
    unsigned from = 3;
    for (int i = 0; i < n; i++) {
        if (keep[i] < 3 || (unsigned)keep[i] < from) continue;
        if ((unsigned)keep[i] > from) close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, ~0u, 0);
}

/* Moves the three descriptors first out of the way of one another (fd_out may be 0), then into their places. */
static int place_standard_fds(const plan *p)
{
    int source[3];
    for (int i = 0; i < 3; i++) {
        int fd = p->fds[i] >= 0 ? p->fds[i] : open("/dev/null", i == 0 ? O_RDONLY : O_WRONLY);
        if (fd < 0 || (source[i] = fcntl(fd, F_DUPFD, 3)) < 0) return -1;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(source[i], i) < 0) return -1;
    return 0;
}

static int prepare_child(const plan *p)
{
    if (p->new_group && setpgid(0, 0) != 0) return -1;
    if (p->same_addresses) personality(ADDR_NO_RANDOMIZE); /* a container may refuse it */
    if (p->die_with_parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return -1;
        if (getppid() != p->parent) _exit(127); /* it died before the line above */
    }

    if (place_standard_fds(p) != 0) return -1;
    close_all_but(p->keep, p->n_keep);
    for (int i = 0; i < p->n_keep; i++) {
        int fd = p->keep[i];
        if (fd != p->report_fd && fd > 2 && fcntl(fd, F_SETFD, 0) != 0) return -1;
    }

    for (int sig = 1; sig < NSIG; sig++) { /* ignored signals would stay ignored through the exec */
        struct sigaction now;
        if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN) signal(sig, SIG_DFL);
    }

    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void run_child(const plan *p)
{
    if (prepare_child(p) == 0) execve(p->path, p->argv, p->env);

    int why = errno;
    ssize_t told = write(p->report_fd, &why, sizeof why);
    _exit(told == sizeof why ? 127 : 126);
}

/* A CLOEXEC pipe whose writing end is none of 0, 1, 2, even in a process that has closed those. */
static int report_pipe(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC) != 0) return -1;

    const int moved = fcntl(fds[1], F_DUPFD_CLOEXEC, 3), why = errno;
    close(fds[1]);
    fds[1] = moved;
    if (moved >= 0) return 0;

    close(fds[0]);
    errno = why;
    return -1;
}

/* The child's errno, or 0 when the pipe was closed by a good exec. */
static int read_report(int fd)
{
    int why = 0;
    ssize_t n;
    do n = read(fd, &why, sizeof why);
    while (n < 0 && errno == EINTR);
    return n == sizeof why ? why : 0;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* Forks with all signals blocked: a handler of ours must not run in the child. */
static pid_t fork_blocked(const plan *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) run_child(p);
    int why = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return pid;
}

/* What to run for `path`: where it is our own file, and another stands there by now or none (it was built or installed
 * anew), what we are still running. Two builds would not understand each other. */
static const char *file_to_run(const char *path)
{
    static const char RUNNING[] = "/proc/self/exe";
    char own[PATH_MAX];
    struct stat ours, there;
    if (process_self_path(own, sizeof own, NULL) != OK || strcmp(own, path) != 0) return path;
    if (stat(RUNNING, &ours) != 0) return path;
    if (stat(path, &there) == 0 && there.st_dev == ours.st_dev && there.st_ino == ours.st_ino) return path;
    return RUNNING;
}

static int spawn_planned(process *out, const plan *p, int report_in, const char *name, error *err)
{
    pid_t pid = fork_blocked(p);
    int why = errno;
    close(p->report_fd);
    if (pid < 0) return error_sys(err, why, "%s could not be started", name);

    why = read_report(report_in); /* waits until the exec has happened or failed */
    if (why != 0) {
        reap(pid);
        return error_sys(err, why, "%s could not be executed", name);
    }

    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        why = errno;
        kill(pid, SIGKILL);
        reap(pid);
        return error_sys(err, why, "%s could not be watched", name);
    }
    *out = (process){ pid, pidfd };
    return OK;
}

int process_spawn(process *p, const char *const *argv, const process_options *options, error *err)
{
    static const process_options defaults = { -1, -1, -1, NULL, 0, NULL, true, true, false };
    const process_options *o = options ? options : &defaults;
    *p = (process){ -1, -1 };

    char *path = process_find(argv[0]);
    if (!path) return error_set(err, ERR_NOT_FOUND, "%s is not in PATH", argv[0]);
    int report[2];
    if (report_pipe(report) != 0) {
        int code = error_sys(err, errno, "%s could not be started", argv[0]);
        free(path);
        return code;
    }

    /* Sorted: the child closes what lies between them. */
    int n_keep = o->n_pass_fds + 1;
    int *keep = xcalloc((size_t)n_keep, sizeof *keep);
    for (int i = 0; i < o->n_pass_fds; i++) keep[i] = o->pass_fds[i];
    keep[o->n_pass_fds] = report[1];
    qsort(keep, (size_t)n_keep, sizeof *keep, by_number);

    plan pl = {
        .path = file_to_run(path),
        .argv = (char *const *)(uintptr_t)argv,
        .env = o->env ? (char *const *)(uintptr_t)o->env : environ,
        .fds = { o->fd_in, o->fd_out >= 0 ? o->fd_out : 1, o->fd_err >= 0 ? o->fd_err : 2 },
        .keep = keep,
        .n_keep = n_keep,
        .report_fd = report[1],
        .parent = getpid(),
        .new_group = o->new_group,
        .die_with_parent = o->die_with_parent,
        .same_addresses = o->same_addresses,
    };

    int code = spawn_planned(p, &pl, report[0], argv[0], err);
    close(report[0]);
    free(keep);
    free(path);
    return code;
}

int process_signal(const process *p, int signal)
{
    if (p->pidfd < 0) return ERR_STATE; /* ended: the number may belong to another process by now */
    return syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0) == 0 ? OK : ERR_STATE;
}

int process_kill_group(const process *p, int signal)
{
    if (p->pid <= 1) return ERR_STATE;
    return kill(-p->pid, signal) == 0 ? OK : ERR_STATE;
}

/* Until `fd` is readable: 1, or 0 when `timeout_ms` is over. */
static int wait_readable(int fd, int timeout_ms)
{
    int64_t deadline_ms = clock_ms() + timeout_ms;
    for (;;) {
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms < 0) left_ms = 0;
        int n = poll(&pfd, 1, timeout_ms < 0 ? -1 : (int)left_ms);
        if (n > 0) return 1;
        if (n == 0 || errno != EINTR) return 0;
    }
}

int process_wait(process *p, int timeout_ms, int *status)
{
    if (p->pidfd < 0 || !wait_readable(p->pidfd, timeout_ms)) return 0;

    int found = 0;
    pid_t got;
    do got = waitpid(p->pid, &found, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) found = 255 << 8; /* it was reaped elsewhere (SIGCHLD ignored?): unknown is not a success */

    close(p->pidfd);
    p->pidfd = -1;
    if (status) *status = found;
    return 1;
}

int process_wait_group(process *p, int timeout_ms, int *status)
{
    if (p->pidfd < 0 || !wait_readable(p->pidfd, timeout_ms)) return 0;
    process_kill_group(p, SIGTERM); /* until it is waited for, its number is no other group's */
    return process_wait(p, -1, status);
}

/* Of all its threads, in ms; what the kernel tells without /proc. */
static int64_t cpu_time(pid_t pid)
{
    clockid_t clock;
    struct timespec t = { 0 };
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* "4711 (name, which may hold anything) S ppid pgrp session tty tpgid flags minflt cminflt
 * majflt cmajflt utime stime" */
process_sight process_look(const process *p)
{
    enum { BEFORE_UTIME = 10, STAT_BYTES = 1024 };
    char path[40], text[STAT_BYTES], state = '?';
    unsigned long user = 0, kernel = 0;
    if (p->pidfd < 0) return (process_sight){ '?', 0 };

    snprintf(path, sizeof path, "/proc/%d/stat", (int)p->pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return (process_sight){ '?', cpu_time(p->pid) };
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';

    char *at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %c", &state) != 1) return (process_sight){ '?', 0 };
    at += 2;
    for (int i = 0; at && i < BEFORE_UTIME + 1; i++) at = strchr(at + 1, ' ');
    if (!at || sscanf(at, "%lu %lu", &user, &kernel) != 2) return (process_sight){ state, 0 };

    return (process_sight){ state, (int64_t)(user + kernel) * 1000 / sysconf(_SC_CLK_TCK) };
}

const char *process_status_text(int status, char *out, size_t size)
{
    if (WIFEXITED(status))
        snprintf(out, size, "exit status %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(out, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "status %#x", (unsigned)status);
    return out;
}

/* What the kernel was asked to run, as it was asked: relative to the folder we were started in, where we still are. */
static int path_as_started(char *out, size_t size, error *err)
{
    char full[PATH_MAX];
    const char *asked = (const char *)(uintptr_t)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)

    if (!asked || !realpath(asked, full) || access(full, X_OK) != 0)
        return error_set(err, ERR_NOT_FOUND,
                         "cannot find this program's own file: /proc is not mounted, and it was started as '%.200s' "
                         "(start it by its full path)",
                         asked ? asked : "");

    if (strlen(full) >= size)
        return error_set(err, ERR_LIMIT, "this program's path is longer than %zu bytes", size - 1);
    memcpy(out, full, strlen(full) + 1);
    return OK;
}

int process_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int process_self_path(char *out, size_t size, error *err)
{
    const ssize_t n = readlink("/proc/self/exe", out, size);
    if (n < 0) return path_as_started(out, size, err);
    if ((size_t)n >= size) return error_set(err, ERR_LIMIT, "this program's path is longer than %zu bytes", size - 1);
    out[n] = '\0';

    /* What the kernel adds where the file was replaced or removed. */
    char *deleted = n > 10 ? out + n - 10 : NULL;
    if (deleted && strcmp(deleted, " (deleted)") == 0 && access(out, F_OK) != 0) *deleted = '\0';
    return OK;
}
