/* SPDX-License-Identifier: MIT */
/* fuzz_frame - bytes in front of a reader of frames: as a buffer and as a stream they give the same bodies, all of them
 * inside the input, and whatever is after the last whole one is refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/frame.h"

enum { MAX_INPUT = 4096, PATIENCE_MS = 10000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The stream is closed after the input, so that a reader never waits. */
static int stream_of(const uint8_t *data, size_t size)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0) abort();
    if (size && send(fd[0], data, size, MSG_NOSIGNAL) != (ssize_t)size) abort();
    close(fd[0]);
    return fd[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT) return 0;
    const int fd = stream_of(data, size);
    str_view rest = { (const char *)data, size }, body;
    int rc;
    while ((rc = frame_next(&rest, &body)) == OK) {
        char *read = NULL;
        size_t len = 0;
        if (body.data < (const char *)data || body.data + body.len > (const char *)data + size) abort();
        if (frame_receive(fd, MAX_INPUT, &read, &len, clock_ms() + PATIENCE_MS) != OK) abort();
        if (len != body.len || memcmp(read, body.data, len) != 0) abort();
        free(read);
    }
    char *read = NULL;
    size_t len = 0;
    if (frame_receive(fd, MAX_INPUT, &read, &len, clock_ms() + PATIENCE_MS) == OK) abort();
    if (rc == ERR_NOT_FOUND ? rest.len != 0 : rest.len == 0) abort();
    close(fd);
    return 0;
}
