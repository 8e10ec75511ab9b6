/* SPDX-License-Identifier: MIT */
#include "tests/integration/villain.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/file.h"
#include "proto/codec.h"

enum { MAX_MS = 240000, LINGER_MS = 1000 };

villain villain_new(void *context, const char *address, uint64_t seed)
{
    villain v = { .context = context, .version = -1, .rnd = test_random_seed(seed) };
    snprintf(v.address, sizeof v.address, "%s", address);
    return v;
}

void connect_to(villain *v)
{
    if (v->socket) zmq_close(v->socket);
    v->socket = zmq_socket(v->context, ZMQ_DEALER);
    zmq_setsockopt(v->socket, ZMQ_LINGER, &(int){ LINGER_MS }, sizeof(int)); /* what it said still leaves */
    assert_int_equal(zmq_connect(v->socket, v->address), 0);
    v->task = 0;
}

void say_bytes(villain *v, const void *bytes, size_t len) { zmq_send(v->socket, bytes, len, ZMQ_DONTWAIT); }

void say(villain *v, message m)
{
    str bytes = { 0 };
    message_encode(&m, &bytes);
    say_bytes(v, bytes.data, bytes.len);
    str_free(&bytes);
}

void hello(villain *v, const char *role, const char *name)
{
    message m = { .type = MSG_HELLO, .hello = { .protocol = PROTOCOL_VERSION, .slots = 1000 } };
    snprintf(m.hello.role, sizeof m.hello.role, "%s", role);
    snprintf(m.hello.name, sizeof m.hello.name, "%s", name);
    m.hello.life = test_random_next(&v->rnd) | 1;
    m.hello.pid = 1;
    say(v, m);
}

void listen_for(villain *v, int64_t ms)
{
    for (const int64_t until_ms = clock_ms() + ms; clock_ms() < until_ms;) {
        static char bytes[1 << 21];
        message m;
        const int len = zmq_recv(v->socket, bytes, sizeof bytes, ZMQ_DONTWAIT);
        if (len < 0) {
            poll(NULL, 0, 1); /* another process answers when it likes */
            continue;
        }
        if (message_decode(&m, bytes, (size_t)len, NULL) != OK) continue;
        if (m.type == MSG_WEIGHTS) v->version = m.weights.version, v->hash = m.weights.hash;
        if (m.type == MSG_TASK) v->task = m.task.task->id, v->attempt = m.task.task->attempt;
        if (m.type == MSG_SCORE_REQUEST) v->task = m.score_request.task->id;
        message_reset(&m);
    }
}

void say_episode(villain *v, episode *e)
{
    say(v, (message){ .type = MSG_EPISODE, .episode = { e } });
    episode_free(e);
}

int learner_of(const place *p)
{
    int pid = 0;
    find_processes("troupe learner", p->run, &pid, 1);
    return pid;
}

void wait_for_exchange(const place *p, char address[300])
{
    char sockets[256];
    const int64_t until_ms = clock_ms() + MAX_MS;
    while (learner_of(p) == 0 && clock_ms() < until_ms) poll(NULL, 0, 5);
    sockets_of(p->run, sockets);
    snprintf(address, 300, "ipc://%s/exchange", sockets);
    while (!file_exists(address + strlen("ipc://")) && clock_ms() < until_ms) poll(NULL, 0, 1);
}

double last_metric(const place *p, const char *key)
{
    double values[64];
    const int n = metric_values(p->run, "step", key, values, 64);
    return n > 0 ? values[n - 1] : 0;
}
