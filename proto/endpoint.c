/* SPDX-License-Identifier: MIT */
#include "proto/endpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/str.h"
#include "proto/codec.h"
#include "proto/endpoint_inner.h"

enum {
    LINGER_MS = 1000,
    QUEUE_MESSAGES = 4096,
    FEWEST_WAITING = 2,
    WAITING_BYTES = 16 << 20,        /* of one peer's messages, before they are read: then its own side is held up */
    FROM_EXCHANGE_BYTES = 128 << 20, /* the same of what an exchange sends a worker, which may compute for long */
    READ_BYTES = 16 << 20, /* a message up to this length is read, so that it is refused by name; a longer one costs
                                 its sender the connection */
    STUCK_PATIENCES = 6,   /* that a peer may owe too much before it is sent away */
    WIRE_PING_MS = 10000,
    WIRE_PATIENCE_MS = 60000, /* of libzmq's own heartbeats: they close dead connections */
};

static void set_option(void *socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }

static void beat(void *ctx);

static uint64_t random_number(void)
{
    uint64_t n = 0;
    while (n == 0)
        if (getrandom(&n, sizeof n, 0) != sizeof n) n = (uint64_t)clock_us(); /* only on a kernel without entropy */
    return n;
}

static void configure(endpoint *ep)
{
    int64_t max = ep->server ? READ_BYTES : 0;
    const unsigned all_from = ep->server ? BY_ANYBODY & ~(unsigned)BY_EXCHANGE : BY_EXCHANGE;

    for (int type = 0; type < N_MESSAGES; type++) {
        size_t *limit = &ep->config.limits[type];
        if (*limit == 0 || *limit > MAX_MESSAGE_BYTES) *limit = MAX_MESSAGE_BYTES;

        const bool comes = (message_senders((message_type)type) & all_from) != 0;
        if (comes && (int64_t)*limit > max) max = (int64_t)*limit;
    }

    /* libzmq counts messages, memory is bytes: so many of the longest as a peer may have waiting. */
    const int64_t fit = (ep->server ? WAITING_BYTES : FROM_EXCHANGE_BYTES) / max;
    set_option(ep->socket, ZMQ_LINGER, LINGER_MS);
    set_option(ep->socket, ZMQ_SNDHWM, QUEUE_MESSAGES);
    set_option(ep->socket, ZMQ_RCVHWM, fit < FEWEST_WAITING ? FEWEST_WAITING : (int)fit);
    zmq_setsockopt(ep->socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
    set_option(ep->socket, ZMQ_IPV6, strchr(ep->address, '[') != NULL);

    if (!ep->server) return;
    set_option(ep->socket, ZMQ_ROUTER_MANDATORY, 1); /* a peer that is gone is an error, not silence */
    set_option(ep->socket, ZMQ_HEARTBEAT_IVL, WIRE_PING_MS);
    set_option(ep->socket, ZMQ_HEARTBEAT_TIMEOUT, WIRE_PATIENCE_MS);
}

/* A socket file is its owner's alone, whatever the folder: libzmq makes it in this very call. */
static int attach(endpoint *ep)
{
    size_t size = sizeof ep->address;
    if (!ep->server) return zmq_connect(ep->socket, ep->address);

    const mode_t before = umask(0177);
    const int rc = zmq_bind(ep->socket, ep->address);
    umask(before);
    if (rc == 0) zmq_getsockopt(ep->socket, ZMQ_LAST_ENDPOINT, ep->address, &size);
    return rc;
}

static endpoint *open_socket(loop *lp, int type, const endpoint_config *config, const endpoint_callbacks *cb,
                             logger *lg, error *err)
{
    char address[ADDRESS_BYTES];
    if (address_local(config->address, type == ZMQ_ROUTER, address, err) != OK) return NULL;
    if (type == ZMQ_ROUTER && address_vacant(address, err) != OK) return NULL;

    endpoint *ep = xcalloc(1, sizeof *ep);
    *ep = (endpoint){ .lp = lp,
                      .log = lg,
                      .config = *config,
                      .cb = *cb,
                      .server = type == ZMQ_ROUTER,
                      .refusals = refusals_new(lg),
                      .last_heard_ms = clock_ms(),
                      .beat_ms = clock_ms() };

    memcpy(ep->address, address, sizeof address);
    if (ep->config.heartbeat_ms <= 0) ep->config.heartbeat_ms = 1000;
    if (ep->config.patience_ms <= 0) ep->config.patience_ms = 10000;
    ep->config.hello.life = random_number();

    ep->socket = zmq_socket(loop_context(lp), type);
    configure(ep);
    if (attach(ep) == 0) {
        loop_add_socket(lp, ep->socket, endpoint_read, ep);
        loop_add_timer(lp, ep->config.heartbeat_ms, beat, ep);
        return ep;
    }

    error_set(err, ERR_IO, "%s %s: %s", ep->server ? "cannot bind" : "cannot connect to", config->address,
              zmq_strerror(zmq_errno()));
    endpoint_free(ep);
    return NULL;
}

endpoint *endpoint_bind(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg, error *err)
{
    return open_socket(lp, ZMQ_ROUTER, config, cb, lg, err);
}

void endpoint_say_hello(endpoint *ep)
{
    message m = { .type = MSG_HELLO, .hello = ep->config.hello };
    endpoint_send(ep, 0, &m, NULL);
}

endpoint *endpoint_connect(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg,
                           error *err)
{
    endpoint *ep = open_socket(lp, ZMQ_DEALER, config, cb, lg, err);
    if (ep) endpoint_say_hello(ep);
    return ep;
}

void endpoint_free(endpoint *ep)
{
    if (!ep) return;
    loop_remove(ep->lp, ep);
    zmq_close(ep->socket);
    peers_free(&ep->peers);
    refusals_free(ep->refusals);
    str_free(&ep->bytes);
    free(ep);
}

/* ---- peers ---- */

const char *endpoint_name_of(const endpoint *ep, const peer *p)
{
    if (!ep->server) return "the exchange";
    return p && p->hello.name[0] ? p->hello.name : "a stranger";
}

const char *endpoint_peer_name(const endpoint *ep, peer_id id)
{
    return endpoint_name_of(ep, peers_find(&ep->peers, id));
}

/* Its record stays for what it owes. */
void endpoint_forget(endpoint *ep, peer_id id, const char *why)
{
    peer *p = peers_find(&ep->peers, id);
    if (!p || !p->up) return;

    const hello_body hello = p->hello; /* the callback may move peers */
    p->up = p->full = false;
    ep->cb.on_peer(ep->cb.ctx, id, &hello, false, why);
}

void endpoint_refuse_with(endpoint *ep, const peer *p, refusal why, const char *fmt, ...)
{
    char said[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    refusals_add(ep->refusals, loop_now_ms(ep->lp), endpoint_name_of(ep, p), why, said);
}

void endpoint_refuse(endpoint *ep, peer_id id, refusal why, const char *said)
{
    endpoint_refuse_with(ep, peers_find(&ep->peers, id), why, "%s", said);
}

void endpoint_dismiss(endpoint *ep, peer_id id, const char *why)
{
    message bye = { .type = MSG_BYE };
    snprintf(bye.bye.reason, sizeof bye.bye.reason, BYE_DISMISSED "%s", why);
    endpoint_send(ep, id, &bye, NULL);
    endpoint_forget(ep, id, why);
}

const char *endpoint_address(const endpoint *ep) { return ep->address; }
const refusal_counts *endpoint_refused(const endpoint *ep) { return refusals_counted(ep->refusals); }
int64_t endpoint_silence_ms(const endpoint *ep) { return loop_now_ms(ep->lp) - ep->last_heard_ms; }
void endpoint_set_heartbeat(endpoint *ep, const heartbeat_body *b) { ep->beat = *b; }

/* ---- sending ---- */

static int put(endpoint *ep, const void *data, size_t len, int flags, peer *p, error *err)
{
    if (zmq_send(ep->socket, data, len, flags | ZMQ_DONTWAIT) >= 0) return OK;
    return error_set(err, ERR_PEER, "%s: %s", endpoint_name_of(ep, p), zmq_strerror(zmq_errno()));
}

/* Work waits until a peer has read; a word about the connection itself does not. */
static int check_room(endpoint *ep, peer *p, message_type type, size_t bytes, error *err)
{
    if (type == MSG_HEARTBEAT || type == MSG_BYE || peers_have_room(&ep->peers, p, bytes)) return OK;

    p->full = true; /* its answer to this ping makes room: see tell_room */
    endpoint_ping(ep, p);
    return error_set(err, ERR_FULL, "%s: it has not read %llu bytes that it was sent", endpoint_name_of(ep, p),
                     (unsigned long long)peer_owes(p));
}

/* p: NULL for the exchange. */
int endpoint_deliver(endpoint *ep, peer *p, const message *m, error *err)
{
    str_clear(&ep->bytes);
    message_encode(m, &ep->bytes);
    const size_t len = ep->bytes.len;

    if (len > MAX_MESSAGE_BYTES) /* sent, it would cost us the connection */
        return error_set(err, ERR_LIMIT, "%s: message of %zu bytes (at most %d are allowed)", message_name(m->type),
                         len, MAX_MESSAGE_BYTES);
    if (!p) return put(ep, ep->bytes.data, len, 0, NULL, err);

    /* A ROUTER socket takes the peer's identity as a frame before the message. */
    if (check_room(ep, p, m->type, len, err) != OK) return ERR_FULL;
    if (put(ep, p->identity, p->identity_len, ZMQ_SNDMORE, p, err) != OK) return ERR_PEER;
    if (put(ep, ep->bytes.data, len, 0, p, err) != OK) return ERR_PEER;

    p->sent += len;
    if (peer_owes(p) > OWED_BYTES / 2 && m->type != MSG_HEARTBEAT) endpoint_ping(ep, p);
    return OK;
}

int endpoint_send(endpoint *ep, peer_id id, const message *m, error *err)
{
    peer *p = ep->server ? peers_find(&ep->peers, id) : NULL;

    if (ep->server && (!p || !p->up)) return error_set(err, ERR_PEER, "peer %u is gone", id);
    return endpoint_deliver(ep, p, m, err);
}

/* A heartbeat, with a ping when none is under way. */
int endpoint_ping(endpoint *ep, peer *p)
{
    message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    m.heartbeat.ping = p->ping ? 0 : random_number();

    const int rc = endpoint_deliver(ep, p, &m, NULL);
    if (rc == OK && m.heartbeat.ping) peer_pinged(p, m.heartbeat.ping, loop_now_ms(ep->lp));
    return rc;
}

/* Who was not listening can't call others silent: the time that this process was held up (a stopped process, a slow
 * disk) is subtracted from every peer's silence. */
static int64_t held_up_ms(endpoint *ep)
{
    const int64_t late = loop_now_ms(ep->lp) - ep->beat_ms - ep->config.heartbeat_ms;
    ep->beat_ms = loop_now_ms(ep->lp);
    return late > ep->config.heartbeat_ms ? late : 0;
}

/* What was heard in this very turn isn't in the future. */
static int64_t later(const endpoint *ep, int64_t last_heard_ms, int64_t late)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    return last_heard_ms + late < now_ms ? last_heard_ms + late : now_ms;
}

void endpoint_say_alive(endpoint *ep)
{
    message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    m.heartbeat.ping = ep->ping;
    ep->sent_ms = clock_ms();
    endpoint_send(ep, 0, &m, NULL);
}

void endpoint_alive(endpoint *ep)
{
    if (clock_ms() - ep->sent_ms >= ep->config.heartbeat_ms) endpoint_say_alive(ep);
}

static void beat_worker(endpoint *ep)
{
    if (endpoint_silence_ms(ep) > 3 * ep->config.heartbeat_ms) ep->welcome = false; /* it may have been restarted */
    endpoint_say_alive(ep);
    if (!ep->welcome) endpoint_say_hello(ep);
}

/* NULL: it lives. A peer that has not said HELLO to us gets no heartbeats, so that it says it. */
static const char *death_of(endpoint *ep, peer *p)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    const int64_t silent_ms = now_ms - p->last_heard_ms, unanswered_ms = p->ping ? now_ms - p->pinged_ms : 0;

    if (silent_ms > ep->config.patience_ms) return "it has been silent for too long";
    if (peer_owes(p) > OWED_BYTES / 2 && unanswered_ms > STUCK_PATIENCES * ep->config.patience_ms)
        return "it does not read what it is sent";
    return endpoint_ping(ep, p) != OK ? "its connection is gone" : NULL;
}

void endpoint_tell_room(endpoint *ep, peer *p)
{
    if (!p->up || !p->full || peer_owes(p) > OWED_BYTES / 2 || !peers_have_room(&ep->peers, p, BIG_BYTES)) return;

    p->full = false;
    if (ep->cb.on_room) ep->cb.on_room(ep->cb.ctx, p->id);
}

/* The record of a connection that is not up is kept until libzmq has closed it, if it owes something. */
static bool is_over(const endpoint *ep, const peer *p)
{
    const int64_t silent_ms = loop_now_ms(ep->lp) - p->last_heard_ms;
    const int64_t closing_ms = peer_owes(p) > 0 ? 2 * WIRE_PATIENCE_MS : 0;
    return !p->up && silent_ms > ep->config.patience_ms + closing_ms;
}

static void beat_peer(endpoint *ep, peer *p, int64_t late)
{
    const peer_id id = p->id;
    p->last_heard_ms = later(ep, p->last_heard_ms, late);

    const char *why = p->up ? death_of(ep, p) : NULL;
    if (why)
        endpoint_forget(ep, id, why);
    else
        endpoint_tell_room(ep, p);
}

static void beat(void *ctx)
{
    endpoint *ep = ctx;
    const int64_t late = held_up_ms(ep);
    ep->last_heard_ms = later(ep, ep->last_heard_ms, late);

    if (!ep->server) {
        beat_worker(ep);
        return;
    }

    for (size_t i = 0; i < ep->peers.all.len; i++) beat_peer(ep, &ep->peers.all.data[i], late);
    for (size_t i = ep->peers.all.len; i-- > 0;)
        if (is_over(ep, &ep->peers.all.data[i])) peers_remove(&ep->peers, &ep->peers.all.data[i]);
    refusals_tick(ep->refusals, loop_now_ms(ep->lp));
}
