/* endpoint - a process's end of the wire: the exchange binds (ROUTER), workers connect (DEALER).
 *
 * Messages come decoded and with the peer's name; what can't be decoded is counted, logged with the peer and dropped.
 * Heartbeats go both ways from the main loop, so that a stuck process looks stuck: a peer that is silent for
 * `patience_ms` is reported as gone. One that computes for longer says so between two pieces of its work
 * (endpoint_alive). Who was given up and speaks again is asked for its HELLO and taken back as a new peer. Frames have
 * a size limit, queues too, closing has a deadline.
 *
 * Without keys the wire is for this machine: ipc://, or tcp:// on loopback. */
#pragma once

#include "base/log.h"
#include "proto/loop.h"
#include "proto/messages.h"

typedef struct endpoint endpoint;
typedef uint32_t peer_id; /* 0: the exchange, as a worker sees it */

typedef struct endpoint_callbacks {
    void *ctx;
    /* `m` is the callee's to take from (set pointers to NULL); the rest is freed on return. */
    void (*on_message)(void *ctx, peer_id peer, message *m);
    /* A peer said HELLO (up), or fell silent, said BYE (down, with a sentence). A worker hears of the exchange. */
    void (*on_peer)(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why);
} endpoint_callbacks;

typedef struct endpoint_config {
    const char *address;
    int64_t heartbeat_ms, patience_ms; /* 0: 1000, 10000 */
    hello_body hello;                  /* a worker's own */
} endpoint_config;

endpoint *endpoint_bind(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg, error *err);
/* Says HELLO at once, and again whenever the exchange seems new. */
endpoint *endpoint_connect(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg,
                           error *err);
void endpoint_free(endpoint *ep);

/* ERR_PEER: the peer is gone or its queue is full. ERR_LIMIT: the message is longer than MAX_MESSAGE_BYTES. It stays
 * the caller's either way. */
int endpoint_send(endpoint *ep, peer_id peer, const message *m, error *err);
/* For a worker that computes and can't turn the loop: sends the heartbeat that is due, reads nothing. Cheap enough to
 * be called between any two pieces of work. */
void endpoint_alive(endpoint *ep);
/* What the next heartbeats say. */
void endpoint_set_heartbeat(endpoint *ep, const heartbeat_body *beat);
const char *endpoint_peer_name(const endpoint *ep, peer_id peer);
uint64_t endpoint_malformed(const endpoint *ep); /* messages dropped so far */
/* Now and then (a worker): the exchange has been silent for so long. */
int64_t endpoint_silence_ms(const endpoint *ep);
