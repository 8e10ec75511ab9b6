/* SPDX-License-Identifier: MIT */
/* filter - the system calls a sandboxed child may make, as seccomp programs: a list of what Python needs to compute,
 * print and use its own scratch files. Whatever is not on it is refused, calls that this source has never heard of
 * included.
 *
 * A refused call is answered with EPERM (ENOSYS for calls younger than 2019, so that the C library falls back), and
 * Python raises. Another architecture's calls (i386, x32) end the child.
 *
 * Two programs: one for a child with a root of its own, where a path can only lead to what was put there; and one for a
 * child confined by Landlock alone, which may not name a path but to open it for reading, as Landlock says nothing
 * about chmod, utime, stat and their like. */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum {
    /* Stands in the programs for the child's own process id: the zygote replaces it before it installs one. */
    FILTER_SELF = 0x5e1f5e1f,
    /* The signal by which a child ends itself after its code raised: no exit status is taken from the code. */
    FILTER_RAISED = 64,
};

/* A descriptor (memfd, at its start): twice the length of a BPF program in bytes (32 bits, native) and the program, the
 * one for a root of one's own first. -1 and `err` where this processor is not known. */
int filter_open(error *err);
/* System calls on the list: allowed always, or with some arguments. For `troupe doctor`. */
int filter_calls(void);
