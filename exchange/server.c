/* SPDX-License-Identifier: MIT */
#include "exchange/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/allowance.h"
#include "base/vec.h"

enum { TICK_MS = 500, ALONE_MS = 120000, REMIND_MS = 10000, REPEAT_MS = 5000 };
enum { PRESENCE_BURST = 64, PRESENCE_EVERY_MS = 1000 };

typedef struct pending_ack {
    peer_id peer;
    uint64_t task_id;
} pending_ack;

typedef struct visitor {
    peer_id id;
    bool actor, for_recipe; /* for_recipe: it takes part in nothing */
    int64_t weights_ms;     /* when it was last sent something about weights */
} visitor;

struct server {
    loop *lp;
    logger *log;
    server_config config;
    core *core;
    endpoint *endpoint;
    weights_publisher *publisher;
    vec(pending_ack) acks;       /* sent when the transaction is committed */
    vec(step_batch *) finished;  /* waiting for room in the queue */
    vec(new_version *) versions; /* waiting for the end of an evaluation */
    vec(visitor) peers;
    bool published;
    int actors, reward_workers;
    uint64_t tokens;
    int64_t alone_since_ms, moved_ms; /* moved: a step was finished, or a reminder given */
    allowance presence; /* lines about who comes and goes: whoever does nothing else must not fill the disk */
    uint64_t presence_untold;
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

static int send(server *s, peer_id peer, const message *m)
{
    error err = { 0 };
    const int rc = endpoint_send(s->endpoint, peer, m, &err);
    if (rc != OK) log_debug(s->log, "%s", err.text);
    return rc;
}

/* Work that a peer has no room for goes to another, or to it once it has read; any other failure is its lease's. */
static void send_work(server *s, const action *a, const message *m)
{
    if (send(s, a->peer, m) == ERR_FULL) core_unsent(s->core, a->peer, a->task_id);
}

static void refused(server *s, const action *a)
{
    static const refusal WHY[] = {
        [REFUSED_EPISODE] = REFUSAL_EPISODE, [REFUSED_SCORE] = REFUSAL_SCORE, [REFUSED_UNASKED] = REFUSAL_UNASKED
    };
    endpoint_refuse(s->endpoint, a->peer, WHY[a->refused], a->said);
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

    if (a->kind == COMMIT_EPISODE)
        s->tokens += trajectory_sampled(&a->episode->tokens);
    else if (a->score->status != SCORE_OK)
        log_warn(s->log, "task %016" PRIx64 " has no score: %s", a->score->task,
                 a->score->error ? a->score->error : "no reason given");
}

static void finish(server *s, const action *a)
{
    step_batch *b = xcalloc(1, sizeof *b);
    *b = (step_batch){ .step = a->step, .eval = a->kind == EVAL_READY, .groups = a->groups, .n = a->n_groups };
    vec_push(&s->finished, b);
    s->moved_ms = loop_now_ms(s->lp);
}

static void halt(server *s, const char *why)
{
    error err = { 0 };
    error_set(&err, ERR_STATE, "%s", why);
    fail(s, &err);
}

static void perform(server *s, const action *a)
{
    message m = { 0 };

    switch (a->kind) {
    case COMMIT_EPISODE:
    case COMMIT_SCORE:
        commit(s, a);
        break;
    case SEND_ACK:
        vec_push(&s->acks, (pending_ack){ a->peer, a->task_id });
        break;
    case SEND_TASK:
        m.type = MSG_TASK;
        m.task.task = (task *)(uintptr_t)a->task; /* only read */
        send_work(s, a, &m);
        break;
    case ASK_SCORE:
        m.type = MSG_SCORE_REQUEST;
        m.score_request = (score_request_body){ (task *)(uintptr_t)a->task, (episode *)(uintptr_t)a->episode };
        send_work(s, a, &m);
        break;
    case STEP_READY:
    case EVAL_READY:
        finish(s, a);
        break;
    case REFUSE:
        refused(s, a);
        break;
    case DISMISS:
        endpoint_dismiss(s->endpoint, a->peer, a->said);
        break;
    case HALT:
        halt(s, a->why);
        break;
    }
}

static void hand_over(server *s)
{
    size_t n = 0;
    while (n < s->finished.len && queue_push(s->config.steps, s->finished.data[n], 0) == OK) n++;
    if (n == 0) return;
    memmove(s->finished.data, s->finished.data + n, (s->finished.len - n) * sizeof *s->finished.data);
    s->finished.len -= n;
}

/* All actions; then one commit for what arrived together; then the acks, then what is built on it. Whoever is acked
 * forgets its episode, so nothing is acked that a power cut could still take. */
static void settle(server *s)
{
    action a;
    error err = { 0 };
    while (core_next_action(s->core, &a)) perform(s, &a);

    if (s->in_transaction && store_commit(s->config.store, &err) != OK) fail(s, &err);
    s->in_transaction = false; /* of a commit that failed nothing is acked: the run ends */

    for (size_t i = 0; i < s->acks.len && !s->failed; i++) {
        const message m = { .type = MSG_EPISODE_ACK, .ack = { s->acks.data[i].task_id } };
        send(s, s->acks.data[i].peer, &m);
    }
    s->acks.len = 0;

    if (!s->failed) hand_over(s);
}

/* ---- weights ---- */

static visitor *visitor_of(server *s, peer_id id)
{
    for (size_t i = 0; i < s->peers.len; i++)
        if (s->peers.data[i].id == id) return &s->peers.data[i];
    return NULL;
}

static void announce(server *s, visitor *v)
{
    message m = { .type = MSG_WEIGHTS };
    v->weights_ms = loop_now_ms(s->lp);
    if (v->actor && !v->for_recipe && weights_announcement(s->publisher, &m.weights)) send(s, v->id, &m);
}

static void send_chunk(server *s, visitor *v, const weights_get_body *get)
{
    message m = { .type = MSG_WEIGHTS_CHUNK };
    v->weights_ms = loop_now_ms(s->lp);
    if (!weights_chunk_of(s->publisher, get, &m.weights_chunk))
        announce(s, v);                      /* that version is no more: here is the newest */
    else if (send(s, v->id, &m) == ERR_FULL) /* it is told again of the version later, and asks again */
        endpoint_refuse(s->endpoint, v->id, REFUSAL_UNREAD, "WEIGHTS_GET, before it has read what it was sent");
    message_reset(&m);
}

/* An actor that still has other weights long after it was told has lost the word, or a chunk. */
static void repeat_announcement(server *s, visitor *v, int64_t version)
{
    weights_body newest;
    if (!v->actor || !weights_announcement(s->publisher, &newest) || newest.version == version) return;
    if (loop_now_ms(s->lp) - v->weights_ms >= REPEAT_MS) announce(s, v);
}

/* A step's groups have at least so many episodes. */
static uint32_t min_group(const server *s) { return s->config.core.schedule.group < 2 ? 1 : 2; }

/* The first version of a resumed run is a checkpoint's, whose step is on record, unless the process died in between. */
static int put_step(server *s, const new_version *v, error *err)
{
    if (s->published || v->version == 0)
        return store_put_step(s->config.store, v->version, v->hash, v->groups, v->episodes, err);
    return store_complete_step(s->config.store, v->version, v->hash, min_group(s), err);
}

/* A step's record, and what goes because of it, are one commit. */
static int record_step(server *s, const new_version *v, error *err)
{
    const int64_t keep = s->config.keep_episodes;
    int rc = store_begin(s->config.store, err);
    if (rc == OK) rc = put_step(s, v, err);
    if (rc == OK && keep > 0 && v->version > keep)
        rc = store_drop_episodes(s->config.store, v->version - keep + 1, err);
    return rc == OK ? store_commit(s->config.store, err) : rc;
}

static void publish(server *s, new_version *v)
{
    error err = { 0 };
    int rc = record_step(s, v, &err);
    if (rc == OK) rc = weights_publish(s->publisher, v->version, v->hash, v->file, &err);
    if (rc != OK) {
        fail(s, &err);
        return;
    }

    v->file = 0;
    s->published = true;
    for (size_t i = 0; i < s->peers.len; i++) announce(s, &s->peers.data[i]);

    /* Before the version: it opens the steps that need these rows, and an evaluation comes first in line. */
    if (v->evaluate) core_evaluate(s->core, v->version);
    for (uint32_t i = 0; i < v->n_rows; i++)
        core_rows(s->core, v->rows_from + i, v->rows + (size_t)i * (size_t)scheduler_prompts(&s->config.core.schedule));
    core_version(s->core, loop_now_ms(s->lp), v->version, v->hash);
}

void new_version_free(new_version *v)
{
    if (!v) return;
    if (v->file > 0) close(v->file);
    free(v->rows);
    free(v);
}

/* Actors stay on a version until its evaluation is over. */
static void publish_versions(server *s)
{
    while (s->versions.len > 0 && !s->failed && !core_evaluating(s->core)) {
        new_version *v = s->versions.data[0];
        memmove(s->versions.data, s->versions.data + 1, --s->versions.len * sizeof *s->versions.data);
        publish(s, v);
        new_version_free(v);
    }
}

static void on_version(void *ctx)
{
    server *s = ctx;
    void *v;
    while (queue_pop(s->config.versions, &v, 0) == OK) vec_push(&s->versions, v);
    publish_versions(s);
}

/* ---- the recipe ---- */

static const parcel *parcel_for(const server *s, bool actor)
{
    return actor ? s->config.for_actors : s->config.for_rewards;
}

static void send_part(server *s, const visitor *v, const recipe_get_body *get)
{
    message m = { .type = MSG_RECIPE_CHUNK };
    const parcel *p = parcel_for(s, v->actor);
    if (p && parcel_chunk_of(p, get, &m.recipe_chunk) && send(s, v->id, &m) == ERR_FULL) /* it asks again */
        endpoint_refuse(s->endpoint, v->id, REFUSAL_UNREAD, "RECIPE_GET, before it has read what it was sent");
    free(m.recipe_chunk.data);
}

static void welcome(server *s, const visitor *v)
{
    weights_body newest;
    const parcel *p = parcel_for(s, v->actor);
    message m = { .type = MSG_WELCOME, .welcome = { .seed = s->config.core.schedule.seed, .version = -1 } };
    if (weights_announcement(s->publisher, &newest)) m.welcome.version = newest.version;
    snprintf(m.welcome.run, sizeof m.welcome.run, "%s", s->config.run);
    if (p) m.welcome.recipe = p->list; /* only read */
    send(s, v->id, &m);
}

/* ---- events ---- */

/* Who comes or goes, at a bounded rate: a line that is said says how many were not. */
static void tell_presence(server *s, log_level level, const char *said)
{
    const int64_t now_ms = loop_now_ms(s->lp);
    if (!allowance_has(&s->presence, now_ms, PRESENCE_BURST, PRESENCE_EVERY_MS)) {
        s->presence_untold++;
        return;
    }
    allowance_take(&s->presence);
    if (s->presence_untold > 0)
        log_at(s->log, level, "%s (and %" PRIu64 " more connected or left)", said, s->presence_untold);
    else
        log_at(s->log, level, "%s", said);
    s->presence_untold = 0;
}

static void leave(server *s, peer_id peer)
{
    for (size_t i = 0; i < s->peers.len; i++)
        if (s->peers.data[i].id == peer) s->peers.data[i--] = s->peers.data[--s->peers.len];
}

/* A peer that asks for the recipe connects again with it: it is no worker yet, and no loss when it leaves. */
static void on_recipeless(server *s, const visitor *v, const hello_body *hello, bool up)
{
    char said[200];
    if (!up) {
        leave(s, v->id);
        return;
    }

    snprintf(said, sizeof said, "%s asks for the recipe (%s, pid %" PRId64 ")", hello->name, hello->role, hello->pid);
    tell_presence(s, LOG_INFO, said);
    vec_push(&s->peers, *v);

    if (parcel_for(s, v->actor))
        welcome(s, v);
    else
        endpoint_dismiss(s->endpoint, v->id,
                         "this learner cannot send its recipe (its log says why): start the worker with RECIPE.lua");
}

static void farewell(server *s, peer_id peer, const hello_body *hello, const char *why)
{
    char said[400];
    snprintf(said, sizeof said, "%s is gone: %s", hello->name, why);
    tell_presence(s, LOG_WARN, said);
    leave(s, peer);
    core_peer_down(s->core, peer);
}

static void arrive(server *s, const visitor *v, const hello_body *hello)
{
    char said[200];
    snprintf(said, sizeof said, "%s has connected (pid %" PRId64 ")", hello->name, hello->pid);
    tell_presence(s, LOG_INFO, said);
    vec_push(&s->peers, *v);
    core_peer_up(s->core, v->id, v->actor);
    welcome(s, v);
    announce(s, visitor_of(s, v->id));
}

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    server *s = ctx;
    const visitor v = { .id = peer, .actor = strcmp(hello->role, "actor") == 0, .for_recipe = hello->for_recipe };
    if (v.for_recipe) {
        on_recipeless(s, &v, hello, up);
        return;
    }

    *(v.actor ? &s->actors : &s->reward_workers) += up ? 1 : -1;
    if (up)
        arrive(s, &v, hello);
    else
        farewell(s, peer, hello, why);
}

static void on_unreadable(void *ctx, peer_id peer, uint64_t id)
{
    server *s = ctx;
    core_unreadable(s->core, loop_now_ms(s->lp), peer, id);
}

static void on_room(void *ctx, peer_id peer)
{
    server *s = ctx;
    core_room(s->core, loop_now_ms(s->lp), peer);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    server *s = ctx;
    const int64_t now_ms = loop_now_ms(s->lp);
    visitor *v = visitor_of(s, peer);
    if (!v) return;

    switch (m->type) {
    case MSG_HEARTBEAT:
        repeat_announcement(s, v, m->heartbeat.version);
        core_progress(s->core, now_ms, peer, m->heartbeat.tokens);
        break;
    case MSG_WANT:
        core_want(s->core, now_ms, peer, m->want.slots);
        break;
    case MSG_EPISODE:
        core_episode(s->core, now_ms, peer, m->episode.episode);
        m->episode.episode = NULL;
        break;
    case MSG_SCORE:
        core_score(s->core, now_ms, peer, m->score.score);
        m->score.score = NULL;
        break;
    case MSG_WEIGHTS_GET:
        send_chunk(s, v, &m->weights_get);
        break;
    case MSG_RECIPE_GET:
        send_part(s, v, &m->recipe_get);
        break;
    default:
        break; /* not for an exchange */
    }
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
    *s = (server){
        .lp = lp, .log = lg, .config = *config, .alone_since_ms = loop_now_ms(lp), .moved_ms = loop_now_ms(lp)
    };

    endpoint_config ec = { .address = config->address,
                           .heartbeat_ms = config->heartbeat_ms,
                           .patience_ms = config->patience_ms };
    const endpoint_callbacks cb = {
        .ctx = s, .on_message = on_message, .on_peer = on_peer, .on_unreadable = on_unreadable, .on_room = on_room
    };

    /* Longer than a message of its type can be in this run: refused before it is decoded. */
    for (int type = 0; type < N_MESSAGES; type++)
        ec.limits[type] = limits_message_bytes(&config->core.limits, (message_type)type);

    s->core = core_new(&config->core);
    s->publisher = weights_publisher_new();
    s->endpoint = endpoint_bind(lp, &ec, &cb, lg, err);
    if (!s->endpoint) {
        server_free(s);
        return NULL;
    }

    log_info(lg, "listening at %s", endpoint_address(s->endpoint));
    loop_add_fd(lp, queue_fd(config->versions), on_version, s);
    loop_add_timer(lp, TICK_MS, tick, s);
    return s;
}

void server_free(server *s)
{
    if (!s) return;
    message m = { .type = MSG_BYE, .bye = { "the run is over" } };
    if (s->failed) snprintf(m.bye.reason, sizeof m.bye.reason, "%.200s", s->why.text);
    for (size_t i = 0; i < s->peers.len; i++) send(s, s->peers.data[i].id, &m);

    loop_remove(s->lp, s);
    endpoint_free(s->endpoint);
    weights_publisher_free(s->publisher);
    core_free(s->core);

    for (size_t i = 0; i < s->finished.len; i++) step_batch_free(s->finished.data[i]);
    for (size_t i = 0; i < s->versions.len; i++) new_version_free(s->versions.data[i]);
    vec_free(&s->finished);
    vec_free(&s->versions);
    vec_free(&s->acks);
    vec_free(&s->peers);
    free(s);
}

static int restore_row(void *ctx, const char *row, episode *e, score *sc)
{
    (void)row; /* the scheduler knows it */
    core_restore(((server *)ctx)->core, e, sc);
    return 0;
}

static void restore_step(void *ctx, int64_t step, uint64_t hash) { core_known(((server *)ctx)->core, step, hash); }

static void warn_damage(void *ctx, const char *sentence) { log_warn(((server *)ctx)->log, "%s", sentence); }

int server_restore(server *s, int64_t step, error *err)
{
    store_on_damage(s->config.store, warn_damage, s);
    int rc = store_forget_steps(s->config.store, step, err);
    if (rc == OK) rc = store_complete_steps(s->config.store, step, min_group(s), err);
    if (rc == OK) rc = store_read_steps(s->config.store, restore_step, s, err);
    if (rc == OK) rc = store_read(s->config.store, -1, step, 0, restore_row, s, err);
    store_on_damage(s->config.store, NULL, NULL);
    return rc == OK ? OK : error_within(err, "resuming from step %" PRId64, step);
}

/* No actor or no reward worker for two minutes: the run stops. */
static int wait_for_workers(server *s, error *err)
{
    char waiting[200];
    const int64_t now_ms = loop_now_ms(s->lp);
    if ((s->actors > 0 && s->reward_workers > 0) || core_open_tasks(s->core) == 0) s->alone_since_ms = now_ms;

    if (now_ms - s->alone_since_ms < ALONE_MS) return OK;
    core_waiting_for(s->core, waiting, sizeof waiting);
    return error_set(err, ERR_TIMEOUT, "no actor or reward worker connected for %d s; waiting for %s", ALONE_MS / 1000,
                     waiting);
}

bool server_reminder(server *s, char *out, size_t size)
{
    const int64_t now_ms = loop_now_ms(s->lp);
    if (core_open_tasks(s->core) == 0) s->moved_ms = now_ms;
    if (now_ms - s->moved_ms < REMIND_MS) return false;
    s->moved_ms = now_ms;
    core_waiting_for(s->core, out, size);
    return true;
}

int server_check(server *s, error *err)
{
    settle(s);
    publish_versions(s);
    settle(s); /* what a version has opened */
    if (s->failed) return error_set(err, s->failed, "%s", s->why.text);
    return wait_for_workers(s, err);
}

int server_finish(server *s, error *err)
{
    on_version(s);
    for (size_t i = 0; i < s->versions.len && !s->failed; i++) { /* held back by an evaluation that has been given up */
        error why = { 0 };
        if (record_step(s, s->versions.data[i], &why) != OK) fail(s, &why);
    }
    return s->failed ? error_set(err, s->failed, "%s", s->why.text) : OK;
}

core *server_core(server *s) { return s->core; }

server_stats server_statistics(const server *s)
{
    return (server_stats){ .core = core_statistics(s->core),
                           .actors = s->actors,
                           .reward_workers = s->reward_workers,
                           .tokens = s->tokens,
                           .refused = *endpoint_refused(s->endpoint) };
}

void server_peers(const server *s, str *out)
{
    for (size_t i = 0; i < s->peers.len; i++)
        if (!s->peers.data[i].for_recipe) str_printf(out, "%s ", endpoint_peer_name(s->endpoint, s->peers.data[i].id));
}
