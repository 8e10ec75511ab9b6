/* SPDX-License-Identifier: MIT */
/* The server, its core and a real database, in a world where everything that can go wrong does (world.h): besides what
 * happens to the core alone, the process dies in the middle of a transaction, between a commit and its acks, between
 * two acks; transactions can't be begun, filled or committed. An ack is only ever sent of what another connection to
 * the database can read.
 *
 * The wire is fakes.c; the faults of the database are put in by the linker (--wrap),
 * so nothing in the program knows. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "tests/sim/fakes.h"
#include "tests/sim/world.h"

enum { RUNS = 60 };

typedef struct whole {
    fakes fakes;
    world *world;
    server *server;
    store *store;
    queue *steps, *versions;
    sqlite3 *reader; /* sees what is committed, as whoever comes after a crash */
    sqlite3_stmt *find;
    char *dir, path[96];
    bool dead;   /* the process was killed: nothing it does from now on has an effect */
    bool failed; /* the server gave up, with a sentence: the process ends */
} whole;

static whole *of(const world *w) { return w->exchange; }
static core *core_of(world *w) { return server_core(of(w)->server); }

/* ---- the database, and its faults ---- */

static whole *under_way; /* the linker's wrappers are handed no context */

int __real_store_begin(store *s, error *err);
int __real_store_commit(store *s, error *err);
int __real_store_put_episode(store *s, const task *t, const episode *e, error *err);
int __wrap_store_begin(store *s, error *err);
int __wrap_store_commit(store *s, error *err);
int __wrap_store_put_episode(store *s, const task *t, const episode *e, error *err);

/* Killed here and now, as far as the rest of the world can tell. */
static bool dies(double p)
{
    whole *x = under_way;
    if (!x->dead && x->world->crashes_left > 0 && world_chance(x->world, p)) x->world->crashes_left--, x->dead = true;
    return x->dead;
}

static bool breaks(double p)
{
    whole *x = under_way;
    return x->world->crashes_left > 0 && world_chance(x->world, p) ? x->world->crashes_left--, true : false;
}

int __wrap_store_begin(store *s, error *err)
{
    if (dies(0.002)) return OK;
    if (breaks(0.002)) return error_set(err, ERR_IO, "rollouts.db: database is locked");
    return __real_store_begin(s, err);
}

int __wrap_store_put_episode(store *s, const task *t, const episode *e, error *err)
{
    if (dies(0.002)) return OK;
    if (breaks(0.002)) return error_set(err, ERR_IO, "rollouts.db: database or disk is full");
    return __real_store_put_episode(s, t, e, err);
}

int __wrap_store_commit(store *s, error *err)
{
    if (dies(0.004)) return OK;
    if (breaks(0.004)) return error_set(err, ERR_IO, "rollouts.db: disk I/O error");
    const int rc = __real_store_commit(s, err);
    dies(0.004); /* committed, but never acknowledged */
    return rc;
}

static bool has_kept(world *w, uint64_t id)
{
    whole *x = of(w);
    sqlite3_bind_int64(x->find, 1, (int64_t)id);
    const bool found = sqlite3_step(x->find) == SQLITE_ROW;
    sqlite3_reset(x->find);
    return found;
}

static void open_database(whole *x)
{
    error err = { 0 };
    x->dir = test_folder_in_memory(); /* what a power cut would take is not in question here */
    snprintf(x->path, sizeof x->path, "%s/rollouts.db", x->dir);
    store *s = store_open(x->path, &err); /* makes the tables */
    if (!s) fail_msg("%s", err.text);
    store_close(s);
    assert_int_equal(sqlite3_open(x->path, &x->reader), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(x->reader, "SELECT 1 FROM episodes WHERE task_id = ?", -1, &x->find, NULL),
                     SQLITE_OK);
}

/* ---- what the server says ---- */

static int on_send(void *ctx, peer_id peer, const message *m)
{
    whole *x = ctx;
    if (dies(0.001)) return OK; /* into the void */
    if (m->type == MSG_TASK) world_send_task(x->world, peer, m->task.task);
    if (m->type == MSG_SCORE_REQUEST) world_ask_score(x->world, peer, m->score_request.task->id);
    if (m->type == MSG_EPISODE_ACK) world_send_ack(x->world, peer, m->ack.task);
    return OK;
}

static void on_refuse(void *ctx, peer_id peer, refusal why, const char *said)
{
    (void)peer;
    world_refused(((whole *)ctx)->world, why == REFUSAL_UNASKED ? REFUSED_UNASKED : REFUSED_EPISODE, said);
}

static void take_steps(whole *x)
{
    void *item;
    while (queue_pop(x->steps, &item, 0) == OK) {
        step_batch *b = item;
        if (b->eval)
            world_eval(x->world, b->step);
        else
            world_step(x->world, b->step, b->groups, b->n);
        step_batch_free(b);
    }
}

/* ---- its lives ---- */

static void open_server(world *w, int64_t from)
{
    error err = { 0 };
    whole *x = of(w);
    if (!x) {
        w->exchange = x = xcalloc(1, sizeof *x);
        x->world = w;
        open_database(x);
    }
    under_way = x;
    x->dead = x->failed = false;
    x->fakes = (fakes){ .ctx = x, .on_send = on_send, .on_refuse = on_refuse };
    x->store = store_open(x->path, &err);
    if (!x->store) fail_msg("seed %" PRIu64 ": %s", w->seed, err.text);
    x->steps = queue_new(STEPS + 4);
    x->versions = queue_new(4);
    const server_config config = { .core = w->config,
                                   .address = "ipc:///nowhere",
                                   .run = "sim",
                                   .store = x->store,
                                   .steps = x->steps,
                                   .versions = x->versions };
    x->server = server_new(fakes_loop(&x->fakes), &config, NULL, &err);
    if (!x->server) fail_msg("%s", err.text);
    if (w->life > 1 && server_restore(x->server, from, &err) != OK) fail_msg("seed %" PRIu64 ": %s", w->seed, err.text);
}

static void close_server(world *w)
{
    whole *x = of(w);
    void *item;
    under_way = x;
    x->dead = true; /* a killed process says no goodbye */
    server_free(x->server);
    while (queue_pop(x->steps, &item, 0) == OK) step_batch_free(item);
    while (queue_pop(x->versions, &item, 0) == OK) new_version_free(item);
    queue_free(x->steps);
    queue_free(x->versions);
    store_close(x->store); /* a transaction that is open is undone, as by whoever comes after a crash */
}

static void end_server(world *w)
{
    whole *x = of(w);
    sqlite3_finalize(x->find);
    sqlite3_close(x->reader);
    test_folder_remove(x->dir);
    free(x);
}

static void publish_version(world *w, int64_t version, bool evaluate)
{
    whole *x = of(w);
    picked_row rows[PROMPTS * (1 + REFILLS)];
    const uint32_t n = scheduler_prompts(&w->config.schedule);
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){
        .version = version, .hash = w->weights[version], .evaluate = evaluate, .rows_from = w->told + 1
    };
    v->file = test_file_nameless("weights");
    for (; w->sampled && w->told < version + 1 + w->max_staleness; w->told++, v->n_rows++) {
        v->rows = xrealloc(v->rows, (v->n_rows + 1) * n * sizeof *rows);
        memcpy(v->rows + (size_t)v->n_rows * n, world_rows(w->told + 1, rows), n * sizeof *rows);
    }
    assert_int_equal(queue_push(x->versions, v, 0), OK);
    x->fakes.now_ms = w->now;
    x->fakes.look(x->fakes.server_ctx);
}

/* ---- what happens to it ---- */

static void peer_of_server(world *w, const client *c, bool up)
{
    whole *x = of(w);
    hello_body hello = { .pid = 1, .protocol = PROTOCOL_VERSION };
    snprintf(hello.role, sizeof hello.role, "%s", c->actor ? "actor" : "reward");
    snprintf(hello.name, sizeof hello.name, "peer-%" PRIu32, c->peer);
    x->fakes.now_ms = w->now;
    x->fakes.server.on_peer(x->fakes.server.ctx, c->peer, &hello, up, "its connection broke");
}

static void say(world *w, uint32_t peer, message *m)
{
    whole *x = of(w);
    x->fakes.now_ms = w->now;
    x->fakes.server.on_message(x->fakes.server.ctx, peer, m);
    message_reset(m);
}

static void want_of_server(world *w, uint32_t peer, uint32_t slots)
{
    say(w, peer, &(message){ .type = MSG_WANT, .want = { slots } });
}

static void episode_to_server(world *w, uint32_t peer, episode *e)
{
    say(w, peer, &(message){ .type = MSG_EPISODE, .episode = { e } });
}

static void score_to_server(world *w, uint32_t peer, score *s)
{
    say(w, peer, &(message){ .type = MSG_SCORE, .score = { s } });
}

static void progress_of_server(world *w, uint32_t peer, uint64_t tokens)
{
    message m = { .type = MSG_HEARTBEAT, .heartbeat = { .version = w->version, .tokens = tokens } };
    say(w, peer, &m);
}

static void tick_server(world *w)
{
    whole *x = of(w);
    x->fakes.now_ms = w->now;
    x->fakes.tick(x->fakes.server_ctx);
}

/* One turn of the learner's I/O thread. A server that failed has acknowledged nothing since. */
static bool settle_server(world *w)
{
    error err = { 0 };
    whole *x = of(w);
    under_way = x;
    x->fakes.now_ms = w->now;
    const int rc = server_check(x->server, &err);
    if (rc != OK && !x->dead && rc != ERR_IO) fail_msg("seed %" PRIu64 ": %s", w->seed, err.text);
    if (rc == OK && !x->dead) take_steps(x);
    return rc != OK || x->dead;
}

static const subject SERVER = { .open = open_server,
                                .close = close_server,
                                .end = end_server,
                                .publish = publish_version,
                                .peer = peer_of_server,
                                .want = want_of_server,
                                .episode = episode_to_server,
                                .score = score_to_server,
                                .progress = progress_of_server,
                                .tick = tick_server,
                                .settle = settle_server,
                                .has_kept = has_kept,
                                .core = core_of };

static void a_synchronous_run_ends_as_the_calm_one_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&SERVER, (manner){ 0 }, RUNS);
}

static void a_run_with_stale_tokens_keeps_to_its_limit_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&SERVER, (manner){ .max_staleness = 2 }, RUNS);
}

static void refills_a_lag_and_a_sampler_are_the_same_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&SERVER, (manner){ .refills = REFILLS }, RUNS);
    rough_histories(&SERVER, (manner){ .max_staleness = 1, .lag = 1, .refills = REFILLS }, RUNS);
    rough_histories(&SERVER, (manner){ .max_staleness = 1, .refills = REFILLS, .sampled = true }, RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_synchronous_run_ends_as_the_calm_one_whatever_happens),
        cmocka_unit_test(a_run_with_stale_tokens_keeps_to_its_limit_whatever_happens),
        cmocka_unit_test(refills_a_lag_and_a_sampler_are_the_same_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
