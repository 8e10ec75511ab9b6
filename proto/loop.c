/* SPDX-License-Identifier: MIT */
#include "proto/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/vec.h"

typedef struct source {
    void *socket;
    int fd;
    loop_fn fn;
    void *ctx;
} source;

typedef struct timer {
    int64_t every_ms, due_ms;
    loop_fn fn;
    void *ctx;
} timer;

struct loop {
    void *zmq;
    int64_t now_ms;
    int signals;
    loop_fn on_stop;
    void *stop_ctx;
    vec(source) sources;
    vec(timer) timers;
    vec(zmq_pollitem_t) items;
    bool changed; /* sources were added or removed during a turn: its remaining events are of the old list */
};

loop *loop_new(error *err)
{
    loop *lp = xcalloc(1, sizeof *lp);
    lp->signals = -1;
    lp->now_ms = clock_ms();

    lp->zmq = zmq_ctx_new();
    if (lp->zmq) return lp;
    error_set(err, ERR_MEMORY, "cannot create a ZeroMQ context: %s", zmq_strerror(zmq_errno()));
    free(lp);
    return NULL;
}

void loop_free(loop *lp)
{
    if (!lp) return;
    if (lp->signals >= 0) close(lp->signals);
    vec_free(&lp->sources);
    vec_free(&lp->timers);
    vec_free(&lp->items);
    zmq_ctx_term(lp->zmq); /* all sockets are closed, each with a linger of its own */
    free(lp);
}

int64_t loop_now_ms(const loop *lp) { return lp->now_ms; }
void *loop_context(loop *lp) { return lp->zmq; }

static void add(loop *lp, source s)
{
    vec_push(&lp->sources, s);
    lp->changed = true;
}

void loop_add_fd(loop *lp, int fd, loop_fn fn, void *ctx) { add(lp, (source){ .fd = fd, .fn = fn, .ctx = ctx }); }
void loop_add_socket(loop *lp, void *socket, loop_fn fn, void *ctx)
{
    add(lp, (source){ .socket = socket, .fn = fn, .ctx = ctx });
}

void loop_remove(loop *lp, void *ctx)
{
    size_t kept = 0, timers = 0;

    for (size_t i = 0; i < lp->sources.len; i++)
        if (lp->sources.data[i].ctx != ctx) lp->sources.data[kept++] = lp->sources.data[i];
    for (size_t i = 0; i < lp->timers.len; i++)
        if (lp->timers.data[i].ctx != ctx) lp->timers.data[timers++] = lp->timers.data[i];

    lp->sources.len = kept;
    lp->timers.len = timers;
    lp->changed = true;
}

void loop_add_timer(loop *lp, int64_t every_ms, loop_fn fn, void *ctx)
{
    vec_push(&lp->timers, (timer){ .every_ms = every_ms, .due_ms = clock_ms() + every_ms, .fn = fn, .ctx = ctx });
}

static void read_signal(void *ctx)
{
    loop *lp = ctx;
    struct signalfd_siginfo info;
    if (read(lp->signals, &info, sizeof info) == sizeof info && lp->on_stop) lp->on_stop(lp->stop_ctx);
}

int loop_on_stop(loop *lp, loop_fn fn, void *ctx, error *err)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);

    /* Blocked, so that a signal is read from the descriptor, between two callbacks, and interrupts nothing. */
    const int rc = pthread_sigmask(SIG_BLOCK, &mask, NULL);
    if (rc != 0) return error_sys(err, rc, "cannot block signals");
    lp->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (lp->signals < 0) return error_sys(err, errno, "cannot create a signalfd");

    lp->on_stop = fn;
    lp->stop_ctx = ctx;
    loop_add_fd(lp, lp->signals, read_signal, lp);
    return OK;
}

static int wait_time(const loop *lp, int wait_ms)
{
    int64_t wait = wait_ms;
    for (size_t i = 0; i < lp->timers.len; i++) {
        const int64_t left = lp->timers.data[i].due_ms - lp->now_ms;
        if (left < wait) wait = left > 0 ? left : 0;
    }
    return (int)wait;
}

static void run_timers(loop *lp)
{
    for (size_t i = 0; i < lp->timers.len; i++) {
        timer *t = &lp->timers.data[i];
        if (t->due_ms > lp->now_ms) continue;
        t->due_ms = lp->now_ms + t->every_ms; /* a late turn is not made up for */
        t->fn(t->ctx);
    }
}

int loop_wait(loop *lp, const struct pollfd *fds, int n_fds, int wait_ms, error *err)
{
    lp->now_ms = clock_ms();

    lp->items.len = 0;
    for (size_t i = 0; i < lp->sources.len; i++)
        vec_push(&lp->items, (zmq_pollitem_t){ .socket = lp->sources.data[i].socket,
                                               .fd = lp->sources.data[i].fd,
                                               .events = ZMQ_POLLIN });
    for (int i = 0; i < n_fds; i++) vec_push(&lp->items, (zmq_pollitem_t){ .fd = fds[i].fd, .events = ZMQ_POLLIN });

    lp->changed = false;

    const int n = zmq_poll(lp->items.data, (int)lp->items.len, wait_time(lp, wait_ms));
    if (n < 0 && zmq_errno() != EINTR) return error_set(err, ERR_IO, "zmq_poll: %s", zmq_strerror(zmq_errno()));

    lp->now_ms = clock_ms();

    const size_t own = lp->items.len - (size_t)n_fds;
    for (size_t i = 0; n > 0 && i < own && !lp->changed; i++)
        if (lp->items.data[i].revents) lp->sources.data[i].fn(lp->sources.data[i].ctx);
    run_timers(lp);
    return OK;
}

int loop_once(loop *lp, int wait_ms, error *err) { return loop_wait(lp, NULL, 0, wait_ms, err); }
