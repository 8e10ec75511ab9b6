/* SPDX-License-Identifier: MIT */
/* An actor and what an exchange tells it about weights: the actor in a thread of its own, the exchange is the
 * test's. */
#include "actor/actor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/hf_folder.h"
#include "proto/endpoint.h"
#include "proto/weights.h"
#include "tests/support/support.h"

enum { DEADLINE_MS = 20000 };

typedef struct scene {
    char *folder, address[400];
    device *dev;
    hf_folder *model;
    loop *exchange_loop;
    endpoint *exchange;
    weights_publisher *publisher;
    weights_body announced;
    int64_t reported;         /* the version in the actor's last heartbeat; -1: none */
    uint32_t wanted;          /* slots, all together */
    parcel_list mine, theirs; /* files of the actor and of the learner */
    bool gone;
    peer_id actor;
    pthread_t thread;
    int rc; /* of the actor, once it has ended */
    error err;
    _Atomic bool ended;
} scene;

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    scene *s = ctx;
    (void)hello, (void)why;
    s->gone = !up;
    if (!up) return;
    s->actor = peer;
    const message welcome = { .type = MSG_WELCOME, .welcome = { .recipe = s->theirs } };
    const message news = { .type = MSG_WEIGHTS, .weights = s->announced };
    test_ok(endpoint_send(s->exchange, peer, &welcome, &s->err), &s->err);
    test_ok(endpoint_send(s->exchange, peer, &news, &s->err), &s->err);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    scene *s = ctx;
    (void)peer;
    if (m->type == MSG_HEARTBEAT) s->reported = m->heartbeat.version;
    if (m->type == MSG_WANT) s->wanted += m->want.slots;
}

static void *play(void *ctx)
{
    scene *s = ctx;
    error err = { 0 };
    tokenizer *t = NULL;
    loop *lp = loop_new(&err);
    dialect *d = dialect_new("xml", NULL, NULL, &err);
    const actor_config config = { .address = s->address,
                                  .name = "actor-1",
                                  .recipe = &s->mine,
                                  .slots = 1,
                                  .rollouts = { .tokenizer = t, .dialect = d, .dialect_name = "xml", .max_turns = 1 },
                                  .engine = { .max_streams = 1, .max_context = 64, .tokens_per_step = 64 },
                                  .device = s->dev,
                                  .shapes = s->model->table };
    s->rc = actor_run(lp, &config, NULL, &s->err);
    dialect_free(d);
    loop_free(lp);
    s->ended = true;
    return NULL;
}

static void publish(scene *s, int64_t version, uint64_t wrong)
{
    char path[1100];
    char own[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/models/stagehand/model.safetensors", getenv("TROUPE_SOURCE"));
    snprintf(own, sizeof own, "%s/-v%d", s->folder, (int)version);
    test_ok(file_copy(path, own, &err), &err);
    test_ok(weights_publish(s->publisher, version, s->model->weights->hash ^ wrong, test_file_unlinked(own), &err),
            &err);
    assert_true(weights_announcement(s->publisher, &s->announced));
}

/* The version is announced with the hash that it has, changed by `wrong`. */
static void open_scene_with(scene *s, uint64_t wrong, parcel_list mine, parcel_list theirs)
{
    char path[1100];
    error err = { 0 };
    *s = (scene){ .folder = test_folder_new(), .reported = -1, .mine = mine, .theirs = theirs };
    snprintf(s->address, sizeof s->address, "ipc://%s/exchange", s->folder);
    snprintf(path, sizeof path, "%s/models/stagehand", getenv("TROUPE_SOURCE"));
    s->dev = device_open("cpu", 1, &err);
    s->model = hf_folder_open(path, s->dev, &err);
    if (!s->model) fail_msg("%s", err.text);
    weights_seal(s->model->weights, 7);
    s->publisher = weights_publisher_new();
    publish(s, 7, wrong);
    s->exchange_loop = loop_new(&err);
    const endpoint_config config = { .address = s->address, .heartbeat_ms = 20 };
    const endpoint_callbacks cb = { .ctx = s, .on_message = on_message, .on_peer = on_peer };
    s->exchange = endpoint_bind(s->exchange_loop, &config, &cb, NULL, &err);
    if (!s->exchange) fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&s->thread, NULL, play, s), 0);
}

static void open_scene(scene *s, uint64_t wrong) { open_scene_with(s, wrong, (parcel_list){ 0 }, (parcel_list){ 0 }); }

static void close_scene(scene *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    endpoint_free(s->exchange);
    loop_free(s->exchange_loop);
    weights_publisher_free(s->publisher);
    hf_folder_close(s->model);
    device_close(s->dev);
    test_folder_remove(s->folder);
}

#define UNTIL(s, condition)                                                                                            \
    for (const int64_t until_ms_ = clock_ms() + DEADLINE_MS; !(condition);) {                                          \
        error err_ = { 0 };                                                                                            \
        test_ok(loop_once((s)->exchange_loop, 5, &err_), &err_);                                                       \
        if (clock_ms() > until_ms_) fail_msg("waited in vain for: %s", #condition);                                    \
    }

static void weights_that_have_their_hash_are_played_with(void **state)
{
    (void)state;
    scene s;
    error err = { 0 };
    open_scene(&s, 0);
    UNTIL(&s, s.reported == 7 || s.ended);
    const message bye = { .type = MSG_BYE };
    if (!s.ended) test_ok(endpoint_send(s.exchange, s.actor, &bye, &err), &err);
    UNTIL(&s, s.ended);
    test_ok(s.rc, &s.err);
    close_scene(&s);
}

/* Whatever came, whole or not: an actor plays with nothing but the weights that were announced. */
static void weights_of_another_hash_are_refused(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, 1);
    UNTIL(&s, s.reported == 7 || s.ended);
    assert_true(s.ended);
    assert_int_equal(s.rc, ERR_PARSE);
    if (!strstr(s.err.text, "version 7: announced with hash")) fail_msg("%s", s.err.text);
    close_scene(&s);
}

static void say(scene *s, message m)
{
    error err = { 0 };
    test_ok(endpoint_send(s->exchange, s->actor, &m, &err), &err);
}

static void an_actor_with_other_files_than_the_learners_does_not_play(void **state)
{
    (void)state;
    scene s;
    parcel_file mine = { "recipe.lua", 10, 1 }, theirs = { "recipe.lua", 10, 2 };
    open_scene_with(&s, 0, (parcel_list){ .files = &mine, .n_files = 1 },
                    (parcel_list){ .files = &theirs, .n_files = 1 });
    UNTIL(&s, s.ended);
    assert_int_equal(s.rc, ERR_STATE);
    if (!strstr(s.err.text, "has a different recipe: recipe.lua is not the learner's")) fail_msg("%s", s.err.text);
    close_scene(&s);
}

/* A version of more bytes than the model has would be collected until memory is short. */
static void weights_that_can_not_be_the_models_are_not_collected(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, 0);
    UNTIL(&s, s.reported == 7);
    say(&s, (message){ .type = MSG_WEIGHTS, .weights = { .version = 8, .bytes = (uint64_t)1 << 40, .host = "other" } });
    UNTIL(&s, s.ended);
    assert_int_equal(s.rc, ERR_PEER);
    if (!strstr(s.err.text, "announced weights of 1099511627776 bytes")) fail_msg("%s", s.err.text);
    close_scene(&s);
}

/* Each kept task gives its slot back when its version is past: so they can be counted. */
static void no_more_tasks_are_kept_than_there_are_slots(void **state)
{
    (void)state;
    scene s;
    char row[] = "{}";
    task t = { .group_size = 1, .min_version = 8, .max_version = 8, .max_tokens = 1, .row = row };
    open_scene(&s, 0);
    UNTIL(&s, s.reported == 7 && s.wanted == 1);
    for (t.id = 1; t.id <= 50; t.id++) say(&s, (message){ .type = MSG_TASK, .task = { &t } });
    publish(&s, 9, 0);
    say(&s, (message){ .type = MSG_WEIGHTS, .weights = s.announced });
    UNTIL(&s, s.wanted >= 2);
    say(&s, (message){ .type = MSG_BYE });
    UNTIL(&s, s.ended && s.gone);
    assert_int_equal(s.wanted, 2);
    close_scene(&s);
}

/* What an exchange says to others, or to no peer at all, and once more what it has said already. */
static void what_is_not_said_to_an_actor_changes_nothing(void **state)
{
    (void)state;
    scene s;
    char row[] = "{}", text[] = "";
    task t = { .id = 1, .group_size = 1, .max_version = 9, .max_tokens = 1, .row = row };
    episode e = { .id = 1, .text = text, .transcript = text };
    open_scene(&s, 0);
    UNTIL(&s, s.reported == 7 && s.wanted == 1);
    say(&s, (message){ .type = MSG_SCORE_REQUEST, .score_request = { &t, &e } });
    say(&s, (message){ .type = MSG_RECIPE_CHUNK, .recipe_chunk = { .file = 3, .data = text } });
    say(&s, (message){ .type = MSG_EPISODE_ACK, .ack = { 77 } });
    say(&s, (message){ .type = MSG_WELCOME, .welcome = { .run = "another", .seed = 5, .recipe = s.theirs } });
    s.reported = -1;
    UNTIL(&s, s.reported == 7);
    say(&s, (message){ .type = MSG_BYE, .bye = { "the run is over" } });
    UNTIL(&s, s.ended && s.gone);
    test_ok(s.rc, &s.err);
    assert_int_equal(s.wanted, 2); /* its one slot, told to the first and to the second WELCOME: nothing was played */
    close_scene(&s);
}

static void leave_with(const char *reason, int rc)
{
    scene s;
    message m = { .type = MSG_BYE };
    snprintf(m.bye.reason, sizeof m.bye.reason, "%s", reason);
    open_scene(&s, 0);
    UNTIL(&s, s.reported == 7);
    say(&s, m);
    UNTIL(&s, s.ended);
    assert_int_equal(s.rc, rc);
    if (rc != OK) assert_string_equal(s.err.text, reason);
    close_scene(&s);
}

/* Who left with status 0 would be started again, and dismissed again, without end. */
static void an_actor_that_is_dismissed_has_failed(void **state)
{
    (void)state;
    leave_with("the run is over", OK);
    leave_with(BYE_DISMISSED "3 of its answers in a row were refused", ERR_PEER);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(weights_that_have_their_hash_are_played_with),
                                        cmocka_unit_test(weights_of_another_hash_are_refused),
                                        cmocka_unit_test(an_actor_with_other_files_than_the_learners_does_not_play),
                                        cmocka_unit_test(weights_that_can_not_be_the_models_are_not_collected),
                                        cmocka_unit_test(no_more_tasks_are_kept_than_there_are_slots),
                                        cmocka_unit_test(what_is_not_said_to_an_actor_changes_nothing),
                                        cmocka_unit_test(an_actor_that_is_dismissed_has_failed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
