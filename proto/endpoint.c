/* SPDX-License-Identifier: MIT */
#include "proto/endpoint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/codec.h"
#include "proto/peers.h"

enum {
    LINGER_MS = 1000,
    QUEUE_MESSAGES = 4096,
    FEWEST_WAITING = 2,
    WAITING_BYTES = 16 << 20, /* of one peer's messages, before they are read: then its own side is held up */
    READ_BYTES = 16 << 20,    /* a message up to this length is read, so that it is refused by name; a longer one costs
                                 its sender the connection */
    MESSAGES_A_TURN = 256,
    TURN_MS = 50,
    STUCK_PATIENCES = 6, /* that a peer may owe too much before it is sent away */
    WIRE_PING_MS = 10000,
    WIRE_PATIENCE_MS = 60000, /* of libzmq's own heartbeats: they close dead connections */
    BIG_BYTES = 64 << 10,
    ALL_OWED_BYTES = 256 << 20, /* big messages wait while all peers together owe so much */
};

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

static void set_option(void *socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }

static void read_messages(void *ctx);
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
    int64_t max = ep->server ? READ_BYTES : MAX_MESSAGE_BYTES;
    for (int type = 0; type < N_MESSAGES; type++) {
        size_t *limit = &ep->config.limits[type];
        if (*limit == 0 || *limit > MAX_MESSAGE_BYTES) *limit = MAX_MESSAGE_BYTES;
        if (ep->server && type != MSG_NONE && message_senders((message_type)type) != BY_EXCHANGE &&
            (int64_t)*limit > max)
            max = (int64_t)*limit;
    }
    const int64_t fit = ep->server ? WAITING_BYTES / max : QUEUE_MESSAGES;
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
        loop_add_socket(lp, ep->socket, read_messages, ep);
        loop_add_timer(lp, ep->config.heartbeat_ms, beat, ep);
        return ep;
    }
    error_set(err, ERR_IO, "%s %s: %s", ep->server ? "can't bind" : "can't connect to", config->address,
              zmq_strerror(zmq_errno()));
    endpoint_free(ep);
    return NULL;
}

endpoint *endpoint_bind(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg, error *err)
{
    return open_socket(lp, ZMQ_ROUTER, config, cb, lg, err);
}

static void say_hello(endpoint *ep)
{
    message m = { .type = MSG_HELLO, .hello = ep->config.hello };
    endpoint_send(ep, 0, &m, NULL);
}

endpoint *endpoint_connect(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg,
                           error *err)
{
    endpoint *ep = open_socket(lp, ZMQ_DEALER, config, cb, lg, err);
    if (ep) say_hello(ep);
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

static const char *name_of(const endpoint *ep, const peer *p)
{
    if (!ep->server) return "the exchange";
    return p && p->hello.name[0] ? p->hello.name : "a stranger";
}

const char *endpoint_peer_name(const endpoint *ep, peer_id id) { return name_of(ep, peers_find(&ep->peers, id)); }

/* Its record stays for what it owes. */
static void forget(endpoint *ep, peer_id id, const char *why)
{
    peer *p = peers_find(&ep->peers, id);
    if (!p || !p->up) return;
    const hello_body hello = p->hello;
    p->up = p->full = false;
    ep->cb.on_peer(ep->cb.ctx, id, &hello, false, why);
}

__attribute__((format(printf, 4, 5))) static void refuse(endpoint *ep, const peer *p, refusal why, const char *fmt, ...)
{
    char said[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    refusals_add(ep->refusals, loop_now_ms(ep->lp), name_of(ep, p), why, said);
}

void endpoint_refuse(endpoint *ep, peer_id id, refusal why, const char *said)
{
    refuse(ep, peers_find(&ep->peers, id), why, "%s", said);
}

void endpoint_dismiss(endpoint *ep, peer_id id, const char *why)
{
    message bye = { .type = MSG_BYE };
    snprintf(bye.bye.reason, sizeof bye.bye.reason, "%s", why);
    endpoint_send(ep, id, &bye, NULL);
    forget(ep, id, why);
}

const char *endpoint_address(const endpoint *ep) { return ep->address; }
const refusal_counts *endpoint_refused(const endpoint *ep) { return refusals_counted(ep->refusals); }
int64_t endpoint_silence_ms(const endpoint *ep) { return loop_now_ms(ep->lp) - ep->last_heard_ms; }
void endpoint_set_heartbeat(endpoint *ep, const heartbeat_body *b) { ep->beat = *b; }

/* ---- sending ---- */

static int put(endpoint *ep, const void *data, size_t len, int flags, peer *p, error *err)
{
    if (zmq_send(ep->socket, data, len, flags | ZMQ_DONTWAIT) >= 0) return OK;
    return error_set(err, ERR_PEER, "%s: %s", name_of(ep, p), zmq_strerror(zmq_errno()));
}

static uint64_t all_owe(const endpoint *ep)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ep->peers.all.len; i++) n += peer_owes(&ep->peers.all.data[i]);
    return n;
}

static bool has_room(const endpoint *ep, const peer *p, size_t bytes)
{
    return peer_has_room(p, bytes) && (bytes < BIG_BYTES || all_owe(ep) + bytes <= ALL_OWED_BYTES);
}

static int send_ping(endpoint *ep, peer *p);

/* Work waits until a peer has read; a word about the connection itself does not. */
static int check_room(endpoint *ep, peer *p, message_type type, size_t bytes, error *err)
{
    if (type == MSG_HEARTBEAT || type == MSG_BYE || has_room(ep, p, bytes)) return OK;
    p->full = true;
    send_ping(ep, p);
    return error_set(err, ERR_FULL, "%s: it has not read %llu bytes that it was sent", name_of(ep, p),
                     (unsigned long long)peer_owes(p));
}

/* p: NULL for the exchange. */
static int deliver(endpoint *ep, peer *p, const message *m, error *err)
{
    str_clear(&ep->bytes);
    message_encode(m, &ep->bytes);
    const size_t len = ep->bytes.len;
    if (len > MAX_MESSAGE_BYTES) /* sent, it would cost us the connection */
        return error_set(err, ERR_LIMIT, "%s: a message of %zu bytes (%d are the most)", message_name(m->type), len,
                         MAX_MESSAGE_BYTES);
    if (!p) return put(ep, ep->bytes.data, len, 0, NULL, err);
    if (check_room(ep, p, m->type, len, err) != OK) return ERR_FULL;
    if (put(ep, p->identity, p->identity_len, ZMQ_SNDMORE, p, err) != OK) return ERR_PEER;
    if (put(ep, ep->bytes.data, len, 0, p, err) != OK) return ERR_PEER;
    p->sent += len;
    if (peer_owes(p) > OWED_BYTES / 2 && m->type != MSG_HEARTBEAT) send_ping(ep, p);
    return OK;
}

int endpoint_send(endpoint *ep, peer_id id, const message *m, error *err)
{
    peer *p = ep->server ? peers_find(&ep->peers, id) : NULL;
    if (ep->server && (!p || !p->up)) return error_set(err, ERR_PEER, "peer %u is gone", id);
    return deliver(ep, p, m, err);
}

/* A heartbeat, with a ping when none is under way. */
static int send_ping(endpoint *ep, peer *p)
{
    message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    m.heartbeat.ping = p->ping ? 0 : random_number();
    const int rc = deliver(ep, p, &m, NULL);
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

static void say_alive(endpoint *ep)
{
    message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    m.heartbeat.ping = ep->ping;
    ep->sent_ms = clock_ms();
    endpoint_send(ep, 0, &m, NULL);
}

void endpoint_alive(endpoint *ep)
{
    if (clock_ms() - ep->sent_ms >= ep->config.heartbeat_ms) say_alive(ep);
}

static void beat_worker(endpoint *ep)
{
    if (endpoint_silence_ms(ep) > 3 * ep->config.heartbeat_ms) ep->welcome = false; /* it may have been restarted */
    say_alive(ep);
    if (!ep->welcome) say_hello(ep);
}

/* NULL: it lives. A peer that has not said HELLO to us gets no heartbeats, so that it says it. */
static const char *death_of(endpoint *ep, peer *p)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    if (now_ms - p->last_heard_ms > ep->config.patience_ms) return "it has been silent for too long";
    if (p->ping && peer_owes(p) > OWED_BYTES / 2 && now_ms - p->pinged_ms > STUCK_PATIENCES * ep->config.patience_ms)
        return "it does not read what it is sent";
    return send_ping(ep, p) != OK ? "its connection is gone" : NULL;
}

static void tell_room(endpoint *ep, peer *p)
{
    if (!p->up || !p->full || peer_owes(p) > OWED_BYTES / 2 || !has_room(ep, p, BIG_BYTES)) return;
    p->full = false;
    if (ep->cb.on_room) ep->cb.on_room(ep->cb.ctx, p->id);
}

/* The record of a connection that is not up is kept until libzmq has closed it, if it owes something. */
static bool is_over(const endpoint *ep, const peer *p)
{
    const int64_t silent_ms = loop_now_ms(ep->lp) - p->last_heard_ms;
    return !p->up && silent_ms > ep->config.patience_ms + (peer_owes(p) > 0 ? 2 * WIRE_PATIENCE_MS : 0);
}

static void beat_peer(endpoint *ep, peer *p, int64_t late)
{
    const peer_id id = p->id;
    p->last_heard_ms = later(ep, p->last_heard_ms, late);
    const char *why = p->up ? death_of(ep, p) : NULL;
    if (why)
        forget(ep, id, why);
    else
        tell_room(ep, p);
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

/* ---- receiving ---- */

static void refuse_protocol(endpoint *ep, peer *p, const char *name, uint64_t protocol)
{
    message bye = { .type = MSG_BYE };
    snprintf(bye.bye.reason, sizeof bye.bye.reason,
             "protocol %d is spoken here, not %llu: worker and learner are of different versions", PROTOCOL_VERSION,
             (unsigned long long)protocol);
    refuse(ep, p, REFUSAL_PROTOCOL, "HELLO of %s: %s", name, bye.bye.reason);
    deliver(ep, p, &bye, NULL);
}

/* A namesake that lives keeps its name; one that came again itself, or whose connection is gone, gives it up. One that
 * is refused says HELLO again until then. */
static bool name_is_free(endpoint *ep, peer *p, const hello_body *hello)
{
    peer *other = peers_find_name(&ep->peers, hello->name);
    if (!other) return true;
    if (other->hello.life == hello->life) {
        forget(ep, other->id, "it came again on another connection");
        return true;
    }
    if (send_ping(ep, other) != OK) {
        forget(ep, other->id, "its connection is gone");
        return true;
    }
    refuse(ep, p, REFUSAL_NAMESAKE, "HELLO as %s, who is here (pid %lld; the new one says pid %lld)", hello->name,
           (long long)other->hello.pid, (long long)hello->pid);
    return false;
}

static void welcome(endpoint *ep, peer *p, const message *m)
{
    if (strcmp(m->hello.role, "exchange") == 0) {
        refuse(ep, p, REFUSAL_ROLE, "HELLO as an exchange");
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
    deliver(ep, p, &m, NULL);
}

static void answer(endpoint *ep, peer *p, message *m)
{
    if (peer_answered(p, m->heartbeat.ping)) tell_room(ep, p);
    ep->cb.on_message(ep->cb.ctx, p->id, m);
}

/* The exchange's side. Callbacks may move peers: after one only the id is used. */
static void from_worker(endpoint *ep, peer *p, message *m)
{
    if (m->type == MSG_HELLO)
        welcome(ep, p, m);
    else if (m->type == MSG_BYE)
        forget(ep, p->id, m->bye.reason);
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
        say_hello(ep);
        return;
    }
    ep->welcome = true; /* to those it doesn't know it says nothing else */
    if (m->type == MSG_HEARTBEAT && m->heartbeat.ping && m->heartbeat.ping != ep->ping) {
        ep->ping = m->heartbeat.ping;
        say_alive(ep);
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
    return p->hello.for_recipe ? "who comes for the recipe" : p->hello.role;
}

/* Whether a message may be decoded: it is one, its sender is one that sends such, and it is not too long. */
static bool is_welcome(endpoint *ep, const peer *p, message_type type, size_t len)
{
    if (type == MSG_NONE) {
        refuse(ep, p, REFUSAL_MALFORMED, "%zu bytes that begin no message", len);
    } else if ((message_senders(type) & (p && !p->up ? BY_ANYBODY : role_of(ep, p))) == 0) {
        refuse(ep, p, REFUSAL_ROLE, "%s, which %s never sends", message_name(type), kind_of(p));
    } else if (len > ep->config.limits[type]) {
        refuse(ep, p, REFUSAL_TOO_LONG, "%s of %zu bytes (%zu are the most in this run)", message_name(type), len,
               ep->config.limits[type]);
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
        refuse(ep, p, REFUSAL_MALFORMED, "a malformed message: %s", why);
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
        refuse(ep, NULL, REFUSAL_CROWD, "%s: %d connections are the most", message_name(type), MAX_PEERS);
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
        refuse(ep, sender_of(ep, &frames[0]), REFUSAL_MALFORMED, "a message of %d frames", n);
    for (int i = 0; i < 2; i++) zmq_msg_close(&frames[i]);
    zmq_msg_close(&extra);
    return n > 0;
}

/* Bounded, so that neither one peer nor slow callbacks (a worker's scripts) keep the loop from its heartbeats. */
static void read_messages(void *ctx)
{
    endpoint *ep = ctx;
    const int64_t until_ms = clock_ms() + TURN_MS;
    for (int i = 0; i < MESSAGES_A_TURN && receive(ep) && clock_ms() < until_ms; i++) continue;
}
