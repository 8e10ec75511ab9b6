/* shots - the worked examples of a recipe: a file with one a line.
 *
 *     {"prompt": TEXT, "steps": [{"tool": NAME, "arguments": {...}, "result": TEXT}], "answer": TEXT}     steps may be
 * absent
 *
 * All that a dialect will need of them is checked when the file is read: a shot without an answer would fail every
 * episode that shows it. */
#pragma once

#include <stddef.h>

#include "base/error.h"

typedef struct shot_pool {
    char **data; /* JSON texts */
    size_t len, capacity;
} shot_pool;

/* Appends the file's shots. ERR_PARSE names file, line and what is missing; ERR_PARSE, too, for a file without any. */
int shots_read(shot_pool *s, const char *path, error *err);
void shots_free(shot_pool *s);
