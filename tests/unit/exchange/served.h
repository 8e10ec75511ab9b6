/* SPDX-License-Identifier: MIT */
/* served - a server over a faked wire, with a database of its own, and the words that peers say to it: for the tests of
 * what it does (test_server.c) and of what it takes from whom (test_server_answers.c). */
#pragma once

#include "exchange/server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fakes.h"
#include "tests/support/honest.h"
#include "tests/support/support.h"

enum { GROUP = 2, STEPS = 2, REPEAT_MS = 5000, LEASE_MS = 120000, HASH = 77 };
enum { ANN = 1, BEN = 2, JIM = 3, JOE = 4 }; /* actors, reward workers */

typedef struct fixture {
    fakes fakes;
    char *dir;
    dataset *rows;
    store *store;
    queue *steps, *versions;
    server *server;
    int sent[5][N_MESSAGES]; /* to each peer, by type */
    uint64_t last[5];        /* the last task that each was sent, or asked to score */
    uint32_t attempt[5];
    bool full[5]; /* it owes too much: nothing more can be sent */
    int64_t keep_episodes, max_staleness;
    uint32_t refills;
    const parcel *parcel; /* for actors; reward workers have to bring theirs */
    task given[5];        /* the last task of each, without its row */
    logger *log;
    bool evaluates; /* one question */
    char said[300];
    const char *doubts; /* what its witness says of every episode; NULL: nothing */
} fixture;

static inline int witness_of(void *ctx, const task *t, const episode *e, error *err)
{
    const fixture *s = ctx;
    assert_true(t->id == e->id && (e->failed == FAIL_NONE || e->failed == FAIL_PROMPT));
    return s->doubts ? error_set(err, ERR_PARSE, "%s", s->doubts) : OK;
}

static inline int on_send(void *ctx, peer_id peer, const message *m)
{
    fixture *s = ctx;
    const bool work = m->type == MSG_TASK || m->type == MSG_SCORE_REQUEST || m->type == MSG_WEIGHTS_CHUNK ||
                      m->type == MSG_RECIPE_CHUNK;
    if (work && s->full[peer]) return ERR_FULL;
    s->sent[peer][m->type]++;
    if (m->type == MSG_TASK) s->last[peer] = m->task.task->id, s->attempt[peer] = m->task.task->attempt;
    if (m->type == MSG_TASK) s->given[peer] = *m->task.task, s->given[peer].row = NULL;
    if (m->type == MSG_SCORE_REQUEST) s->last[peer] = m->score_request.task->id;
    return OK;
}

static inline void on_refuse(void *ctx, peer_id peer, refusal why, const char *said)
{
    (void)peer, (void)why;
    snprintf(((fixture *)ctx)->said, sizeof((fixture *)ctx)->said, "%s", said);
}

static inline void one_turn(fixture *s)
{
    error err = { 0 };
    test_ok(server_check(s->server, &err), &err);
}

static inline void publish(fixture *s, int64_t version)
{
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = version, .hash = HASH };
    v->file = test_file_nameless("weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    s->fakes.look(s->fakes.server_ctx);
    one_turn(s);
}

static inline void come(fixture *s, peer_id peer)
{
    hello_body hello = { .protocol = PROTOCOL_VERSION };
    snprintf(hello.role, sizeof hello.role, "%s", peer < JIM ? "actor" : "reward");
    snprintf(hello.name, sizeof hello.name, "peer-%u", peer);
    s->fakes.server.on_peer(s->fakes.server.ctx, peer, &hello, true, "");
    one_turn(s);
}

static inline void leave(fixture *s, peer_id peer)
{
    const hello_body hello = { .role = "actor", .name = "a-peer" };
    s->fakes.server.on_peer(s->fakes.server.ctx, peer, &hello, false, "its connection is gone");
    one_turn(s);
}

static inline void say(fixture *s, peer_id peer, message m)
{
    s->fakes.server.on_message(s->fakes.server.ctx, peer, &m);
    message_reset(&m);
    one_turn(s);
}

static inline void want(fixture *s, peer_id peer, uint32_t slots)
{
    say(s, peer, (message){ .type = MSG_WANT, .want = { slots } });
}

static inline void open_server(fixture *s)
{
    error err = { 0 };
    const server_config config = { .core = { .schedule = { .train = s->rows,
                                                           .seed = 1,
                                                           .prompts_per_step = 1,
                                                           .group = GROUP,
                                                           .max_staleness = s->max_staleness,
                                                           .refills = s->refills,
                                                           .temperature = 1,
                                                           .eval = s->evaluates ? s->rows : NULL,
                                                           .eval_prompts = 1,
                                                           .max_tokens = 8 },
                                             .steps = STEPS,
                                             .limits = { .vocab = 50, .max_context = 16, .max_turns = 1 },
                                             .witness = { witness_of, s },
                                             .failure_limit = 1,
                                             .max_attempts = 3,
                                             .signal = "accuracy" },
                                   .address = "ipc:///nowhere",
                                   .run = "test",
                                   .store = s->store,
                                   .keep_episodes = s->keep_episodes,
                                   .steps = s->steps,
                                   .versions = s->versions,
                                   .for_actors = s->parcel };
    s->server = server_new(fakes_loop(&s->fakes), &config, s->log, &err);
    if (!s->server) fail_msg("%s", err.text);
}

static inline fixture *open_fixture(void)
{
    error err = { 0 };
    char path[400];
    fixture *s = xcalloc(1, sizeof *s);
    s->dir = test_folder_new();
    s->fakes = (fakes){ .ctx = s, .on_send = on_send, .on_refuse = on_refuse, .now_ms = 1000 };
    test_file_write(s->dir, "d.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n");
    snprintf(path, sizeof path, "%s/d.jsonl", s->dir);
    s->rows = dataset_open(path, 0, &err);
    snprintf(path, sizeof path, "%s/rollouts.db", s->dir);
    s->store = store_open(path, &err);
    if (!s->rows || !s->store) fail_msg("%s", err.text);
    s->steps = queue_new(4);
    s->versions = queue_new(4);
    open_server(s);
    publish(s, 0);
    return s;
}

static inline void close_fixture(fixture *s)
{
    void *item;
    server_free(s->server);
    while (queue_pop(s->steps, &item, 0) == OK) step_batch_free(item);
    queue_free(s->steps);
    queue_free(s->versions);
    store_close(s->store);
    dataset_free(s->rows);
    test_folder_remove(s->dir);
    free(s);
}

static inline core_stats stats(const fixture *s) { return server_statistics(s->server).core; }

/* ---- what peers say ---- */

static inline episode *episode_for(uint64_t id, uint32_t attempt)
{
    const int64_t step = task_id_step(id);
    const task t = { .id = id,
                     .group = task_id(false, step, 0),
                     .sample = task_id_index(id),
                     .group_size = GROUP,
                     .step = step,
                     .attempt = attempt };
    return honest_episode(&t, "text", 1, (honest_policy){ step - 1, HASH, -0.5f });
}

/* Of the prompt that the step shows: its id is the scheduler's choice. */
static inline episode *episode_of(const fixture *s, uint64_t id, uint32_t attempt)
{
    episode *e = episode_for(id, attempt);
    e->prompt_id = dataset_visit(s->rows, 1, (uint64_t)task_id_step(id) - 1);
    return e;
}

static inline void deliver(fixture *s, peer_id peer, episode *e)
{
    say(s, peer, (message){ .type = MSG_EPISODE, .episode = { e } });
}

static inline episode *failed(episode *e) { return honest_failure(e, FAIL_TOOL_LOST); }

static inline void give_score(fixture *s, peer_id peer, uint64_t id, double value)
{
    score *sc = xcalloc(1, sizeof *sc);
    sc->task = id;
    score_set(sc, "accuracy", 0, NULL);
    sc->values[0].value = value;
    say(s, peer, (message){ .type = MSG_SCORE, .score = { sc } });
}

static inline void unreadable(fixture *s, peer_id peer, uint64_t id)
{
    s->fakes.server.on_unreadable(s->fakes.server.ctx, peer, id);
    one_turn(s);
}

static inline void assert_trained(fixture *s, int64_t steps, int64_t groups, int64_t episodes)
{
    int64_t found[3];
    error err = { 0 };
    test_ok(store_counts(s->store, &found[0], &found[1], &found[2], &err), &err);
    assert_true(found[0] == steps && found[1] == groups && found[2] == episodes);
}
