/* SPDX-License-Identifier: MIT */
#include "env/sandbox/memory_group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/sandbox/group_place.h"

enum {
    MAX_PATH = 1024,
    MAX_TEXT = 1 << 20,
    NOBODY = 65534,
    MAX_PIDS = 1024,
    MAKE_TRIES = 100,
    CLOSE_TRIES = 200,
    CLOSE_WAIT_MS = 5
};

static const char BOX[] = "troupe-box-", MAIN[] = "troupe-main-";

struct memory_group {
    char folder[MAX_PATH];
    int fd;       /* of the folder; holds its lock */
    int entrance; /* cgroup.procs of the zygote's group */
    bool counts_pids;
    uint64_t leaves;    /* how many there have been: the next one's number */
    vec(uint64_t) left; /* leaves that could not be removed yet */
};

/* ---- files of a group ---- */

static bool write_at(int folder, const char *name, const char *text)
{
    const int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    const int why = errno;
    close(fd);
    errno = why;
    return written;
}

static bool write_in(const char *folder, const char *name, const char *text)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool written = write_at(fd, name, text);
    const int why = errno;
    close(fd);
    errno = why;
    return written;
}

/* The caller frees; "" when it can't be read. */
static char *read_in(const char *folder, const char *name)
{
    char path[MAX_PATH + 64];
    size_t len;
    char *text = file_read(path_join(path, sizeof path, folder, name), MAX_TEXT, &len, NULL);
    return text ? text : xstrdup("");
}

/* Whether a list of words, as in cgroup.controllers, has this one. */
static bool lists(const char *folder, const char *name, const char *word)
{
    char *text = read_in(folder, name), *rest = NULL;
    bool found = false;
    for (char *w = strtok_r(text, " \n", &rest); w && !found; w = strtok_r(NULL, " \n", &rest))
        found = strcmp(w, word) == 0;
    free(text);
    return found;
}

/* ---- what dead owners left ---- */

/* A group goes when it holds neither a process nor a group: whatever of it is alive stays. */
static bool remove_group(const char *folder)
{
    DIR *d = opendir(folder);
    if (!d) return errno == ENOENT;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    closedir(d);
    return rmdir(folder) == 0 || errno == ENOENT;
}

static void sweep(const char *base)
{
    DIR *d = opendir(base);
    if (!d) return;

    for (struct dirent *e; (e = readdir(d));) {
        char path[MAX_PATH];

        /* The kernel removes no group that has a process in it: those of the living stay. */
        if (strncmp(e->d_name, MAIN, strlen(MAIN)) == 0) unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
        if (strncmp(e->d_name, BOX, strlen(BOX)) != 0) continue;
        const int fd = held_folder_lock(path_join(path, sizeof path, base, e->d_name));
        if (fd < 0) continue;
        remove_group(path);
        close(fd);
    }
    closedir(d);
}

/* ---- where our groups may be ---- */

static bool is_child(int pid)
{
    char folder[64], *stat, state;
    int parent = -1;
    snprintf(folder, sizeof folder, "/proc/%d", pid);
    stat = read_in(folder, "stat");

    /* "7 (name) S 1 ...": a name may hold blanks and brackets, so that only the last bracket is its end. */
    const char *end = strrchr(stat, ')');
    const bool read = end && sscanf(end + 1, " %c %d", &state, &parent) == 2;
    free(stat);
    return read && parent == getpid();
}

/* The processes of a group if all of them are this one and its children. */
static int own_processes(const char *folder, int *pids, error *err)
{
    int n = 0;
    char *text = read_in(folder, "cgroup.procs"), *rest = NULL;
    for (char *w = strtok_r(text, "\n", &rest); w; w = strtok_r(NULL, "\n", &rest)) {
        const int pid = atoi(w);
        if (n < MAX_PIDS && (pid == getpid() || is_child(pid))) {
            pids[n++] = pid;
            continue;
        }
        free(text);
        error_set(err, ERR_UNSUPPORTED, "there are other processes in %.200s", folder);
        return -1;
    }
    free(text);
    return n;
}

static bool move_all(const char *folder, const int *pids, int n)
{
    for (int i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", pids[i]);
        if (!write_in(folder, "cgroup.procs", text) && errno != ESRCH) return false; /* ESRCH: it has ended since */
    }
    return true;
}

/* systemd gives a user a group by making it the user's own, and marks each that it has given away. What it has not is
 * its own, whoever could write there. */
static bool delegated(const char *folder)
{
    char mark[4];
    return geteuid() != 0 || access("/run/systemd/system", F_OK) != 0 ||
           getxattr(folder, "trusted.delegate", mark, sizeof mark) > 0 ||
           getxattr(folder, "user.delegate", mark, sizeof mark) > 0;
}

/* Moves us out of the way, so that `folder` may hand the controller down. */
static int step_aside(const char *folder, error *err)
{
    char aside[MAX_PATH];
    int pids[MAX_PIDS];
    if (access(folder, W_OK) != 0 || !delegated(folder))
        return error_set(err, ERR_UNSUPPORTED, "%.200s is not delegated to us", folder);
    const int n = own_processes(folder, pids, err);
    if (n < 0) return ERR_UNSUPPORTED;

    if (snprintf(aside, sizeof aside, "%s/%sXXXXXX", folder, MAIN) >= (int)sizeof aside || !mkdtemp(aside))
        return error_sys(err, errno, "no group in %.200s", folder);
    if (move_all(aside, pids, n) && write_in(folder, "cgroup.subtree_control", "+memory")) {
        write_in(folder, "cgroup.subtree_control", "+pids"); /* or not: memory is limited all the same */
        return OK;
    }

    const int why = errno;
    move_all(folder, pids, n);
    rmdir(aside);
    return error_sys(err, why, "%.200s cannot hand down the memory controller", folder);
}

/* The group of this process. */
static int own_group(char *out, size_t size, error *err)
{
    char *mounts = read_in("/proc/self", "mountinfo"), *groups = read_in("/proc/self", "cgroup");
    const int rc = group_place_find(mounts, groups, out, size, err);
    free(mounts);
    free(groups);
    return rc;
}

/* The group in which those of boxes are made, into `base`. */
static int find_base(char *base, size_t size, error *err)
{
    const int rc = own_group(base, size, err);
    if (rc != OK) return rc;
    if (!lists(base, "cgroup.controllers", "memory"))
        return error_set(err, ERR_UNSUPPORTED, "%.200s has no memory controller", base);

    char *name = strrchr(base, '/');
    if (strncmp(name + 1, MAIN, strlen(MAIN)) == 0) {
        *name = 0; /* we have stepped aside before, or the process that started us has */
        return OK;
    }
    return lists(base, "cgroup.subtree_control", "memory") ? OK : step_aside(base, err);
}

/* ---- a box's group ---- */

/* Where troupe is root, its zygotes are nobody. */
static bool give_to_zygote(int folder)
{
    return geteuid() != 0 || fchownat(folder, "cgroup.procs", NOBODY, (gid_t)-1, 0) == 0;
}

/* A box's group, held. Before it is locked it looks like a dead owner's to another that starts now, which removes
 * it. */
static bool make_box(memory_group *g, const char *base)
{
    for (int i = 0; i < MAKE_TRIES; i++) {
        snprintf(g->folder, sizeof g->folder, "%s/%sXXXXXX", base, BOX);
        if (!mkdtemp(g->folder)) break;
        g->fd = held_folder_lock(g->folder);
        if (g->fd >= 0) return true;
    }
    g->folder[0] = 0;
    return false;
}

static bool furnish(memory_group *g)
{
    if (!write_at(g->fd, "cgroup.subtree_control", "+memory")) return false;
    g->counts_pids = write_at(g->fd, "cgroup.subtree_control", "+pids");
    if (mkdirat(g->fd, "zygote", 0755) != 0 || !give_to_zygote(g->fd)) return false;
    g->entrance = openat(g->fd, "zygote/cgroup.procs", O_WRONLY | O_CLOEXEC);
    return g->entrance >= 0;
}

memory_group *memory_group_open(error *err)
{
    char base[MAX_PATH - 64];
    if (find_base(base, sizeof base, err) != OK) return NULL;
    sweep(base);

    memory_group *g = xcalloc(1, sizeof *g);
    g->fd = g->entrance = -1;
    if (make_box(g, base) && furnish(g)) return g;

    error_set(err, ERR_UNSUPPORTED, "no group in %.200s: %s", base, strerror(errno));
    memory_group_close(g);
    return NULL;
}

/* Processes that were killed a moment ago are still in it for another. */
void memory_group_close(memory_group *g)
{
    if (!g) return;
    if (g->fd >= 0) write_at(g->fd, "cgroup.kill", "1");
    for (int i = 0; g->folder[0] && i < CLOSE_TRIES && !remove_group(g->folder); i++) poll(NULL, 0, CLOSE_WAIT_MS);

    if (g->entrance >= 0) close(g->entrance);
    if (g->fd >= 0) close(g->fd);
    vec_free(&g->left);
    free(g);
}

void memory_group_step_back(void)
{
    char aside[MAX_PATH - 64], base[MAX_PATH - 64];
    int pids[MAX_PIDS];
    if (own_group(aside, sizeof aside, NULL) != OK) return;
    snprintf(base, sizeof base, "%s", aside);
    char *name = strrchr(base, '/');
    if (!name || strncmp(name + 1, MAIN, strlen(MAIN)) != 0) return;
    *name = 0;

    const int n = own_processes(aside, pids, NULL);
    if (n < 0) return;

    /* The controllers first: no process may enter a group that hands them down. */
    write_in(base, "cgroup.subtree_control", "-pids");
    if (write_in(base, "cgroup.subtree_control", "-memory") && move_all(base, pids, n)) rmdir(aside);
}

const char *memory_group_folder(const memory_group *g) { return g->folder; }
int memory_group_entrance(const memory_group *g) { return g->entrance; }

/* ---- a call's ---- */

static bool remove_leaf(const memory_group *g, uint64_t number)
{
    char name[32];
    snprintf(name, sizeof name, "call-%" PRIu64, number);
    return unlinkat(g->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* False where the kernel takes no limit, or would kill one process of the leaf and leave the others. Swap and pids are
 * limited where it counts them. */
static bool limit_leaf(const memory_group *g, int folder, size_t max_bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", max_bytes);
    if (max_bytes > 0 && !write_at(folder, "memory.max", text)) return false;
    if (!write_at(folder, "memory.oom.group", "1")) return false;
    write_at(folder, "memory.swap.max", "0");
    if (g->counts_pids) write_at(folder, "pids.max", "1024");
    return give_to_zygote(folder);
}

static void remove_left(memory_group *g)
{
    for (size_t i = 0; i < g->left.len;)
        if (remove_leaf(g, g->left.data[i]))
            g->left.data[i] = g->left.data[--g->left.len];
        else
            i++;
}

int memory_leaf_open(memory_group *g, size_t max_bytes, memory_leaf *leaf, error *err)
{
    char name[32];
    remove_left(g);
    *leaf = (memory_leaf){ .folder = -1, .number = g->leaves++ };
    snprintf(name, sizeof name, "call-%" PRIu64, leaf->number);
    if (mkdirat(g->fd, name, 0755) == 0) leaf->folder = openat(g->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (leaf->folder >= 0 && limit_leaf(g, leaf->folder, max_bytes)) return OK;

    error_sys(err, errno, "no group in %.200s", g->folder);
    memory_leaf_close(g, leaf);
    return ERR_IO;
}

/* memory.events' line "KEY n". */
static uint64_t event(const char *events, const char *key)
{
    const char *line = strstr(events, key);
    return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

/* "oom" counts when this group's own limit was reached, "oom_kill" a kill in it for any reason. */
bool memory_leaf_exceeded(const memory_leaf *leaf)
{
    char text[512] = "\n"; /* every line begins after one, the first too: "oom" is no part of another key then */
    const int fd = leaf->folder >= 0 ? openat(leaf->folder, "memory.events", O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return false;
    const ssize_t n = read(fd, text + 1, sizeof text - 2);
    close(fd);
    return n > 0 && event(text, "\noom ") > 0 && event(text, "\noom_kill ") > 0;
}

void memory_leaf_close(memory_group *g, memory_leaf *leaf)
{
    if (leaf->folder < 0) return;
    if (!remove_leaf(g, leaf->number)) {
        write_at(leaf->folder, "cgroup.kill", "1");
        vec_push(&g->left, leaf->number);
    }
    close(leaf->folder);
    leaf->folder = -1;
}
