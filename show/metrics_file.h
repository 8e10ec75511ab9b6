/* SPDX-License-Identifier: MIT */
/* metrics_file - a run's metrics.jsonl, line by line. */
#pragma once

#include "base/json.h"

/* Calls `each` for every whole line of RUN/metrics.jsonl; `line` is borrowed. One under way (the run continues) or that
 * is not JSON is left out. ERR_IO, ERR_LIMIT: the file can't be read; `err` may be NULL. */
int metrics_file_read(const char *run, void (*each)(void *ctx, const json_t *line), void *ctx, error *err);
/* The number of a key; NaN when it has none. */
double metrics_file_number(const json_t *line, const char *key);
