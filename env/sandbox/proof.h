/* SPDX-License-Identifier: MIT */
/* proof - each layer of the sandbox, tried by breaking it. For `troupe doctor`. */
#pragma once

#include <stdbool.h>

#include "env/sandbox/box.h"

typedef struct box_proof {
    const char *layer; /* "system calls", ... */
    const char *what;  /* what was tried, in words */
    bool held;
    char *found; /* where it did not hold: what the attempt said; owned, free */
} box_proof;

enum { BOX_PROOFS = 16 };

/* Tries what this box has (Landlock alone has no namespaces to try; without cgroup v2 there is no group) and waits.
 * Returns how many of `out` it filled. The box must have nothing under way, and limits of its own: memory_mb up to 256,
 * tmp_mb up to 32, output_bytes up to 65536. */
int box_prove(box *b, box_proof out[BOX_PROOFS]);
