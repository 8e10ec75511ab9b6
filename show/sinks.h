/* SPDX-License-Identifier: MIT */
/* sinks - where metrics go: runs/NAME/metrics.jsonl, one JSON object a step, and the same lines to the supervisor.
 *
 * A resumed run continues after the lines of the steps it keeps: lines of steps it will do again are cut off. */
#pragma once

#include <stdint.h>

#include "base/metrics.h"
#include "base/error.h"

typedef struct sinks sinks;

/* `report_fd`: a pipe to the supervisor that gets every line too, or -1. keep_step: lines beyond it are dropped. */
/* NULL: the file can't be read, cut or written. */
sinks *sinks_open(const char *run_dir, int report_fd, int64_t keep_step, error *err);
void sinks_close(sinks *s);
/* {"event": EVENT, "step": STEP, "unix_ms": ..., NAME: VALUE, ...}; non-finite values are left out. An error names the
 * file; a pipe whose reader is gone is no error. */
int sinks_write(sinks *s, const char *event, int64_t step, const metrics *m, error *err);
/* A sentence for the person at the terminal; it is not kept. */
void sinks_say(sinks *s, const char *sentence);
/* Tells the supervisor alone: {"event": EVENT, "text": TEXT}. The event "peers" has the names of who is connected;
 * "farewell" says that the run is over and the others will be told goodbye. s may be NULL. */
void sinks_tell(sinks *s, const char *event, const char *text);
