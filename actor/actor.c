/* SPDX-License-Identifier: MIT */
#include "actor/actor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/vec.h"
#include "proto/endpoint.h"
#include "proto/parcel.h"
#include "proto/weights.h"

enum { SMALL_BYTES = 64 << 10 }; /* a message without a row, a recipe or weights is shorter */
enum { IDLE_MS = 200, RESEND_MS = 5000, MAX_FINISHED = 256, MAX_FDS = 512, DEFAULT_PATIENCE_MS = 60000 };

/* Delivered, but not acknowledged. */
typedef struct delivered {
    episode *episode;
    bool old; /* to an exchange that may have forgotten whom it gave the task to: sent again only when it asks */
} delivered;

typedef struct actor {
    const actor_config *config;
    loop *lp;
    logger *log;
    endpoint *exchange;
    weights_subscriber *subscriber;
    weights *weights; /* the version in use; the next is loaded over it, between two steps of the engine */
    engine *engine;
    rollouts *rollouts;
    vec(task *) waiting; /* their version has not come yet */
    vec(delivered) unacked;
    int free_slots; /* not yet told to the exchange */
    bool stop, met; /* met: the learner has answered at the address */
    int failed;
    error why;
} actor;

static void fail(actor *a, const error *err)
{
    if (a->failed) return;
    a->failed = err->code;
    a->why = *err;
}

static const weights *current(const actor *a) { return a->weights; }

/* ---- to the exchange ---- */

static void send_episode(actor *a, const episode *e)
{
    const message m = { .type = MSG_EPISODE, .episode = { (episode *)(uintptr_t)e } };
    error err = { 0 };
    if (endpoint_send(a->exchange, 0, &m, &err) != OK)
        log_debug(a->log, "%s", err.text); /* sent again until it is acked */
}

static void ask_for_work(actor *a)
{
    if (a->free_slots <= 0) return;
    const message m = { .type = MSG_WANT, .want = { (uint32_t)a->free_slots } };
    if (endpoint_send(a->exchange, 0, &m, NULL) == OK) a->free_slots = 0;
}

static void resend(void *ctx)
{
    actor *a = ctx;
    for (size_t i = 0; i < a->unacked.len; i++)
        if (!a->unacked.data[i].old) send_episode(a, a->unacked.data[i].episode);
}

/* To an exchange that is new, or new to us: it acknowledges those that it has, and asks for the others again. */
static void send_all_once(actor *a)
{
    for (size_t i = 0; i < a->unacked.len; i++) {
        send_episode(a, a->unacked.data[i].episode);
        a->unacked.data[i].old = true;
    }
}

/* ---- weights ---- */

typedef struct taking {
    weights *w;
    const safetensors *from;
    int64_t version;
} taking;

/* Under the device's guard: panels take memory the first time. */
static int take(void *ctx, error *err)
{
    const taking *t = ctx;
    return weights_take(t->w, t->from, t->version, err);
}

/* Over the version of before: nothing is sampled meanwhile, and an actor whose new weights are not whole ends. */
static int install(actor *a, const weights_blob *blob, error *err)
{
    weights *w = a->weights;
    char where[64];
    snprintf(where, sizeof where, "version %" PRId64, blob->version);
    safetensors *st = safetensors_from_bytes(blob->data, blob->len, where, err);

    if (!st) return err->code;
    if (blob->mapped) safetensors_of_map(st);
    const int rc = device_guard(w->dev, take, &(taking){ w, st, blob->version }, err);
    safetensors_close(st);
    if (rc != OK) return error_within(err, "%s", where);

    if (w->hash != blob->hash)
        return error_set(err, ERR_PARSE, "%s: announced with hash %016" PRIx64 ", arrived with %016" PRIx64, where,
                         blob->hash, w->hash);

    weights_subscriber_release(a->subscriber);
    engine_set_weights(a->engine, w);
    return OK;
}

/* rc as the subscriber gives it: a blob to install, a request to send, or an error. */
static void on_weights(actor *a, int rc, const weights_blob *blob, const weights_get_body *get, error *err)
{
    if (rc == 1 && install(a, blob, err) != OK) fail(a, err);
    if (rc < 0) fail(a, err);
    if (rc != 0 || get->version < 0) return;

    const message m = { .type = MSG_WEIGHTS_GET, .weights_get = *get };
    endpoint_send(a->exchange, 0, &m, NULL);
}

static void on_announcement(actor *a, const weights_body *body)
{
    weights_blob blob;
    weights_get_body get = { .version = -1 };
    error err = { 0 };
    if (body->version == current(a)->version && body->hash == current(a)->hash) return;
    on_weights(a, weights_on_announcement(a->subscriber, body, &blob, &get, &err), &blob, &get, &err);
}

static void on_chunk(actor *a, const weights_chunk_body *chunk)
{
    weights_blob blob;
    weights_get_body get = { .version = -1 };
    error err = { 0 };
    on_weights(a, weights_on_chunk(a->subscriber, chunk, &blob, &get, &err), &blob, &get, &err);
}

/* ---- tasks ---- */

/* The exchange has it on disk, or wants it no more: nothing of it is kept. */
static void on_ack(actor *a, uint64_t id)
{
    for (size_t i = 0; i < a->unacked.len; i++) {
        if (a->unacked.data[i].episode->id != id) continue;
        episode_free(a->unacked.data[i].episode);
        a->unacked.data[i] = a->unacked.data[--a->unacked.len];
        return;
    }
}

/* Whether playing the episode's task again would give the same: all of it was sampled with the weights of now. */
static bool is_what_would_be_played(const actor *a, const episode *e)
{
    bool same = e->failed == FAIL_NONE;
    for (uint32_t s = 0; s < e->tokens.n_segments; s++)
        same &= e->tokens.segments[s].version == current(a)->version &&
                e->tokens.segments[s].weight_hash == current(a)->hash;
    return same;
}

/* A task that was played for an exchange before this one need not be played again. True: its episode was sent. */
static bool was_played(actor *a, const task *t)
{
    for (size_t i = 0; i < a->unacked.len; i++) {
        delivered *d = &a->unacked.data[i];
        if (d->episode->id != t->id) continue;
        if (!is_what_would_be_played(a, d->episode)) {
            on_ack(a, t->id); /* of no use */
            return false;
        }

        d->old = false;
        d->episode->attempt = t->attempt;
        send_episode(a, d->episode);
        return true;
    }
    return false;
}

/* Takes the task. */
static void begin(actor *a, task *t)
{
    error err = { 0 };
    if (was_played(a, t)) {
        a->free_slots++;
        task_free(t);
        return;
    }

    const int rc = rollouts_begin(a->rollouts, t, loop_now_ms(a->lp), &err);
    if (rc == ERR_FULL) log_warn(a->log, "%s: task %016" PRIx64 " is dropped; its lease will expire", err.text, t->id);
    if (rc != OK) a->free_slots++;
    task_free(t);
}

/* Tasks whose version has come are begun; those whose version is past are left to their lease. */
static void begin_waiting(actor *a)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->waiting.len; i++) {
        task *t = a->waiting.data[i];
        const int64_t version = current(a)->version;

        if (version < t->min_version) {
            a->waiting.data[kept++] = t;
        } else if (version > t->max_version) {
            log_warn(a->log,
                     "task %016" PRIx64 " needs version %" PRId64 ", this actor has version %" PRId64 ": dropped",
                     t->id, t->max_version, version);
            task_free(t);
            a->free_slots++;
        } else {
            begin(a, t);
        }
    }
    a->waiting.len = kept;
}

/* An exchange that we have just connected to does not know what we hold: it is told our room, and what is not acked. */
static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    actor *a = ctx;
    (void)peer, (void)hello, (void)why;
    if (!up) return;
    a->met = true;
    send_all_once(a);
    a->free_slots = a->config->slots - rollouts_in_flight(a->rollouts) - (int)a->waiting.len;
    ask_for_work(a);
}

/* With other files than the learner's, what is played would not be what it trains on. */
static void compare_recipes(actor *a, const welcome_body *welcome)
{
    error err = { 0 };
    if (parcel_compare(&welcome->recipe, a->config->recipe, &err) == OK) return;
    error_within(&err, "%s has a different recipe", a->config->address);
    fail(a, &err);
}

/* It is given no more than it has asked for. */
static void take_task(actor *a, message *m)
{
    if (a->waiting.len >= (size_t)a->config->slots) {
        endpoint_refuse(a->exchange, 0, REFUSAL_UNASKED, "a task, though all slots are taken");
        return;
    }
    vec_push(&a->waiting, m->task.task);
    m->task.task = NULL;
}

/* A run that is over, or an exchange that wants no more of us: who was dismissed, and left as if all were well, would
 * be started again for ever. */
static void take_leave(actor *a, const char *reason)
{
    error err = { 0 };
    log_info(a->log, "the exchange says goodbye: %s", reason);
    a->stop = true;
    if (strncmp(reason, BYE_DISMISSED, strlen(BYE_DISMISSED)) != 0) return;
    error_set(&err, ERR_PEER, "%s", reason);
    fail(a, &err);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    actor *a = ctx;
    (void)peer;

    switch (m->type) {
    case MSG_WELCOME:
        compare_recipes(a, &m->welcome);
        break;
    case MSG_TASK:
        take_task(a, m);
        break;
    case MSG_EPISODE_ACK:
        on_ack(a, m->ack.task);
        break;
    case MSG_WEIGHTS:
        on_announcement(a, &m->weights);
        break;
    case MSG_WEIGHTS_CHUNK:
        on_chunk(a, &m->weights_chunk);
        break;
    case MSG_BYE:
        take_leave(a, m->bye.reason);
        break;
    default:
        break;
    }
}

/* ---- the loop ---- */

/* Waits for the wire and for tools alike, as long as nothing can be computed. */
static int wait_turn(actor *a, bool idle, error *err)
{
    struct pollfd fds[MAX_FDS];
    if (!idle) return loop_once(a->lp, 0, err);

    router *r = a->config->rollouts.router;
    if (!r) return loop_wait(a->lp, NULL, 0, IDLE_MS, err);

    const int n = router_fds(r, fds, MAX_FDS);
    int64_t wait_ms = router_deadline_ms(r) - loop_now_ms(a->lp);
    if (wait_ms < 0) wait_ms = 0;
    if (wait_ms > IDLE_MS) wait_ms = IDLE_MS;
    return loop_wait(a->lp, fds, n, (int)wait_ms, err);
}

static void deliver(actor *a, episode **finished, int n)
{
    for (int i = 0; i < n; i++) {
        if (finished[i]->failed != FAIL_NONE)
            log_warn(a->log, "episode %016" PRIx64 " failed (%s): %s", finished[i]->id,
                     failure_name(finished[i]->failed), finished[i]->failure_text);
        vec_push(&a->unacked, (delivered){ .episode = finished[i] });
        send_episode(a, finished[i]);
        a->free_slots++;
    }
}

/* Tokens of episodes that are not finished count, and those of prompts, too: the exchange renews the leases of an actor
 * that gets on, and an episode may take minutes. */
static void report_progress(actor *a)
{
    const engine_stats done = engine_statistics(a->engine);
    endpoint_set_heartbeat(a->exchange, &(heartbeat_body){ .in_flight = (uint32_t)rollouts_in_flight(a->rollouts),
                                                           .version = current(a)->version,
                                                           .tokens = done.tokens_sampled + done.tokens_prefilled });
}

static int run(actor *a, error *err)
{
    episode *finished[MAX_FINISHED];
    bool idle = true;
    const int64_t patience_ms = a->config->patience_ms > 0 ? a->config->patience_ms : DEFAULT_PATIENCE_MS;
    log_info(a->log, "waiting for a learner at %s, for %" PRId64 " s at most", a->config->address, patience_ms / 1000);

    while (!a->stop) {
        if (wait_turn(a, idle, err) != OK) return err->code;
        if (a->failed) return error_set(err, a->failed, "%s", a->why.text);
        if (endpoint_silence_ms(a->exchange) > patience_ms)
            return error_set(err, ERR_TIMEOUT, "%s: %s for %" PRId64 " s", a->config->address,
                             a->met ? "no word from the exchange" : "no learner has answered", patience_ms / 1000);

        begin_waiting(a);
        const int n = rollouts_step(a->rollouts, loop_now_ms(a->lp), finished, MAX_FINISHED, &idle, err);
        if (n < 0) return -n;
        deliver(a, finished, n);

        ask_for_work(a);
        report_progress(a);
    }
    return a->failed ? error_set(err, a->failed, "%s", a->why.text) : OK;
}

static void on_stop(void *ctx) { ((actor *)ctx)->stop = true; }

static void alive(void *ctx) { endpoint_alive(((actor *)ctx)->exchange); }

/* fp32 numbers, and a header that has a name and a shape for each tensor. */
static uint64_t max_weights_bytes(const param_table *shapes)
{
    enum { HEADER_A_TENSOR = 1024 };
    return sizeof(float) * (uint64_t)shapes->total + HEADER_A_TENSOR * (uint64_t)shapes->n + SMALL_BYTES;
}

static void set_limits(endpoint_config *c)
{
    for (int type = 0; type < N_MESSAGES; type++) c->limits[type] = SMALL_BYTES;
    c->limits[MSG_WELCOME] = PARCEL_LIST_BYTES;
    c->limits[MSG_TASK] = MAX_ROW_BYTES + SMALL_BYTES;
    c->limits[MSG_WEIGHTS_CHUNK] = WEIGHTS_CHUNK_BYTES + SMALL_BYTES;
}

static int open_all(actor *a, error *err)
{
    const actor_config *c = a->config;
    a->weights = weights_new_to_decode(c->device, c->shapes, err);
    if (!a->weights) return err->code;

    a->engine = engine_new(&c->engine, a->weights, err);
    if (!a->engine) return err->code;
    rollout_config played = c->rollouts;
    played.engine = a->engine;
    a->rollouts = rollouts_new(&played, err);
    a->subscriber = weights_subscriber_new(max_weights_bytes(c->shapes));

    endpoint_config ec = {
        .address = c->address,
        .hello = { .role = "actor", .protocol = PROTOCOL_VERSION, .pid = getpid(), .slots = (uint32_t)c->slots }
    };
    snprintf(ec.hello.name, sizeof ec.hello.name, "%s", c->name);
    weights_host(ec.hello.host);
    set_limits(&ec);
    const endpoint_callbacks cb = { .ctx = a, .on_message = on_message, .on_peer = on_peer };

    a->exchange = endpoint_connect(a->lp, &ec, &cb, a->log, err);
    if (!a->exchange) return err->code;

    device_set_tick(c->device, alive, a); /* a step of the engine may take longer than others wait */
    loop_add_timer(a->lp, RESEND_MS, resend, a);
    return loop_on_stop(a->lp, on_stop, a, err);
}

static void close_all(actor *a)
{
    if (a->exchange) {
        const message bye = { .type = MSG_BYE, .bye = { "this actor was asked to stop" } };
        endpoint_send(a->exchange, 0, &bye, NULL);
    }

    loop_remove(a->lp, a);
    device_set_tick(a->config->device, NULL, NULL);
    endpoint_free(a->exchange);
    rollouts_free(a->rollouts);
    engine_free(a->engine);
    weights_free(a->weights);
    weights_subscriber_free(a->subscriber);

    for (size_t i = 0; i < a->waiting.len; i++) task_free(a->waiting.data[i]);
    for (size_t i = 0; i < a->unacked.len; i++) episode_free(a->unacked.data[i].episode);
    vec_free(&a->waiting);
    vec_free(&a->unacked);
}

/* A version that is mapped is dropped tensor by tensor as it is read; the largest is the most that is there of it. */
void actor_need(const engine_config *config, const device *dev, const param_table *shapes, memory_need *need)
{
    int64_t largest = 0;
    for (int i = 0; i < shapes->n; i++)
        if (shapes->items[i].count > largest) largest = shapes->items[i].count;
    need->bytes[MEMORY_WEIGHTS] += weights_bytes_to_decode(dev, shapes);
    need->bytes[MEMORY_PUBLISHING] += sizeof(float) * (size_t)largest;
    engine_need(config, dev, shapes, need);
}

int actor_run(loop *lp, const actor_config *config, logger *lg, error *err)
{
    actor a = { .config = config, .lp = lp, .log = lg };
    int rc = open_all(&a, err);
    if (rc == OK) rc = run(&a, err);
    close_all(&a);
    if (rc == ERR_MEMORY)
        return error_set(err, rc, "%s; lower actor_slots (%d now), rollout.max_context (%d now) or actors", err->text,
                         config->slots, config->engine.max_context);
    return rc;
}
