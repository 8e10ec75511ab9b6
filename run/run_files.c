/* SPDX-License-Identifier: MIT */
#include "run/run_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "learner/checkpoint.h"

enum { PATH_BYTES = 1200 };

static const char *const KEPT[] = { "run.json", "lock", NULL };
static const char *const MADE[] = { "metrics.jsonl", "rollouts.db", "rollouts.db-wal", "rollouts.db-shm", NULL };
static const char *const FOLDERS[] = { "logs", "checkpoints", NULL };
static const char *const ROLES[] = { "learner", "actor", "reward", NULL };

/* ---- what is there ---- */

bool run_files_is_run(const char *path)
{
    /* Any version of ours: whose file it is decides whether it may be deleted, not whether this build can read it. */
    char file[PATH_BYTES];
    json_t *json = json_parse_file(path_join(file, sizeof file, path, "run.json"), NULL);
    const char *format = json_string_value(json_object_get(json, "format"));
    const bool is_run = format && strncmp(format, "troupe run ", 11) == 0;
    json_decref(json);
    return is_run;
}

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* A lock that was taken and nothing written after it: a start that was killed at once. */
static bool is_bare_lock(int dir, const char *name)
{
    struct stat st;
    return strcmp(name, "lock") == 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_size == 0;
}

bool run_files_is_empty(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return errno == ENOENT; /* one that can't be read may hold anything */

    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d));) empty = is_dot(e->d_name) || is_bare_lock(dirfd(d), e->d_name);
    closedir(d);
    return empty;
}

static bool has_bytes(const char *path, const char *name)
{
    char file[PATH_BYTES];
    struct stat st;
    return lstat(path_join(file, sizeof file, path, name), &st) == 0 && st.st_size > 0;
}

bool run_files_has_work(const char *path)
{
    char folder[PATH_BYTES];
    bool any = has_bytes(path, "rollouts.db") || has_bytes(path, "metrics.jsonl");
    DIR *d = any ? NULL : opendir(path_join(folder, sizeof folder, path, "checkpoints"));
    for (struct dirent *e; d && !any && (e = readdir(d));) any = !is_dot(e->d_name);
    if (d) closedir(d);
    return any;
}

static const char *kind_name(mode_t mode)
{
    if (S_ISLNK(mode)) return "a symbolic link";
    return S_ISDIR(mode) ? "a folder" : "not a folder";
}

/* Whether what has these names is of that kind, or not there. */
static int check_names(const char *path, const char *const *names, mode_t kind, error *err)
{
    for (; *names; names++) {
        char file[PATH_BYTES];
        struct stat st;
        if (lstat(path_join(file, sizeof file, path, *names), &st) != 0 || (st.st_mode & S_IFMT) == kind) continue;
        return error_set(err, ERR_STATE,
                         "%s is %s: Troupe has not made it and does not delete it (move it away, or give another "
                         "--run-dir)",
                         file, kind_name(st.st_mode));
    }
    return OK;
}

int run_files_check(const char *path, error *err)
{
    int rc = check_names(path, KEPT, S_IFREG, err);
    if (rc == OK) rc = check_names(path, MADE, S_IFREG, err);
    return rc == OK ? check_names(path, FOLDERS, S_IFDIR, err) : rc;
}

/* ---- deleting ---- */

/* "actor-12.log" */
static bool is_log(const char *name)
{
    for (const char *const *role = ROLES; *role; role++) {
        const size_t n = strlen(*role);
        if (strncmp(name, *role, n) != 0) continue;

        const char *p = name + n;
        if (*p == '-' && isdigit((unsigned char)p[1]))
            for (p++; isdigit((unsigned char)*p);) p++;
        if (strcmp(p, ".log") == 0) return true;
    }
    return false;
}

/* "metrics.jsonl.123-0.part": a file of ours that was being written when its process was killed. */
static bool is_part(const char *name)
{
    const char *end = strstr(name, ".part");
    if (!end || end[5]) return false;
    for (int i = 0; MADE[i]; i++)
        if (strncmp(name, MADE[i], strlen(MADE[i])) == 0 && name[strlen(MADE[i])] == '.') return true;
    return strncmp(name, "run.json.", 9) == 0;
}

static int remove_file(int dir, const char *path, const char *name, error *err)
{
    struct stat st; /* by the open folder: a path that is exchanged meanwhile leads nowhere else */
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) return OK;
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return OK;
    return error_sys(err, errno, "cannot remove %s/%s", path, name);
}

/* The files of one folder that `is_ours` knows. The folder itself is not followed when it is a link. */
static int remove_known(const char *path, bool (*is_ours)(const char *name), error *err)
{
    int rc = OK;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return OK;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) return error_sys(err, errno, "cannot list %s", path);

    for (struct dirent *e; rc == OK && (e = readdir(d));)
        if (is_ours(e->d_name)) rc = remove_file(dirfd(d), path, e->d_name, err);
    closedir(d);
    return rc;
}

static bool is_made(const char *name)
{
    for (int i = 0; MADE[i]; i++)
        if (strcmp(MADE[i], name) == 0) return true;
    return is_part(name);
}

int run_files_remove(const char *path, error *err)
{
    char logs[PATH_BYTES];
    path_join(logs, sizeof logs, path, "logs");
    int rc = checkpoint_remove_all(path, err);
    if (rc == OK) rc = remove_known(logs, is_log, err);
    return rc == OK ? remove_known(path, is_made, err) : rc;
}
