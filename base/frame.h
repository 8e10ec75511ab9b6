/* SPDX-License-Identifier: MIT */
/* frame - how two processes of one machine tell each other where a message ends.
 *
 *     | length: 8 bytes | type: 1 byte | payload |          length counts the type and the payload
 *
 * The body (type and payload) is what a message of proto/messages.h encodes to, so that the same bytes travel here and
 * over ZeroMQ, where the socket keeps the length. Numbers are in the machine's order: both ends are on it.
 *
 * Three ways to use it, by who waits:
 *   - frame_send, frame_receive   one message with a deadline: a supervisor and the process it watches
 *   - frame_out, frame_in         a piece at a time, never waiting: many peers at once, arrays of gigabytes in place
 *   - frame_append, frame_next    many messages in one buffer: what a collective operation carries
 *
 * Bytes that come in are not trusted: a length is compared with the reader's limit before anything is allocated. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { FRAME_HEAD = 9 };

/* ---- one message, with a deadline (of clock_ms) ---- */

/* body [len]: type and payload; len >= 1. OK, ERR_TIMEOUT, or ERR_PEER: the other end is gone. */
int frame_send(int fd, const void *body, size_t len, int64_t deadline_ms);

/* *body [*len]: the caller frees it. Also ERR_PARSE: the head says more than max_len bytes, or none; the stream is of
 * no use any more. */
int frame_receive(int fd, size_t max_len, char **body, size_t *len, int64_t deadline_ms);

/* ---- a piece at a time, on a descriptor that need not be non-blocking ---- */

typedef enum frame_state {
    FRAME_WAITS,   /* poll the descriptor, then move it again */
    FRAME_DONE,    /* all of it has passed */
    FRAME_GONE,    /* the other end is gone */
    FRAME_FOREIGN, /* in only: its head is not the one that was expected */
} frame_state;

typedef struct frame_out {
    unsigned char head[FRAME_HEAD];
    size_t head_left;
    const char *payload; /* borrowed */
    size_t left;
} frame_out;

typedef struct frame_in {
    unsigned char head[FRAME_HEAD], expected[FRAME_HEAD];
    size_t head_left;
    char *payload; /* borrowed */
    size_t left;
} frame_in;

void frame_out_begin(frame_out *f, uint8_t type, const void *payload, size_t len);
frame_state frame_out_move(frame_out *f, int fd);

/* Takes a frame of just this type and length into payload [len]. */
void frame_in_begin(frame_in *f, uint8_t type, void *payload, size_t len);
frame_state frame_in_move(frame_in *f, int fd);
/* Reads *left bytes that are no longer needed, and drops them. */
frame_state frame_skip(int fd, uint64_t *left);

/* Type and payload's length of a head that was foreign. */
uint8_t frame_type(const unsigned char head[FRAME_HEAD]);
uint64_t frame_length(const unsigned char head[FRAME_HEAD]);

/* ---- many messages in one buffer ---- */

void frame_append(str *out, const void *body, size_t len);

/* The next body of *rest, in place; *rest moves after it. OK, ERR_NOT_FOUND at the end, ERR_PARSE for a frame that is
 * cut short or empty. */
int frame_next(str_view *rest, str_view *body);
