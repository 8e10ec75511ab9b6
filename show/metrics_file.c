/* SPDX-License-Identifier: MIT */
#include "show/metrics_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_FILE = 1 << 30 };

int metrics_file_read(const char *run, void (*each)(void *ctx, const json_t *line), void *ctx, error *err)
{
    char path[1024];
    size_t len;
    char *text = file_read(path_join(path, sizeof path, run, "metrics.jsonl"), MAX_FILE, &len, err);
    if (!text) return err ? err->code : ERR_IO;

    /* what no newline ends is being written at this moment, or was when the machine stopped */
    for (char *line = text, *end; (end = memchr(line, '\n', len - (size_t)(line - text))); line = end + 1) {
        json_t *json = json_parse(line, (size_t)(end - line), path, NULL);
        if (json) each(ctx, json);
        json_decref(json);
    }
    free(text);
    return OK;
}

double metrics_file_number(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}
