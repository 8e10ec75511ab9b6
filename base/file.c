/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/str.h"

enum { HASH_BLOCK = 1 << 20 }; /* a multiple of HASH_STRIPE */

/* write(2) until everything is out. */
static int write_fully(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len < (1u << 30) ? len : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads to the end, whatever size the file claims (a pipe or /proc claims none). */
static int read_fully(int fd, const char *path, size_t max_bytes, str *out, error *err)
{
    char block[65536];

    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_sys(err, errno, "%s could not be read", path);
        if (n == 0) return OK;

        if ((size_t)n > max_bytes - out->len)
            return error_set(err, ERR_LIMIT, "%s is larger than the %zu bytes that are allowed", path, max_bytes);
        str_add(out, block, (size_t)n);
    }
}

/* ERR_NOT_FOUND and ERR_IO are told apart for the callers that can live without the file. */
static int open_failed(const char *path, error *err)
{
    int why = errno;
    int code = error_sys(err, why, "%s could not be opened", path);
    if (why != ENOENT) return code;
    if (err) err->code = ERR_NOT_FOUND;
    return ERR_NOT_FOUND;
}

/* ERR_IO by the kind of what is there, where it is no regular file. */
static int check_kind(const char *path, mode_t mode, error *err)
{
    static const struct {
        mode_t mode;
        const char *name;
    } KINDS[] = { { S_IFDIR, "a folder" },
                  { S_IFIFO, "a pipe" },
                  { S_IFSOCK, "a socket" },
                  { S_IFCHR, "a device" },
                  { S_IFBLK, "a device" } };

    if (S_ISREG(mode)) return OK;
    const char *what = "something else";
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if ((mode & S_IFMT) == KINDS[i].mode) what = KINDS[i].name;
    return error_set(err, ERR_IO, "%s is %s; expected a regular file", path, what);
}

int file_check(const char *path, error *err)
{
    struct stat st;
    return stat(path, &st) == 0 ? check_kind(path, st.st_mode, err) : OK;
}

/* Looked at before, so that no device is touched, and after, for what has changed meanwhile. */
int file_open(const char *path, int flags, unsigned mode, error *err)
{
    struct stat st;
    if (file_check(path, err) != OK) return -1;
    const int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
    if (fd < 0) {
        open_failed(path, err);
        return -1;
    }

    if (fstat(fd, &st) != 0)
        error_sys(err, errno, "cannot stat %s", path);
    else if (check_kind(path, st.st_mode, err) == OK)
        return fd;
    close(fd);
    return -1;
}

/* Of `fd`, which it closes; < 0: opening it has failed. */
static char *read_all(int fd, const char *path, size_t max_bytes, size_t *len, error *err)
{
    if (fd < 0) return NULL;

    str text = { 0 };
    int code = read_fully(fd, path, max_bytes, &text, err);
    close(fd);

    if (code != OK) {
        str_free(&text);
        return NULL;
    }
    if (len) *len = text.len;
    return str_take(&text);
}

char *file_read(const char *path, size_t max_bytes, size_t *len, error *err)
{
    return read_all(file_open(path, O_RDONLY, 0, err), path, max_bytes, len, err);
}

int file_descriptor(const char *path)
{
    static const char *const STREAMS[] = { "/dev/stdin", "/dev/stdout", "/dev/stderr" };
    static const char *const FOLDERS[] = { "/dev/fd/", "/proc/self/fd/" };

    for (int fd = 0; fd < 3; fd++)
        if (strcmp(path, STREAMS[fd]) == 0) return fd;

    for (int i = 0; i < 2; i++) {
        const char *number = path + strlen(FOLDERS[i]);
        const bool inside = strncmp(path, FOLDERS[i], strlen(FOLDERS[i])) == 0;
        char *end;

        if (!inside || *number < '0' || *number > '9') continue; /* strtol takes signs and blanks as well */
        const long fd = strtol(number, &end, 10);
        if (*end == '\0' && fd <= INT_MAX) return (int)fd;
    }
    return -1;
}

char *file_read_once(const char *path, size_t max_bytes, size_t *len, error *err)
{
    struct stat st;
    /* What is open already is opened again without waiting. */
    if (file_descriptor(path) < 0 || stat(path, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return file_read(path, max_bytes, len, err);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) open_failed(path, err);
    return read_all(fd, path, max_bytes, len, err);
}

int file_map_open(file_map *map, const char *path, error *err)
{
    struct stat st;
    error own = { 0 };
    error *const why = err ? err : &own;
    *map = (file_map){ 0 };
    const int fd = file_open(path, O_RDONLY, 0, why);
    if (fd < 0) return why->code;

    int code = OK;
    if (fstat(fd, &st) != 0)
        code = error_sys(err, errno, "cannot stat %s", path);
    else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            code = error_sys(err, errno, "%s could not be mapped", path);
        else
            *map = (file_map){ data, (size_t)st.st_size };
    }

    close(fd);
    return code;
}

void file_map_drop(const void *data, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + len) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void file_map_close(file_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->len);
    *map = (file_map){ 0 };
}

/* A descriptor of its own for a regular file that is open already; -1: `path` is no name of one. */
static int own_file(const char *path)
{
    struct stat st;
    const int fd = file_descriptor(path);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
}

int file_write_begin(file_writer *w, const char *path, error *err)
{
    *w = (file_writer){ .fd = -1 };
    if (strlen(path) >= sizeof w->path) return error_set(err, ERR_LIMIT, "the path is too long: %s", path);
    memcpy(w->path, path, strlen(path) + 1);
    if ((w->fd = own_file(path)) >= 0) return OK;

    /* Not mkostemp: its files are 0600, and a published weights file is read by whoever the umask allows. */
    for (int attempt = 0; w->fd < 0 && attempt < 100; attempt++) {
        snprintf(w->temp, sizeof w->temp, "%s.%d-%d.part", path, (int)getpid(), attempt);
        w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST) break;
    }
    return w->fd >= 0 ? OK : error_sys(err, errno, "cannot create %s", w->temp);
}

/* Who is to make room has to know how much. */
static int not_written(const file_writer *w, size_t len, error *err)
{
    const int why = errno;
    struct statvfs fs;
    if ((why != ENOSPC && why != EDQUOT) || fstatvfs(w->fd, &fs) != 0)
        return error_sys(err, why, "%s could not be written", w->path);
    return error_sys(err, why, "%s could not be written (it needs %zu bytes more, %" PRIu64 " are free)", w->path, len,
                     (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize);
}

int file_write_all(file_writer *w, const void *data, size_t len, error *err)
{
    return write_fully(w->fd, data, len) == 0 ? OK : not_written(w, len, err);
}

/* A file that was open before has its name, or none, already. */
static int end_own(file_writer *w, bool keep, error *err)
{
    const int closed = close(w->fd);
    w->fd = -1;
    return closed == 0 || !keep ? OK : error_sys(err, errno, "%s could not be closed", w->path);
}

int file_write_end(file_writer *w, bool keep, error *err)
{
    if (w->fd < 0) return OK;
    if (!w->temp[0]) return end_own(w, keep, err);
    char folder[PATH_MAX];
    int code = OK;

    if (keep && fsync(w->fd) != 0) code = error_sys(err, errno, "%s could not be synced", w->temp);
    if (close(w->fd) != 0 && keep && code == OK) code = error_sys(err, errno, "%s could not be closed", w->temp);
    w->fd = -1;

    if (keep && code == OK && rename(w->temp, w->path) != 0)
        code = error_sys(err, errno, "%s could not be put in place", w->path);

    if (!keep || code != OK) {
        unlink(w->temp);
        return code;
    }

    return dir_sync(path_dirname(folder, sizeof folder, w->path), err); /* the new name, too, is on the disk */
}

int file_write_atomic(const char *path, const void *data, size_t len, error *err)
{
    file_writer w;
    int code = file_write_begin(&w, path, err);
    if (code != OK) return code;
    code = file_write_all(&w, data, len, err);
    int end = file_write_end(&w, code == OK, err);
    return code != OK ? code : end;
}

int file_append_line(int fd, const char *line, size_t len, error *err)
{
    char *whole = xmalloc(len + 1);
    if (len) memcpy(whole, line, len);
    whole[len] = '\n';
    int result = write_fully(fd, whole, len + 1), why = errno;
    free(whole);
    return result == 0 ? OK : error_sys(err, why, "a line of %zu bytes could not be appended", len);
}

int file_copy(const char *from, const char *to, error *err)
{
    file_map map;
    int code = file_map_open(&map, from, err);
    if (code != OK) return code;
    code = file_write_atomic(to, map.data, map.len, err);
    file_map_close(&map);
    return code;
}

/* Up to `size` bytes, fewer only at the file's end; -1: errno says why. */
static ssize_t read_block(int fd, char *to, size_t size)
{
    size_t len = 0;
    while (len < size) {
        const ssize_t n = read(fd, to + len, size - len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* By blocks, not by a map: the pages of a large map would count as this process's memory. */
int file_hash(const char *path, uint64_t *hash, uint64_t *bytes, error *err)
{
    const int fd = file_open(path, O_RDONLY, 0, err);
    if (fd < 0) return err ? err->code : ERR_IO;
    char *block = xmalloc(HASH_BLOCK);
    hash_run run = hash_begin(0);
    ssize_t n;

    while ((n = read_block(fd, block, HASH_BLOCK)) == HASH_BLOCK) hash_stripes(&run, block, HASH_BLOCK);
    const int why = errno;
    *bytes = run.len + (n > 0 ? (uint64_t)n : 0);
    if (n >= 0) *hash = hash_end(&run, block, (size_t)n);
    free(block);
    close(fd);
    return n >= 0 ? OK : error_sys(err, why, "%s could not be read", path);
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int dir_make_all(const char *path, error *err)
{
    char *partial = xstrdup(path);
    int code = OK;

    for (char *p = partial; *p && code == OK; p++) {
        if (p[1] != '/' && p[1] != '\0') continue;

        const char kept = p[1]; /* the path is cut here, for one mkdir */
        p[1] = '\0';
        const int why = mkdir(partial, 0777) == 0 ? 0 : errno; /* looking whether it is there would change errno */
        if (why != 0 && !dir_exists(partial)) code = error_sys(err, why, "cannot create the folder %s", partial);
        p[1] = kept;
    }
    free(partial);
    return code;
}

/* Empties the folder behind `fd` (which it closes) without following links:
 * all calls are relative to an open folder. */
static int empty_folder(int fd, const char *path, int depth, error *err)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir || depth > 200) {
        int why = dir ? ELOOP : errno;
        if (dir)
            closedir(dir);
        else if (fd >= 0)
            close(fd);
        return error_sys(err, why, "folder %s could not be listed", path);
    }

    int code = OK;
    for (struct dirent *entry; code == OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dirfd(dir), name, 0) == 0) continue;
        if (errno != EISDIR && errno != EPERM) {
            code = error_sys(err, errno, "%s/%s could not be removed", path, name);
            break;
        }

        int inner = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        code = empty_folder(inner, name, depth + 1, err);
        if (code != OK)
            error_within(err, "%s", path);
        else if (unlinkat(dirfd(dir), name, AT_REMOVEDIR) != 0)
            code = error_sys(err, errno, "%s/%s could not be removed", path, name);
    }
    closedir(dir);
    return code;
}

int dir_remove_all(const char *path, error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return OK;
    if (fd < 0) return open_failed(path, err);
    int code = empty_folder(fd, path, 0, err);
    if (code == OK && rmdir(path) != 0) code = error_sys(err, errno, "folder %s could not be removed", path);
    return code;
}

int dir_sync(const char *path, error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return open_failed(path, err);
    const int result = fsync(fd), why = errno;
    close(fd);
    return result == 0 || why == EINVAL ? OK : error_sys(err, why, "folder %s could not be synced", path);
}

char *path_join(char *out, size_t size, const char *a, const char *b)
{
    size_t len = strlen(a);
    if (*b == '/' || len == 0)
        snprintf(out, size, "%s", b);
    else
        snprintf(out, size, "%s%s%s", a, a[len - 1] == '/' ? "" : "/", b);
    return out;
}

char *path_dirname(char *out, size_t size, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(out, size, ".");
    else
        snprintf(out, size, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return out;
}
