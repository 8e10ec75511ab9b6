#include "exchange/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

enum { TICK_MS = 500, ALONE_MS = 120000, MAX_SLOTS = 65536 };

typedef struct pending_ack {
    peer_id peer;
    uint64_t task_id;
} pending_ack;

struct server {
    loop *lp;
    logger *log;
    server_config config;
    core *core;
    endpoint *endpoint;
    weights_publisher *publisher;
    vec(pending_ack) acks;       /* sent when the transaction is committed */
    vec(step_batch *) finished;  /* waiting for room in the queue */
    vec(peer_id) peers;
    int actors, reward_workers;
    uint64_t tokens;
    int64_t alone_since_ms;
    bool in_transaction;
    int failed;
    error why;
};

void step_batch_free(step_batch *b)
{
    if (!b) return;
    for (uint32_t i = 0; i < b->n; i++) group_free(b->groups[i]);
    free(b->groups);
    free(b);
}

static void fail(server *s, const error *err)
{
    if (s->failed) return;
    s->failed = err->code;
    s->why = *err;
}

static void send(server *s, peer_id peer, const message *m)
{
    error err = { 0 };
    if (endpoint_send(s->endpoint, peer, m, &err) != OK) log_debug(s->log, "%s", err.text); /* its lease will bring the work back */
}

/* ---- actions ---- */

static void commit(server *s, const action *a)
{
    error err = { 0 };
    if (!s->in_transaction && store_begin(s->config.store, &err) != OK) {
        fail(s, &err);
        return;
    }
    s->in_transaction = true;
    const int rc = a->kind == COMMIT_EPISODE ? store_put_episode(s->config.store, a->task, a->episode, &err)
                                             : store_put_score(s->config.store, a->score, &err);
    if (rc != OK) fail(s, &err);
    if (a->kind == COMMIT_EPISODE) s->tokens += trajectory_sampled(&a->episode->tokens);
    else if (a->score->status != SCORE_OK)
        log_warn(s->log, "task %016" PRIx64 " has no score: %s", a->score->task, a->score->error ? a->score->error : "no reason given");
}

static void finish(server *s, const action *a)
{
    step_batch *b = xcalloc(1, sizeof *b);
    *b = (step_batch){ .step = a->step, .eval = a->kind == EVAL_READY, .groups = a->groups, .n = a->n_groups };
    vec_push(&s->finished, b);
}

static void perform(server *s, const action *a)
{
    message m = { 0 };
    switch (a->kind) {
    case COMMIT_EPISODE:
    case COMMIT_SCORE: commit(s, a); break;
    case SEND_ACK: vec_push(&s->acks, (pending_ack){ a->peer, a->task_id }); break;
    case SEND_TASK:
        m.type = MSG_TASK;
        m.task.task = (task *)(uintptr_t)a->task; /* only read */
        send(s, a->peer, &m);
        break;
    case ASK_SCORE:
        m.type = MSG_SCORE_REQUEST;
        m.score_request = (score_request_body){ (task *)(uintptr_t)a->task, (episode *)(uintptr_t)a->episode };
        send(s, a->peer, &m);
        break;
    case STEP_READY:
    case EVAL_READY: finish(s, a); break;
    case HALT: {
        error err = { 0 };
        error_set(&err, ERR_STATE, "%s", a->why);
        fail(s, &err);
        break;
    }
    }
}

static void hand_over(server *s)
{
    size_t n = 0;
    while (n < s->finished.len && queue_push(s->config.steps, s->finished.data[n], 0) == OK) n++;
    memmove(s->finished.data, s->finished.data + n, (s->finished.len - n) * sizeof *s->finished.data);
    s->finished.len -= n;
}

/* All actions; then one commit for what arrived together; then the acks, then what is built on it. */
static void settle(server *s)
{
    action a;
    error err = { 0 };
    while (core_next_action(s->core, &a)) perform(s, &a);
    if (s->in_transaction && store_commit(s->config.store, &err) != OK) fail(s, &err);
    s->in_transaction = false;
    for (size_t i = 0; i < s->acks.len && !s->failed; i++) {
        const message m = { .type = MSG_EPISODE_ACK, .ack = { s->acks.data[i].task_id } };
        send(s, s->acks.data[i].peer, &m);
    }
    s->acks.len = 0;
    if (!s->failed) hand_over(s);
}

/* ---- events ---- */

static void announce(server *s, peer_id peer)
{
    message m = { .type = MSG_WEIGHTS };
    if (weights_announcement(s->publisher, &m.weights)) send(s, peer, &m);
}

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    server *s = ctx;
    const bool actor = strcmp(hello->role, "actor") == 0;
    if (actor) s->actors += up ? 1 : -1;
    else s->reward_workers += up ? 1 : -1;
    if (!up) {
        log_warn(s->log, "%s is gone: %s", hello->name, why);
        for (size_t i = 0; i < s->peers.len; i++)
            if (s->peers.data[i] == peer) s->peers.data[i--] = s->peers.data[--s->peers.len];
        core_peer_down(s->core, peer);
        return;
    }
    log_info(s->log, "%s is here (pid %" PRId64 ")", hello->name, hello->pid);
    vec_push(&s->peers, peer);
    core_peer_up(s->core, peer, actor);
    message m = { .type = MSG_WELCOME, .welcome = { .seed = s->config.core.schedule.seed } };
    snprintf(m.welcome.run, sizeof m.welcome.run, "%s", s->config.run);
    send(s, peer, &m);
    if (actor) announce(s, peer);
}

static void send_chunk(server *s, peer_id peer, const weights_get_body *get)
{
    message m = { .type = MSG_WEIGHTS_CHUNK };
    if (weights_chunk_of(s->publisher, get, &m.weights_chunk)) send(s, peer, &m);
    else announce(s, peer); /* that version is no more: here is the newest */
    message_reset(&m);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    server *s = ctx;
    const int64_t now_ms = loop_now_ms(s->lp);
    switch (m->type) {
    case MSG_WANT: core_want(s->core, now_ms, peer, m->want.slots < MAX_SLOTS ? m->want.slots : MAX_SLOTS); break;
    case MSG_EPISODE:
        core_episode(s->core, now_ms, peer, m->episode.episode);
        m->episode.episode = NULL;
        break;
    case MSG_SCORE:
        core_score(s->core, now_ms, peer, m->score.score);
        m->score.score = NULL;
        break;
    case MSG_WEIGHTS_GET: send_chunk(s, peer, &m->weights_get); break;
    default: break; /* heartbeats have done their work by arriving */
    }
}

static void take_version(server *s, new_version *v)
{
    error err = { 0 };
    int rc = OK;
    if (v->version > 0 && v->groups + v->episodes > 0) rc = store_put_step(s->config.store, v->version, v->hash, v->groups, v->episodes, &err);
    if (rc == OK) rc = weights_publish(s->publisher, v->version, v->hash, v->bytes.data, v->bytes.len, &err);
    if (rc != OK) fail(s, &err);
    for (size_t i = 0; i < s->peers.len; i++) announce(s, s->peers.data[i]);
    if (v->evaluate) core_evaluate(s->core, v->version);
    core_version(s->core, loop_now_ms(s->lp), v->version, v->hash);
    str_free(&v->bytes);
    free(v);
}

static void on_version(void *ctx)
{
    server *s = ctx;
    void *v;
    while (queue_pop(s->config.versions, &v, 0) == OK) take_version(s, v);
}

static void tick(void *ctx)
{
    server *s = ctx;
    core_tick(s->core, loop_now_ms(s->lp));
}

/* ---- life ---- */

server *server_new(loop *lp, const server_config *config, logger *lg, error *err)
{
    server *s = xcalloc(1, sizeof *s);
    *s = (server){ .lp = lp, .log = lg, .config = *config, .alone_since_ms = loop_now_ms(lp) };
    const endpoint_config ec = { .address = config->address, .heartbeat_ms = config->heartbeat_ms, .patience_ms = config->patience_ms };
    const endpoint_callbacks cb = { .ctx = s, .on_message = on_message, .on_peer = on_peer };
    s->core = core_new(&config->core);
    s->publisher = weights_publisher_new(err);
    if (s->publisher) s->endpoint = endpoint_bind(lp, &ec, &cb, lg, err);
    if (!s->endpoint) {
        server_free(s);
        return NULL;
    }
    loop_add_fd(lp, queue_fd(config->versions), on_version, s);
    loop_add_timer(lp, TICK_MS, tick, s);
    return s;
}

void server_free(server *s)
{
    if (!s) return;
    message m = { .type = MSG_BYE, .bye = { "the run is over" } };
    if (s->failed) snprintf(m.bye.reason, sizeof m.bye.reason, "%.200s", s->why.text);
    for (size_t i = 0; i < s->peers.len; i++) send(s, s->peers.data[i], &m);
    loop_remove(s->lp, s);
    endpoint_free(s->endpoint);
    weights_publisher_free(s->publisher);
    core_free(s->core);
    for (size_t i = 0; i < s->finished.len; i++) step_batch_free(s->finished.data[i]);
    vec_free(&s->finished);
    vec_free(&s->acks);
    vec_free(&s->peers);
    free(s);
}

int server_check(server *s, error *err)
{
    settle(s);
    if (s->failed) return error_set(err, s->failed, "%s", s->why.text);
    const int64_t now_ms = loop_now_ms(s->lp);
    if ((s->actors > 0 && s->reward_workers > 0) || core_open_tasks(s->core) == 0) s->alone_since_ms = now_ms;
    if (now_ms - s->alone_since_ms < ALONE_MS) return OK;
    char waiting[200];
    core_waiting_for(s->core, waiting, sizeof waiting);
    return error_set(err, ERR_TIMEOUT, "nobody came for %d s: waiting for %s", ALONE_MS / 1000, waiting);
}

core *server_core(server *s) { return s->core; }

server_stats server_statistics(const server *s)
{
    return (server_stats){ .core = core_statistics(s->core), .actors = s->actors, .reward_workers = s->reward_workers, .tokens = s->tokens,
                           .malformed = endpoint_malformed(s->endpoint) };
}
