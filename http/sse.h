/* SPDX-License-Identifier: MIT */
/* sse - a stream of events, text/event-stream (WHATWG HTML, section 9.2.6), in bytes as they come: lines end with LF,
 * CR or CRLF, a byte order mark at the beginning is dropped, lines that begin with ':' are comments, and an event ends
 * with an empty line. One without data is dropped, and so is one that the end of the stream cuts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct sse_event {
    const char *type; /* "message" where it is not named */
    const char *data; /* terminated; lines of its own are joined with LF */
    size_t len;
} sse_event;

/* Zero-initialise; release with sse_reset. */
typedef struct sse {
    str line, data, type;
    str last_id;      /* of the events up to now; for Last-Event-ID */
    int64_t retry_ms; /* what the server asks for; 0: nothing */
    bool begun, cr;
} sse;

/* `on` is called for each whole event. ERR_LIMIT: an event or a line of more than max_bytes; then the stream can't be
 * read any further. */
int sse_feed(sse *s, const char *bytes, size_t len, size_t max_bytes, void (*on)(void *ctx, const sse_event *e),
             void *ctx, error *err);
void sse_reset(sse *s);
