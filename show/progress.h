/* SPDX-License-Identifier: MIT */
/* progress - the live line: what a run is doing, redrawn in place on a terminal, plain lines in a pipe.
 *
 *     step 42/120  shots 3  accuracy 0.81  tools 97%  8.1k tok/s  staleness 0  0:41 left
 *
 * Fed with the learner's metric lines (show/sinks); knows no process and no socket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

typedef struct progress progress;

/* `fd` stays the caller's. `every`: in a pipe, print each so-many-th step and the last, and any that
 * comes half a minute after the one before. A reader that is gone is no
 * error: the run is not for the reader alone. */
progress *progress_new(int fd, int64_t steps, int every);
void progress_free(progress *p);
/* A metric line of a step or an evaluation, or a sentence ("say"); others are passed over. */
void progress_event(progress *p, const json_t *line);
/* A sentence of its own, above the live line. */
void progress_say(progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* All of the run stood still for so long: the time left is of the rest. */
void progress_forgive(progress *p, int64_t ms);
void progress_end(progress *p); /* leaves the last state standing */
