/* SPDX-License-Identifier: MIT */
/* file - whole files: read, map, write so that a crash leaves the old or the new one and never half of either. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* A regular file and nothing else: a pipe is not waited for, a device not touched, and ERR_IO says what it is. `flags`
 * and `mode` are open(2)'s. The descriptor, or -1. */
int file_open(const char *path, int flags, unsigned mode, error *err);
/* ERR_IO when something is there that is no regular file: for who leaves opening to others (SQLite). */
int file_check(const char *path, error *err);

/* The number that a path is a name of: /dev/stdin, /dev/stdout, /dev/stderr, /dev/fd/N, /proc/self/fd/N; else -1. */
int file_descriptor(const char *path);

/* The whole file plus a terminating NUL that `len` does not count; the caller frees. ERR_LIMIT above `max_bytes`.
 * Opened as by file_open. */
char *file_read(const char *path, size_t max_bytes, size_t *len, error *err);
/* The same for what is read once and may come through a pipe that this process already has: /dev/stdin, or a shell's
 * <(command). */
char *file_read_once(const char *path, size_t max_bytes, size_t *len, error *err);

typedef struct file_map {
    const unsigned char *data; /* read-only, page aligned; NULL for an empty file */
    size_t len;
} file_map;
int file_map_open(file_map *map, const char *path, error *err);
void file_map_close(file_map *map);
/* Bytes of a map that have been read: their pages are no longer this process's, until it reads them again. */
void file_map_drop(const void *data, size_t len);

/* Writes a temporary beside `path`, fsyncs it, renames it over `path`, fsyncs the folder. */
int file_write_atomic(const char *path, const void *data, size_t len, error *err);
/* The same for content that is produced piecewise: begin gives a descriptor, end commits (or drops when !keep).
 * A path that names a regular file which this process has open (file_descriptor): it is written as it is. */
typedef struct file_writer {
    int fd;
    char path[1024], temp[1056];
} file_writer;
int file_write_begin(file_writer *w, const char *path, error *err);
int file_write_all(file_writer *w, const void *data, size_t len, error *err);
int file_write_end(file_writer *w, bool keep, error *err);

int file_append_line(int fd, const char *line, size_t len, error *err); /* one write(2), newline added */
int file_copy(const char *from, const char *to, error *err);            /* atomic at `to` */
/* The hash (base/hash.h) and the size of what a file holds. */
int file_hash(const char *path, uint64_t *hash, uint64_t *bytes, error *err);
bool file_exists(const char *path);
bool dir_exists(const char *path);
int dir_make_all(const char *path, error *err);   /* mkdir -p */
int dir_remove_all(const char *path, error *err); /* rm -r; missing is fine */
/* fsyncs the folder itself: names that were made, renamed or removed in it outlast a crash. A file system that can't do
 * that (EINVAL) is no error. */
int dir_sync(const char *path, error *err);
/* Joins with '/', into the caller's buffer; an absolute `b` wins. Returns out. */
char *path_join(char *out, size_t size, const char *a, const char *b);
char *path_dirname(char *out, size_t size, const char *path);
