/* SPDX-License-Identifier: MIT */
/* verdict - who caused the end of a call decides what it is.
 *
 * What the code itself did (an exit status, a fault, a limit) is the policy's: an observation. What it cannot do to
 * itself is the machinery's: the call is lost and asked again. The filter lets no child send itself SIGKILL, SIGTERM or
 * SIGSTOP, so one that died of those was killed from outside, or by the kernel: because the call reached the limit on
 * its own memory (an observation), or for want of the machine's (lost).
 *
 * Pure: bytes in, a verdict out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum box_outcome {
    BOX_OK,
    BOX_RAISED, /* an exception; the output ends with it */
    BOX_EXITED, /* `number`: its status, not 0 */
    BOX_TIME,
    BOX_OUTPUT,
    BOX_MEMORY,
    BOX_CRASHED, /* `number`: the signal that it brought upon itself */
    BOX_LOST,
} box_outcome;

/* How a call ended, as the zygote reports it. */
typedef struct box_end {
    uint64_t call, cpu_us;
    uint32_t status; /* as of waitpid */
    uint32_t flags;
    const char *text; /* why it never began, `text_len` bytes; points into the message */
    size_t text_len;
} box_end;

/* The last is not the zygote's to say, but the box's, from the kernel's count of the call's own group
 * (memory_group.h). */
enum { BOX_BEGAN = 1, BOX_TOO_LONG = 2, BOX_STOPPED = 4, BOX_EXCEEDED_MEMORY = 8 };

/* Reads a "D" message. ERR_PARSE for anything else. */
int box_end_parse(const char *bytes, size_t len, box_end *out, error *err);
/* `overflowed`: its output was too long, and it was killed for that. *number: a status or signal,
 * where there is one. */
box_outcome box_verdict(const box_end *end, bool overflowed, int64_t timeout_ms, int *number);
