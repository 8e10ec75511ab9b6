/* SPDX-License-Identifier: MIT */
/* best - the fastest of repeats: other work on the machine only ever makes one slower. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Does once what is measured, and says how long it took. */
typedef int (*bench_once)(void *ctx, int64_t *us, error *err);

/* Once to touch the memory, then again until `seconds` are over, twice at least; the fastest of these -> *us. The first
 * that fails ends it. */
int bench_best(bench_once once, void *ctx, double seconds, int64_t *us, error *err);
