/* SPDX-License-Identifier: MIT */
/* dataset - JSON lines: one task's row a line, read once, visited in a seeded order that a cursor can resume. */
#pragma once

#include <stdint.h>

#include "base/error.h"

typedef struct dataset dataset;

/* Every line must be an object with "prompt" (string) or "messages" (array), and may have "id", "answer", "group", ....
 * ERR_PARSE names file and line, ERR_LIMIT too (a row has MAX_ROW_BYTES at most). Windows line ends, a byte
 * order mark at the start and a last line without an end are fine. `max_rows` 0: all. */
dataset *dataset_open(const char *path, uint64_t max_rows, error *err);
/* The same of rows that need no question: an environment asks. */
dataset *dataset_open_bare(const char *path, uint64_t max_rows, error *err);
void dataset_free(dataset *d);
uint64_t dataset_size(const dataset *d);
const char *dataset_row(const dataset *d, uint64_t row); /* JSON text, borrowed */
/* The `i`-th row ever visited (i counts over epochs; each epoch is its own permutation of (seed, epoch)). */
uint64_t dataset_visit(dataset *d, uint64_t seed, uint64_t i);
