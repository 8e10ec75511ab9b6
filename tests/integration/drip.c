/* SPDX-License-Identifier: MIT */
#include "tests/integration/drip.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_DRIPPING = sizeof((drip *)0)->sockets / sizeof(int), GREETING = 64 };

/* ZMTP 3.0: signature, version, mechanism NULL, and who speaks; then a message of 1,000 bytes that has begun. */
static const unsigned char BEGIN[] = {
    0xff, 0,   0,   0,   0,   0,   0,   0,   1,   0x7f, 3,   0,   'N', 'U', 'L', 'L', [GREETING] = 4,
    27,   5,   'R', 'E', 'A', 'D', 'Y', 11,  'S', 'o',  'c', 'k', 'e', 't', '-', 'T', 'y',
    'p',  'e', 0,   0,   0,   6,   'D', 'E', 'A', 'L',  'E', 'R', 2,   0,   0,   0,   0,
    0,    0,   3,   0xe8
};

static void write_all(int fd, const void *data, size_t n)
{
    const char *at = data;
    for (ssize_t put; n > 0 && (put = send(fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0; at += put) n -= (size_t)put;
}

void drip_connect(drip *d, const char *address, int more)
{
    static const size_t SAID[] = { 0, 11, GREETING, sizeof BEGIN };
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", address + strlen("ipc://"));
    for (; more > 0 && d->n < MAX_DRIPPING; more--) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return;
        if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) { /* as many wait as may */
            close(fd);
            return;
        }
        write_all(fd, BEGIN, SAID[d->n % 4]);
        d->sockets[d->n++] = fd;
    }
}

void drip_on(drip *d)
{
    static const char BYTE = 1;
    d->rounds++;
    for (int i = 0; i < d->n; i++)
        if (i % 4 == 3) write_all(d->sockets[i], &BYTE, 1);
}

void drip_close(drip *d)
{
    for (int i = 0; i < d->n; i++) close(d->sockets[i]);
    *d = (drip){ 0 };
}
