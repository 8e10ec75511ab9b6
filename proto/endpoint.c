#include "proto/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/codec.h"

enum {
    LINGER_MS = 1000,
    QUEUE_MESSAGES = 4096,
    MAX_IDENTITY = 255,
    MESSAGES_A_TURN = 256,
    TURN_MS = 50,
    LOGGED_MALFORMED = 20
};

typedef struct peer {
    peer_id id;
    unsigned char identity[MAX_IDENTITY];
    size_t identity_len;
    hello_body hello;
    int64_t heard_ms, asked_ms; /* asked: for its HELLO */
    bool up;
} peer;

struct endpoint {
    loop *lp;
    logger *log;
    void *socket;
    bool server;
    endpoint_config config;
    endpoint_callbacks cb;
    vec(peer) peers;
    peer_id next;
    heartbeat_body beat;
    uint64_t malformed;
    int64_t heard_ms; /* worker: from the exchange */
    int64_t beat_ms;  /* when `beat` last ran */
    int64_t sent_ms;  /* worker: its last heartbeat */
    bool welcome;     /* worker: it knows us */
    str bytes;        /* scratch */
};

/* "127.0.0.1:5555", and not "127.0.0.1:0;10.0.0.1:5555" (a source address before the real one) or "127.example.org:1".
 */
static bool is_loopback(const char *host)
{
    if (strchr(host, ';')) return false;
    if (strncmp(host, "localhost:", 10) == 0 || strncmp(host, "[::1]:", 6) == 0) return true;
    return strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == ':';
}

static bool stays_here(const char *address)
{
    if (strncmp(address, "ipc://", 6) == 0 || strncmp(address, "inproc://", 9) == 0) return true;
    return strncmp(address, "tcp://", 6) == 0 && is_loopback(address + 6);
}

static void set_option(void *socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }

static void read_messages(void *ctx);
static void beat(void *ctx);

static endpoint *open_socket(loop *lp, int type, const endpoint_config *config, const endpoint_callbacks *cb,
                             logger *lg, error *err)
{
    if (!stays_here(config->address)) {
        error_set(
            err, ERR_UNSUPPORTED,
            "%s leaves this machine, and this build has no keys to protect it (use ipc:// or tcp://127.0.0.1:PORT)",
            config->address);
        return NULL;
    }
    endpoint *ep = xcalloc(1, sizeof *ep);
    *ep = (endpoint){ .lp = lp,
                      .log = lg,
                      .config = *config,
                      .cb = *cb,
                      .server = type == ZMQ_ROUTER,
                      .next = 1,
                      .heard_ms = clock_ms(),
                      .beat_ms = clock_ms() };
    if (ep->config.heartbeat_ms <= 0) ep->config.heartbeat_ms = 1000;
    if (ep->config.patience_ms <= 0) ep->config.patience_ms = 10000;
    const int64_t most = MAX_MESSAGE_BYTES;
    ep->socket = zmq_socket(loop_context(lp), type);
    set_option(ep->socket, ZMQ_LINGER, LINGER_MS);
    set_option(ep->socket, ZMQ_SNDHWM, QUEUE_MESSAGES);
    set_option(ep->socket, ZMQ_RCVHWM, QUEUE_MESSAGES);
    zmq_setsockopt(ep->socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    set_option(ep->socket, ZMQ_IPV6, 1);
    if (ep->server) set_option(ep->socket, ZMQ_ROUTER_MANDATORY, 1); /* a peer that is gone is an error, not silence */
    const int rc = ep->server ? zmq_bind(ep->socket, config->address) : zmq_connect(ep->socket, config->address);
    if (rc == 0) {
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
    vec_free(&ep->peers);
    str_free(&ep->bytes);
    free(ep);
}

/* ---- peers ---- */

static peer *peer_of(const endpoint *ep, peer_id id)
{
    for (size_t i = 0; i < ep->peers.len; i++)
        if (ep->peers.data[i].id == id) return &ep->peers.data[i];
    return NULL;
}

static peer *peer_by_identity(endpoint *ep, const void *identity, size_t len)
{
    for (size_t i = 0; i < ep->peers.len; i++) {
        peer *p = &ep->peers.data[i];
        if (p->identity_len == len && memcmp(p->identity, identity, len) == 0) return p;
    }
    if (len > MAX_IDENTITY) return NULL;
    peer p = { .id = ep->next++, .identity_len = len, .heard_ms = loop_now_ms(ep->lp) };
    memcpy(p.identity, identity, len);
    vec_push(&ep->peers, p);
    return &ep->peers.data[ep->peers.len - 1];
}

const char *endpoint_peer_name(const endpoint *ep, peer_id id)
{
    if (!ep->server) return "the exchange";
    const peer *p = peer_of(ep, id);
    return p && p->hello.name[0] ? p->hello.name : "a stranger";
}

static void forget(endpoint *ep, peer_id id, const char *why)
{
    for (size_t i = 0; i < ep->peers.len; i++) {
        if (ep->peers.data[i].id != id) continue;
        const peer gone = ep->peers.data[i];
        ep->peers.data[i] = ep->peers.data[--ep->peers.len];
        if (gone.up) ep->cb.on_peer(ep->cb.ctx, id, &gone.hello, false, why);
        return;
    }
}

uint64_t endpoint_malformed(const endpoint *ep) { return ep->malformed; }
int64_t endpoint_silence_ms(const endpoint *ep) { return loop_now_ms(ep->lp) - ep->heard_ms; }
void endpoint_set_heartbeat(endpoint *ep, const heartbeat_body *b) { ep->beat = *b; }

/* ---- sending ---- */

int endpoint_send(endpoint *ep, peer_id id, const message *m, error *err)
{
    const peer *p = ep->server ? peer_of(ep, id) : NULL;
    if (ep->server && !p) return error_set(err, ERR_PEER, "peer %u is gone", id);
    str_clear(&ep->bytes);
    message_encode(m, &ep->bytes);
    if (ep->bytes.len > MAX_MESSAGE_BYTES) /* sent, it would cost us the connection */
        return error_set(err, ERR_LIMIT, "%s: a message of %zu bytes (%d are the most)", message_name(m->type),
                         ep->bytes.len, MAX_MESSAGE_BYTES);
    if (p && zmq_send(ep->socket, p->identity, p->identity_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return error_set(err, ERR_PEER, "%s: %s", endpoint_peer_name(ep, id), zmq_strerror(zmq_errno()));
    if (zmq_send(ep->socket, ep->bytes.data, ep->bytes.len, ZMQ_DONTWAIT) < 0)
        return error_set(err, ERR_PEER, "%s: %s", endpoint_peer_name(ep, id), zmq_strerror(zmq_errno()));
    return OK;
}

/* Who was not listening can't call others silent: the time that this process was held up (a stopped process, a slow
 * disk) is taken off everybody's silence. */
static int64_t held_up_ms(endpoint *ep)
{
    const int64_t late = loop_now_ms(ep->lp) - ep->beat_ms - ep->config.heartbeat_ms;
    ep->beat_ms = loop_now_ms(ep->lp);
    return late > ep->config.heartbeat_ms ? late : 0;
}

/* What was heard in this very turn isn't in the future. */
static int64_t later(const endpoint *ep, int64_t heard_ms, int64_t late)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    return heard_ms + late < now_ms ? heard_ms + late : now_ms;
}

static void send_heartbeat(endpoint *ep)
{
    const message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    ep->sent_ms = clock_ms();
    endpoint_send(ep, 0, &m, NULL);
}

void endpoint_alive(endpoint *ep)
{
    if (clock_ms() - ep->sent_ms >= ep->config.heartbeat_ms) send_heartbeat(ep);
}

static void beat_worker(endpoint *ep)
{
    if (endpoint_silence_ms(ep) > 3 * ep->config.heartbeat_ms) ep->welcome = false; /* it may have been restarted */
    send_heartbeat(ep);
    if (!ep->welcome) say_hello(ep);
}

/* NULL: it lives. A peer that has not said HELLO to us gets no heartbeats, so that it says it. */
static const char *death_of(endpoint *ep, const peer *p)
{
    const message m = { .type = MSG_HEARTBEAT, .heartbeat = ep->beat };
    if (loop_now_ms(ep->lp) - p->heard_ms > ep->config.patience_ms) return "it has been silent for too long";
    return p->up && endpoint_send(ep, p->id, &m, NULL) != OK ? "its connection is gone" : NULL;
}

static void beat(void *ctx)
{
    endpoint *ep = ctx;
    const int64_t late = held_up_ms(ep);
    ep->heard_ms = later(ep, ep->heard_ms, late);
    if (!ep->server) {
        beat_worker(ep);
        return;
    }
    for (size_t i = 0; i < ep->peers.len;) {
        peer *p = &ep->peers.data[i];
        p->heard_ms = later(ep, p->heard_ms, late);
        const char *why = death_of(ep, p);
        if (why)
            forget(ep, p->id, why); /* moves another peer to place i */
        else
            i++;
    }
}

/* ---- receiving ---- */

static void drop(endpoint *ep, const char *name, const char *why)
{
    if (++ep->malformed <= LOGGED_MALFORMED) log_warn(ep->log, "dropped a malformed message from %s: %s", name, why);
}

static bool protocol_fits(endpoint *ep, peer *p, const message *m)
{
    if (m->hello.protocol == PROTOCOL_VERSION) return true;
    message bye = { .type = MSG_BYE };
    snprintf(bye.bye.reason, sizeof bye.bye.reason,
             "protocol %u is spoken here, not %u: actor and learner are of different versions", PROTOCOL_VERSION,
             m->hello.protocol);
    log_warn(ep->log, "%s refused: %s", m->hello.name, bye.bye.reason);
    endpoint_send(ep, p->id, &bye, NULL);
    return false;
}

/* A worker that comes again under its name: its connection broke, or it died and was started anew. */
static void replace_namesake(endpoint *ep, const hello_body *hello)
{
    for (size_t i = 0; i < ep->peers.len; i++) {
        const peer *p = &ep->peers.data[i];
        if (!p->up || strcmp(p->hello.name, hello->name) != 0) continue;
        forget(ep, p->id, "it came again on another connection");
        return;
    }
}

static void welcome(endpoint *ep, peer_id id, const hello_body *hello)
{
    replace_namesake(ep, hello);
    peer *p = peer_of(ep, id); /* it may have moved */
    p->hello = *hello;
    p->up = true;
    ep->cb.on_peer(ep->cb.ctx, id, hello, true, "");
}

/* Its HELLO came to the exchange before us, or we have given it up since: it doesn't know, and is told to introduce
 * itself again. */
static void ask_for_hello(endpoint *ep, peer *p)
{
    const int64_t now_ms = loop_now_ms(ep->lp);
    const message m = { .type = MSG_HELLO, .hello = { .role = "exchange", .protocol = PROTOCOL_VERSION } };
    if (p->asked_ms && now_ms - p->asked_ms < ep->config.heartbeat_ms) return;
    p->asked_ms = now_ms;
    endpoint_send(ep, p->id, &m, NULL);
}

/* The exchange's side. Callbacks may move peers: after one only the id is used. */
static void from_worker(endpoint *ep, peer *p, message *m)
{
    p->heard_ms = loop_now_ms(ep->lp);
    if (m->type == MSG_HELLO) {
        if (!p->up && protocol_fits(ep, p, m)) welcome(ep, p->id, &m->hello);
    } else if (!p->up) {
        ask_for_hello(ep, p);
    } else if (m->type == MSG_BYE) {
        forget(ep, p->id, m->bye.reason);
    } else {
        ep->cb.on_message(ep->cb.ctx, p->id, m);
    }
}

static void from_exchange(endpoint *ep, message *m)
{
    ep->heard_ms = loop_now_ms(ep->lp);
    if (m->type == MSG_HELLO) { /* it doesn't know us (any more) */
        ep->welcome = false;
        say_hello(ep);
        return;
    }
    ep->welcome = true; /* to those it doesn't know it says nothing else */
    if (m->type == MSG_WELCOME) ep->cb.on_peer(ep->cb.ctx, 0, NULL, true, "");
    ep->cb.on_message(ep->cb.ctx, 0, m);
}

static void take(endpoint *ep, zmq_msg_t *identity, zmq_msg_t *frame)
{
    message m;
    error err = { 0 };
    peer *p = ep->server ? peer_by_identity(ep, zmq_msg_data(identity), zmq_msg_size(identity)) : NULL;
    if (ep->server && !p) return;
    if (message_decode(&m, zmq_msg_data(frame), zmq_msg_size(frame), &err) != OK) {
        drop(ep, endpoint_peer_name(ep, p ? p->id : 0), err.text);
        return;
    }
    if (p)
        from_worker(ep, p, &m);
    else
        from_exchange(ep, &m);
    message_reset(&m);
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
    if (n == expected)
        take(ep, &frames[0], &frames[expected - 1]);
    else if (n > 0)
        drop(ep, "a stranger", "unexpected frames");
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
