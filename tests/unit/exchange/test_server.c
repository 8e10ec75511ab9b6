/* SPDX-License-Identifier: MIT */
/* What the server does with what it is told, message by message: over a faked wire, with a database of its own. */
#include "exchange/server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fakes.h"
#include "tests/support/support.h"

enum { GROUP = 2, STEPS = 2, REPEAT_MS = 5000, HASH = 77 };
enum { ANN = 1, BEN = 2, JIM = 3, JOE = 4 }; /* actors, reward workers */

typedef struct stage {
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
    int64_t keep_episodes;
    task given[5]; /* the last task of each, without its row */
    logger *log;
    bool evaluates; /* one question */
    char said[300];
} stage;

static int on_send(void *ctx, peer_id peer, const message *m)
{
    stage *s = ctx;
    const bool work = m->type == MSG_TASK || m->type == MSG_SCORE_REQUEST || m->type == MSG_WEIGHTS_CHUNK;
    if (work && s->full[peer]) return ERR_FULL;
    s->sent[peer][m->type]++;
    if (m->type == MSG_TASK) s->last[peer] = m->task.task->id, s->attempt[peer] = m->task.task->attempt;
    if (m->type == MSG_TASK) s->given[peer] = *m->task.task, s->given[peer].row = NULL;
    if (m->type == MSG_SCORE_REQUEST) s->last[peer] = m->score_request.task->id;
    return OK;
}

static void on_refuse(void *ctx, peer_id peer, refusal why, const char *said)
{
    (void)peer, (void)why;
    snprintf(((stage *)ctx)->said, sizeof((stage *)ctx)->said, "%s", said);
}

static void one_turn(stage *s)
{
    error err = { 0 };
    test_ok(server_check(s->server, &err), &err);
}

static void publish(stage *s, int64_t version)
{
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = version, .hash = HASH };
    str_puts(&v->bytes, "weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    s->fakes.look(s->fakes.server_ctx);
    one_turn(s);
}

static void come(stage *s, peer_id peer)
{
    hello_body hello = { .protocol = PROTOCOL_VERSION };
    snprintf(hello.role, sizeof hello.role, "%s", peer < JIM ? "actor" : "reward");
    snprintf(hello.name, sizeof hello.name, "peer-%u", peer);
    s->fakes.server.on_peer(s->fakes.server.ctx, peer, &hello, true, "");
    one_turn(s);
}

static void leave(stage *s, peer_id peer)
{
    const hello_body hello = { .role = "actor", .name = "somebody" };
    s->fakes.server.on_peer(s->fakes.server.ctx, peer, &hello, false, "its connection is gone");
    one_turn(s);
}

static void say(stage *s, peer_id peer, message m)
{
    s->fakes.server.on_message(s->fakes.server.ctx, peer, &m);
    message_reset(&m);
    one_turn(s);
}

static void want(stage *s, peer_id peer, uint32_t slots)
{
    say(s, peer, (message){ .type = MSG_WANT, .want = { slots } });
}

static void open_server(stage *s)
{
    error err = { 0 };
    const server_config config = { .core = { .schedule = { .train = s->rows,
                                                           .seed = 1,
                                                           .prompts_per_step = 1,
                                                           .group = GROUP,
                                                           .temperature = 1,
                                                           .eval = s->evaluates ? s->rows : NULL,
                                                           .eval_prompts = 1,
                                                           .max_tokens = 8 },
                                             .steps = STEPS,
                                             .limits = { .vocab = 50, .max_context = 16, .max_turns = 1 },
                                             .failure_limit = 1,
                                             .max_attempts = 3,
                                             .signal = "accuracy" },
                                   .address = "ipc:///nowhere",
                                   .run = "test",
                                   .store = s->store,
                                   .keep_episodes = s->keep_episodes,
                                   .steps = s->steps,
                                   .versions = s->versions };
    s->server = server_new(fakes_loop(&s->fakes), &config, s->log, &err);
    if (!s->server) fail_msg("%s", err.text);
}

static stage *open_stage(void)
{
    error err = { 0 };
    char path[400];
    stage *s = xcalloc(1, sizeof *s);
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

static void close_stage(stage *s)
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

static core_stats stats(const stage *s) { return server_statistics(s->server).core; }

/* ---- what peers say ---- */

static episode *episode_for(uint64_t id, uint32_t attempt)
{
    const int64_t step = task_id_step(id);
    const task t = { .id = id,
                     .group = task_id(false, step, 0),
                     .sample = task_id_index(id),
                     .group_size = GROUP,
                     .step = step,
                     .attempt = attempt };
    episode *e = episode_new(&t);
    trajectory_append(&e->tokens, ROLE_QUESTION, (const int32_t[]){ 1, 2 }, 2);
    e->tokens.n_prompt = 2;
    trajectory_append_sampled(&e->tokens, 3, -0.5f, step - 1, HASH);
    e->text = xstrdup("text");
    e->transcript = xstrdup("text");
    e->stop = STOP_EOS;
    return e;
}

/* Of the prompt that the step shows: its id is the scheduler's choice. */
static episode *episode_of(const stage *s, uint64_t id, uint32_t attempt)
{
    episode *e = episode_for(id, attempt);
    e->prompt_id = dataset_visit(s->rows, 1, (uint64_t)task_id_step(id) - 1);
    return e;
}

static void deliver(stage *s, peer_id peer, episode *e)
{
    say(s, peer, (message){ .type = MSG_EPISODE, .episode = { e } });
}

static episode *failed(episode *e)
{
    e->stop = STOP_ERROR;
    e->failed = FAIL_TOOL_LOST;
    e->failure_text = xstrdup("the box died");
    return e;
}

static void give_score(stage *s, peer_id peer, uint64_t id, double value)
{
    score *sc = xcalloc(1, sizeof *sc);
    sc->task = id;
    score_set(sc, "accuracy", 0, NULL);
    sc->values[0].value = value;
    say(s, peer, (message){ .type = MSG_SCORE, .score = { sc } });
}

static void unreadable(stage *s, peer_id peer, uint64_t id)
{
    s->fakes.server.on_unreadable(s->fakes.server.ctx, peer, id);
    one_turn(s);
}

static void assert_trained(stage *s, int64_t steps, int64_t groups, int64_t episodes)
{
    int64_t found[3];
    error err = { 0 };
    test_ok(store_counts(s->store, &found[0], &found[1], &found[2], &err), &err);
    assert_true(found[0] == steps && found[1] == groups && found[2] == episodes);
}

/* ---- promises ---- */

/* A trainer that ends does not wait until its last version was looked at. */
static void the_last_version_is_on_record_though_nobody_looks_again(void **state)
{
    (void)state;
    error err = { 0 };
    stage *s = open_stage();
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = 1, .hash = HASH, .groups = 1, .episodes = 2 };
    str_puts(&v->bytes, "weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    assert_trained(s, 0, 0, 0);
    test_ok(server_finish(s->server, &err), &err);
    assert_trained(s, 1, 1, 2);
    close_stage(s);
}

/* Killed between a checkpoint and the record of its step: the run that goes on has it. */
static void a_checkpoint_whose_step_is_not_on_record_is_recorded(void **state)
{
    (void)state;
    error err = { 0 };
    for (int known = 0; known < 2; known++) {
        stage *s = open_stage();
        come(s, ANN);
        want(s, ANN, GROUP);
        for (uint32_t i = 0; i < GROUP; i++) deliver(s, ANN, episode_of(s, task_id(false, 1, i), 0));
        if (known) test_ok(store_put_step(s->store, 1, HASH, 7, 8, &err), &err);
        server_free(s->server);
        open_server(s);
        test_ok(server_restore(s->server, 1, &err), &err);
        publish(s, 1);
        assert_trained(s, 1, known ? 7 : 1, known ? 8 : GROUP);
        close_stage(s);
    }
}

static int count_row(void *ctx, const char *row, episode *e, score *sc)
{
    (void)row;
    int *n = ctx;
    n[e->step]++;
    episode_free(e);
    score_free(sc);
    return 0;
}

/* Of the steps that were trained, the episodes of the last `keep_episodes` stay, and of those ahead all. */
static void old_episodes_go_with_the_step_that_makes_them_old(void **state)
{
    (void)state;
    error err = { 0 };
    for (int64_t keep = 0; keep <= 2; keep += 2) {
        int left[6] = { 0 };
        stage *s = open_stage();
        for (int64_t step = 1; step <= 5; step++) {
            task t = { .id = task_id(false, step, 0), .step = step, .row = xstrdup("{}") };
            episode *e = episode_for(t.id, 0);
            test_ok(store_put_episode(s->store, &t, e, &err), &err);
            episode_free(e);
            task_reset(&t);
        }
        server_free(s->server);
        s->keep_episodes = keep;
        open_server(s);
        publish(s, 0);
        for (int64_t version = 1; version <= 4; version++) publish(s, version);
        test_ok(store_read(s->store, -1, -1, 0, count_row, left, &err), &err);
        for (int step = 1; step <= 5; step++) assert_int_equal(left[step], keep == 0 || step > 4 - keep);
        assert_trained(s, 4, 0, 0);
        close_stage(s);
    }
}

static void an_actor_with_old_weights_is_told_again_but_not_at_once(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    come(s, JIM);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    const message old = { .type = MSG_HEARTBEAT, .heartbeat = { .version = -1 } };
    say(s, ANN, old);
    s->fakes.now_ms += REPEAT_MS - 1;
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1); /* it may be loading them */
    s->fakes.now_ms += 1;
    say(s, ANN, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .version = 0 } });
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1); /* it has them */
    say(s, ANN, old);
    say(s, JIM, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    s->fakes.now_ms += REPEAT_MS;
    say(s, ANN, old);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 3);
    assert_int_equal(s->sent[JIM][MSG_WEIGHTS], 0);
    close_stage(s);
}

static void chunks_are_sent_to_who_reads(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    const message get = { .type = MSG_WEIGHTS_GET, .weights_get = { .version = 0, .offset = 0 } };
    say(s, ANN, get);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS_CHUNK], 1);
    s->full[ANN] = true;
    say(s, ANN, get);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS_CHUNK], 1);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNREAD], 1);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    close_stage(s);
}

static void work_that_can_not_be_sent_waits_or_goes_to_another_and_is_not_lost(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    s->full[ANN] = true;
    want(s, ANN, GROUP);
    assert_int_equal(s->sent[ANN][MSG_TASK], 0);
    come(s, BEN);
    want(s, BEN, 1);
    assert_int_equal(s->sent[BEN][MSG_TASK], 1);
    s->full[ANN] = false;
    want(s, BEN, 0);
    assert_int_equal(s->sent[ANN][MSG_TASK], 0); /* until it has read */
    s->fakes.server.on_room(s->fakes.server.ctx, ANN);
    one_turn(s);
    assert_int_equal(s->sent[ANN][MSG_TASK], 1);
    assert_int_equal(stats(s).lost, 0);
    deliver(s, BEN, episode_of(s, s->last[BEN], 0));
    come(s, JIM);
    s->full[JIM] = true;
    want(s, JIM, 4);
    assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], 0);
    s->full[JIM] = false;
    s->fakes.server.on_room(s->fakes.server.ctx, JIM);
    one_turn(s);
    assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], 1);
    assert_int_equal(stats(s).lost, 0);
    close_stage(s);
}

static void only_who_was_given_a_task_delivers_it(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    come(s, BEN);
    want(s, ANN, GROUP);
    const uint64_t id = s->last[ANN];
    deliver(s, BEN, episode_of(s, id, 0));
    assert_int_equal(s->sent[BEN][MSG_EPISODE_ACK], 0);
    assert_int_equal(stats(s).episodes, 0);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNASKED], 1);
    assert_non_null(strstr(s->said, "was not given"));
    deliver(s, ANN, episode_of(s, id, 0));
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 1);
    assert_int_equal(stats(s).episodes, 1);
    deliver(s, BEN, episode_of(s, id, 0)); /* it is done: whoever still has one may forget it */
    assert_int_equal(s->sent[BEN][MSG_EPISODE_ACK], 1);
    assert_int_equal(stats(s).episodes, 1);
    close_stage(s);
}

static void who_was_only_slow_may_still_deliver(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, JIM);
    come(s, ANN);
    want(s, ANN, 1);
    const uint64_t id = s->last[ANN];
    s->fakes.now_ms += 200000;
    s->fakes.tick(s->fakes.server_ctx);
    one_turn(s);
    come(s, BEN);
    want(s, BEN, GROUP);
    assert_int_equal(s->sent[BEN][MSG_TASK], GROUP);
    deliver(s, ANN, episode_of(s, id, 0));
    assert_int_equal(stats(s).episodes, 1);
    assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], 1);
    close_stage(s);
}

static void only_who_was_asked_for_a_score_gives_it(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN), come(s, JIM), come(s, JOE);
    want(s, ANN, 1);
    give_score(s, JIM, s->last[ANN], 1); /* there is no episode yet */
    deliver(s, ANN, episode_of(s, s->last[ANN], 0));
    give_score(s, JIM, s->last[ANN], 1); /* nobody is asked yet */
    want(s, JIM, 1);
    const uint64_t id = s->last[JIM];
    give_score(s, JOE, id, 1);
    assert_int_equal(stats(s).scores, 0);
    assert_int_equal(server_statistics(s->server).refused.by_reason[REFUSAL_UNASKED], 3);
    give_score(s, JIM, id, 1);
    assert_int_equal(stats(s).scores, 1);
    give_score(s, JIM, id, 0.5); /* twice */
    assert_int_equal(stats(s).scores, 1);
    close_stage(s);
}

/* News of a failed play counts once, however often and however late it comes. */
static void a_failure_counts_against_the_attempt_it_speaks_of(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    want(s, ANN, 1);
    const uint64_t id = s->last[ANN];
    for (int i = 0; i < 5; i++) deliver(s, ANN, failed(episode_of(s, id, 0)));
    assert_true(stats(s).failed == 1 && stats(s).retried == 1 && stats(s).dropped == 0);
    want(s, ANN, 1);
    assert_int_equal(s->last[ANN], id);
    assert_int_equal(s->attempt[ANN], 1);
    deliver(s, ANN, failed(episode_of(s, id, 0)));
    assert_int_equal(stats(s).failed, 1);
    deliver(s, ANN, failed(episode_of(s, id, 1)));
    assert_true(stats(s).failed == 2 && stats(s).dropped == 0);
    want(s, ANN, 1);
    deliver(s, ANN, failed(episode_of(s, id, 2)));
    assert_true(stats(s).failed == 3 && stats(s).dropped == 1); /* max_attempts */
    close_stage(s);
}

static void spoil_id(episode *e) { e->tokens.ids[0] = 50; }
static void spoil_weights(episode *e) { e->tokens.segments[0].weight_hash++; }
static void spoil_version(episode *e) { e->tokens.segments[0].version = 1; }
static void spoil_sample(episode *e) { e->sample ^= 1; }
static void spoil_group(episode *e) { e->group ^= 1; }
static void spoil_step(episode *e) { e->step++; }
static void spoil_eval(episode *e) { e->eval = true; }
static void spoil_prompt(episode *e) { e->prompt_id ^= 1; }
static void spoil_template(episode *e) { e->template_id = 1; }
static void spoil_shots(episode *e) { e->n_shots = 2; }
static void spoil_logprob(episode *e) { e->tokens.logprob[2] = -1e30f; }
static void spoil_length(episode *e)
{
    for (int i = 0; i < 30; i++) trajectory_append(&e->tokens, ROLE_OBSERVATION, (const int32_t[]){ 1 }, 1);
}

/* Refused at once, the task handed out anew; its attempts are not used up; its sender is dismissed after three. */
static void what_is_beyond_the_limits_costs_its_sender_and_not_the_task(void **state)
{
    (void)state;
    static void (*const SPOIL[])(episode *) = { spoil_id,       spoil_weights, spoil_version, spoil_sample,
                                                spoil_group,    spoil_step,    spoil_eval,    spoil_prompt,
                                                spoil_template, spoil_shots,   spoil_logprob, spoil_length };
    for (size_t i = 0; i < sizeof SPOIL / sizeof *SPOIL; i++) {
        stage *s = open_stage();
        const uint64_t id = task_id(false, 1, 0);
        come(s, ANN);
        want(s, ANN, GROUP);
        for (int n = 0; n < MAX_REFUSED_IN_A_ROW; n++) {
            assert_int_equal(server_statistics(s->server).actors, 1);
            episode *e = episode_of(s, id, (uint32_t)n);
            SPOIL[i](e);
            deliver(s, ANN, e);
            assert_int_equal(s->sent[ANN][MSG_EPISODE_ACK], n + 1); /* it is not to be sent again */
            assert_int_equal(stats(s).refused, n + 1);
            want(s, ANN, 1);
            if (n < MAX_REFUSED_IN_A_ROW - 1) assert_true(s->last[ANN] == id && s->attempt[ANN] == (uint32_t)n + 1);
        }
        assert_true(stats(s).episodes == 0 && stats(s).dropped == 0 && stats(s).failed == 0);
        assert_int_equal(server_statistics(s->server).actors, 0); /* dismissed */
        come(s, BEN);
        want(s, BEN, GROUP);
        assert_int_equal(s->sent[BEN][MSG_TASK], GROUP);
        deliver(s, BEN, episode_of(s, id, 3));
        assert_int_equal(stats(s).episodes, 1);
        close_stage(s);
    }
}

/* Version 0 exists, but step 2 of a run without staleness is version 1's. */
static void tokens_of_a_version_that_the_task_does_not_allow_are_refused(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    publish(s, 1);
    want(s, ANN, GROUP);
    want(s, ANN, GROUP);
    assert_int_equal(s->sent[ANN][MSG_TASK], 2 * GROUP);
    episode *e = episode_of(s, task_id(false, 2, 0), 0);
    e->tokens.segments[0].version = 0;
    deliver(s, ANN, e);
    assert_int_equal(stats(s).refused, 1);
    assert_non_null(strstr(s->said, "tokens of version 0 (the task allows 1 to 1)"));
    close_stage(s);
}

static void a_score_beyond_its_bounds_is_asked_of_another(void **state)
{
    (void)state;
    static const double BAD[] = { 1e300, -1e300, INFINITY, 1001 };
    for (size_t i = 0; i < 4; i++) {
        stage *s = open_stage();
        come(s, ANN), come(s, JIM);
        want(s, ANN, 1);
        deliver(s, ANN, episode_of(s, s->last[ANN], 0));
        want(s, JIM, 1);
        const uint64_t id = s->last[JIM];
        come(s, JOE);
        want(s, JOE, 1);
        give_score(s, JIM, id, BAD[i]);
        assert_int_equal(stats(s).scores, 0);
        assert_int_equal(stats(s).scores_refused, 1);
        assert_int_equal(s->last[JOE], id);
        give_score(s, JOE, id, 1);
        assert_int_equal(stats(s).scores, 1);
        close_stage(s);
    }
}

static void an_answer_that_can_not_be_read_ends_its_lease_at_once(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN), come(s, BEN), come(s, JIM), come(s, JOE);
    want(s, ANN, 1);
    want(s, BEN, 1);
    const uint64_t id = s->last[ANN];
    want(s, BEN, 1);
    unreadable(s, ANN, s->last[BEN]); /* about a task of another: ends what it holds itself */
    assert_int_equal(s->last[BEN], id);
    assert_int_equal(s->sent[BEN][MSG_TASK], 2);
    deliver(s, BEN, episode_of(s, id, s->attempt[BEN]));
    assert_int_equal(stats(s).episodes, 1);
    want(s, JIM, 1);
    assert_int_equal(s->last[JIM], id);
    want(s, JOE, 1);
    unreadable(s, JIM, id);
    assert_int_equal(s->last[JOE], id);
    give_score(s, JOE, id, 1);
    assert_int_equal(stats(s).scores, 1);
    for (int i = 0; i < 2; i++) unreadable(s, ANN, 0); /* three in a row, by now */
    assert_int_equal(server_statistics(s->server).actors, 1);
    close_stage(s);
}

/* Tasks that are taken by those who come only to leave stay as good as they were. */
static void who_only_takes_and_leaves_uses_nothing_up(void **state)
{
    (void)state;
    stage *s = open_stage();
    for (int i = 0; i < 100; i++) {
        come(s, ANN);
        want(s, ANN, UINT32_MAX);
        assert_int_equal(s->sent[ANN][MSG_TASK], GROUP * (i + 1));
        leave(s, ANN);
    }
    assert_true(stats(s).lost == 200 && stats(s).dropped == 0 && stats(s).failed == 0);
    come(s, BEN);
    want(s, BEN, GROUP);
    deliver(s, BEN, episode_of(s, s->last[BEN], 0));
    assert_int_equal(stats(s).episodes, 1);
    close_stage(s);
}

/* A worker that is known to work, and ends again and again with this task in its hands: the task is given up. */
static void a_task_that_takes_good_workers_with_it_is_given_up(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, JIM);
    come(s, ANN);
    want(s, ANN, GROUP);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 1), 0));
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(stats(s).dropped, 0);
        want(s, ANN, 1);
        s->fakes.now_ms += 200000; /* beyond its lease */
        s->fakes.tick(s->fakes.server_ctx);
        one_turn(s);
        assert_int_equal(stats(s).lost, i);
    }
    assert_true(stats(s).dropped == 1 && stats(s).failed == 1);
    close_stage(s);
}

/* A lost score is asked again, and what was lost is on record. */
static void a_score_that_is_lost_is_asked_again(void **state)
{
    (void)state;
    stage *s = open_stage();
    come(s, ANN);
    want(s, ANN, 1);
    deliver(s, ANN, episode_of(s, s->last[ANN], 0));
    for (int i = 1; i <= 20; i++) {
        come(s, JIM);
        want(s, JIM, 1);
        assert_int_equal(s->sent[JIM][MSG_SCORE_REQUEST], i);
        leave(s, JIM);
        assert_int_equal(stats(s).lost, i);
    }
    come(s, JOE);
    want(s, JOE, 1);
    give_score(s, JOE, s->last[JOE], 1);
    assert_true(stats(s).scores == 1 && stats(s).failed == 0);
    close_stage(s);
}

static void push(stage *s, int64_t version, bool evaluate)
{
    new_version *v = xcalloc(1, sizeof *v);
    *v = (new_version){ .version = version, .hash = HASH, .evaluate = evaluate };
    str_puts(&v->bytes, "weights");
    assert_int_equal(queue_push(s->versions, v, 0), OK);
    s->fakes.look(s->fakes.server_ctx);
    one_turn(s);
}

/* An evaluation is played by the weights that it is of: the next ones wait until its last question is answered. */
static void a_version_waits_for_the_end_of_an_evaluation(void **state)
{
    (void)state;
    stage *s = open_stage();
    server_free(s->server);
    s->evaluates = true;
    open_server(s);
    come(s, ANN);
    push(s, 0, true);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    push(s, 1, false);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 1);
    want(s, ANN, 1);
    assert_true(s->given[ANN].eval);
    episode *e = failed(episode_new(&s->given[ANN]));
    e->failed = FAIL_PROMPT; /* an answer, too: it can't be played */
    e->text = xstrdup("");
    e->transcript = xstrdup("");
    deliver(s, ANN, e);
    assert_int_equal(s->sent[ANN][MSG_WEIGHTS], 2);
    close_stage(s);
}

/* Who only comes and goes can't fill the disk: few lines, and what they don't say is counted in them. */
static void comings_and_goings_are_logged_at_a_bounded_rate(void **state)
{
    (void)state;
    enum { TIMES = 5000 };
    char path[400];
    stage *s = open_stage();
    snprintf(path, sizeof path, "%s/log", s->dir);
    FILE *f = fopen(path, "w+");
    assert_non_null(f);
    server_free(s->server);
    s->log = logger_new(fileno(f), "learner", LOG_INFO, false);
    open_server(s);
    for (int i = 0; i < TIMES; i++) {
        come(s, BEN);
        leave(s, BEN);
    }
    s->fakes.now_ms += 10000;
    come(s, BEN);
    char *said = test_file_read(s->dir, "log");
    int lines = 0;
    for (const char *c = said; *c; c++) lines += *c == '\n';
    assert_true(lines >= 10 && lines < 100);
    assert_non_null(strstr(said, "peer-2 is here"));
    snprintf(path, sizeof path, "(and %d more came or went)", 2 * TIMES - 64);
    if (!strstr(said, path)) fail_msg("expected '%s' in: %s", path, said);
    free(said);
    logger *log = s->log;
    close_stage(s);
    logger_free(log);
    fclose(f);
}

/* One episode alone is better than nobody: it teaches nothing, and its group is left out and counted. */
static void a_group_of_one_is_left_out(void **state)
{
    (void)state;
    void *item = NULL;
    stage *s = open_stage();
    come(s, ANN);
    come(s, JIM);
    want(s, ANN, 2);
    episode *e = failed(episode_of(s, task_id(false, 1, 0), 0));
    e->failed = FAIL_PROMPT;
    deliver(s, ANN, e);
    deliver(s, ANN, episode_of(s, task_id(false, 1, 1), 0));
    want(s, JIM, 1);
    give_score(s, JIM, task_id(false, 1, 1), 1);
    assert_int_equal(queue_pop(s->steps, &item, 0), OK);
    assert_int_equal(((step_batch *)item)->n, 0);
    assert_int_equal(stats(s).groups_dropped, 1);
    step_batch_free(item);
    close_stage(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_version_is_on_record_though_nobody_looks_again),
        cmocka_unit_test(a_checkpoint_whose_step_is_not_on_record_is_recorded),
        cmocka_unit_test(old_episodes_go_with_the_step_that_makes_them_old),
        cmocka_unit_test(an_actor_with_old_weights_is_told_again_but_not_at_once),
        cmocka_unit_test(chunks_are_sent_to_who_reads),
        cmocka_unit_test(work_that_can_not_be_sent_waits_or_goes_to_another_and_is_not_lost),
        cmocka_unit_test(only_who_was_given_a_task_delivers_it),
        cmocka_unit_test(who_was_only_slow_may_still_deliver),
        cmocka_unit_test(only_who_was_asked_for_a_score_gives_it),
        cmocka_unit_test(a_failure_counts_against_the_attempt_it_speaks_of),
        cmocka_unit_test(what_is_beyond_the_limits_costs_its_sender_and_not_the_task),
        cmocka_unit_test(tokens_of_a_version_that_the_task_does_not_allow_are_refused),
        cmocka_unit_test(a_score_beyond_its_bounds_is_asked_of_another),
        cmocka_unit_test(an_answer_that_can_not_be_read_ends_its_lease_at_once),
        cmocka_unit_test(who_only_takes_and_leaves_uses_nothing_up),
        cmocka_unit_test(a_task_that_takes_good_workers_with_it_is_given_up),
        cmocka_unit_test(a_score_that_is_lost_is_asked_again),
        cmocka_unit_test(a_version_waits_for_the_end_of_an_evaluation),
        cmocka_unit_test(comings_and_goings_are_logged_at_a_bounded_rate),
        cmocka_unit_test(a_group_of_one_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
