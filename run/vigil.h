/* SPDX-License-Identifier: MIT */
/* vigil - whether a process that lives is well: stopped, lost, silent, or only busy.
 *
 * A process that computes for minutes and one that hangs look alike from outside, but for three things: the kernel's
 * word that it is stopped, the CPU time it gets, and whether whom it works with hears of it. What is seen is looked at
 * once a second; what is wrong for too long has the process replaced, and is said before.
 *
 * State only: no process, no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/process.h"

typedef struct vigil_limits {
    int64_t stopped_ms, lost_ms, silent_ms; /* see supervisor.h */
} vigil_limits;

/* One life of one process; zero-initialise. Times are 0 while there is nothing wrong. */
typedef struct vigil {
    int64_t stopped_ms, lost_ms; /* since when */
    int64_t lost_cpu_ms;         /* CPU time it had had by then */
    int64_t heard_cpu_ms, heard_ms;
    int64_t said_ms;
    bool came; /* it was connected before */
} vigil;

typedef struct vigil_sight {
    const char *name;
    process_sight process;
    bool connects, listed, connected; /* listed: it is known who is connected */
    bool reports;                     /* it has reported before, and should again */
    int64_t heard_ms;                 /* when it reported last */
} vigil_sight;

typedef enum vigil_verdict { VIGIL_WELL, VIGIL_SAY, VIGIL_REPLACE } vigil_verdict;

/* VIGIL_SAY and VIGIL_REPLACE come with a sentence in out. */
vigil_verdict vigil_look(vigil *v, const vigil_limits *limits, const vigil_sight *s, int64_t now_ms, char *out,
                         size_t size);
/* The watcher itself was held up for so long (Ctrl-Z, a slow disk): no deadline ran meanwhile. */
void vigil_forgive(vigil *v, int64_t ms);
