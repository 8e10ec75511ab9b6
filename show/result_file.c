/* SPDX-License-Identifier: MIT */
#include "show/result_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

enum { LOOK_BYTES = 65536 };

/* Its first bytes -> text [LOOK_BYTES]; how many, or -1 with errno. */
static ssize_t read_beginning(const char *path, char *text)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO put there meanwhile would hold us */
    if (fd < 0) return -1;
    const ssize_t n = read(fd, text, LOOK_BYTES);
    const int why = errno; /* close may set it */
    close(fd);
    errno = why;
    return n;
}

/* Whether the regular file `path` may be replaced; it is only read. */
static int check_ours(const char *path, off_t size, result_is_ours ours, error *err)
{
    if (size == 0) return OK; /* as mktemp leaves it: there is nothing to lose */
    char *text = xmalloc(LOOK_BYTES + 1);
    const ssize_t n = read_beginning(path, text);
    int rc = OK;

    if (n < 0) {
        rc = error_sys(err, errno, "cannot read %s, which would be replaced", path);
    } else {
        text[n] = 0;
        if (!ours(text, (size_t)n))
            rc = error_set(err, ERR_ARGUMENT,
                           "%.300s exists and holds something else: it is not replaced (name another file)", path);
    }
    free(text);
    return rc;
}

/* Opened anew by its name, a descriptor that is closed (main.c holds its number) would take everything, and a file
 * would be written from its start. */
static int open_descriptor(result_file *f, int fd, error *err)
{
    f->stream = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return f->stream >= 0 ? OK : error_sys(err, errno, "cannot write to %s", f->path);
}

static int open_stream(result_file *f, error *err)
{
    f->stream = open(f->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return f->stream >= 0 ? OK : error_sys(err, errno, "cannot write to %s", f->path);
}

static int open_whole(result_file *f, const char *path, error *err)
{
    return file_write_begin(&f->whole, path, err) == OK ? OK : error_within(err, "cannot write %s", f->path);
}

/* Something stands there already; links are followed. */
static int open_existing(result_file *f, const char *path, result_is_ours ours, error *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (stat(path, &st) != 0) return error_sys(err, errno, "cannot write to %s, a symbolic link", path);
    if (S_ISDIR(st.st_mode))
        return error_set(err, ERR_ARGUMENT, "%.300s is a folder; expected the name of a file to write", path);
    if (!S_ISREG(st.st_mode)) return open_stream(f, err);

    /* by its own name, or the link would be replaced instead of what it points to */
    if (!realpath(path, real)) return error_sys(err, errno, "cannot write to %s", path);
    const int rc = check_ours(real, st.st_size, ours, err);
    return rc == OK ? open_whole(f, real, err) : rc;
}

int result_file_begin(result_file *f, const char *path, result_is_ours ours, error *err)
{
    struct stat st;
    *f = (result_file){ .stream = -1, .whole.fd = -1 };
    if (strlen(path) >= sizeof f->path) return error_set(err, ERR_ARGUMENT, "%.80s...: the path is too long", path);
    snprintf(f->path, sizeof f->path, "%s", path);

    const int fd = file_descriptor(path);
    if (fd >= 0) return open_descriptor(f, fd, err);
    if (lstat(path, &st) == 0) return open_existing(f, path, ours, err);
    if (errno != ENOENT) return error_sys(err, errno, "cannot write to %s", path);
    return open_whole(f, path, err);
}

int result_file_add(result_file *f, const void *data, size_t len, error *err)
{
    if (f->stream < 0) return file_write_all(&f->whole, data, len, err);
    for (const char *p = data; len > 0;) {
        const ssize_t n = write(f->stream, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_sys(err, errno, "cannot write to %s", f->path);
        p += n;
        len -= (size_t)n;
    }
    return OK;
}

int result_file_end(result_file *f, bool keep, error *err)
{
    if (!f->path[0]) return OK;
    f->path[0] = 0; /* a second end, on a way out, does nothing */
    if (f->stream < 0) return file_write_end(&f->whole, keep, err);

    const bool failed = close(f->stream) != 0;
    f->stream = -1;
    return failed && keep ? error_sys(err, errno, "cannot write the result") : OK;
}
