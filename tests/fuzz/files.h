/* SPDX-License-Identifier: MIT */
/* files - for targets whose parser reads files: a folder of this process, in memory where there is such a file system,
 * and the parts of an input, one a file. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "tests/support/support.h"

/* Made at the first call, removed with the process. */
static inline const char *fuzz_folder(void)
{
    static char *folder;
    if (!folder) folder = test_folder_in_memory();
    return folder;
}

/* FOLDER/name, in `path` [size]. */
static inline char *fuzz_path(char *path, size_t size, const char *name)
{
    return path_join(path, size, fuzz_folder(), name);
}

static inline void fuzz_put(const char *name, str_view text)
{
    char path[256];
    FILE *f = fopen(fuzz_path(path, sizeof path, name), "we");
    if (!f || fwrite(text.data, 1, text.len, f) != text.len || fclose(f) != 0) abort();
}

/* The next part of an input: up to a line "====", or all that is left. */
static inline str_view fuzz_part(const uint8_t **data, size_t *size)
{
    static const char BETWEEN[] = "\n====\n";
    const size_t mark = sizeof BETWEEN - 1;
    const uint8_t *cut = memmem(*data, *size, BETWEEN, mark);
    const str_view part = { (const char *)*data, cut ? (size_t)(cut - *data) : *size };
    *size -= cut ? part.len + mark : part.len;
    *data += cut ? part.len + mark : part.len;
    return part;
}

/* A failure has a code and a sentence. */
static inline void fuzz_failed(int rc, const error *err)
{
    if (rc == OK || err->code != rc || !*err->text) abort();
}
