/* SPDX-License-Identifier: MIT */
#include "proto/endpoint.h"

#include <poll.h>
#include <sys/stat.h>

#include "proto/codec.h"
#include "tests/unit/proto/wire.h"

/* ---- two endpoints ---- */

/* Bytes that were no message. */
static uint64_t malformed(const endpoint *ep) { return endpoint_refused(ep)->by_reason[REFUSAL_MALFORMED]; }

static void a_worker_comes_up_as_who_it_is(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const hello_body *h = &w.exchange.hello;
    assert_string_equal(h->role, "actor");
    assert_string_equal(h->name, "actor-1");
    assert_string_equal(h->host, "here");
    assert_true(h->protocol == PROTOCOL_VERSION && h->slots == 4 && h->pid == 4711);
    assert_true(w.exchange.peer > 0);
    assert_string_equal(endpoint_peer_name(w.exchange.ep, w.exchange.peer), "actor-1");
    assert_string_equal(endpoint_peer_name(w.exchange.ep, 4711), "a stranger");
    assert_string_equal(endpoint_peer_name(w.worker.ep, 0), "the exchange");
    free_wire(&w);
}

static void every_message_reaches_a_worker_unchanged(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const peer_id worker = w.exchange.peer;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        if (!(message_senders((message_type)type) & BY_EXCHANGE) || type == MSG_HELLO) continue; /* it asks for ours */
        message m = sample((message_type)type);
        const int before = w.worker.messages, ups = w.worker.ups;
        send_ok(&w.exchange, worker, &m);
        if (type == MSG_HEARTBEAT) UNTIL(&w, w.worker.beat.tokens == m.heartbeat.tokens);
        if (type != MSG_HEARTBEAT) {
            UNTIL(&w, w.worker.messages > before);
            same_bytes(&w.worker.last, &m);
        }
        assert_int_equal(w.worker.ups - ups, type == MSG_WELCOME);
        message_reset(&m);
    }
    assert_int_equal(malformed(w.worker.ep), 0);
    free_wire(&w);
}

static void heartbeats_say_what_they_were_told_to(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const heartbeat_body up = { .in_flight = 3, .version = 12, .tokens = 1 << 20, .ping = 0 }, down = { .version = 13 };
    endpoint_set_heartbeat(w.worker.ep, &up);
    endpoint_set_heartbeat(w.exchange.ep, &down);
    UNTIL(&w, w.exchange.beat.tokens == up.tokens && w.worker.beat.version == 13);
    assert_true(w.exchange.beat.in_flight == 3 && w.exchange.beat.version == 12);
    free_wire(&w);
}

static void messages_keep_their_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    wire w;
    connected(&w);
    for (uint32_t i = 0; i < N; i++) {
        const message m = { .type = MSG_WANT, .want = { i } };
        send_ok(&w.worker, 0, &m);
        if (i % 100 != 99) continue; /* in bursts: only the last of each is looked at, and the count */
        UNTIL(&w, w.exchange.messages == (int)i + 1);
        assert_int_equal(w.exchange.last.want.slots, i);
    }
    free_wire(&w);
}

static void heartbeats_keep_an_idle_connection_up(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    step_for(&w, 3 * PATIENCE_MS);
    assert_int_equal(w.exchange.downs, 0);
    assert_int_equal(w.exchange.ups, 1);
    assert_true(w.exchange.of_type[MSG_HEARTBEAT] > 3 && w.worker.of_type[MSG_HEARTBEAT] > 3);
    assert_true(endpoint_silence_ms(w.worker.ep) < 2 * PATIENCE_MS);
    free_wire(&w);
}

static void bye_is_a_parting_with_its_sentence(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const peer_id worker = w.exchange.peer;
    error err = { 0 };
    message bye = sample(MSG_BYE);
    send_ok(&w.exchange, worker, &bye);
    UNTIL(&w, w.worker.of_type[MSG_BYE] == 1);
    assert_string_equal(w.worker.last.bye.reason, "the run is over");
    send_ok(&w.worker, 0, &bye);
    UNTIL(&w, w.exchange.downs == 1); /* closed before, a heartbeat that crosses the farewell may cost it */
    assert_string_equal(w.exchange.why, "the run is over");
    close_side(&w.worker);
    assert_string_equal(w.exchange.hello.name, "actor-1");
    assert_int_equal(endpoint_send(w.exchange.ep, worker, &bye, &err), ERR_PEER);
    free_wire(&w);
}

static void a_worker_that_dies_without_a_word_is_gone(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    close_side(&w.worker);
    UNTIL(&w, w.exchange.downs == 1);
    assert_string_equal(w.exchange.hello.name, "actor-1");
    assert_true(strlen(w.exchange.why) > 5);
    open_worker(&w); /* and its successor is welcome */
    UNTIL(&w, w.exchange.ups == 2);
    assert_int_equal(w.exchange.downs, 1);
    free_wire(&w);
}

static void a_worker_says_hello_again_to_an_exchange_that_was_restarted(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    for (int restart = 0; restart < 2; restart++) {
        close_side(&w.exchange);
        step_for(&w, 50);
        open_exchange(&w);
        UNTIL(&w, w.exchange.ups == 1);
        assert_string_equal(w.exchange.hello.name, "actor-1");
        const message want = { .type = MSG_WANT, .want = { 7 } };
        const int before = w.exchange.messages;
        send_ok(&w.worker, 0, &want);
        UNTIL(&w, w.exchange.messages > before);
        message welcome = sample(MSG_WELCOME);
        const int ups = w.worker.ups;
        send_ok(&w.exchange, w.exchange.peer, &welcome);
        message_reset(&welcome);
        UNTIL(&w, w.worker.ups > ups);
    }
    free_wire(&w);
}

static void a_worker_may_come_before_the_exchange(void **state)
{
    (void)state;
    wire w = new_wire();
    open_worker(&w);
    step_for(&w, 100);
    open_exchange(&w);
    UNTIL(&w, w.exchange.ups == 1);
    step_for(&w, 100); /* the HELLOs of its waiting are one worker's */
    assert_true(w.exchange.ups == 1 && w.exchange.downs == 0);
    free_wire(&w);
}

/* ---- strangers ---- */

static void nothing_is_heard_of_who_has_not_said_hello(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    const int before = w.exchange.messages;
    raw_message(raw, sample(MSG_WANT));
    raw_message(raw, sample(MSG_BYE));
    raw_hello(raw, "late", PROTOCOL_VERSION);
    UNTIL(&w, w.exchange.ups == 2);
    assert_string_equal(w.exchange.hello.name, "late");
    assert_true(w.exchange.messages == before && w.exchange.downs == 0);
    zmq_close(raw);
    free_wire(&w);
}

static void another_protocol_is_refused_with_both_numbers(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    char bytes[1024];
    int len = -1;
    message m;
    error err = { 0 };
    raw_hello(raw, "old", PROTOCOL_VERSION + 41);
    UNTIL(&w, (len = zmq_recv(raw, bytes, sizeof bytes, ZMQ_DONTWAIT)) >= 0);
    test_ok(message_decode(&m, bytes, (size_t)len, &err), &err);
    assert_int_equal(m.type, MSG_BYE);
    assert_non_null(strstr(m.bye.reason, "protocol version 46,"));
    assert_non_null(strstr(m.bye.reason, "expected 5:"));
    assert_int_equal(w.exchange.ups, 1);
    zmq_close(raw);
    free_wire(&w);
}

static void who_falls_silent_is_gone_though_its_socket_is_open(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    error err = { 0 };
    raw_hello(raw, "mute", PROTOCOL_VERSION);
    UNTIL(&w, w.exchange.ups == 2);
    const peer_id mute = w.exchange.peer;
    const int64_t begin_ms = clock_ms();
    UNTIL(&w, w.exchange.downs == 1);
    assert_true(clock_ms() - begin_ms > PATIENCE_MS / 2);
    assert_string_equal(w.exchange.hello.name, "mute");
    assert_non_null(strstr(w.exchange.why, "silent"));
    const message want = sample(MSG_WANT);
    assert_int_equal(endpoint_send(w.exchange.ep, mute, &want, &err), ERR_PEER);
    raw_hello(raw, "mute", PROTOCOL_VERSION); /* it was only asleep */
    UNTIL(&w, w.exchange.ups == 3);
    zmq_close(raw);
    free_wire(&w);
}

/* A worker that computed for too long is given up; its loop has been held up, so it takes no peer for silent and would
 * not think of introducing itself again. */
static void who_was_given_up_and_speaks_again_is_taken_back(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    const peer_id before = w.exchange.peer;
    for (int round = 1; round <= 3; round++) {
        for (const int64_t until_ms = clock_ms() + DEADLINE_MS; w.exchange.downs < round; step_side(&w.exchange))
            if (clock_ms() > until_ms) fail_msg("it was never given up");
        assert_non_null(strstr(w.exchange.why, "silent"));
        UNTIL(&w, w.exchange.ups == 1 + round);
        assert_int_equal(w.exchange.peer, before); /* the same connection: what it was given it may still answer */
        assert_string_equal(w.exchange.hello.name, "actor-1");
    }
    error err = { 0 };
    const message want = sample(MSG_WANT);
    const int heard = w.exchange.of_type[MSG_WANT];
    test_ok(endpoint_send(w.worker.ep, 0, &want, &err), &err); /* and it is heard again */
    UNTIL(&w, w.exchange.of_type[MSG_WANT] == heard + 1);
    free_wire(&w);
}

/* Another process: it says nothing but heartbeats, as one that never hears what it is told. */
static void a_stranger_that_never_introduces_itself_is_asked_at_a_bounded_rate(void **state)
{
    (void)state;
    wire w = new_wire();
    open_exchange(&w);
    void *raw = raw_dealer(&w);
    for (int i = 0; i < 500; i++) raw_message(raw, sample(MSG_HEARTBEAT));
    step_for(&w, 10 * HEARTBEAT_MS);
    char frame[1000];
    int asked = 0;
    while (zmq_recv(raw, frame, sizeof frame, ZMQ_DONTWAIT) > 0) asked++;
    assert_in_range(asked, 1, 11);
    assert_int_equal(w.exchange.ups, 0);
    zmq_close(raw);
    free_wire(&w);
}

static void who_computes_and_says_so_is_not_given_up(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    for (const int64_t until_ms = clock_ms() + 4 * PATIENCE_MS; clock_ms() < until_ms; step_side(&w.exchange))
        endpoint_alive(w.worker.ep); /* its loop does not turn */
    assert_int_equal(w.exchange.downs, 0);
    assert_int_equal(w.exchange.ups, 1);
    UNTIL(&w, w.exchange.downs == 0 && w.worker.of_type[MSG_HEARTBEAT] > 3);
    free_wire(&w);
}

static void an_exchange_that_was_held_up_calls_nobody_silent(void **state)
{
    (void)state;
    wire w = new_wire();
    open_exchange(&w);
    void *raw = raw_dealer(&w);
    raw_hello(raw, "patient", PROTOCOL_VERSION);
    UNTIL(&w, w.exchange.ups == 1);
    poll(NULL, 0, 2 * PATIENCE_MS); /* as a stopped process */
    for (int i = 0; i < 3; i++) step(&w);
    assert_int_equal(w.exchange.downs, 0);
    UNTIL(&w, w.exchange.downs == 1); /* now it listens, and hears nothing */
    zmq_close(raw);
    free_wire(&w);
}

static void a_worker_that_was_held_up_does_not_take_the_exchange_for_silent(void **state)
{
    (void)state;
    wire w = new_wire();
    void *router = raw_router(&w);
    open_worker(&w);
    step_for(&w, 3 * HEARTBEAT_MS);
    assert_in_range(endpoint_silence_ms(w.worker.ep), HEARTBEAT_MS, PATIENCE_MS); /* no peer sends there */
    poll(NULL, 0, 2 * PATIENCE_MS);
    step(&w);
    assert_in_range(endpoint_silence_ms(w.worker.ep), HEARTBEAT_MS, 2 * PATIENCE_MS);
    zmq_close(router);
    free_wire(&w);
}

static void what_was_just_heard_is_no_silence_and_not_in_the_future(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    UNTIL(&w, w.worker.of_type[MSG_HEARTBEAT] > 0);
    const int64_t until_ms = clock_ms() + PATIENCE_MS;
    while (clock_ms() < until_ms) step_side(&w.exchange); /* it speaks while the worker is held up */
    step_side(&w.worker);
    assert_in_range(endpoint_silence_ms(w.worker.ep), 0, PATIENCE_MS - 1);
    free_wire(&w);
}

/* ---- broken frames ---- */

static void malformed_frames_are_counted_and_dropped_and_the_connection_lives(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        { "", 0 }, { "\1", 1 }, { "\4\x80", 2 }, { "\xff\x80", 2 }, { "\4\x81\xa5slots\xff", 9 }, { "GET /", 5 }
    };
    enum { N = sizeof bad / sizeof *bad };
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    raw_hello(raw, "clumsy", PROTOCOL_VERSION);
    UNTIL(&w, w.exchange.ups == 2);
    for (int i = 0; i < N; i++) raw_say(raw, bad[i].bytes, bad[i].len, 0);
    raw_say(raw, "\4\x81\xa5slots\6", 9, ZMQ_SNDMORE); /* good, but of two frames */
    raw_say(raw, "more", 4, 0);
    for (int i = 0; i < 5; i++) raw_say(raw, "more", 4, i < 4 ? ZMQ_SNDMORE : 0);
    raw_say(raw, "\4\x81\xa5slots\7", 9, 0);
    UNTIL(&w, w.exchange.messages == 1);
    assert_int_equal(w.exchange.last.want.slots, 7);
    assert_int_equal(malformed(w.exchange.ep), N + 2);
    assert_string_equal(endpoint_refused(w.exchange.ep)->peers[0].name, "clumsy");
    assert_int_equal(endpoint_refused(w.exchange.ep)->peers[0].n, N + 2);
    assert_true(w.exchange.downs == 0 && w.exchange.messages == 1);
    zmq_close(raw);
    free_wire(&w);
}

/* A raw ROUTER learns the worker's identity from what it says. */
static size_t raw_identity(wire *w, void *router, char identity[256])
{
    int len = -1;
    UNTIL(w, (len = zmq_recv(router, identity, 256, ZMQ_DONTWAIT)) >= 0);
    char rest[1024];
    zmq_recv(router, rest, sizeof rest, 0);
    return (size_t)len;
}

static void a_worker_survives_an_exchange_that_talks_rubbish(void **state)
{
    (void)state;
    wire w = new_wire();
    void *router = raw_router(&w);
    open_worker(&w);
    char identity[256];
    const size_t len = raw_identity(&w, router, identity);
    step_for(&w, 5 * HEARTBEAT_MS);
    assert_true(endpoint_silence_ms(w.worker.ep) >= 4 * HEARTBEAT_MS / 2);
    raw_say(router, identity, len, ZMQ_SNDMORE), raw_say(router, "\2", 1, 0);
    raw_say(router, identity, len, ZMQ_SNDMORE), raw_say(router, "a", 1, ZMQ_SNDMORE), raw_say(router, "b", 1, 0);
    raw_say(router, identity, len, ZMQ_SNDMORE), raw_message(router, sample(MSG_TASK));
    UNTIL(&w, w.worker.messages == 1);
    assert_int_equal(w.worker.last.type, MSG_TASK);
    assert_int_equal(malformed(w.worker.ep), 2);
    assert_true(endpoint_silence_ms(w.worker.ep) < DEADLINE_MS && w.worker.ups == 0);
    zmq_close(router);
    free_wire(&w);
}

static void a_frame_beyond_the_limit_costs_its_sender_the_connection_and_nobody_else(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    void *raw = raw_dealer(&w);
    const size_t len = (size_t)MAX_MESSAGE_BYTES + 1;
    char *huge = xcalloc(1, len);
    raw_hello(raw, "greedy", PROTOCOL_VERSION);
    UNTIL(&w, w.exchange.ups == 2);
    raw_say(raw, huge, len, 0);
    free(huge);
    UNTIL(&w, w.exchange.downs == 1);
    assert_string_equal(w.exchange.hello.name, "greedy");
    assert_int_equal(malformed(w.exchange.ep), 0); /* it was not even read */
    const message want = sample(MSG_WANT);
    send_ok(&w.worker, 0, &want);
    UNTIL(&w, w.exchange.messages == 1);
    raw_hello(raw, "greedy", PROTOCOL_VERSION); /* the socket has connected anew */
    UNTIL(&w, w.exchange.ups == 3);
    zmq_close(raw);
    free_wire(&w);
}

static void a_message_beyond_the_limit_is_refused_where_it_is_sent(void **state)
{
    (void)state;
    wire w;
    connected(&w);
    error err = { 0 };
    message m = { .type = MSG_WEIGHTS_CHUNK };
    m.weights_chunk.len = MAX_MESSAGE_BYTES;
    m.weights_chunk.data = xcalloc(1, MAX_MESSAGE_BYTES);
    assert_int_equal(endpoint_send(w.worker.ep, 0, &m, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "WEIGHTS_CHUNK"));
    assert_int_equal(endpoint_send(w.exchange.ep, w.exchange.peer, &m, &err), ERR_LIMIT);
    message_reset(&m);
    const message want = sample(MSG_WANT);
    send_ok(&w.worker, 0, &want);
    UNTIL(&w, w.exchange.messages == 1);
    assert_true(w.exchange.downs == 0 && w.exchange.ups == 1);
    free_wire(&w);
}

/* ---- bounds ---- */

static void the_queue_to_nobody_is_bounded_and_closing_has_a_deadline(void **state)
{
    (void)state;
    wire w = new_wire();
    open_worker(&w);
    const message want = sample(MSG_WANT);
    error err = { 0 };
    int sent = 0;
    while (sent < 100000 && endpoint_send(w.worker.ep, 0, &want, &err) == OK) sent++;
    assert_in_range(sent, 1000, 99999);
    assert_int_equal(err.code, ERR_PEER);
    const int64_t begin_ms = clock_ms();
    free_wire(&w);
    assert_true(clock_ms() - begin_ms < 10000);
}

/* Says messages of `len` bytes to a worker that does not read, until it has no more room. Returns how many it took. */
static int fill(void *router, const char *identity, size_t identity_len, size_t len)
{
    enum { SEND_MS = 300, ENOUGH = 2000 };
    int n = 0;
    char *bytes = xcalloc(1, len);
    zmq_setsockopt(router, ZMQ_SNDTIMEO, &(int){ SEND_MS }, sizeof(int));
    for (; n < ENOUGH; n++)
        if (zmq_send(router, identity, identity_len, ZMQ_SNDMORE) < 0 || zmq_send(router, bytes, len, 0) < 0) break;
    free(bytes);
    return n;
}

/* Whatever an exchange sends, a worker that computes holds no more of it than it has bytes for. */
static void what_waits_for_a_worker_is_bounded_in_bytes(void **state)
{
    (void)state;
    enum { LONGEST = 1 << 20, HELD = 128 }; /* megabytes */
    wire w = new_wire();
    char identity[300], hello[1000];
    void *router = zmq_socket(w.raw, ZMQ_ROUTER);
    zmq_setsockopt(router, ZMQ_SNDHWM, &(int){ 1 }, sizeof(int));
    zmq_setsockopt(router, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &(int){ 1 }, sizeof(int));
    assert_int_equal(zmq_bind(router, w.address), 0);
    for (int type = 0; type < N_MESSAGES; type++) w.worker.limits[type] = LONGEST;
    open_worker(&w);
    const int len = zmq_recv(router, identity, sizeof identity, 0);
    zmq_recv(router, hello, sizeof hello, 0);
    const int took = fill(router, identity, (size_t)len, LONGEST);
    if (took < 2 || took > HELD + 8) fail_msg("%d messages of 1 MB", took);
    zmq_close(router);
    free_wire(&w);
}

/* ---- addresses ---- */

static endpoint *try_address(loop *lp, const char *address, bool server, error *err)
{
    static const endpoint_callbacks cb = { 0 };
    const endpoint_config c = { .address = address, .hello = { "actor", "a", "", PROTOCOL_VERSION, 1, 1 } };
    *err = (error){ 0 };
    return server ? endpoint_bind(lp, &c, &cb, NULL, err) : endpoint_connect(lp, &c, &cb, NULL, err);
}

static void an_address_that_is_refused_opens_nothing(void **state)
{
    (void)state;
    error err;
    loop *lp = loop_new(&err);
    for (int server = 0; server < 2; server++) {
        assert_null(try_address(lp, "ipc://@troupe-test", server, &err));
        assert_int_equal(err.code, ERR_UNSUPPORTED);
    }
    loop_free(lp);
}

static void any_port_of_loopback_is_one_that_others_can_come_to(void **state)
{
    (void)state;
    wire w = new_wire();
    snprintf(w.address, sizeof w.address, "tcp://localhost:*");
    open_exchange(&w);
    snprintf(w.address, sizeof w.address, "tcp://localhost:%s", strrchr(endpoint_address(w.exchange.ep), ':') + 1);
    open_worker(&w);
    UNTIL(&w, w.exchange.ups == 1);
    free_wire(&w);
}

static void a_socket_file_is_its_owners_alone(void **state)
{
    (void)state;
    struct stat st;
    wire w;
    connected(&w);
    assert_int_equal(stat(w.address + strlen("ipc://"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free_wire(&w);
}

static void an_address_that_can_not_be_had_is_an_error_that_names_it(void **state)
{
    (void)state;
    error err;
    loop *lp = loop_new(&err);
    endpoint *first = try_address(lp, "tcp://127.0.0.1:*", true, &err);
    assert_non_null(first);
    const char *const bad[] = { "ipc:///nowhere/at/all/wire", endpoint_address(first) };
    for (int i = 0; i < 2; i++) {
        if (try_address(lp, bad[i], true, &err)) fail_msg("was taken: %s", bad[i]);
        assert_int_equal(err.code, ERR_IO);
        assert_non_null(strstr(err.text, bad[i]));
    }
    endpoint_free(first);
    loop_free(lp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_comes_up_as_who_it_is),
        cmocka_unit_test(every_message_reaches_a_worker_unchanged),
        cmocka_unit_test(heartbeats_say_what_they_were_told_to),
        cmocka_unit_test(messages_keep_their_order),
        cmocka_unit_test(heartbeats_keep_an_idle_connection_up),
        cmocka_unit_test(bye_is_a_parting_with_its_sentence),
        cmocka_unit_test(a_worker_that_dies_without_a_word_is_gone),
        cmocka_unit_test(a_worker_says_hello_again_to_an_exchange_that_was_restarted),
        cmocka_unit_test(a_worker_may_come_before_the_exchange),
        cmocka_unit_test(nothing_is_heard_of_who_has_not_said_hello),
        cmocka_unit_test(another_protocol_is_refused_with_both_numbers),
        cmocka_unit_test(who_falls_silent_is_gone_though_its_socket_is_open),
        cmocka_unit_test(who_was_given_up_and_speaks_again_is_taken_back),
        cmocka_unit_test(a_stranger_that_never_introduces_itself_is_asked_at_a_bounded_rate),
        cmocka_unit_test(who_computes_and_says_so_is_not_given_up),
        cmocka_unit_test(an_exchange_that_was_held_up_calls_nobody_silent),
        cmocka_unit_test(a_worker_that_was_held_up_does_not_take_the_exchange_for_silent),
        cmocka_unit_test(what_was_just_heard_is_no_silence_and_not_in_the_future),
        cmocka_unit_test(malformed_frames_are_counted_and_dropped_and_the_connection_lives),
        cmocka_unit_test(a_worker_survives_an_exchange_that_talks_rubbish),
        cmocka_unit_test(a_frame_beyond_the_limit_costs_its_sender_the_connection_and_nobody_else),
        cmocka_unit_test(a_message_beyond_the_limit_is_refused_where_it_is_sent),
        cmocka_unit_test(the_queue_to_nobody_is_bounded_and_closing_has_a_deadline),
        cmocka_unit_test(what_waits_for_a_worker_is_bounded_in_bytes),
        cmocka_unit_test(an_address_that_is_refused_opens_nothing),
        cmocka_unit_test(any_port_of_loopback_is_one_that_others_can_come_to),
        cmocka_unit_test(a_socket_file_is_its_owners_alone),
        cmocka_unit_test(an_address_that_can_not_be_had_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
