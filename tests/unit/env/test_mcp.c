/* SPDX-License-Identifier: MIT */
/* MCP servers, good and bad: this program is its own server, "serve KIND", which answers as its kind does. Those of the
 * official SDK are met in tests/real/mcp.sh, which needs a download. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/process.h"
#include "env/tools/mcp.h"
#include "tests/support/lines.h"
#include "tests/support/support.h"

/* ---- the server ---- */

static void put(json_t *message)
{
    json_object_set_new(message, "jsonrpc", json_string("2.0"));
    lines_put(message);
}

static void answer(json_t *id, json_t *result) { put(json_pack("{s:O, s:o}", "id", id, "result", result)); }

static void answer_text(json_t *id, const char *text, bool is_error)
{
    answer(id, json_pack("{s:[{s:s, s:s}], s:b}", "content", "type", "text", "text", text, "isError", is_error));
}

static json_t *tool_named(const char *name)
{
    return json_pack("{s:s, s:s, s:{s:s, s:{s:{s:s}}}}", "name", name, "description", "does as it is told",
                     "inputSchema", "type", "object", "properties", "x", "type", "string");
}

static void list_tools(json_t *id, const char *kind, const char *cursor)
{
    static const char *const NAMES[] = { "echo",  "fail",   "slow",  "crash", "garbage", "flood",
                                         "mixed", "refuse", "stick", "whose", "last",    "fs/read" };
    enum { N = sizeof NAMES / sizeof *NAMES, A_PAGE = 4 };
    json_t *tools = json_array();
    const int from = cursor ? atoi(cursor) : 0;
    char next[20] = "";
    for (int i = from; i < N && i < from + A_PAGE && strcmp(kind, "toolless") != 0; i++)
        json_array_append_new(tools, tool_named(NAMES[i]));
    if (from + A_PAGE < N) snprintf(next, sizeof next, "%d", from + A_PAGE);
    if (strcmp(kind, "endless") == 0) snprintf(next, sizeof next, "0");
    answer(id, json_pack("{s:o, s:s}", "tools", tools, "nextCursor", next));
}

static void flood(void)
{
    char bytes[4096];
    memset(bytes, 'x', sizeof bytes);
    while (fwrite(bytes, 1, sizeof bytes, stdout) == sizeof bytes) continue;
    _exit(3);
}

static void call_tool(json_t *id, const json_t *params)
{
    static int calls;
    const char *name = json_string_value(json_object_get(params, "name"));
    const char *x = json_string_value(json_object_get(json_object_get(params, "arguments"), "x"));
    char text[300];
    calls++;
    const json_t *meta = json_object_get(params, "_meta");
    if (strcmp(name, "whose") == 0) {
        const char *played = json_string_value(json_object_get(meta, "troupe/episode"));
        snprintf(text, sizeof text, "%s %jd", played,
                 (intmax_t)json_integer_value(json_object_get(meta, "troupe/seed")));
        answer_text(id, text, false);
        return;
    }
    snprintf(text, sizeof text, "%s %s, call %d, pid %d", name, x ? x : "-", calls, getpid());
    if (strcmp(name, "crash") == 0) raise(SIGKILL);
    if (strcmp(name, "flood") == 0) flood();
    while (strcmp(name, "stick") == 0) pause();
    if (strcmp(name, "garbage") == 0) printf("Traceback: this is no JSON\n"), fflush(stdout);
    if (strcmp(name, "slow") == 0 || strcmp(name, "garbage") == 0) return; /* no answer */
    if (strcmp(name, "mixed") == 0)
        answer(id, json_pack("{s:[{s:s, s:s}, {s:s, s:s, s:s}, {s:s, s:{s:s, s:s}}], s:{s:i}}", "content", "type",
                             "text", "text", "one", "type", "image", "mimeType", "image/png", "data", "AAAA", "type",
                             "resource", "resource", "uri", "file:///a", "text", "three", "structuredContent", "n", 3));
    else if (strcmp(name, "refuse") == 0)
        put(json_pack("{s:O, s:{s:i, s:s}}", "id", id, "error", "code", -32602, "message", "x is wrong"));
    else
        answer_text(id, text, strcmp(name, "fail") == 0);
    if (strcmp(name, "last") == 0) _exit(0);
}

static void on_request(void *ctx, json_t *message)
{
    const char *kind = ctx;
    json_t *id = json_object_get(message, "id"), *params = json_object_get(message, "params");
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!method || !id) return;
    if (strcmp(method, "initialize") == 0) {
        const char *asked = json_string_value(json_object_get(params, "protocolVersion"));
        const bool old = strcmp(kind, "old") == 0, future = strcmp(kind, "future") == 0;
        put(json_pack("{s:s, s:s}", "id", "p1", "method", "ping")); /* before its answer, as it may */
        put(json_pack("{s:s, s:{}}", "method", "notifications/message", "params"));
        answer(id, json_pack("{s:s, s:{s:{}}}", "protocolVersion",
                             old      ? "2024-11-05"
                             : future ? "2099-01-01"
                                      : asked,
                             "capabilities", "tools"));
    } else if (strcmp(method, "tools/list") == 0) {
        list_tools(id, kind, json_string_value(json_object_get(params, "cursor")));
    } else if (strcmp(method, "tools/call") == 0) {
        call_tool(id, params);
    }
}

static void on_nothing(void *ctx, json_t *message) { (void)ctx, (void)message; }

static int serve(char *kind)
{
    if (strcmp(kind, "gone") == 0) return 7;
    if (strcmp(kind, "chatty") == 0) printf("Listening on port 3000...\n");
    return lines_serve(strcmp(kind, "silent") == 0 ? on_nothing : on_request, kind);
}

/* ---- the tests ---- */

static int open_server(router *r, const char *kind, const char *const *only, bool words, error *err)
{
    char self[1024];
    test_ok(process_self_path(self, sizeof self, err), err);
    const char *const command[] = { self, "serve", kind, NULL };
    const mcp_tools_config config = { .server = { .command = command, .timeout_ms = 3000, .start_ms = 5000 },
                                      .only = only,
                                      .words = words };
    return mcp_add_tools(r, &config, err);
}

static router *router_of(const char *kind)
{
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(open_server(r, kind, NULL, false, &err), &err);
    return r;
}

static tool_result call(router *r, const char *name, const char *arguments)
{
    error err = { 0 };
    tool_result t = { 0 };
    test_ok(router_call(r, name, arguments, &t, &err), &err);
    return t;
}

static void expect(router *r, const char *name, bool ok, failure failed, const char *text)
{
    tool_result t = call(r, name, "{\"x\": \"y\"}");
    if (t.ok != ok || t.failed != failed || !strstr(t.text, text))
        fail_msg("%s: expected '%s', found (ok %d, failed %d): %s", name, text, t.ok, t.failed, t.text);
    free(t.text);
}

static void its_tools_are_listed_page_by_page_and_called(void **state)
{
    (void)state;
    static const char *const KINDS[] = { "good", "old" };
    for (int i = 0; i < 2; i++) {
        router *r = router_of(KINDS[i]);
        char *told = router_tools_json(r);
        assert_non_null(strstr(told, "\"echo\""));
        assert_non_null(strstr(told, "\"fs_read\"")); /* of the last page, in letters that a dialect can write */
        assert_non_null(strstr(told, "does as it is told"));
        free(told);
        expect(r, "echo", true, FAIL_NONE, "echo y, call 1");
        expect(r, "fs_read", true, FAIL_NONE, "fs/read y, call 2"); /* by its own name, in the same process */
        expect(r, "fail", false, FAIL_NONE, "fail y");
        expect(r, "refuse", false, FAIL_NONE, "error: x is wrong");
        expect(r, "mixed", true, FAIL_NONE, "one\n[image image/png]\nthree");
        tool_result t = call(r, "echo", "{\"x\": 3}"); /* checked before it is asked */
        assert_true(!t.ok && t.failed == FAIL_NONE && strstr(t.text, "x"));
        free(t.text);
        router_free(r);
    }
}

static void a_call_without_an_answer_ends_and_others_go_on(void **state)
{
    (void)state;
    router *r = router_of("good");
    const uint64_t slow = router_begin(r, "slow", "{}", NULL, clock_ms());
    expect(r, "echo", true, FAIL_NONE, "echo y, call 2");
    tool_result t = { 0 };
    while (router_poll(r, clock_ms(), &t, 1) == 0) router_wait(r, 1000);
    assert_true(t.call == slow && !t.ok && t.failed == FAIL_NONE);
    assert_string_equal(t.text, "error: no answer within 3 s");
    free(t.text);
    expect(r, "echo", true, FAIL_NONE, "echo y, call 3");
    router_cancel(r, router_begin(r, "slow", "{}", NULL, clock_ms()));
    assert_true(router_deadline_ms(r) == INT64_MAX);
    router_free(r);
}

static int pid_of(const char *text)
{
    const char *pid = strstr(text, "pid ");
    assert_non_null(pid);
    return atoi(pid + 4);
}

/* Its answer and its end are seen in one turn. */
static void what_a_server_said_before_its_end_counts(void **state)
{
    (void)state;
    router *r = router_of("good");
    tool_result t = call(r, "echo", "{}");
    const int pid = pid_of(t.text);
    free(t.text);
    router_begin(r, "last", "{}", NULL, clock_ms());
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    while (router_poll(r, clock_ms(), &t, 1) == 0) router_wait(r, 1000);
    assert_true(t.ok && pid_of(t.text) == pid);
    free(t.text);
    router_free(r);
}

/* The policy was told of the first list: a new server is not asked for another. */
static void the_tools_are_those_of_the_start(void **state)
{
    (void)state;
    char self[1024];
    error err = { 0 };
    test_ok(process_self_path(self, sizeof self, &err), &err);
    const char *const command[] = { self, "serve", "good", NULL };
    mcp_client *c = mcp_open(&(mcp_config){ .command = command }, &err);
    if (!c) fail_msg("%s", err.text);
    const size_t n = mcp_n_tools(c);
    for (int i = 0; i < 2; i++) { /* tool 3 crashes it, tool 0 echoes */
        tool_result t;
        test_ok(mcp_begin(c, i == 0 ? 3 : 0, 1, "{}", &(tool_context){ 0 }, clock_ms(), &err), &err);
        while (mcp_poll(c, clock_ms(), &t, 1) == 0) {
            struct pollfd fds[2];
            poll(fds, (nfds_t)mcp_fds(c, fds, 2), 1000);
        }
        assert_int_equal(t.failed, i == 0 ? FAIL_TOOL_LOST : FAIL_NONE);
        free(t.text);
    }
    assert_int_equal(mcp_n_tools(c), n);
    mcp_free(c);
}

static void a_call_says_whose_it_is(void **state)
{
    (void)state;
    router *r = router_of("good");
    const tool_context context = { .seed = UINT64_MAX, .episode = 0xab };
    router_begin(r, "whose", "{}", &context, clock_ms());
    tool_result t = { 0 };
    while (router_poll(r, clock_ms(), &t, 1) == 0) router_wait(r, 1000);
    assert_string_equal(t.text, "00000000000000ab 9223372036854775807");
    free(t.text);
    router_free(r);
}

/* Its call is the policy's doing; a call beside it is asked again of a new server. */
static void a_server_that_is_stuck_in_a_call_is_ended(void **state)
{
    (void)state;
    router *r = router_of("good");
    const uint64_t stuck = router_begin(r, "stick", "{}", NULL, clock_ms());
    router_begin(r, "echo", "{\"x\": \"y\"}", NULL, clock_ms());
    for (int done = 0; done < 2;) {
        tool_result t;
        router_wait(r, 1000);
        if (router_poll(r, clock_ms(), &t, 1) == 0) continue;
        done++;
        assert_int_equal(t.failed, FAIL_NONE);
        assert_non_null(strstr(t.text, t.call == stuck ? "no answer within 3 s" : "echo y, call 1"));
        assert_true(t.ok == (t.call != stuck));
        free(t.text);
    }
    router_free(r);
}

/* What ends the server is asked again, and then told of as lost; the next call has a new server. */
static void a_server_that_ends_is_started_again(void **state)
{
    (void)state;
    static const char *const ENDS[] = { "crash", "garbage", "flood" };
    static const char *const SAYS[] = { "has ended (killed by signal 9", "not JSON", "a line of more than 16 MB" };
    router *r = router_of("good");
    for (int i = 0; i < 3; i++) {
        expect(r, ENDS[i], false, FAIL_TOOL_LOST, SAYS[i]);
        expect(r, "echo", true, FAIL_NONE, "echo y, call 1");
    }
    router_free(r);
}

static void check_refused(const char *kind, const char *const *only, const char *says)
{
    error err = { 0 };
    router *r = router_new(NULL);
    assert_int_not_equal(open_server(r, kind, only, false, &err), OK);
    if (!strstr(err.text, says)) fail_msg("%s: '%s' does not say '%s'", kind, err.text, says);
    router_free(r);
}

static void servers_that_can_not_be_used_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const WRONG[] = { "echo", "ecko", NULL };
    check_refused("gone", NULL, "MCP server: ");
    check_refused("gone", NULL, "has ended (exit status 7)");
    check_refused("silent", NULL, "not ready after 5 s");
    check_refused("chatty", NULL, "not JSON");
    check_refused("future", NULL, "2099-01-01");
    check_refused("toolless", NULL, "has no tools");
    check_refused("endless", NULL, "256 tools");
    check_refused("good", WRONG, "no tool 'ecko' (it has: echo fail");

    error err = { 0 };
    const char *const none[] = { "/nowhere/server", NULL };
    assert_null(mcp_open(&(mcp_config){ .command = none }, &err));
    assert_non_null(strstr(err.text, "/nowhere/server"));
}

static void some_of_its_tools_or_their_words_alone(void **state)
{
    (void)state;
    static const char *const ONLY[] = { "fs/read", NULL };
    error err = { 0 };
    for (int words = 0; words <= 1; words++) {
        router *r = router_new(NULL);
        test_ok(open_server(r, "good", ONLY, words, &err), &err);
        char *told = router_tools_json(r);
        assert_non_null(strstr(told, "fs_read"));
        assert_null(strstr(told, "echo"));
        free(told);
        if (!words) expect(r, "fs_read", true, FAIL_NONE, "fs/read y, call 1");
        if (words) expect(r, "fs_read", false, FAIL_TOOL_LOST, "cannot be called here");
        router_free(r);
    }
}

/* Many at a time, each with its own answer; and nothing of the server is left. */
static void calls_run_beside_each_other(void **state)
{
    (void)state;
    enum { CALLS = 200 };
    router *r = router_of("good");
    uint64_t first = 0;
    int pid = 0;
    for (int i = 0; i < CALLS; i++) {
        char arguments[40];
        snprintf(arguments, sizeof arguments, "{\"x\": \"n%d\"}", i);
        const uint64_t id = router_begin(r, "echo", arguments, NULL, clock_ms());
        if (i == 0) first = id;
    }
    for (int done = 0; done < CALLS;) {
        tool_result t[16];
        router_wait(r, 1000);
        const int n = router_poll(r, clock_ms(), t, 16);
        for (int i = 0; i < n; i++) {
            int number = -1, count;
            assert_int_equal(sscanf(t[i].text, "echo n%d, call %d, pid %d", &number, &count, &pid), 3);
            assert_true(t[i].ok && t[i].call == first + (uint64_t)number);
            free(t[i].text);
        }
        done += n;
    }
    router_free(r);
    assert_true(kill(pid, 0) != 0 && errno == ESRCH);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_tools_are_listed_page_by_page_and_called),
        cmocka_unit_test(a_call_without_an_answer_ends_and_others_go_on),
        cmocka_unit_test(a_call_says_whose_it_is),
        cmocka_unit_test(what_a_server_said_before_its_end_counts),
        cmocka_unit_test(the_tools_are_those_of_the_start),
        cmocka_unit_test(a_server_that_is_stuck_in_a_call_is_ended),
        cmocka_unit_test(a_server_that_ends_is_started_again),
        cmocka_unit_test(servers_that_can_not_be_used_are_refused_with_the_reason),
        cmocka_unit_test(some_of_its_tools_or_their_words_alone),
        cmocka_unit_test(calls_run_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
