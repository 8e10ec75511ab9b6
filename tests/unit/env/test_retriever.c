/* SPDX-License-Identifier: MIT */
/* T.search with a retrieval server: its answers, and how it may fail (tests/unit/env/retrieval_server.py). */
#include "env/tools/retriever.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "env/search/retrieved.h"
#include "tests/support/web_away.h"

static const char SCRIPT[] = "tests/unit/env/retrieval_server.py";

static web server;

static router *router_of(int port, int timeout_ms)
{
    static const char *const HEADERS[] = { "X-Key: k3y", NULL };
    char url[100];
    error err = { 0 };
    tool t;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/retrieve", port);
    router *r = router_new(NULL);
    const retriever_config config = { .url = url, .headers = HEADERS, .k = 2, .timeout_ms = timeout_ms };
    test_ok(retriever_tool(&config, &t, &err), &err);
    test_ok(router_add(r, &t, &err), &err);
    return r;
}

static void expect(router *r, const char *query, failure failed, const char *text)
{
    char arguments[200];
    tool_result t = { 0 };
    error err = { 0 };
    snprintf(arguments, sizeof arguments, "{\"query\": \"%s\"}", query);
    test_ok(router_call(r, "search", arguments, &t, &err), &err);
    if (t.failed != failed || t.ok != (failed == FAIL_NONE) || !strstr(t.text, text))
        fail_msg("%s: expected '%s', found (ok %d, failed %d): %s", query, text, t.ok, t.failed, t.text);
    tool_result_reset(&t);
}

static void a_servers_passages_read_as_those_of_an_index(void **state)
{
    (void)state;
    router *r = router_of(server.port, 0);
    expect(r, "lungs", FAIL_NONE, "[1] Title 0\nlungs, key k3y\n\n[2] Title 1\nlungs, key k3y");
    expect(r, "none", FAIL_NONE, "No passage was found.");
    expect(r, "busy", FAIL_NONE, "[1] Title 0\nbusy"); /* asked again, twice */
    router_free(r);
}

static void what_fails_is_lost_and_says_why(void **state)
{
    (void)state;
    router *r = router_of(server.port, 300);
    expect(r, "hang", FAIL_TOOL_LOST, "imed out");
    expect(r, "garbage", FAIL_TOOL_LOST, "not JSON");
    expect(r, "broken", FAIL_TOOL_LOST, "status 500: Traceback");
    expect(r, "wrong", FAIL_TOOL_LOST, "status 422: {\"detail\": \"topk is missing\"}");
    expect(r, "cut", FAIL_TOOL_LOST, "/retrieve: ");
    expect(r, "lungs", FAIL_NONE, "[1] Title 0");
    router_free(r);
    r = router_of(server.port, 0);
    expect(r, "flood", FAIL_TOOL_LOST, "more than 4194304 bytes");
    router_free(r);
    r = router_of(1, 300);
    expect(r, "lungs", FAIL_TOOL_LOST, "http://127.0.0.1:1/retrieve: ");
    router_free(r);
}

/* Each with its own answer; one that is cancelled and one that is under way at the end. */
static void searches_run_beside_each_other(void **state)
{
    (void)state;
    enum { CALLS = 100 };
    router *r = router_of(server.port, 0);
    uint64_t first = 0;
    for (int i = 0; i < CALLS; i++) {
        char arguments[60];
        snprintf(arguments, sizeof arguments, "{\"query\": \"n%d;\"}", i);
        const uint64_t id = router_begin(r, "search", arguments, NULL, clock_ms());
        if (i == 0) first = id;
    }
    router_cancel(r, first + 5);
    for (int answered = 0; answered < CALLS - 1;) {
        tool_result t;
        char own[20];
        router_wait(r, 1000);
        if (router_poll(r, clock_ms(), &t, 1) == 0) continue;
        snprintf(own, sizeof own, "n%d;", (int)(t.call - first));
        assert_true(t.ok && t.call != first + 5);
        assert_non_null(strstr(t.text, own));
        tool_result_reset(&t);
        answered++;
    }
    assert_true(router_deadline_ms(r) == INT64_MAX);
    router_begin(r, "search", "{\"query\": \"hang\"}", NULL, clock_ms());
    router_free(r);
}

/* One that is started again meanwhile answers: nothing is lost. */
static void a_server_that_comes_back_is_asked_again(void **state)
{
    (void)state;
    const int port = server.port;
    router *r = router_of(port, 20000);
    expect(r, "before", FAIL_NONE, "[1] Title 0");
    web_end(&server);
    const uint64_t call = router_begin(r, "search", "{\"query\": \"after\"}", NULL, clock_ms());
    tool_result t = web_result_after_away(r, call, 3, &server, SCRIPT, port);
    assert_true(t.ok && strstr(t.text, "after"));
    tool_result_reset(&t);
    router_free(r);
}

static void check_read(const char *answer, const char *expected)
{
    str out = { 0 };
    error err = { 0 };
    const int rc = retrieved_show(answer, strlen(answer), 3, &out, &err);
    const char *found = rc == OK ? out.data : err.text;
    if (!strstr(found, expected)) fail_msg("%s: expected '%s', found '%s'", answer, expected, found);
    str_free(&out);
}

static void the_forms_that_servers_have(void **state)
{
    (void)state;
    check_read("{\"result\": [[{\"document\": {\"contents\": \"\\\"T\\\"\\na\\nb\"}, \"score\": 1}]]}", "[1] T\na\nb");
    check_read("{\"result\": [[{\"id\": 1, \"contents\": \"T\\na\"}]]}", "[1] T\na");
    check_read("{\"result\": [[{\"title\": \"T\", \"text\": \"a\\nb\"}, \"c\"]]}", "[1] T\na\nb\n\n[2] c");
    check_read("{\"result\": [[{\"document\": \"a\"}, {\"content\": \"b\"}, \"c\", \"d\"]]}",
               "[1] a\n\n[2] b\n\n[3] c");
    check_read("{\"result\": []}", "No passage was found.");
    check_read("{\"result\": [{\"a\": 1}]}", "expected {\"result\"");
    check_read("{\"detail\": \"x\"}", "expected {\"result\"");
    check_read("[]", "expected {\"result\"");
    check_read("{\"result\": [[{\"score\": 1}]]}", "document 1 has no \"contents\"");
    check_read("", "not JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_servers_passages_read_as_those_of_an_index),
        cmocka_unit_test(what_fails_is_lost_and_says_why),
        cmocka_unit_test(searches_run_beside_each_other),
        cmocka_unit_test(a_server_that_comes_back_is_asked_again),
        cmocka_unit_test(the_forms_that_servers_have),
    };
    server = web_start(SCRIPT, 0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    web_end(&server);
    return failed;
}
