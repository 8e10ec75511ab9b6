/* SPDX-License-Identifier: MIT */
/* result_file - a file that a verb writes for its user: whole or not at all, and never over one of the user's own.
 *
 * What stands under the name already is replaced when it is empty or begins like what the verb writes. A link is
 * followed. A device or a pipe is written to as it comes, for it can't be replaced; so is a descriptor of this process
 * (/dev/stdout), whatever is behind it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/file.h"

typedef struct result_file {
    file_writer whole;
    int stream; /* -1: a regular file */
    char path[1024];
} result_file;

/* The first bytes of what stands there (a NUL follows them): are they what this verb writes? */
typedef bool (*result_is_ours)(const char *text, size_t len);

/* ERR_ARGUMENT: something that isn't ours is in the way. ERR_IO, with the reason: it can't be written there. */
int result_file_begin(result_file *f, const char *path, result_is_ours ours, error *err);
int result_file_add(result_file *f, const void *data, size_t len, error *err);
/* keep: under its name, synced; else, and on error, nothing is left of it. One that wasn't begun is allowed. */
int result_file_end(result_file *f, bool keep, error *err);
