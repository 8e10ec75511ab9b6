/* SPDX-License-Identifier: MIT */
/* MCP servers over HTTP, good and bad (tests/unit/env/mcp_server.py). Those of the official SDK are met in
 * scripts/judge_mcp.sh, which needs a download. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "env/tools/mcp.h"
#include "tests/support/web_away.h"

static const char SCRIPT[] = "tests/unit/env/mcp_server.py";

static int open_at(router *r, int port, const char *kind, const char *const *headers, int start_ms, error *err)
{
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", port, kind);
    const mcp_tools_config config = { .server = {
                                          .url = url, .headers = headers, .timeout_ms = 1500, .start_ms = start_ms } };
    return mcp_add_tools(r, &config, err);
}

static router *router_of(const web *server, const char *kind)
{
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(open_at(r, server->port, kind, NULL, 10000, &err), &err);
    return r;
}

static tool_result call(router *r, const char *name)
{
    error err = { 0 };
    tool_result t = { 0 };
    test_ok(router_call(r, name, "{\"x\": \"y\"}", &t, &err), &err);
    return t;
}

static void expect(router *r, const char *name, bool ok, failure failed, const char *text)
{
    tool_result t = call(r, name);
    if (t.ok != ok || t.failed != failed || !strstr(t.text, text))
        fail_msg("%s: expected '%s', found (ok %d, failed %d): %s", name, text, t.ok, t.failed, t.text);
    tool_result_reset(&t);
}

/* What we say without waiting for an answer reaches the server a moment later. */
static void await_seen(router *r, const char *text)
{
    bool seen = false;
    const int64_t until = clock_ms() + 5000;
    while (!seen) {
        tool_result t = call(r, "seen");
        seen = strstr(t.text, text);
        if (!seen && clock_ms() > until) fail_msg("it has not seen '%s': %s", text, t.text);
        tool_result_reset(&t);
    }
}

static void its_tools_are_listed_page_by_page_and_called(void **state)
{
    (void)state;
    static const char *const KINDS[] = { "json", "stream", "stateless", "old" };
    web server = web_start(SCRIPT, 0);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        router *r = router_of(&server, KINDS[i]);
        char *told = router_tools_json(r);
        assert_non_null(strstr(told, "\"echo\""));
        assert_non_null(strstr(told, "\"nap\"")); /* of the last page */
        free(told);
        expect(r, "echo", true, FAIL_NONE, "echo y");
        expect(r, "fail", false, FAIL_NONE, "fail y");
        expect(r, "events", true, FAIL_NONE, "events y");
        expect(r, "seen", true, FAIL_NONE, "\"early\": 0");
        router_free(r);
    }
    router *r = router_of(&server, "json");
    expect(r, "seen", true, FAIL_NONE, "\"deleted\": 3"); /* each session that there was */
    router_free(r);
    web_end(&server);
}

/* In the stream before the answer: a list has changed; are we there?; a question that has no answer here. */
static void a_servers_own_messages_are_heard_and_answered(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "json");
    expect(r, "events", true, FAIL_NONE, "events y");
    await_seen(r, "\"pongs\": 1");
    router_free(r);
    web_end(&server);
}

static void what_fails_costs_its_own_call(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "stream");
    expect(r, "garbage", false, FAIL_TOOL_LOST, "not JSON");
    expect(r, "html", false, FAIL_TOOL_LOST, "answers with text/html: expected application/json");
    expect(r, "giant", false, FAIL_TOOL_LOST, "more than 16777216 bytes");
    expect(r, "gone", false, FAIL_TOOL_LOST, "/stream: ");
    expect(r, "broken", false, FAIL_TOOL_LOST, "/stream answers with status 500: Traceback: it has failed");
    expect(r, "cut", false, FAIL_TOOL_LOST, "its stream of events ended without the answer");
    expect(r, "other", false, FAIL_TOOL_LOST, "answers another request");
    expect(r, "echo", true, FAIL_NONE, "echo y");
    expect(r, "seen", true, FAIL_NONE, "\"initialize\": 1,"); /* in the same session */
    router_free(r);
    web_end(&server);
}

static void a_stream_that_is_cut_is_taken_up_again(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "json");
    expect(r, "resumed", true, FAIL_NONE, "resumed");
    router_free(r);
    web_end(&server);
}

static void a_call_without_an_answer_is_cancelled_and_others_go_on(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "json");
    const uint64_t slow = router_begin(r, "slow", "{}", NULL, clock_ms());
    expect(r, "echo", true, FAIL_NONE, "echo y");
    tool_result t = { 0 };
    while (router_poll(r, clock_ms(), &t, 1) == 0) router_wait(r, 1000);
    assert_true(t.call == slow && !t.ok && t.failed == FAIL_NONE);
    assert_string_equal(t.text, "error: no answer within 1.5 s");
    tool_result_reset(&t);
    router_cancel(r, router_begin(r, "slow", "{}", NULL, clock_ms()));

    await_seen(r, "time limit");
    await_seen(r, "the episode has ended");
    expect(r, "seen", true, FAIL_NONE, "\"initialize\": 1,");
    router_free(r);
    web_end(&server);
}

/* By an answer of 404; by a server that is another one, with calls under way. */
static void a_session_that_is_lost_is_begun_again(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "stream");
    expect(r, "lost", true, FAIL_NONE, "lost y");
    expect(r, "seen", true, FAIL_NONE, "\"initialize\": 2,");
    expect(r, "forget", true, FAIL_NONE, "forget y");
    expect(r, "echo", true, FAIL_NONE, "echo y");
    expect(r, "seen", true, FAIL_NONE, "\"initialize\": 3,");

    const int port = server.port;
    web_end(&server);
    const uint64_t id = router_begin(r, "echo", "{\"x\": \"z\"}", NULL, clock_ms());
    tool_result t = web_result_after_away(r, id, 5, &server, SCRIPT, port);
    assert_string_equal(t.text, "echo z");
    tool_result_reset(&t);
    router_free(r);
    web_end(&server);
}

static void a_server_that_stays_away_is_named(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(open_at(r, server.port, "json", NULL, 500, &err), &err);
    web_end(&server);
    expect(r, "echo", false, FAIL_TOOL_LOST, "MCP server http://127.0.0.1:");
    router_free(r);
}

static void check_refused(const web *server, const char *kind, const char *says)
{
    error err = { 0 };
    router *r = router_new(NULL);
    assert_int_not_equal(open_at(r, server->port, kind, NULL, 500, &err), OK);
    if (!strstr(err.text, says)) fail_msg("%s: '%s' does not say '%s'", kind, err.text, says);
    router_free(r);
}

static void servers_that_can_not_be_used_are_refused_with_the_reason(void **state)
{
    (void)state;
    web server = web_start(SCRIPT, 0);
    check_refused(&server, "silent", "not ready after");
    check_refused(&server, "future", "2099-01-01");
    check_refused(&server, "html", "answers with text/html");
    check_refused(&server, "bad", "/bad answers with status 404: no such page");
    check_refused(&server, "late", "/late answers with status 503: starting"); /* at the start no one waits */
    check_refused(&server, "forbidden", "status 401 (its headers are given by `headers`): who are you?");

    error err = { 0 };
    static const char *const HEADERS[] = { "Authorization: Bearer hunter2", NULL };
    router *r = router_new(NULL);
    test_ok(open_at(r, server.port, "forbidden", HEADERS, 5000, &err), &err);
    expect(r, "echo", true, FAIL_NONE, "echo y");
    router_free(r);
    web_end(&server);
    check_refused(&(web){ .port = 1 }, "json", "MCP server: http://127.0.0.1:1/json: ");
    assert_null(mcp_open(&(mcp_config){ .url = "ftp://x" }, &err));
    assert_non_null(strstr(err.text, "not an address of http"));
}

static void calls_run_beside_each_other(void **state)
{
    (void)state;
    enum { CALLS = 100 };
    web server = web_start(SCRIPT, 0);
    router *r = router_of(&server, "stream");
    const int64_t began = clock_ms();
    uint64_t first = 0;
    for (int i = 0; i < CALLS; i++) {
        char arguments[40];
        snprintf(arguments, sizeof arguments, "{\"x\": \"n%d\"}", i);
        const uint64_t id = router_begin(r, "nap", arguments, NULL, clock_ms());
        if (i == 0) first = id;
    }
    for (int answered = 0; answered < CALLS;) {
        tool_result t;
        char own[20];
        router_wait(r, 1000);
        if (router_poll(r, clock_ms(), &t, 1) == 0) continue;
        snprintf(own, sizeof own, "nap n%d", (int)(t.call - first));
        assert_string_equal(t.text, own);
        tool_result_reset(&t);
        answered++;
    }
    assert_true(clock_ms() - began < CALLS * 200 / 2); /* one after the other would take twice that */
    while (router_deadline_ms(r) != INT64_MAX) {       /* an answer is read before its stream has ended */
        tool_result none;
        router_wait(r, 1000);
        assert_int_equal(router_poll(r, clock_ms(), &none, 1), 0);
    }
    router_begin(r, "slow", "{}", NULL, clock_ms());
    router_free(r);
    web_end(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_tools_are_listed_page_by_page_and_called),
        cmocka_unit_test(a_servers_own_messages_are_heard_and_answered),
        cmocka_unit_test(what_fails_costs_its_own_call),
        cmocka_unit_test(a_stream_that_is_cut_is_taken_up_again),
        cmocka_unit_test(a_call_without_an_answer_is_cancelled_and_others_go_on),
        cmocka_unit_test(a_session_that_is_lost_is_begun_again),
        cmocka_unit_test(a_server_that_stays_away_is_named),
        cmocka_unit_test(servers_that_can_not_be_used_are_refused_with_the_reason),
        cmocka_unit_test(calls_run_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
