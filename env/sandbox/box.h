/* SPDX-License-Identifier: MIT */
/* box - runs Python code where it can do no harm: a warm zygote forks a clean child for each call.
 *
 * Layers, each sufficient against what it is for: user, mount, process, network, ipc, uts and cgroup namespaces, in
 * which every process is user nobody without capabilities; a root of python's libraries alone, read-only; Landlock over
 * that; a list of the system calls that are allowed (filter.h); limits on address space, processor time, files, and a
 * /tmp of each call's own with a cap on bytes and files. Where namespaces are not available Landlock stands alone: then
 * a child reads python's libraries, opens no other path (but can tell whether a name exists, by the error), and has no
 * folder to write in. A machine without either, or without seccomp, is refused before the first call, unless the caller
 * asks for no isolation in so many words. Memory is limited by address space, which the code meets as a MemoryError,
 * and where cgroup v2 is permitted also by a group of each call's own (memory_group.h), which counts its files and the
 * kernel's memory as well and ends it. Calls that run at once may each have memory_mb; when the machine has none left
 * the kernel takes a call before it takes the training.
 *
 * How long a call may take is judged by what it did: computing and sleeping count, waiting for a processor does not.
 * What a call did to itself is its outcome; what was done to it (a kill, a stop, a zygote that died) is BOX_LOST: see
 * verdict.h. Several calls may run at once. Nothing is left of a call,
 * nor of the box when its owner dies in any way. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"
#include "env/sandbox/verdict.h"

#define BOX_MODES(X)                                                                                                   \
    X(BOX_AUTO, "auto", "namespaces, or else Landlock")                                                                \
    X(BOX_LANDLOCK, "landlock", "Landlock alone")                                                                      \
    X(BOX_NONE, "none", "neither: the tool may do what this user may")
typedef enum box_mode { BOX_MODES(WORDS_MEMBER) } box_mode;
extern const word_row BOX_MODE_WORDS[];

typedef struct box_config {
    int timeout_ms, memory_mb, output_bytes, tmp_mb; /* 0: 2000, 256, 16384, 32 */
    box_mode mode;
    const char *const *host; /* not python: argv of a program that calls box_host_main (host.h), to which the socket's
                              * number is added. NULL: python. Copied */
    bool cells;           /* a request is JSON, [[seed, code], ...]: all in one process, all but the last in silence */
    const char *packages; /* "numpy,sympy": imported once, ready in each call; NULL: none. Copied */
} box_config;

typedef struct box_result {
    uint64_t call;
    box_outcome outcome;
    int number;   /* of BOX_EXITED and BOX_CRASHED */
    char *output; /* lost: why. Owned by the receiver; may hold any byte */
    size_t output_len;
    double ms;
} box_result;

typedef struct box box;
/* Starts the zygote (about 100 ms) and waits until it has locked itself in. */
box *box_new(const box_config *config, error *err);
void box_free(box *b);
const char *box_layers(const box *b); /* "namespaces", "landlock" or "none" */
const char *box_report(const box *b); /* the same, and a line a layer, as the zygote found it */
/* "cgroup v2 (FOLDER) and address space", or "address space (cgroup v2 not permitted: WHY)"; "" of a host. */
const char *box_memory(const box *b);
bool box_grouped(const box *b); /* calls have groups of their own */
/* For trying the layers, from the next call on. `wide`: addresses are not limited if groups are there to limit memory.
 * `patient`: twenty times the time, as a slow machine may need for what is not about time. */
void box_loosen(box *b, bool wide, bool patient);
/* Starts a call; what is random in it follows from `seed`. ERR_PEER: the sandbox process cannot be started. */
int box_begin(box *b, uint64_t call, uint64_t seed, const char *code, size_t len, int64_t now_ms, error *err);
void box_cancel(box *b, uint64_t call);
int box_fds(const box *b, struct pollfd *out, int max);
int64_t box_deadline_ms(const box *b);
int box_poll(box *b, int64_t now_ms, box_result *out, int max);
int box_running(const box *b);
int box_zygote_pid(const box *b); /* for tests */
