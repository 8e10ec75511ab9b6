/* SPDX-License-Identifier: MIT */
/* confine - this process locks itself in, for good, before it runs what others wrote: a plugin's host.
 *
 * Landlock: no file is opened but those named, and they to be read; nothing is written, executed, connected to; no
 * other process is traced or signalled. A list of system calls (filter.h): no socket, no other process or thread, no
 * memory shared with others, no name changed. Capabilities, and variables of the environment that may be secrets, are
 * gone. Limits: addresses, descriptors, no core file; when the machine has no memory left, this process goes first. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

typedef struct confine_config {
    bool opens; /* opens files to read, and asks about names: a program that loads libraries */
    const char *const
        *readable; /* of `opens`: files and folders, those that are not there are left out; NULL ends it */
    int memory_mb; /* addresses beyond those it has; 0: no limit */
} confine_config;

/* The process has one thread. ERR_UNSUPPORTED: this kernel or processor has no seccomp. Without Landlock one that opens
 * files may open all that its user may, to read. */
int confine(const confine_config *config, error *err);

/* For `troupe doctor`: a child of this process locks itself in, and tries files, network, processes and signals. OK, or
 * what did not hold. */
int confine_prove(error *err);
/* This process can't be looked into any more, or start another: a sanitizer's leak check, which would, is left out. */
void confine_is_final(void);
