/* SPDX-License-Identifier: MIT */
/* wire - an exchange and a worker in one thread, each with its loop, and raw sockets that say
 * what no endpoint would. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "proto/endpoint.h"
#include "tests/unit/proto/samples.h"

enum { DEADLINE_MS = 20000, HEARTBEAT_MS = 20, PATIENCE_MS = 300 };

/* One end of the wire, and what it heard. */
typedef struct side {
    loop *lp;
    endpoint *ep;
    int ups, downs;
    int messages, of_type[N_MESSAGES]; /* heartbeats are not in `messages` */
    peer_id peer;                      /* who said the last thing */
    hello_body hello;                  /* of the last that came up or went down */
    char why[256];                     /* of the last that went down */
    message last;                      /* of those in `messages` */
    heartbeat_body beat;               /* the last */
    int unreadable, rooms;
    uint64_t unreadable_task;  /* of the last */
    size_t limits[N_MESSAGES]; /* to be set before it is opened */
} side;

typedef struct wire {
    char *folder, address[512];
    side exchange, worker;
    void *raw; /* the libzmq context of the raw sockets */
} wire;

static inline void on_message(void *ctx, peer_id peer, message *m)
{
    side *s = ctx;
    s->of_type[m->type]++;
    s->peer = peer;
    if (m->type == MSG_HEARTBEAT) {
        s->beat = m->heartbeat;
        return;
    }
    s->messages++;
    message_reset(&s->last);
    s->last = *m;
    memset(m, 0, sizeof *m); /* taken */
}

static inline void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    side *s = ctx;
    s->peer = peer;
    if (hello) s->hello = *hello;
    if (up) {
        s->ups++;
    } else {
        s->downs++;
        snprintf(s->why, sizeof s->why, "%s", why);
    }
}

static inline void on_unreadable(void *ctx, peer_id peer, uint64_t about)
{
    side *s = ctx;
    s->unreadable++;
    s->peer = peer;
    s->unreadable_task = about;
}

static inline void on_room(void *ctx, peer_id peer)
{
    side *s = ctx;
    s->rooms++;
    s->peer = peer;
}

static inline void open_side(wire *w, side *s, const char *name)
{
    error err = { 0 };
    endpoint_config c = { .address = w->address, .heartbeat_ms = HEARTBEAT_MS, .patience_ms = PATIENCE_MS };
    const endpoint_callbacks cb = {
        .ctx = s, .on_message = on_message, .on_peer = on_peer, .on_unreadable = on_unreadable, .on_room = on_room
    };
    c.hello = (hello_body){ "actor", "", "here", PROTOCOL_VERSION, 4, 4711, 0, false };
    for (int type = 0; type < N_MESSAGES; type++) c.limits[type] = s->limits[type];
    if (name) snprintf(c.hello.name, sizeof c.hello.name, "%s", name);
    s->lp = loop_new(&err);
    assert_non_null(s->lp);
    s->ep = name ? endpoint_connect(s->lp, &c, &cb, NULL, &err) : endpoint_bind(s->lp, &c, &cb, NULL, &err);
    if (!s->ep) fail_msg("%s", err.text);
}

static inline void close_side(side *s)
{
    endpoint_free(s->ep);
    loop_free(s->lp);
    message_reset(&s->last);
    *s = (side){ 0 };
}

static inline void open_exchange(wire *w) { open_side(w, &w->exchange, NULL); }
static inline void open_worker(wire *w) { open_side(w, &w->worker, "actor-1"); }

static inline wire new_wire(void)
{
    wire w = { .folder = test_folder_new(), .raw = zmq_ctx_new() };
    snprintf(w.address, sizeof w.address, "ipc://%s/wire", w.folder);
    return w;
}

static inline void free_wire(wire *w)
{
    close_side(&w->worker);
    close_side(&w->exchange);
    zmq_ctx_term(w->raw);
    test_folder_remove(w->folder);
}

static inline void step_side(side *s)
{
    error err = { 0 };
    if (s->lp) test_ok(loop_once(s->lp, 1, &err), &err);
}

static inline void step(wire *w)
{
    step_side(&w->exchange);
    step_side(&w->worker);
}

/* Turns both loops until `condition` is true; fails when that takes longer than the deadline. */
#define UNTIL(w, condition)                                                                                            \
    for (const int64_t until_ms_ = clock_ms() + DEADLINE_MS; !(condition); step(w))                                    \
        if (clock_ms() > until_ms_) fail_msg("waited in vain for: %s", #condition)

static inline void step_for(wire *w, int64_t ms)
{
    for (const int64_t until_ms = clock_ms() + ms; clock_ms() < until_ms;) step(w);
}

static inline void connected(wire *w)
{
    *w = new_wire();
    open_exchange(w);
    open_worker(w);
    UNTIL(w, w->exchange.ups == 1);
}

static inline void send_ok(side *from, peer_id to, const message *m)
{
    error err = { 0 };
    test_ok(endpoint_send(from->ep, to, m, &err), &err);
}

static inline void same_bytes(const message *a, const message *b)
{
    str x = { 0 }, y = { 0 };
    message_encode(a, &x);
    message_encode(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    str_free(&x);
    str_free(&y);
}

/* ---- raw sockets ---- */

static inline void *raw_dealer(wire *w)
{
    void *socket = zmq_socket(w->raw, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    assert_int_equal(zmq_connect(socket, w->address), 0);
    return socket;
}

/* In the exchange's place. */
static inline void *raw_router(wire *w)
{
    void *socket = zmq_socket(w->raw, ZMQ_ROUTER);
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    assert_int_equal(zmq_bind(socket, w->address), 0);
    return socket;
}

static inline void raw_say(void *socket, const void *bytes, size_t len, int flags)
{
    if (zmq_send(socket, bytes, len, flags) != (int)len) fail_msg("%s", zmq_strerror(zmq_errno()));
}

static inline void raw_message(void *socket, message m)
{
    str bytes = { 0 };
    message_encode(&m, &bytes);
    raw_say(socket, bytes.data, bytes.len, 0);
    str_free(&bytes);
    message_reset(&m);
}

static inline void raw_hello_as(void *socket, const char *role, const char *name, uint64_t life)
{
    message m = sample(MSG_HELLO);
    snprintf(m.hello.name, sizeof m.hello.name, "%s", name);
    snprintf(m.hello.role, sizeof m.hello.role, "%s", role);
    m.hello.life = life;
    m.hello.for_recipe = false;
    raw_message(socket, m);
}

static inline void raw_hello(void *socket, const char *name, uint32_t protocol)
{
    message m = sample(MSG_HELLO);
    snprintf(m.hello.name, sizeof m.hello.name, "%s", name);
    m.hello.protocol = protocol;
    m.hello.for_recipe = false;
    raw_message(socket, m);
}
