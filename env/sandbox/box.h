/* box - runs Python code where it can do no harm: a warm zygote forks a clean child for each call.
 *
 * Layers: user, mount, network and ipc namespaces; a root of python's libraries alone, read-only; a private tmpfs; a
 * seccomp filter (no processes, programs, sockets, signals); limits on memory, cpu and file size; a cap on output; a
 * wall clock. A machine that does not give user namespaces is refused, unless the caller asks for no isolation in so
 * many words.
 *
 * Several calls may run at once. A zygote that dies takes its calls with it (BOX_LOST): another is started at the next.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum box_mode { BOX_AUTO, BOX_LANDLOCK, BOX_NONE } box_mode;

typedef struct box_config {
    int timeout_ms, memory_mb, output_bytes, tmp_mb; /* 0: 2000, 256, 16384, 32 */
    box_mode mode;
} box_config;

typedef enum box_outcome { BOX_OK, BOX_RAISED, BOX_TIME, BOX_OUTPUT, BOX_KILLED, BOX_LOST } box_outcome;

typedef struct box_result {
    uint64_t call;
    box_outcome outcome;
    char *output; /* owned by the receiver */
    double ms;
} box_result;

typedef struct box box;
/* Starts the zygote (about 100 ms) and waits until it has locked itself in. */
box *box_new(const box_config *config, error *err);
void box_free(box *b);
const char *box_layers(const box *b); /* "namespaces", "landlock" or "none" */
/* Starts a call. ERR_PEER: no zygote is to be had. */
int box_begin(box *b, uint64_t call, const char *code, size_t len, int64_t now_ms, error *err);
void box_cancel(box *b, uint64_t call);
int box_fds(const box *b, struct pollfd *out, int max);
int64_t box_deadline_ms(const box *b);
int box_poll(box *b, int64_t now_ms, box_result *out, int max);
int box_running(const box *b);
int box_zygote_pid(const box *b); /* for tests */
