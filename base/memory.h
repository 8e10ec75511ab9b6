/* SPDX-License-Identifier: MIT */
/* memory - how much there is, and the one way out when there is none.
 *
 * Linux grants more than it has: an allocation succeeds and the kernel's out-of-memory killer strikes at the first
 * touch, without a word. So whoever is about to take a lot asks memory_room first, and refuses with a sentence.
 *
 * Three ways out, by what would be lost:
 *   arrays and scratch of a device   device_guard (kernels/device.h): an error like any other, a learner saves first
 *   one large block of the host      malloc and ERR_MEMORY
 *   the many small ones (xmalloc)    memory_exhausted: a sentence and EXIT_MEMORY. Everything that counts is on disk by
 *                                    then (episodes are committed before they are acked, checkpoints are whole), so
 *                                    this is no more than a kill -9, which every role survives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit status of a process that found no memory for a small block. */
enum { EXIT_MEMORY = 71 };

typedef struct memory_room {
    uint64_t bytes;    /* that this process may still take */
    uint64_t of;       /* of so many in all */
    const char *limit; /* what sets it: "the machine's memory", "the control group's limit", "ulimit -v" */
} memory_room;

/* The least of: what the machine has free or can free (swap included), what each control group above this process (v1
 * or v2) allows beyond what is charged to it, RLIMIT_AS and RLIMIT_DATA. `held`: bytes this process has asked for so
 * far, touched or not; those that are not resident yet will be, and are taken off. UINT64_MAX where nothing can be
 * read. `root` stands before /proc and /sys in every path ("" for the machine itself). */
memory_room memory_room_now(const char *root, uint64_t held);
/* The same for all processes of a run together: without the limits that each has for itself (ulimit). */
memory_room memory_machine_now(const char *root);
/* Whether `bytes` more fit, and a margin for what others do meanwhile; *room (may be NULL) says what was found. Small
 * requests are granted unasked: looking costs 50 us. */
bool memory_fits(uint64_t bytes, uint64_t held, memory_room *room);
/* The same if nothing were in use: the size of the machine, or of the box this process is in. The same at every call
 * on one machine. */
uint64_t memory_size(const char *root);
/* How often the kernel's out-of-memory killer has struck on this machine so far; 0 where that can't be read. */
uint64_t memory_kills(const char *root);

/* "64 MB", "3.5 GB", "812 bytes" -> out; returns out. */
char *memory_text(uint64_t bytes, char *out, size_t size);

/* Says on stderr that `bytes` more are needed and there is no room for them, and ends the process with EXIT_MEMORY.
 * Allocates nothing. */
__attribute__((noreturn)) void memory_exhausted(uint64_t bytes);
