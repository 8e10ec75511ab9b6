/* SPDX-License-Identifier: MIT */
#include "base/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"

enum { LENGTH = 8, LONGEST_WAIT_MS = 3600000 };

uint8_t frame_type(const unsigned char head[FRAME_HEAD]) { return head[LENGTH]; }

uint64_t frame_length(const unsigned char head[FRAME_HEAD])
{
    uint64_t body;
    memcpy(&body, head, LENGTH);
    return body - 1;
}

static void write_head(unsigned char head[FRAME_HEAD], uint8_t type, uint64_t payload)
{
    const uint64_t body = payload + 1;
    memcpy(head, &body, LENGTH);
    head[LENGTH] = type;
}

/* ---- a piece at a time ---- */

static frame_state state_after(ssize_t n)
{
    const bool later = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    return later ? FRAME_WAITS : FRAME_GONE;
}

/* Sends what the socket takes of data [*left]. */
static frame_state send_some(int fd, const char *end, size_t *left)
{
    while (*left > 0) {
        const ssize_t n = send(fd, end - *left, *left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) return state_after(n);
        *left -= (size_t)n;
    }
    return FRAME_DONE;
}

static frame_state receive_some(int fd, char *end, size_t *left)
{
    while (*left > 0) {
        const ssize_t n = recv(fd, end - *left, *left, MSG_DONTWAIT);
        if (n <= 0) return state_after(n);
        *left -= (size_t)n;
    }
    return FRAME_DONE;
}

void frame_out_begin(frame_out *f, uint8_t type, const void *payload, size_t len)
{
    *f = (frame_out){ .head_left = FRAME_HEAD, .payload = payload, .left = len };
    write_head(f->head, type, len);
}

frame_state frame_out_move(frame_out *f, int fd)
{
    const size_t len = (size_t)frame_length(f->head);
    const frame_state state = send_some(fd, (const char *)f->head + FRAME_HEAD, &f->head_left);
    if (state != FRAME_DONE || len == 0) return state;
    return send_some(fd, f->payload + len, &f->left);
}

void frame_in_begin(frame_in *f, uint8_t type, void *payload, size_t len)
{
    *f = (frame_in){ .head_left = FRAME_HEAD, .payload = payload, .left = len };
    write_head(f->expected, type, len);
}

frame_state frame_in_move(frame_in *f, int fd)
{
    const size_t len = (size_t)frame_length(f->expected);
    const frame_state state = receive_some(fd, (char *)f->head + FRAME_HEAD, &f->head_left);
    if (state != FRAME_DONE) return state;
    if (memcmp(f->head, f->expected, FRAME_HEAD) != 0) return FRAME_FOREIGN;
    return len == 0 ? FRAME_DONE : receive_some(fd, f->payload + len, &f->left);
}

frame_state frame_skip(int fd, uint64_t *left)
{
    char unread[65536];
    while (*left > 0) {
        const size_t some = *left < sizeof unread ? (size_t)*left : sizeof unread;
        const ssize_t n = recv(fd, unread, some, MSG_DONTWAIT);
        if (n <= 0) return state_after(n);
        *left -= (uint64_t)n;
    }
    return FRAME_DONE;
}

/* ---- one message, with a deadline ---- */

/* OK once `fd` is ready for `events`. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = events };
        const int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0) return ERR_TIMEOUT;
        const int ready = poll(&p, 1, left_ms < LONGEST_WAIT_MS ? (int)left_ms : LONGEST_WAIT_MS);
        if (ready > 0) return OK;
        if (ready < 0 && errno != EINTR) return ERR_PEER;
    }
}

int frame_send(int fd, const void *body, size_t len, int64_t deadline_ms)
{
    frame_out f;
    frame_out_begin(&f, *(const uint8_t *)body, (const char *)body + 1, len - 1);

    int rc = OK;
    frame_state state;
    while ((state = frame_out_move(&f, fd)) == FRAME_WAITS && rc == OK) rc = wait_for(fd, POLLOUT, deadline_ms);
    return state == FRAME_GONE ? ERR_PEER : rc;
}

/* Exactly `len` bytes. */
static int receive_all(int fd, void *data, size_t len, int64_t deadline_ms)
{
    size_t left = len;
    int rc = OK;
    frame_state state;
    while ((state = receive_some(fd, (char *)data + len, &left)) == FRAME_WAITS && rc == OK)
        rc = wait_for(fd, POLLIN, deadline_ms);
    return state == FRAME_GONE ? ERR_PEER : rc;
}

int frame_receive(int fd, size_t max_len, char **body, size_t *len, int64_t deadline_ms)
{
    uint64_t n = 0;
    int rc = receive_all(fd, &n, LENGTH, deadline_ms);
    if (rc != OK) return rc;
    if (n == 0 || n > max_len) return ERR_PARSE;

    char *data = xmalloc((size_t)n);
    rc = receive_all(fd, data, (size_t)n, deadline_ms);
    if (rc != OK) {
        free(data);
        return rc;
    }
    *body = data;
    *len = (size_t)n;
    return OK;
}

/* ---- many messages in one buffer ---- */

void frame_append(str *out, const void *body, size_t len)
{
    const uint64_t n = len;
    str_add(out, (const char *)&n, LENGTH);
    str_add(out, body, len);
}

int frame_next(str_view *rest, str_view *body)
{
    uint64_t n;
    if (rest->len == 0) return ERR_NOT_FOUND;
    if (rest->len < LENGTH) return ERR_PARSE;
    memcpy(&n, rest->data, LENGTH);
    if (n == 0 || n > rest->len - LENGTH) return ERR_PARSE;

    *body = (str_view){ rest->data + LENGTH, (size_t)n };
    *rest = (str_view){ body->data + n, rest->len - LENGTH - (size_t)n };
    return OK;
}
