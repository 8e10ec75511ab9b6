/* SPDX-License-Identifier: MIT */
/* filter - the system calls a sandboxed process may make, as seccomp programs: a list of what Python, or a plugin's
 * host, needs to compute, print and use its own scratch files. Whatever is not on it is refused, calls that this source
 * has never heard of included.
 *
 * A refused call is answered with EPERM (ENOSYS for calls younger than 2019, so that the C library falls back), and
 * Python raises. Another architecture's calls (i386, x32) end the child.
 *
 * Of a child with a root of its own a path can only lead to what was put there. One confined by Landlock alone may not
 * name a path but to open it for reading, as Landlock says nothing about chmod, utime, stat and their like. */
#pragma once

#include <stdint.h>

#include "base/error.h"

typedef enum filter_kind {
    FILTER_OWN_ROOT, /* python's, with namespaces */
    FILTER_LANDLOCK, /* python's, without */
    FILTER_READER,   /* a plugin's host that opens files to read, and asks about names (stat): a shared object's */
    FILTER_SEALED,   /* a plugin's host that has all that it needs: it names no path */
    FILTER_PROGRAM,  /* a user's own program, with namespaces: all but what reaches out of them; internet sockets */
    FILTER_ONLINE,   /* the same without: no file's mode, owner, times or attributes, of which Landlock says nothing */
    FILTER_OFFLINE,  /* and no sockets */
} filter_kind;

enum {
    /* Stands in the programs for the child's own process id: the zygote replaces it before it installs one. */
    FILTER_SELF = 0x5e1f5e1f,
    /* The signal by which a child ends itself after its code raised: no exit status is taken from the code. */
    FILTER_RAISED = 64,
};

/* A descriptor (memfd, at its start): twice the length of a BPF program in bytes (32 bits, native) and the program, the
 * one for a root of one's own first. -1 and `err` where this processor is not known. */
int filter_open(error *err);
/* Upon this process, which has one thread, for good; with no_new_privs. ERR_UNSUPPORTED: this kernel has no seccomp, or
 * this processor is not known. */
int filter_install(filter_kind kind, error *err);
/* System calls on the list: allowed always, or with some arguments. For `troupe doctor`. */
int filter_calls(filter_kind kind);
