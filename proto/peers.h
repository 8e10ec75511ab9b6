/* SPDX-License-Identifier: MIT */
/* peers - who is on the other end of an exchange's socket, and how much of what was sent to each has been read.
 *
 *     sent   bytes handed to libzmq for this connection
 *     read   bytes of them that the peer has shown to have read, by the last ping it has answered (messages.def)
 *     owed   sent - read: what our memory may hold for it. Beyond OWED_BYTES nothing more is sent until it has read, so
 *            a peer that asks and never reads costs no more than that
 *
 * A record belongs to a connection (libzmq's identity). It outlives a BYE, so that what is owed is not forgotten by
 * saying HELLO again, until the connection has been silent for so long that libzmq has closed it. State only: no
 * socket, no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "proto/messages.h"

enum { MAX_IDENTITY = 255, MAX_PEERS = 1024 };
enum {
    OWED_BYTES = 4 << 20,       /* by one peer */
    BIG_BYTES = 64 << 10,       /* a message from here on waits */
    ALL_OWED_BYTES = 256 << 20, /* while all peers together owe so much */
};

typedef struct peer {
    uint32_t id; /* never 0 */
    unsigned char identity[MAX_IDENTITY];
    size_t identity_len;
    hello_body hello;
    int64_t last_heard_ms, asked_ms; /* asked: for its HELLO */
    bool up;                         /* it said HELLO and was let in */
    uint64_t sent, read;
    uint64_t ping, pinged; /* the ping under way (0: none), and `sent` after it */
    int64_t pinged_ms;
    bool full; /* it was refused something for what it owes */
} peer;

typedef struct peers {
    vec(peer) all;
    uint32_t next;
} peers;

void peers_free(peers *ps);
peer *peers_find(const peers *ps, uint32_t id);
peer *peers_find_identity(const peers *ps, const void *identity, size_t len);
/* One that is up under this name, and not for the recipe alone: that takes no name. */
peer *peers_find_name(const peers *ps, const char *name);
/* The record of a connection, made when there is none. NULL: an identity that is too long, or MAX_PEERS of them. A
 * record that is not up and owes nothing makes room. May move others. */
peer *peers_get(peers *ps, const void *identity, size_t len, int64_t now_ms);
void peers_remove(peers *ps, peer *p); /* moves the last one into its place */

static inline uint64_t peer_owes(const peer *p) { return p->sent - p->read; }
/* Whether so many bytes more may be sent to it: always when it owes nothing, unless they are big and all together owe
 * ALL_OWED_BYTES. */
bool peers_have_room(const peers *ps, const peer *p, size_t bytes);
void peer_pinged(peer *p, uint64_t ping, int64_t now_ms); /* after it was counted as sent */
/* The answer to a ping. True: what it owed has become less. */
bool peer_answered(peer *p, uint64_t ping);
