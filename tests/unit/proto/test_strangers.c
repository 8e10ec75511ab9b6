/* SPDX-License-Identifier: MIT */
/* What an exchange does not let its peers do: speak for another role, take a name that lives, come in crowds, ask
 * without reading. */
#include "proto/codec.h"
#include "proto/endpoint.h"
#include "tests/unit/proto/wire.h"

/* The table of who says what, kept by the exchange: all that a role sends arrives as it is; of the rest nothing does,
 * and it is counted against the peer that sent it. */
static void an_exchange_hears_of_a_role_what_the_role_sends(const char *role, unsigned by)
{
    wire w = new_wire();
    open_exchange(&w);
    void *raw = raw_dealer(&w);
    message hello = sample(MSG_HELLO);
    snprintf(hello.hello.role, sizeof hello.hello.role, "%s", role);
    snprintf(hello.hello.name, sizeof hello.hello.name, "a-peer");
    hello.hello.for_recipe = by == BY_RECIPELESS;
    raw_message(raw, hello);
    UNTIL(&w, w.exchange.ups == 1);
    int refused = 0;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        if (type == MSG_HELLO || type == MSG_BYE || type == MSG_HEARTBEAT) continue; /* tests of their own */
        message m = sample((message_type)type);
        const int before = w.exchange.messages;
        raw_message(raw, sample((message_type)type));
        if (message_senders((message_type)type) & by) {
            UNTIL(&w, w.exchange.messages > before);
            same_bytes(&w.exchange.last, &m);
        } else {
            refused++;
            UNTIL(&w, endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_ROLE] == (uint64_t)refused);
            assert_int_equal(w.exchange.messages, before);
        }
        message_reset(&m);
    }
    const refusal_counts *c = endpoint_refused(w.exchange.ep);
    assert_true(refused > 0 && c->all == (uint64_t)refused);
    assert_string_equal(c->peers[0].name, "a-peer");
    assert_true(c->n_peers == 1 && c->peers[0].n == (uint64_t)refused && w.exchange.downs == 0);
    zmq_close(raw);
    free_wire(&w);
}

static void every_role_says_its_own_messages_and_no_others(void **state)
{
    (void)state;
    an_exchange_hears_of_a_role_what_the_role_sends("actor", BY_ACTOR);
    an_exchange_hears_of_a_role_what_the_role_sends("reward", BY_REWARD);
    an_exchange_hears_of_a_role_what_the_role_sends("actor", BY_RECIPELESS);
}

static void a_worker_hears_of_an_exchange_what_exchanges_send(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    int refused = 0;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        if (message_senders((message_type)type) & BY_EXCHANGE) continue;
        message m = sample((message_type)type);
        send_ok(&w.exchange, w.exchange.peer, &m);
        refused++;
        message_reset(&m);
    }
    UNTIL(&w, endpoint_refused(w.worker.ep)->by_reason[REFUSAL_ROLE] == (uint64_t)refused);
    assert_true(refused > 0 && w.worker.messages == 0);
    free_wire(&w);
}

static void a_name_is_its_owners_as_long_as_it_lives(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    const peer_id first = w.exchange.peer;
    raw_hello_as(raw, "actor", "actor-1", 6);
    raw_hello_as(raw, "reward", "actor-1", 6);
    UNTIL(&w, endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_NAMESAKE] == 2);
    assert_true(w.exchange.ups == 1 && w.exchange.downs == 0);
    const message want = sample(MSG_WANT);
    raw_message(raw, want); /* it is not connected */
    send_ok(&w.worker, 0, &want);
    UNTIL(&w, w.exchange.messages == 1);
    assert_int_equal(w.exchange.peer, first);
    message welcome = sample(MSG_WELCOME);
    send_ok(&w.exchange, first, &welcome);
    message_reset(&welcome);
    UNTIL(&w, w.worker.ups == 1); /* and still the one that is spoken to */
    step_for(&w, 3 * HEARTBEAT_MS);
    assert_int_equal(w.exchange.messages, 1);
    close_side(&w.worker); /* dead without a word: now the name is free, at once */
    const int64_t begin_ms = clock_ms();
    for (const int64_t until_ms = clock_ms() + DEADLINE_MS; w.exchange.ups == 1 && clock_ms() < until_ms;) {
        raw_hello_as(raw, "actor", "actor-1", 6);
        step_for(&w, HEARTBEAT_MS);
    }
    assert_int_equal(w.exchange.ups, 2);
    assert_int_equal(w.exchange.downs, 1);
    assert_true(clock_ms() - begin_ms < PATIENCE_MS); /* not by its silence */
    zmq_close(raw);
    free_wire(&w);
}

/* A worker comes for the recipe under the name that it will play under, and so may ten at once: no worker is refused
 * for it, neither who has the name already nor who brings it next. */
static void who_comes_for_the_recipe_takes_no_name(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw[10], *next = raw_dealer(&w);
    for (int i = 0; i < 10; i++) {
        raw[i] = raw_dealer(&w);
        message hello = sample(MSG_HELLO); /* for the recipe: those of odd numbers as actor-1, who is here */
        snprintf(hello.hello.name, sizeof hello.hello.name, i % 2 ? "actor-1" : "actor-2");
        raw_message(raw[i], hello);
        UNTIL(&w, w.exchange.ups == 2 + i);
        assert_true(w.exchange.hello.for_recipe);
    }
    raw_hello_as(next, "actor", "actor-2", 5); /* one that has it, while the others are still here */
    UNTIL(&w, w.exchange.ups == 12 || endpoint_refused(w.exchange.ep)->all > 0);
    assert_int_equal(endpoint_refused(w.exchange.ep)->all, 0);
    assert_false(w.exchange.hello.for_recipe);
    assert_int_equal(w.exchange.downs, 0);
    for (int i = 0; i < 10; i++) zmq_close(raw[i]);
    zmq_close(next);
    free_wire(&w);
}

/* A HELLO of before: without the field that this version has added. */
static void a_hello_of_another_version_is_told_so_though_it_can_not_be_read(void **state)
{
    (void)state;
    static const char OLD[] = "\x01\x83\xa4role\xa5"
                              "actor\xa4name\xa3old\xa8protocol\x03";
    wire w;
    message m;
    char bytes[1024];
    int len = -1;
    error err = { 0 };
    connected(&w);
    void *raw = raw_dealer(&w);
    raw_say(raw, OLD, sizeof OLD - 1, 0);
    UNTIL(&w, (len = zmq_recv(raw, bytes, sizeof bytes, ZMQ_DONTWAIT)) >= 0);
    test_ok(message_decode(&m, bytes, (size_t)len, &err), &err);
    assert_int_equal(m.type, MSG_BYE);
    assert_non_null(strstr(m.bye.reason, "protocol version 3, expected 5"));
    assert_int_equal(endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_PROTOCOL], 1);
    zmq_close(raw);
    free_wire(&w);
}

static void a_process_may_come_again_on_another_connection(void **state)
{
    (void)state;
    wire w = new_wire();
    open_exchange(&w);
    void *before = raw_dealer(&w), *raw = raw_dealer(&w);
    raw_hello_as(before, "actor", "actor-1", 77);
    UNTIL(&w, w.exchange.ups == 1);
    const peer_id first = w.exchange.peer;
    error err = { 0 };
    raw_hello_as(raw, "actor", "actor-1", 77);
    UNTIL(&w, w.exchange.ups == 2 && w.exchange.downs == 1);
    assert_non_null(strstr(w.exchange.why, "reconnected"));
    assert_true(w.exchange.peer != first);
    const message want = sample(MSG_WANT);
    test_ok(endpoint_send(w.exchange.ep, w.exchange.peer, &want, &err), &err);
    raw_message(before, want); /* the connection before belongs to no peer now */
    raw_message(raw, sample(MSG_WEIGHTS_GET));
    UNTIL(&w, w.exchange.messages == 1);
    assert_int_equal(w.exchange.last.type, MSG_WEIGHTS_GET);
    zmq_close(before);
    zmq_close(raw);
    free_wire(&w);
}

static void there_may_be_only_so_many(void **state)
{
    (void)state;
    enum { MORE = 40 };
    wire w = new_wire();
    open_exchange(&w);
    static void *raw[1024 + MORE]; /* peers.h: MAX_PEERS */
    const int n = 1024 + MORE;
    zmq_ctx_set(w.raw, ZMQ_MAX_SOCKETS, n + 8);
    for (int i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "flood-%d", i);
        raw[i] = raw_dealer(&w);
        raw_hello_as(raw[i], "actor", name, 1);
        if (i % 64 == 63) step_side(&w.exchange);
    }
    UNTIL(&w, endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_CROWD] >= MORE);
    assert_int_equal(w.exchange.ups, 1024);
    for (int i = 0; i < n; i++) zmq_close(raw[i]);
    free_wire(&w);
}

static void an_answer_that_can_not_be_read_is_told_with_its_task(void **state)
{
    (void)state;
    wire w = new_wire();
    w.exchange.limits[MSG_EPISODE] = 100000;
    open_exchange(&w);
    void *raw = raw_dealer(&w);
    raw_hello_as(raw, "actor", "clumsy", 5);
    UNTIL(&w, w.exchange.ups == 1);
    message m = sample(MSG_EPISODE);
    str bytes = { 0 };
    m.episode.episode->stop = (stop_reason)77; /* good bytes: the exchange judges it */
    message_encode(&m, &bytes);
    raw_say(raw, bytes.data, bytes.len, 0);
    UNTIL(&w, w.exchange.messages == 1);
    raw_say(raw, bytes.data, bytes.len - 1, 0); /* cut: its id stands near the beginning */
    UNTIL(&w, w.exchange.unreadable == 1);
    assert_int_equal(w.exchange.unreadable_task, m.episode.episode->id);
    str_clear(&bytes);
    free(m.episode.episode->text);
    m.episode.episode->text = memset(xcalloc(1, 100001), 'x', 100000);
    message_encode(&m, &bytes);
    raw_say(raw, bytes.data, bytes.len, 0); /* too long */
    UNTIL(&w, w.exchange.unreadable == 2);
    assert_int_equal(w.exchange.unreadable_task, m.episode.episode->id);
    assert_int_equal(endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_TOO_LONG], 1);
    raw_say(raw,
            "\6\x81\xa7"
            "episode\xc0",
            10, 0);
    UNTIL(&w, w.exchange.unreadable == 3);
    assert_int_equal(w.exchange.unreadable_task, 0);
    assert_true(w.exchange.messages == 1 && w.exchange.downs == 0);
    message_reset(&m);
    str_free(&bytes);
    zmq_close(raw);
    free_wire(&w);
}

enum { CHUNK = 1 << 20 };

/* Sends chunks until one is refused for what is owed; returns how many went. */
static int chunks_until_full(wire *w, peer_id to)
{
    error err = { 0 };
    message m = { .type = MSG_WEIGHTS_CHUNK };
    m.weights_chunk.len = CHUNK;
    m.weights_chunk.data = xcalloc(1, CHUNK);
    int sent = 0;
    while (sent < 1000 && endpoint_send(w->exchange.ep, to, &m, &err) == OK) sent++;
    assert_int_equal(err.code, ERR_FULL);
    message_reset(&m);
    return sent;
}

static void who_does_not_read_is_sent_a_few_megabytes_and_then_nothing(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    raw_hello_as(raw, "actor", "glutton", 5);
    UNTIL(&w, w.exchange.ups == 2);
    const peer_id glutton = w.exchange.peer;
    assert_in_range(chunks_until_full(&w, glutton), 1, 4);
    for (int i = 0; i < 20; i++) { /* whatever it says, but for what it can only know by reading */
        raw_message(raw, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .ping = (uint64_t)i } });
        raw_message(raw, (message){ .type = MSG_BYE });
        raw_hello_as(raw, "actor", "glutton", 5);
        UNTIL(&w, w.exchange.ups == 3 + i);
        assert_int_equal(chunks_until_full(&w, glutton), 0);
    }
    const message want = sample(MSG_WANT); /* others are served */
    send_ok(&w.worker, 0, &want);
    UNTIL(&w, w.exchange.messages == 1);
    assert_in_range(chunks_until_full(&w, w.exchange.peer), 1, 4);
    zmq_close(raw);
    free_wire(&w);
}

static void who_reads_has_room_again_and_is_told_of(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const peer_id worker = w.exchange.peer;
    int all = 0;
    for (int round = 1; round <= 5; round++) {
        all += chunks_until_full(&w, worker);
        UNTIL(&w, w.exchange.rooms == round);
        assert_int_equal(w.exchange.peer, worker);
    }
    UNTIL(&w, w.worker.of_type[MSG_WEIGHTS_CHUNK] == all);
    assert_in_range(all, 5, 20);
    free_wire(&w);
}

static void who_never_reads_is_sent_away_by_name_though_it_speaks(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    raw_hello_as(raw, "actor", "glutton", 5);
    UNTIL(&w, w.exchange.ups == 2);
    chunks_until_full(&w, w.exchange.peer);
    for (const int64_t until_ms = clock_ms() + DEADLINE_MS; w.exchange.downs == 0 && clock_ms() < until_ms;) {
        raw_message(raw, (message){ .type = MSG_HEARTBEAT });
        step_for(&w, HEARTBEAT_MS);
    }
    assert_int_equal(w.exchange.downs, 1);
    assert_string_equal(w.exchange.hello.name, "glutton");
    assert_non_null(strstr(w.exchange.why, "does not read"));
    zmq_close(raw);
    free_wire(&w);
}

static void a_dismissed_peer_is_told_why_and_is_nobody(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    endpoint_refuse(w.exchange.ep, w.exchange.peer, REFUSAL_EPISODE, "an episode");
    endpoint_dismiss(w.exchange.ep, w.exchange.peer, "three in a row");
    assert_int_equal(w.exchange.downs, 1);
    UNTIL(&w, w.worker.of_type[MSG_BYE] == 1);
    assert_string_equal(w.worker.last.bye.reason, BYE_DISMISSED "three in a row");
    assert_int_equal(endpoint_refused(w.exchange.ep)->by_reason[REFUSAL_EPISODE], 1);
    assert_string_equal(endpoint_refused(w.exchange.ep)->peers[0].name, "actor-1");
    free_wire(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_role_says_its_own_messages_and_no_others),
        cmocka_unit_test(a_worker_hears_of_an_exchange_what_exchanges_send),
        cmocka_unit_test(a_name_is_its_owners_as_long_as_it_lives),
        cmocka_unit_test(who_comes_for_the_recipe_takes_no_name),
        cmocka_unit_test(a_hello_of_another_version_is_told_so_though_it_can_not_be_read),
        cmocka_unit_test(a_process_may_come_again_on_another_connection),
        cmocka_unit_test(there_may_be_only_so_many),
        cmocka_unit_test(an_answer_that_can_not_be_read_is_told_with_its_task),
        cmocka_unit_test(who_does_not_read_is_sent_a_few_megabytes_and_then_nothing),
        cmocka_unit_test(who_reads_has_room_again_and_is_told_of),
        cmocka_unit_test(who_never_reads_is_sent_away_by_name_though_it_speaks),
        cmocka_unit_test(a_dismissed_peer_is_told_why_and_is_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
