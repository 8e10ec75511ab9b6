/* SPDX-License-Identifier: MIT */
/* drip - connections that never come to anything: bare sockets that stop in the middle of ZeroMQ's handshake, or say a
 * message a byte at a time. */
#pragma once

typedef struct drip {
    int sockets[400];
    int n, rounds;
} drip;

/* Another `more` of them at an address ipc:///path: some silent, some that greet in part, some that greet as they
 * should and begin a message. */
void drip_connect(drip *d, const char *address, int more);
void drip_on(drip *d); /* a byte more of each */
void drip_close(drip *d);
