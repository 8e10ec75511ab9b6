/* SPDX-License-Identifier: MIT */
/* endpoint - a process's end of the wire: the exchange binds (ROUTER), workers connect (DEALER).
 *
 * Messages come decoded and with the peer's name. What a peer may not say (a message of another role, one longer than
 * its type can be in this run, bytes that are no message) is dropped before it is decoded, counted by peer and reason,
 * and named in the log at a bounded rate (refusals.h). Heartbeats go both ways from the main loop, so that a stuck
 * process looks stuck: a peer that is silent for `patience_ms` is reported as gone.
 *
 * A name is one connection's: while it lives, a HELLO under the same name is refused, unless it comes from the very
 * same process (hello.life). A worker that died and was started again comes in at once: its old connection is gone.
 *
 * Queues are bounded in bytes: a peer is sent no more than OWED_BYTES (peers.h) beyond what it has read. Frames have a
 * size limit, closing has a deadline.
 *
 * Without keys the wire is for this machine (address.h). */
#pragma once

#include "base/log.h"
#include "proto/address.h"
#include "proto/loop.h"
#include "proto/messages.h"
#include "proto/refusals.h"

typedef struct endpoint endpoint;
typedef uint32_t peer_id; /* 0: the exchange, as a worker sees it */

typedef struct endpoint_callbacks {
    void *ctx;
    /* `m` is the callee's to take from (set pointers to NULL); the rest is freed on return. */
    void (*on_message)(void *ctx, peer_id peer, message *m);
    /* A peer has said HELLO (up), or has fallen silent or said BYE (not up, and why). A worker's is the exchange. */
    void (*on_peer)(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why);
    /* An EPISODE or SCORE could not be read. `task` is what it was about, 0 where that can't be told. May be NULL. */
    void (*on_unreadable)(void *ctx, peer_id peer, uint64_t task);
    /* A peer that was refused something with ERR_FULL has read, and has room again. May be NULL. */
    void (*on_room)(void *ctx, peer_id peer);
} endpoint_callbacks;

typedef struct endpoint_config {
    const char *address;
    int64_t heartbeat_ms, patience_ms; /* 0: 1000, 10000 */
    hello_body hello;                  /* a worker's own; its life is filled in */
    size_t limits[N_MESSAGES];         /* the longest message of each type that it is sent; 0: MAX_MESSAGE_BYTES */
} endpoint_config;

endpoint *endpoint_bind(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg, error *err);
/* Says HELLO at once, and again whenever the exchange seems new. */
endpoint *endpoint_connect(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg,
                           error *err);
void endpoint_free(endpoint *ep);

/* Where it is bound: the port that was taken for "*". */
const char *endpoint_address(const endpoint *ep);

/* Sends the message, which stays the caller's in any case. ERR_PEER: the peer is gone. ERR_FULL: it has not read what
 * it was sent; on_room says when it has. ERR_LIMIT: the message is longer than MAX_MESSAGE_BYTES. */
int endpoint_send(endpoint *ep, peer_id peer, const message *m, error *err);
/* For a worker that computes and can't turn the loop: sends the heartbeat that is due, reads nothing. Cheap enough to
 * be called between any two pieces of work. */
void endpoint_alive(endpoint *ep);
/* What the next heartbeats say. */
void endpoint_set_heartbeat(endpoint *ep, const heartbeat_body *beat);
const char *endpoint_peer_name(const endpoint *ep, peer_id peer);
/* What its owner refuses of a peer, to be counted and told with the rest; and sending a peer away for it. */
void endpoint_refuse(endpoint *ep, peer_id peer, refusal why, const char *said);
void endpoint_dismiss(endpoint *ep, peer_id peer, const char *why);
const refusal_counts *endpoint_refused(const endpoint *ep);
/* Now and then (a worker): the exchange has been silent for so long. */
int64_t endpoint_silence_ms(const endpoint *ep);
