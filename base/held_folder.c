/* SPDX-License-Identifier: MIT */
#include "base/held_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static const char MARK[] = ".troupe";

enum { ATTEMPTS = 100, LONGEST_ROOT = 64 };

/* A sweep may have removed it, as a dead process's folder, before we had the lock. */
static bool still_named(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

/* Before it is locked: another user's folder is never kept from its owner. */
static bool is_ours(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == geteuid();
}

int held_folder_lock(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && is_ours(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0 && still_named(fd, path)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* A folder of that name without our mark belongs to another program, or its maker had no time to mark it: it is removed
 * if it is empty. */
static void remove_dead(const char *path, int fd)
{
    if (faccessat(fd, MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        dir_remove_all(path, NULL);
    else
        rmdir(path);
}

void held_folder_sweep(const char *root, const char *prefix)
{
    const size_t len = strlen(prefix);
    DIR *d = opendir(root);
    if (!d) return;

    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (strncmp(e->d_name, prefix, len) != 0 || e->d_name[len] != '-') continue;
        if (snprintf(path, sizeof path, "%s/%s", root, e->d_name) >= (int)sizeof path) continue;

        const int fd = held_folder_lock(path); /* who lives holds the lock */
        if (fd < 0) continue;
        remove_dead(path, fd);
        close(fd);
    }
    closedir(d);
}

static bool mark(const held_folder *h)
{
    const int fd = openat(h->lock, MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

int held_folder_open(held_folder *h, const char *root, const char *prefix, error *err)
{
    *h = (held_folder){ .lock = -1 };
    held_folder_sweep(root, prefix);

    for (int i = 0; i < ATTEMPTS; i++) {
        if (snprintf(h->path, sizeof h->path, "%s/%s-XXXXXX", root, prefix) >= (int)sizeof h->path) break;
        if (!mkdtemp(h->path)) {
            const int why = errno;
            h->path[0] = 0;
            return error_sys(err, why, "cannot create a folder in %.200s (TMPDIR names another for temporary files)",
                             root);
        }

        h->lock = held_folder_lock(h->path);
        if (h->lock >= 0 && mark(h)) return OK;
        held_folder_close(h);
    }
    h->path[0] = 0;
    return error_set(err, ERR_IO, "cannot create a folder in %.200s", root);
}

/* The watcher's whole life. It keeps none of our descriptors: pipes that others read would not end, and the lock has to
 * go with us. Where there are no pidfds, whoever sweeps next cleans up. */
__attribute__((noreturn)) static void watch(const held_folder *h, pid_t parent)
{
    const int alive = (int)syscall(SYS_pidfd_open, parent, 0);
    const bool ours = getppid() == parent; /* after pidfd_open: else the number could be another's */
    if (alive < 0 && ours) _exit(1);

    setsid();                          /* a signal to our group, or the terminal's end, is not for it */
    prctl(PR_SET_NAME, "held_folder"); /* nor what `killall troupe` sends */
    if (alive > 0) close_range(0, (unsigned)alive - 1, 0);
    if (alive >= 0) close_range((unsigned)alive + 1, ~0u, 0);
    if (chdir("/") != 0) _exit(1);

    struct pollfd fd = { .fd = alive, .events = POLLIN };
    while (ours && poll(&fd, 1, -1) < 0 && errno == EINTR) continue;
    dir_remove_all(h->path, NULL);
    _exit(0);
}

int held_folder_watch(held_folder *h, error *err)
{
    sigset_t all, before;
    const pid_t parent = getpid();

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* its signals are blocked for good: KILL alone ends it early */

    const pid_t child = fork();
    if (child == 0) watch(h, parent);
    sigprocmask(SIG_SETMASK, &before, NULL);

    if (child < 0) return error_sys(err, errno, "cannot start the process that removes %s", h->path);
    h->watcher = child;
    return OK;
}

static void end_watch(held_folder *h)
{
    if (h->watcher <= 0) return;
    kill(h->watcher, SIGKILL);
    while (waitpid(h->watcher, NULL, 0) < 0 && errno == EINTR) continue;
}

void held_folder_close(held_folder *h)
{
    if (!h->path[0]) return;
    dir_remove_all(h->path, NULL); /* while it is locked: no other process can take the name meanwhile */
    end_watch(h);
    if (h->lock >= 0) close(h->lock);
    *h = (held_folder){ .lock = -1 };
}

const char *temporary_root(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir == '/' && strlen(dir) <= LONGEST_ROOT ? dir : "/tmp";
}
