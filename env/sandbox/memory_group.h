/* SPDX-License-Identifier: MIT */
/* memory_group - the memory of each call limited by the kernel's cgroup v2, where that is permitted.
 *
 *     our own group ----+-- troupe-main-XXXXXX    we ourselves, where we had to step aside
 *                       +-- troupe-box-XXXXXX     a box; locked (flock) as long as its owner lives
 *                             +-- zygote
 *                             +-- call-7          a leaf: memory.max, no swap, pids.max; killed as a whole
 *
 * All of it lies inside the group that troupe was started in, so that a limit on that one still holds for the calls.
 * A group with processes in it can't hand controllers to groups below it (the root can): if nobody but this process and
 * its children is in ours, and it is delegated to us, they step aside into a group below, once. A process that is not
 * ours is never moved, a group that was not delegated never changed: memory is then limited by address space alone.
 * While we are aside, nothing can enter our group; so the last of us steps back (memory_group_step_back).
 *
 * A process is born in its leaf (clone3's CLONE_INTO_CGROUP). To move it there would take 13 ms of waiting in the
 * kernel, several times what a call takes. So the zygote, which is user nobody, must be allowed to: cgroup.procs of the
 * box and of each leaf belongs to nobody.
 *
 * What the zygote had in memory stays charged to its own group; a call pays for what it writes to, its files in /tmp
 * and what the kernel keeps for it. Groups of an owner that was killed are removed by the next one to start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct memory_group memory_group;
typedef struct memory_leaf {
    int folder; /* its descriptor, for clone3; -1: none */
    uint64_t number;
} memory_leaf;

/* ERR_UNSUPPORTED: not permitted here, and why, as half a sentence. */
memory_group *memory_group_open(error *err);
void memory_group_close(memory_group *g); /* kills what is left in it; NULL is allowed */
/* At a process's end: where it had to step aside, it and its children go back into the group that they were started in,
 * which then takes processes again. Not while others have groups there or are aside with it. */
void memory_group_step_back(void);
const char *memory_group_folder(const memory_group *g);
/* A descriptor: who writes "0" there belongs to the zygote's group from then on. */
int memory_group_entrance(const memory_group *g);

/* A leaf for one call; max_bytes 0: no limit. Open until memory_leaf_close. ERR_IO: it can't be had any more. */
int memory_leaf_open(memory_group *g, size_t max_bytes, memory_leaf *leaf, error *err);
/* A process in it was killed because the leaf's own limit was reached; not for want of the machine's memory. */
bool memory_leaf_exceeded(const memory_leaf *leaf);
/* Its process has been reaped. Others in it are killed; a leaf that isn't empty yet goes with a later one. */
void memory_leaf_close(memory_group *g, memory_leaf *leaf);
