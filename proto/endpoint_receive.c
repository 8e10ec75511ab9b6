/* SPDX-License-Identifier: MIT */
/* endpoint_receive - the half of an endpoint that reads: who may say what, before any of it is decoded; HELLO and who
 * gets a name; frames. Limits, refusals and liveness are as proto/endpoint.h says. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "proto/endpoint_inner.h"

enum { MESSAGES_A_TURN = 256, TURN_MS = 50 };

static void refuse_protocol(endpoint *ep, peer *p, const char *name, uint64_t protocol)
{
    message bye = { .type = MSG_BYE };
    snprintf(bye.bye.reason, sizeof bye.bye.reason,
             BYE_DISMISSED "protocol version %llu, expected %d: worker and learner are of different versions",
             (unsigned long long)protocol, PROTOCOL_VERSION);
    endpoint_refuse_with(ep, p, REFUSAL_PROTOCOL, "HELLO of %s: %s", name, bye.bye.reason);
    endpoint_deliver(ep, p, &bye, NULL);
}

/* A namesake that lives keeps its name; one that came again itself, or whose connection is gone, gives it up. One that
 * is refused says HELLO again until then. */
static bool name_is_free(endpoint *ep, peer *p, const hello_body *hello)
{
    peer *other = peers_find_name(&ep->peers, hello->name);
    if (!other) return true;

    if (other->hello.life == hello->life) {
        endpoint_forget(ep, other->id, "it has reconnected");
        return true;
    }

    if (endpoint_ping(ep, other) != OK) {
        endpoint_forget(ep, other->id, "its connection is gone");
        return true;
    }

    endpoint_refuse_with(ep, p, REFUSAL_NAMESAKE,
                         "HELLO as %s, which is already connected (pid %lld; the new one is pid %lld)", hello->name,
                         (long long)other->hello.pid, (long long)hello->pid);
    return false;
}

static void welcome(endpoint *ep, peer *p, const message *m)
{
    if (strcmp(m->hello.role, "exchange") == 0) {
        endpoint_refuse_with(ep, p, REFUSAL_ROLE, "HELLO as an exchange");
        return;
    }

    if (p->up) return;
    if (m->hello.protocol != PROTOCOL_VERSION) {
        refuse_protocol(ep, p, m->hello.name, m->hello.protocol);
        return;
    }
    if (!m->hello.for_recipe && !name_is_free(ep, p, &m->hello)) return;

    p->hello = m->hello;
    p->up = true;
    ep->cb.on_peer(ep->cb.ctx, p->id, &m->hello, true, "");
}

/* Its HELLO came to the exchange before us, or we have given it up since: it doesn't know, and is told to introduce
 * itself again. */
static void ask_for_hello(endpoint *ep, peer *p)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    const message m = { .type = MSG_HELLO, .hello = { .role = "exchange", .protocol = PROTOCOL_VERSION } };
    if (p->asked_ms && now_ms - p->asked_ms < ep->config.heartbeat_ms) return;
    p->asked_ms = now_ms;
    endpoint_deliver(ep, p, &m, NULL);
}

static void answer(endpoint *ep, peer *p, message *m)
{
    if (peer_answered(p, m->heartbeat.ping)) endpoint_tell_room(ep, p);
    ep->cb.on_message(ep->cb.ctx, p->id, m);
}

/* The exchange's side. Callbacks may move peers: after one only the id is used. */
static void from_worker(endpoint *ep, peer *p, message *m)
{
    if (m->type == MSG_HELLO)
        welcome(ep, p, m);
    else if (m->type == MSG_BYE)
        endpoint_forget(ep, p->id, m->bye.reason);
    else if (m->type == MSG_HEARTBEAT)
        answer(ep, p, m);
    else
        ep->cb.on_message(ep->cb.ctx, p->id, m);
}

static void from_exchange(endpoint *ep, message *m)
{
    ep->last_heard_ms = loop_now_ms(ep->lp);
    if (m->type == MSG_HELLO) { /* it doesn't know us (any more) */
        ep->welcome = false;
        endpoint_say_hello(ep);
        return;
    }

    ep->welcome = true; /* to those it doesn't know it says nothing else */
    if (m->type == MSG_HEARTBEAT && m->heartbeat.ping && m->heartbeat.ping != ep->ping) {
        ep->ping = m->heartbeat.ping;
        endpoint_say_alive(ep);
    }
    if (m->type == MSG_WELCOME) ep->cb.on_peer(ep->cb.ctx, 0, NULL, true, "");
    ep->cb.on_message(ep->cb.ctx, 0, m);
}

static unsigned role_of(const endpoint *ep, const peer *p)
{
    if (!ep->server) return BY_EXCHANGE;
    if (p->hello.for_recipe) return BY_RECIPELESS;
    return strcmp(p->hello.role, "actor") == 0 ? BY_ACTOR : BY_REWARD;
}

static const char *kind_of(const peer *p)
{
    if (!p) return "an exchange";
    return p->hello.for_recipe ? "a worker that asks for the recipe" : p->hello.role;
}

/* Whether a message may be decoded: it is one, its sender is one that sends such, and it is not too long. */
static bool is_welcome(endpoint *ep, const peer *p, message_type type, size_t len)
{
    const unsigned senders = p && !p->up ? BY_ANYBODY : role_of(ep, p);

    if (type == MSG_NONE) {
        endpoint_refuse_with(ep, p, REFUSAL_MALFORMED, "%zu bytes that are not a message of this protocol", len);
    } else if ((message_senders(type) & senders) == 0) {
        endpoint_refuse_with(ep, p, REFUSAL_ROLE, "%s, which %s never sends", message_name(type), kind_of(p));
    } else if (len > ep->config.limits[type]) {
        endpoint_refuse_with(ep, p, REFUSAL_TOO_LONG, "%s of %zu bytes (at most %zu are allowed in this run)",
                             message_name(type), len, ep->config.limits[type]);
    } else {
        return true;
    }
    return false;
}

/* An answer that can't be read: its owner lets go of what was asked. */
static void give_up(endpoint *ep, const peer *p, message_type type, const void *data, size_t len)
{
    const bool answers = type == MSG_EPISODE || type == MSG_SCORE;
    if (p && answers && (message_senders(type) & role_of(ep, p)) && ep->cb.on_unreadable)
        ep->cb.on_unreadable(ep->cb.ctx, p->id, message_peek_task(data, len));
}

/* A HELLO of another version has other fields: it is told of the version, not of the field that is missing. */
static void refuse_unreadable(endpoint *ep, peer *p, const void *data, size_t len, const char *why)
{
    const uint64_t protocol = message_peek_protocol(data, len);
    if (ep->server && protocol != 0 && protocol != PROTOCOL_VERSION)
        refuse_protocol(ep, p, "a stranger", protocol);
    else
        endpoint_refuse_with(ep, p, REFUSAL_MALFORMED, "a malformed message: %s", why);
}

static void take(endpoint *ep, peer *p, const void *data, size_t len)
{
    message m;
    error err = { 0 };
    const message_type type = message_type_of(data, len);

    bool good = is_welcome(ep, p, type, len);
    if (good && message_decode(&m, data, len, &err) != OK) {
        refuse_unreadable(ep, p, data, len, err.text);
        good = false;
    }

    if (!good) {
        give_up(ep, p, type, data, len);
        return;
    }

    if (p)
        from_worker(ep, p, &m);
    else
        from_exchange(ep, &m);
    message_reset(&m);
}

/* Who is not up is only heard when it says HELLO: all else is meant for the exchange before us, or comes from one that
 * was given up. */
static void take_from(endpoint *ep, zmq_msg_t *identity, const void *data, size_t len)
{
    peer *p = peers_get(&ep->peers, zmq_msg_data(identity), zmq_msg_size(identity), loop_now_ms(ep->lp));
    const message_type type = message_type_of(data, len);

    if (p) p->last_heard_ms = loop_now_ms(ep->lp);
    if (!p)
        endpoint_refuse_with(ep, NULL, REFUSAL_CROWD, "%s: at most %d connections are allowed", message_name(type),
                             MAX_PEERS);
    else if (p->up || type == MSG_HELLO || type == MSG_NONE)
        take(ep, p, data, len);
    else
        ask_for_hello(ep, p);
}

static const peer *sender_of(const endpoint *ep, zmq_msg_t *identity)
{
    return ep->server ? peers_find_identity(&ep->peers, zmq_msg_data(identity), zmq_msg_size(identity)) : NULL;
}

/* One message of one or two frames; more frames are foreign and are read away. */
static bool receive(endpoint *ep)
{
    zmq_msg_t frames[2], extra;
    int n = 0, more = 1;

    for (int i = 0; i < 2; i++) zmq_msg_init(&frames[i]);
    zmq_msg_init(&extra);

    while (more) {
        zmq_msg_t *into = n < 2 ? &frames[n] : &extra;
        if (zmq_msg_recv(into, ep->socket, ZMQ_DONTWAIT) < 0) break;
        more = zmq_msg_more(into);
        n++;
    }

    const int expected = ep->server ? 2 : 1;
    if (n == expected && ep->server)
        take_from(ep, &frames[0], zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]));
    else if (n == expected)
        take(ep, NULL, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
    else if (n > 0)
        endpoint_refuse_with(ep, sender_of(ep, &frames[0]), REFUSAL_MALFORMED, "a message of %d frames", n);

    for (int i = 0; i < 2; i++) zmq_msg_close(&frames[i]);
    zmq_msg_close(&extra);
    return n > 0;
}

/* Bounded, so that neither one peer nor slow callbacks (a worker's scripts) keep the loop from its heartbeats. */
void endpoint_read(void *ctx)
{
    endpoint *ep = ctx;
    const int64_t until_ms = clock_ms() + TURN_MS;
    for (int i = 0; i < MESSAGES_A_TURN && receive(ep) && clock_ms() < until_ms; i++) continue;
}
