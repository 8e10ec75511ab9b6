/* SPDX-License-Identifier: MIT */
#include "reward/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/endpoint.h"
#include "proto/parcel.h"
#include "proto/weights.h"

enum { TURN_MS = 500, DEFAULT_PATIENCE_MS = 60000 };

typedef struct worker {
    const worker_config *config;
    logger *log;
    endpoint *exchange;
    bool stop, met; /* met: the learner has answered at the address */
    int failed;
    error why;
} worker;

static void want(worker *w)
{
    const message m = { .type = MSG_WANT, .want = { w->config->slots } };
    endpoint_send(w->exchange, 0, &m, NULL);
}

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    (void)peer, (void)hello, (void)why;
    ((worker *)ctx)->met |= up;
    if (up) want(ctx); /* what an exchange before this one asked is asked again by this one */
}

static void answer(worker *w, const score_request_body *r)
{
    score sc;
    scorer_score(w->config->scorer, r->task, r->episode, &sc);
    if (sc.error)
        log_warn(w->log, "%s task %016" PRIx64 " (row %" PRIu64 "): %s",
                 sc.status == SCORE_OK ? "a missing objective in" : "no score for", sc.task, r->task->prompt_id + 1,
                 sc.error);

    const message m = { .type = MSG_SCORE, .score = { &sc } };
    error err = { 0 };
    if (endpoint_send(w->exchange, 0, &m, &err) != OK) log_warn(w->log, "%s", err.text);
    score_reset(&sc);

    const message one = { .type = MSG_WANT, .want = { 1 } };
    endpoint_send(w->exchange, 0, &one, NULL);
}

/* With another script, its scores would not be the run's. */
static void compare_recipes(worker *w, const welcome_body *welcome)
{
    error err = { 0 };
    if (w->failed || parcel_compare(&welcome->recipe, w->config->recipe, &err) == OK) return;
    error_within(&err, "%s has a different recipe", w->config->address);
    w->failed = err.code;
    w->why = err;
}

/* As an actor does (actor/actor.c): who is dismissed has failed. */
static void take_leave(worker *w, const char *reason)
{
    log_info(w->log, "the exchange says goodbye: %s", reason);
    w->stop = true;
    if (strncmp(reason, BYE_DISMISSED, strlen(BYE_DISMISSED)) == 0)
        w->failed = error_set(&w->why, ERR_PEER, "%s", reason);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    worker *w = ctx;
    (void)peer;
    if (m->type == MSG_WELCOME) compare_recipes(w, &m->welcome);
    if (w->failed) return;
    if (m->type == MSG_SCORE_REQUEST) answer(w, &m->score_request);
    if (m->type == MSG_BYE) take_leave(w, m->bye.reason);
}

static void alive(void *ctx) { endpoint_alive(((worker *)ctx)->exchange); }
static void on_stop(void *ctx) { ((worker *)ctx)->stop = true; }

int worker_run(loop *lp, const worker_config *config, logger *lg, error *err)
{
    worker w = { .config = config, .log = lg };
    endpoint_config ec = {
        .address = config->address,
        .hello = { .role = "reward", .protocol = PROTOCOL_VERSION, .pid = getpid(), .slots = config->slots }
    };
    const endpoint_callbacks cb = { .ctx = &w, .on_message = on_message, .on_peer = on_peer };
    const int64_t patience_ms = config->patience_ms > 0 ? config->patience_ms : DEFAULT_PATIENCE_MS;
    snprintf(ec.hello.name, sizeof ec.hello.name, "%s", config->name);
    weights_host(ec.hello.host);

    int rc = loop_on_stop(lp, on_stop, &w, err);
    if (rc == OK) {
        w.exchange = endpoint_connect(lp, &ec, &cb, lg, err);
        if (!w.exchange) rc = ERR_IO;
    }
    if (rc == OK)
        log_info(lg, "waiting for a learner at %s, for %lld s at most", config->address,
                 (long long)(patience_ms / 1000));

    scorer_set_tick(config->scorer, alive, &w); /* a script may take longer than the exchange waits for a heartbeat */
    while (rc == OK && !w.stop) {
        rc = loop_once(lp, TURN_MS, err);
        if (rc == OK && w.failed) rc = error_set(err, w.failed, "%s", w.why.text);
        if (rc == OK && endpoint_silence_ms(w.exchange) > patience_ms)
            rc = error_set(err, ERR_TIMEOUT, "%s: %s for %lld s", config->address,
                           w.met ? "no word from the exchange" : "no learner has answered",
                           (long long)(patience_ms / 1000));
    }
    scorer_set_tick(config->scorer, NULL, NULL);

    if (w.exchange) {
        const message bye = { .type = MSG_BYE, .bye = { "this worker was asked to stop" } };
        endpoint_send(w.exchange, 0, &bye, NULL);
    }
    endpoint_free(w.exchange);
    return rc;
}
