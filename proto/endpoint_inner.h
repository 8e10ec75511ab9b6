/* SPDX-License-Identifier: MIT */
/* endpoint_inner - what the two halves of an endpoint share: endpoint.c opens, sends and watches who lives,
 * endpoint_receive.c reads and judges. For these two alone. */
#pragma once

#include "base/str.h"
#include "proto/endpoint.h"
#include "proto/peers.h"

struct endpoint {
    loop *lp;
    logger *log;
    void *socket;
    bool server;
    char address[ADDRESS_BYTES];
    endpoint_config config;
    endpoint_callbacks cb;
    peers peers;
    refusals *refusals;
    heartbeat_body beat;
    int64_t last_heard_ms; /* worker: from the exchange */
    int64_t beat_ms;       /* when `beat` last ran */
    int64_t sent_ms;       /* worker: its last heartbeat */
    bool welcome;          /* worker: it knows us */
    uint64_t ping;         /* worker: the last that was read */
    str bytes;             /* scratch */
};

/* "the exchange", a peer's name, or "a stranger". */
const char *endpoint_name_of(const endpoint *ep, const peer *p);

/* Counts a refusal, and says it in the log while there is room. p may be NULL. */
__attribute__((format(printf, 4, 5))) void endpoint_refuse_with(endpoint *ep, const peer *p, refusal why,
                                                                const char *fmt, ...);

/* The peer is not up any more; its record stays for what it owes. */
void endpoint_forget(endpoint *ep, peer_id id, const char *why);

/* p: NULL for the exchange. ERR_FULL: the peer has not read what it was sent before. */
int endpoint_deliver(endpoint *ep, peer *p, const message *m, error *err);

/* A heartbeat, with a ping when none is under way. */
int endpoint_ping(endpoint *ep, peer *p);

/* A worker's HELLO and heartbeat to the exchange. */
void endpoint_say_hello(endpoint *ep);
void endpoint_say_alive(endpoint *ep);

/* Tells the owner, once, that a peer that was full takes work again. */
void endpoint_tell_room(endpoint *ep, peer *p);

/* The loop's callback: reads what has come, within a bound. */
void endpoint_read(void *ctx);
