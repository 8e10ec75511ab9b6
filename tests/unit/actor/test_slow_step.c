/* SPDX-License-Identifier: MIT */
/* An actor whose engine computes longer than an exchange waits: on a device that is slow at each product. */
#include "actor/actor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/backend.h"
#include "model/hf_folder.h"
#include "proto/endpoint.h"
#include "proto/weights.h"
#include "tests/support/support.h"

enum { DEADLINE_MS = 100000, PATIENCE_MS = 10000 /* the exchange's own, where none is given */ };

typedef struct scene {
    char *folder, address[400];
    device *dev;
    struct ops fast, slow;
    int64_t began_ms, ended_ms; /* the first slow product and the last */
    int piece_ms;               /* what each takes longer */
    bool mute;                  /* it can't say that it lives meanwhile */
    hf_folder *model;
    tokenizer *tokenizer;
    dialect *dialect;
    loop *loop;
    endpoint *exchange;
    weights_publisher *publisher;
    peer_id actor;
    int ups, downs, beats, episodes; /* what the exchange has met; heartbeats while a step was under way */
    uint64_t tokens;                 /* that it says it has computed */
    pthread_t thread;
    int rc; /* of the actor, once it has ended */
    error err;
    _Atomic bool computing, ended;
} scene;

static scene *S; /* an operation knows its device alone */

static void compute(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)ctx, (void)thread;
    const int64_t until_ms = clock_ms() + S->piece_ms * (end - begin);
    while (clock_ms() < until_ms) {
    }
}

static void slow_linears(device *dev, const float *x, int M, int K, const linear_part *parts, int n)
{
    S->fast.linears(dev, x, M, K, parts, n);
    if (S->began_ms == 0) S->began_ms = clock_ms();
    S->computing = true;
    if (S->mute) device_set_tick(dev, NULL, NULL);
    device_parallel(dev, 1, compute, NULL);
    S->ended_ms = clock_ms();
}

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    scene *s = ctx;
    weights_body news;
    (void)hello, (void)why;
    s->ups += up;
    s->downs += !up;
    if (!up) return;

    s->actor = peer;
    assert_true(weights_announcement(s->publisher, &news));
    test_ok(endpoint_send(s->exchange, peer, &(message){ .type = MSG_WELCOME }, &s->err), &s->err);
    test_ok(endpoint_send(s->exchange, peer, &(message){ .type = MSG_WEIGHTS, .weights = news }, &s->err), &s->err);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    scene *s = ctx;
    char row[] = "{\"prompt\":\"compute 7313 minus 442.\"}";
    task t = { .id = 1, .group_size = 1, .min_version = 7, .max_version = 7, .max_tokens = 1, .row = row };
    if (m->type == MSG_HEARTBEAT) {
        s->beats += s->computing;
        s->tokens = m->heartbeat.tokens;
    }
    if (m->type == MSG_WANT && !s->computing)
        test_ok(endpoint_send(s->exchange, peer, &(message){ .type = MSG_TASK, .task = { &t } }, &s->err), &s->err);
    if (m->type != MSG_EPISODE) return;
    assert_int_equal(m->episode.episode->failed, FAIL_NONE);
    s->episodes++;
}

static void *play(void *ctx)
{
    scene *s = ctx;
    error err = { 0 };
    parcel_list none = { 0 };
    loop *lp = loop_new(&err);
    const actor_config config = { .address = s->address,
                                  .name = "actor-1",
                                  .recipe = &none,
                                  .slots = 1,
                                  .rollouts = { .tokenizer = s->tokenizer,
                                                .dialect = s->dialect,
                                                .dialect_name = "xml",
                                                .environment = "none",
                                                .instruction = "Say it.",
                                                .max_turns = 1,
                                                .top_p = 1 },
                                  .engine = { .max_streams = 1, .max_context = 256, .tokens_per_step = 256 },
                                  .device = s->dev,
                                  .shapes = s->model->table };
    s->rc = actor_run(lp, &config, NULL, &s->err);
    loop_free(lp);
    s->ended = true;
    return NULL;
}

static void publish(scene *s, const char *dir)
{
    char path[1100], own[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    snprintf(own, sizeof own, "%s/-v7", s->folder);
    test_ok(file_copy(path, own, &err), &err);
    test_ok(weights_publish(s->publisher, 7, s->model->weights->hash, test_file_unlinked(own), &err), &err);
}

static void open_scene(scene *s, int64_t beat_ms, int64_t patience_ms, int piece_ms)
{
    char dir[1024];
    error err = { 0 };
    *s = (scene){ .folder = test_folder_new(), .piece_ms = piece_ms };
    S = s;
    snprintf(s->address, sizeof s->address, "ipc://%s/exchange", s->folder);
    snprintf(dir, sizeof dir, "%s/models/stagehand", getenv("TROUPE_SOURCE"));

    s->dev = device_open("cpu", 1, &err);
    s->fast = s->slow = *device_ops(s->dev);
    s->slow.linears = slow_linears;
    s->model = hf_folder_open(dir, s->dev, &err);
    s->tokenizer = tokenizer_open(dir, &err);
    s->dialect = dialect_new("xml", NULL, NULL, &err);
    if (!s->model || !s->tokenizer || !s->dialect) fail_msg("%s", err.text);
    weights_seal(s->model->weights, 7);
    s->dev->ops = &s->slow;

    s->publisher = weights_publisher_new();
    publish(s, dir);
    s->loop = loop_new(&err);
    const endpoint_config config = { .address = s->address, .heartbeat_ms = beat_ms, .patience_ms = patience_ms };
    const endpoint_callbacks cb = { .ctx = s, .on_message = on_message, .on_peer = on_peer };
    s->exchange = endpoint_bind(s->loop, &config, &cb, NULL, &err);
    if (!s->exchange) fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&s->thread, NULL, play, s), 0);
}

static void until_an_episode_has_come(scene *s)
{
    error err = { 0 };
    for (const int64_t until_ms = clock_ms() + DEADLINE_MS; s->episodes == 0;) {
        test_ok(loop_once(s->loop, 5, &err), &err);
        if (s->ended) fail_msg("the actor has ended: %s", s->err.text);
        if (clock_ms() > until_ms) fail_msg("no episode has come");
    }
}

static void close_scene(scene *s)
{
    error err = { 0 };
    const message bye = { .type = MSG_BYE, .bye = { "the run is over" } };
    test_ok(endpoint_send(s->exchange, s->actor, &bye, &err), &err);
    while (!s->ended) test_ok(loop_once(s->loop, 5, &err), &err);
    pthread_join(s->thread, NULL);
    test_ok(s->rc, &s->err);

    endpoint_free(s->exchange);
    loop_free(s->loop);
    weights_publisher_free(s->publisher);
    dialect_free(s->dialect);
    tokenizer_free(s->tokenizer);
    hf_folder_close(s->model);
    device_close(s->dev);
    test_folder_remove(s->folder);
}

/* One step of the engine, a prefill, takes longer than the exchange's own patience. */
static void heartbeats_continue_in_a_step_however_long_it_is(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, 0, 0, 1000);
    until_an_episode_has_come(&s);
    if (s.ended_ms - s.began_ms < PATIENCE_MS) fail_msg("a step of %jd ms", (intmax_t)(s.ended_ms - s.began_ms));
    assert_int_equal(s.ups, 1);
    assert_int_equal(s.downs, 0);
    assert_true(s.beats >= 5);
    close_scene(&s);
}

/* The exchange renews the leases of an actor whose tokens grow: a prompt's count, which may take the longest. */
static void heartbeats_say_how_many_tokens_were_computed(void **state)
{
    (void)state;
    scene s;
    error err = { 0 };
    open_scene(&s, 50, 5000, 0);
    until_an_episode_has_come(&s);
    for (const int64_t until_ms = clock_ms() + DEADLINE_MS; s.tokens < 20;) { /* one of them sampled */
        test_ok(loop_once(s.loop, 5, &err), &err);
        if (clock_ms() > until_ms) fail_msg("it says %ju tokens", (uintmax_t)s.tokens);
    }
    close_scene(&s);
}

/* Who was given up comes back with what it has computed. */
static void who_was_silent_for_too_long_is_taken_back(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, 50, 300, 200);
    s.mute = true;
    until_an_episode_has_come(&s);
    assert_true(s.downs >= 1);
    assert_int_equal(s.ups, s.downs + 1);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(heartbeats_continue_in_a_step_however_long_it_is),
                                        cmocka_unit_test(heartbeats_say_how_many_tokens_were_computed),
                                        cmocka_unit_test(who_was_silent_for_too_long_is_taken_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
