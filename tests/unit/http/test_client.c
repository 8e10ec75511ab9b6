/* SPDX-License-Identifier: MIT */
/* Requests to a server that answers as it should and as it shouldn't (tests/support/web.py). */
#include "http/client.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "tests/support/web.h"

/* What came of a request. */
typedef struct outcome {
    http *client;
    int done, status, code, sinks;
    char why[504], type[80], kind[80];
    str body, sunk;
    uint64_t stop; /* a request that the sink gives up */
} outcome;

static web server;

static void on_done(void *ctx, const http_answer *a)
{
    outcome *o = ctx;
    const char *kind = http_header(o->client, "x-kind");
    o->done++;
    o->status = a->status;
    o->code = a->failed.code;
    snprintf(o->why, sizeof o->why, "%s", a->failed.text);
    snprintf(o->type, sizeof o->type, "%s", a->type);
    snprintf(o->kind, sizeof o->kind, "%s", kind ? kind : "");
    assert_int_equal(strlen(a->body), a->len);
    str_clear(&o->body);
    str_puts(&o->body, a->body);
}

static void on_sink(void *ctx, const char *type, const char *bytes, size_t len)
{
    outcome *o = ctx;
    o->sinks++;
    snprintf(o->type, sizeof o->type, "%s", type);
    str_add(&o->sunk, bytes, len);
    if (o->stop) http_abort(o->client, o->stop);
}

static const char *url_of(const char *path)
{
    static char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", server.port, path);
    return url;
}

static void turn(http *h)
{
    struct pollfd fds[4];
    const int64_t due = http_deadline_ms(h), now = clock_ms();
    int wait = 1000;
    if (due != INT64_MAX && due - now < wait) wait = due > now ? (int)(due - now) : 0;
    poll(fds, (nfds_t)http_fds(h, fds, 4), wait);
    http_turn(h);
}

static void ask_of(outcome *o, http_request r)
{
    error err = { 0 };
    o->client = http_new(&err);
    if (!o->client) fail_msg("%s", err.text);
    r.done = on_done;
    r.ctx = o;
    if (!r.method) r.method = "GET";
    if (http_send(o->client, &r, &err) == 0) fail_msg("%s", err.text);
    while (o->done == 0) turn(o->client);
    assert_int_equal(http_deadline_ms(o->client) == INT64_MAX, 1);
    http_free(o->client);
}

static outcome ask(http_request r)
{
    outcome o = { 0 };
    ask_of(&o, r);
    return o;
}

static void forget(outcome *o)
{
    str_free(&o->body);
    str_free(&o->sunk);
}

static void an_answer_comes_with_its_status_type_headers_and_body(void **state)
{
    (void)state;
    static const char *const HEADERS[] = { "X-Key: secret", "Content-Type: application/json", NULL };
    outcome o =
        ask((http_request){ .method = "POST", .url = url_of("echo"), .headers = HEADERS, .body = "{\"a\": 1}" });
    assert_int_equal(o.status, 200);
    assert_int_equal(o.code, OK);
    assert_string_equal(o.type, "application/json");
    assert_string_equal(o.kind, "echo");
    assert_non_null(strstr(o.body.data, "\"method\": \"POST\""));
    assert_non_null(strstr(o.body.data, "\"body\": \"{\\\"a\\\": 1}\""));
    assert_non_null(strstr(o.body.data, "\"key\": \"secret\""));
    forget(&o);

    o = ask((http_request){ .method = "DELETE", .url = url_of("echo") });
    assert_non_null(strstr(o.body.data, "\"method\": \"DELETE\""));
    forget(&o);
}

static void a_status_that_tells_of_an_error_is_an_answer(void **state)
{
    (void)state;
    for (int sunk = 0; sunk < 2; sunk++) { /* its body is done's, since a sink waits for another one */
        outcome o = ask((http_request){ .url = url_of("broken"), .sink = sunk ? on_sink : NULL });
        assert_int_equal(o.code, OK);
        assert_int_equal(o.status, 500);
        assert_int_equal(o.sinks, 0);
        assert_string_equal(o.body.data, "Traceback: it has failed");
        forget(&o);
    }
}

static void a_stream_is_given_on_as_it_comes(void **state)
{
    (void)state;
    outcome o = ask((http_request){ .url = url_of("drip"), .sink = on_sink });
    assert_string_equal(o.sunk.data, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    assert_string_equal(o.type, "text/event-stream");
    assert_true(o.sinks > 1);
    forget(&o);
}

static void check_failure(const char *path, int64_t timeout_ms, int code, const char *says)
{
    outcome o = ask((http_request){ .url = url_of(path), .timeout_ms = timeout_ms, .max_bytes = 1 << 20 });
    if (o.code != code || !strstr(o.why, says)) fail_msg("%s: '%s' does not say '%s'", path, o.why, says);
    if (!strstr(o.why, "http://127.0.0.1:") && !strstr(o.why, "an address")) fail_msg("'%s' names no address", o.why);
    forget(&o);
}

static void what_fails_says_why_and_where(void **state)
{
    (void)state;
    check_failure("hang", 200, ERR_TIMEOUT, "imed out");
    check_failure("forever", 0, ERR_LIMIT, "more than 1048576 bytes");
    check_failure("garbage", 0, ERR_PEER, "/garbage: ");
    check_failure("cut", 0, ERR_PEER, "/cut: ");
    check_failure("gone", 0, ERR_PEER, "/gone: ");
    check_failure("loop", 0, ERR_PEER, "more than 5 redirects");
    check_failure("away", 0, ERR_PEER, "sends us to another server, http://localhost:");
    check_failure("to_file", 0, ERR_PEER, "sends us to another server");
    const int port = server.port;
    server.port = 1;
    check_failure("echo", 0, ERR_NOT_FOUND, "onnect");
    server.port = port;
}

static void a_redirect_within_a_server_is_followed(void **state)
{
    (void)state;
    outcome o = ask((http_request){ .method = "POST", .url = url_of("moved"), .body = "said", .sink = on_sink });
    assert_int_equal(o.status, 200);
    assert_non_null(strstr(o.sunk.data, "\"path\": \"/echo?moved\""));
    assert_non_null(strstr(o.sunk.data, "\"method\": \"POST\""));
    assert_non_null(strstr(o.sunk.data, "\"body\": \"said\""));
    assert_null(strstr(o.sunk.data, "moved\"}moved")); /* the redirect's own body */
    forget(&o);
}

static void no_sentence_shows_a_password(void **state)
{
    (void)state;
    char url[200];
    snprintf(url, sizeof url, "http://me:hunter2@127.0.0.1:%d/gone?key=hunter3#hunter4", server.port);
    outcome o = ask((http_request){ .url = url });
    assert_int_equal(o.code, ERR_PEER);
    assert_null(strstr(o.why, "hunter"));
    assert_null(strstr(o.why, "me:"));
    assert_non_null(strstr(o.why, "/gone"));
    forget(&o);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const WRONG[] = { "",
                                         "file:///etc/passwd",
                                         "ftp://127.0.0.1/a",
                                         "127.0.0.1:8000/mcp",
                                         "http://",
                                         "http://a b/",
                                         "gopher://x",
                                         "/mcp",
                                         "https:///",
                                         "http://127.0.0.1:99999/" };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        error err = { 0 };
        if (http_check_url(WRONG[i], &err) == OK) fail_msg("'%s' is taken", WRONG[i]);
        assert_int_equal(err.code, ERR_ARGUMENT);
        assert_non_null(strstr(err.text, "not an address of http or https"));
    }
    error err = { 0 };
    test_ok(http_check_url("https://example.org/mcp?x=1", &err), &err);
    test_ok(http_check_url("http://[::1]:8000", &err), &err);
}

/* A proxy that is set for the world has nothing to do with a server of this machine. */
static void hosts_of_this_machine_are_asked_without_a_proxy(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    outcome o = ask((http_request){ .url = url_of("echo") });
    unsetenv("http_proxy");
    assert_int_equal(o.code, OK);
    forget(&o);
}

static void many_run_beside_each_other_and_one_descriptor_tells(void **state)
{
    (void)state;
    enum { N = 64 };
    static outcome all[N];
    error err = { 0 };
    http *h = http_new(&err);
    for (int i = 0; i < N; i++) {
        char path[40];
        snprintf(path, sizeof path, "echo?n%d;", i);
        all[i].client = h;
        const http_request r = { .method = "GET", .url = url_of(path), .done = on_done, .ctx = &all[i] };
        assert_int_equal(http_send(h, &r, &err), i + 1);
    }
    http_abort(h, 10);
    for (int done = 0; done < N - 1;) {
        struct pollfd fds[4];
        assert_int_equal(http_fds(h, fds, 4), 1);
        turn(h);
        for (int i = done = 0; i < N; i++) done += all[i].done;
    }
    for (int i = 0; i < N; i++) {
        char own[40];
        snprintf(own, sizeof own, "n%d;", i);
        assert_int_equal(all[i].done, i != 9);
        if (i != 9) assert_non_null(strstr(all[i].body.data, own));
        forget(&all[i]);
    }
    http_free(h);
}

/* A sink that gives up its own request, and a client that ends with requests under way. */
static void what_is_given_up_is_heard_of_no_more(void **state)
{
    (void)state;
    outcome o = { .stop = 1 }, waits = { 0 };
    error err = { 0 };
    http *h = http_new(&err);
    o.client = waits.client = h;
    http_request r = { .method = "GET", .url = url_of("forever"), .sink = on_sink, .done = on_done, .ctx = &o };
    assert_int_equal(http_send(h, &r, &err), 1);
    while (o.sinks == 0) turn(h);
    for (int i = 0; i < 3; i++) http_turn(h);
    assert_int_equal(o.done, 0);
    assert_int_equal(o.sinks, 1);

    r = (http_request){ .method = "GET", .url = url_of("hang"), .done = on_done, .ctx = &waits };
    assert_int_equal(http_send(h, &r, &err), 2);
    http_turn(h);
    http_free(h);
    assert_int_equal(waits.done, 0);
    forget(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_with_its_status_type_headers_and_body),
        cmocka_unit_test(a_status_that_tells_of_an_error_is_an_answer),
        cmocka_unit_test(a_stream_is_given_on_as_it_comes),
        cmocka_unit_test(what_fails_says_why_and_where),
        cmocka_unit_test(a_redirect_within_a_server_is_followed),
        cmocka_unit_test(no_sentence_shows_a_password),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(hosts_of_this_machine_are_asked_without_a_proxy),
        cmocka_unit_test(many_run_beside_each_other_and_one_descriptor_tells),
        cmocka_unit_test(what_is_given_up_is_heard_of_no_more),
    };
    server = web_start("tests/support/web.py", 0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    web_end(&server);
    return failed;
}
