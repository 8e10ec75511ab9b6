/* SPDX-License-Identifier: MIT */
/* A tool that a recipe wrote, what its arguments must be, and the router's way with tools that fail. This program is
 * its own host: "host FUNCTION SOCKET" is the process in which the calls run. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/str.h"
#include "env/router.h"
#include "env/sandbox/host.h"
#include "env/schema.h"
#include "env/tools/lua.h"
#include "tests/support/support.h"

static int host(const char *function, int sock)
{
    const vm_limits limits = { .memory_bytes = 16 << 20, .instructions = 50000000 };
    error err = { 0 };
    vm *v = vm_new(VM_RECIPE, &limits, NULL, &err);
    const int rc = v ? vm_run_text(v, function, strlen(function), "tool.lua", 1, &err) : ERR_MEMORY;
    const int status = rc == OK ? lua_tool_serve(v, vm_keep(v), sock) : box_host_refuse(err.text, sock);
    vm_free(v);
    return status;
}

static int new_desk(router *r, const char *function, const char *parameters, error *err)
{
    char self[1024];
    tool t;
    test_ok(process_self_path(self, sizeof self, err), err);
    const char *const words[] = { self, "host", function, NULL };
    const lua_tool_config config = {
        .name = "mine", .description = "", .parameters = parameters, .timeout_ms = 300, .host = words
    };
    const int rc = lua_tool(&config, &t, err);
    return rc == OK ? router_add(r, &t, err) : rc;
}

static router *open_desk(const char *function, const char *parameters)
{
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(new_desk(r, function, parameters, &err), &err);
    return r;
}

static void call(router *r, const char *arguments, bool ok, const char *words)
{
    error err = { 0 };
    tool_result t = { 0 };
    test_ok(router_call(r, "mine", arguments, &t, &err), &err);
    assert_int_equal(t.failed, FAIL_NONE);
    if (t.ok != ok || !strstr(t.text, words)) fail_msg("%s: expected '%s' in: %s", arguments, words, t.text);
    free(t.text);
}

static void expect(const char *function, const char *arguments, bool ok, const char *words)
{
    router *r = open_desk(function, "{\"type\": \"object\"}");
    call(r, arguments, ok, words);
    router_free(r);
}

static void text_numbers_and_tables_become_observations(void **state)
{
    (void)state;
    expect("return function(a) return 'hello ' .. a.name end", "{\"name\": \"x\"}", true, "hello x");
    expect("return function(a) return a.n * 2 end", "{\"n\": 21}", true, "42");
    expect("return function(a) return { twice = a.n * 2 } end", "{\"n\": 21}", true, "{\"twice\":42}");
    expect("return function(a) return { 1, 2, x = 3 } end", "{}", true, "{\"1\":1,\"2\":2,\"x\":3}");
    expect("return function(a) return { 1, 2, 3 } end", "{}", true, "[1,2,3]");
    expect("return function(a) return false end", "{}", true, "false");
    expect("return function(a) return 'before\\0after' end", "{}", true,
           "before\xef\xbf\xbd"
           "after");
}

static void its_errors_and_caps_are_shown_to_the_policy(void **state)
{
    (void)state;
    expect("return function() error('no such city') end", "{}", false, "no such city");
    expect("return function() while true do end end", "{}", false, "");
    expect("return function() return ('x'):rep(1e9) end", "{}", false, "memory");
    expect("return function(a) return a.n.m end", "{}", false, "nil");
    expect("return function(a) end", "{}", false, "returned nothing");
    expect("return function(a) return print end", "{}", false, "the tool returned a function (text, a number");
    expect("return function(a) error({}) end", "{}", false, "error: ");
    expect("return function(a) local t = {} t.t = t return t end", "{}", false, "nested too deep");
    expect("return function(a) return { 0 / 0 } end", "{}", false, "not finite");
    expect("return function(a) while true do pcall(function() while true do end end) end end", "{}", false, "");
    expect("return function(a) return ('x'):rep(1e6) end", "{}", false, "truncated");
}

/* Sorting counts no instructions, so no hook stops it: the process it runs in is stopped, and the next call is as good
 * as the first. */
static void work_that_no_hook_counts_is_stopped(void **state)
{
    (void)state;
    router *r =
        open_desk("local regex = require 'troupe.regex'\nreturn function(a) local t = {} for i = 1, a.n do t[i] = "
                  "i * 7919 % 100003 end for _ = 1, a.n do table.sort(t) end\n"
                  "return regex.match('aaa', a.pattern) and 'found' or 'none' end",
                  "{\"type\": \"object\"}");
    call(r, "{\"n\": 100000, \"pattern\": \"a\"}", false, "time limit");
    call(r, "{\"n\": 1, \"pattern\": \"a\"}", true, "found");
    call(r, "{\"n\": 1, \"pattern\": \"(\"}", false, "missing closing parenthesis");
    router_free(r);
}

static void nothing_that_a_call_leaves_is_seen_by_another(void **state)
{
    (void)state;
    router *r = open_desk("local n, seen = 0, {}\nreturn function(a) n = n + 1 seen[n] = a.x string.secret = a.x "
                          "return n .. ' ' .. #seen .. ' ' .. tostring(string.secret == a.x) end",
                          "{\"type\": \"object\"}");
    for (int i = 0; i < 3; i++) {
        error err = { 0 };
        tool_result t = { 0 };
        test_ok(router_call(r, "mine", "{\"x\": 5}", &t, &err), &err);
        if (t.ok) assert_true(strncmp(t.text, "1 1", 3) == 0); /* or the library is read-only, which is as good */
        free(t.text);
    }
    router_free(r);
}

/* Larger than the kernel's default buffer of a socket. */
static void a_large_row_arrives_whole(void **state)
{
    (void)state;
    router *r =
        open_desk("return function(a, ctx) return #ctx.row.text .. ctx.row.text:sub(-3) end", "{\"type\": \"object\"}");
    str row = { 0 };
    str_puts(&row, "{\"text\": \"");
    while (row.len < 900000) str_printf(&row, "%zu,", row.len);
    str_puts(&row, "end\"}");
    char expected[40];
    snprintf(expected, sizeof expected, "%zuend", row.len - 12);
    const tool_context context = { .row = row.data };
    router_begin(r, "mine", "{}", &context, clock_ms());
    tool_result t = { 0 };
    while (router_poll(r, clock_ms(), &t, 1) == 0) router_wait(r, 100);
    if (!t.ok || t.failed || strcmp(t.text, expected) != 0) fail_msg("expected %s: %s", expected, t.text);
    free(t.text);
    router_free(r);
    str_free(&row);
}

static void the_context_has_seed_episode_and_row(void **state)
{
    (void)state;
    router *r = open_desk("return function(a, ctx) return ctx.seed .. ' ' .. ctx.episode .. ' ' .. ctx.row.answer end",
                          "{\"type\": \"object\"}");
    const tool_context context = { .seed = 7, .episode = 9, .row = "{\"answer\": \"42\"}" };
    const uint64_t id = router_begin(r, "mine", "{}", &context, 0);
    tool_result t = { 0 };
    while (router_poll(r, 0, &t, 1) == 0) {
        struct pollfd fds[4];
        poll(fds, (nfds_t)router_fds(r, fds, 4), 100);
    }
    assert_true(t.call == id);
    assert_string_equal(t.text, "7 9 42");
    free(t.text);
    router_free(r);
}

/* ---- arguments ---- */

static const char WEATHER[] =
    "{\"type\": \"object\", \"required\": [\"city\"], \"additionalProperties\": false, \"properties\": {"
    "\"city\": {\"type\": \"string\", \"minLength\": 1, \"description\": \"a place\"},"
    "\"days\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 14},"
    "\"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]},"
    "\"at\": {\"type\": [\"number\", \"null\"]},"
    "\"stops\": {\"type\": \"array\", \"maxItems\": 2, \"items\": {\"type\": \"object\", \"required\": [\"name\"],"
    "            \"properties\": {\"name\": {\"type\": \"string\"}}}}}}";

static void arguments_are_held_against_the_schema(void **state)
{
    (void)state;
    router *r = open_desk("return function(a) return 'sunny' end", WEATHER);
    static const char *const CASES[][2] = {
        { "{\"city\": \"Bonn\"}", NULL },
        { "{\"city\": \"Bonn\", \"days\": 2.0, \"unit\": \"C\", \"at\": null, \"stops\": [{\"name\": \"x\"}]}", NULL },
        { "{}", "error: mine: city is missing (a string)" },
        { "{\"city\": 5}", "city should be a string, not 5" },
        { "{\"city\": \"\"}", "city should be at least 1 characters" },
        { "{\"city\": \"Bonn\", \"days\": \"two\"}", "days should be an integer, not \"two\"" },
        { "{\"city\": \"Bonn\", \"days\": 1.5}", "days should be an integer, not 1.5" },
        { "{\"city\": \"Bonn\", \"days\": 0}", "days should be at least 1, not 0" },
        { "{\"city\": \"Bonn\", \"days\": true}", "days should be an integer, not true" },
        { "{\"city\": \"Bonn\", \"unit\": \"K\"}", "unit should be one of \"C\", \"F\", not \"K\"" },
        { "{\"city\": \"Bonn\", \"at\": \"noon\"}", "at should be a number or null, not \"noon\"" },
        { "{\"city\": \"Bonn\", \"town\": 1}", "there is no argument town (there are: city, days, unit, at, stops)" },
        { "{\"city\": \"Bonn\", \"stops\": [{\"name\": \"x\"}, {}]}", "stops[1].name is missing (a string)" },
        { "{\"city\": \"Bonn\", \"stops\": [1]}", "stops[0] should be an object, not 1" },
        { "{\"city\": \"Bonn\", \"stops\": [{}, {}, {}]}", "stops should be at most 2 items" },
        { "[\"Bonn\"]", "the arguments should be an object, not [\"Bonn\"]" },
        { "\"Bonn\"", "mine: " },
        { "{\"city\": ", "mine: " },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        call(r, CASES[i][0], !CASES[i][1], CASES[i][1] ? CASES[i][1] : "sunny");
    router_free(r);
}

static void a_schema_that_is_none_is_refused_with_the_tool(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        { "{\"type\": \"strng\"}", "tool mine: parameters.type: expected object, array, string" },
        { "{\"type\": \"array\"}", "parameters.type: expected object, as arguments have names" },
        { "{\"properties\": [1]}", "parameters.properties: expected an object" },
        { "{\"properties\": {\"a\": {\"type\": 5}}}", "parameters.properties.a.type" },
        { "{\"required\": \"a\"}", "parameters.required: expected a list of names" },
        { "{\"properties\": {\"a\": {}}, \"required\": [\"b\"]}", "'b' is not among the properties" },
        { "{\"enum\": []}", "parameters.enum" },
        { "{\"items\": 5}", "parameters.items" },
        { "{\"minimum\": \"one\"}", "parameters.minimum: expected a number" },
        { "{\"requierd\": [\"a\"]}", "parameters.requierd: expected a keyword that is checked" },
        { "5", "parameters: expected a schema" },
        { "{", "tool mine" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        error err = { 0 };
        router *r = router_new(NULL);
        assert_int_equal(new_desk(r, "return function() return 1 end", CASES[i][0], &err), ERR_PARSE);
        if (!strstr(err.text, CASES[i][1])) fail_msg("%s: expected '%s' in: %s", CASES[i][0], CASES[i][1], err.text);
        router_free(r);
    }
}

static void a_tool_that_cannot_be_loaded_is_refused_at_once(void **state)
{
    (void)state;
    error err = { 0 };
    router *r = router_new(NULL);
    assert_int_equal(new_desk(r, "return function(", "{}", &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "tool.lua:1"));
    router_free(r);
}

/* A tool whose machinery fails `left` times. */
typedef struct broken {
    int left, begun;
    tool_result pending;
    bool has;
} broken;

static int broken_begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms,
                        error *err)
{
    broken *b = self;
    (void)arguments, (void)ctx, (void)now_ms, (void)err;
    b->begun++;
    const bool fails = b->left-- > 0;
    b->pending = (tool_result){ .call = call,
                                .ok = !fails,
                                .failed = fails ? FAIL_TOOL_LOST : FAIL_NONE,
                                .text = strdup(fails ? "it broke" : "fine") };
    b->has = true;
    return OK;
}
static void broken_cancel(void *self, uint64_t call) { (void)self, (void)call; }
static int broken_fds(void *self, struct pollfd *out, int max) { return (void)self, (void)out, (void)max, 0; }
static int64_t broken_deadline(void *self) { return ((broken *)self)->has ? 0 : INT64_MAX; }
static void broken_free(void *self) { (void)self; }
static int broken_poll(void *self, int64_t now_ms, tool_result *out, int max)
{
    broken *b = self;
    (void)now_ms;
    if (!b->has || max == 0) return 0;
    b->has = false;
    *out = b->pending;
    return 1;
}

static tool_result call_broken(broken *b)
{
    error err = { 0 };
    tool_result t = { 0 };
    router *r = router_new(NULL);
    const tool broken_tool = { .name = "b",
                               .description = "",
                               .parameters = "{}",
                               .self = b,
                               .begin = broken_begin,
                               .cancel = broken_cancel,
                               .fds = broken_fds,
                               .poll = broken_poll,
                               .deadline_ms = broken_deadline,
                               .free = broken_free };
    test_ok(router_add(r, &broken_tool, &err), &err);
    assert_int_equal(router_add(r, &broken_tool, NULL), ERR_STATE); /* a name is given once */
    test_ok(router_call(r, "b", "{}", &t, &err), &err);
    router_free(r);
    return t;
}

static void a_machine_that_failed_is_asked_once_more(void **state)
{
    (void)state;
    broken b = { .left = 1 };
    tool_result t = call_broken(&b);
    assert_true(t.ok);
    assert_int_equal(b.begun, 2);
    free(t.text);
}

static void a_machine_that_fails_again_is_a_failure_and_no_observation(void **state)
{
    (void)state;
    broken b = { .left = 9 };
    tool_result t = call_broken(&b);
    assert_int_equal(t.failed, FAIL_TOOL_LOST);
    assert_string_equal(t.text, "it broke");
    assert_int_equal(b.begun, 4);
    free(t.text);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "host") == 0) return host(argv[2], atoi(argv[3]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_that_no_hook_counts_is_stopped),
        cmocka_unit_test(nothing_that_a_call_leaves_is_seen_by_another),
        cmocka_unit_test(a_large_row_arrives_whole),
        cmocka_unit_test(the_context_has_seed_episode_and_row),
        cmocka_unit_test(arguments_are_held_against_the_schema),
        cmocka_unit_test(a_schema_that_is_none_is_refused_with_the_tool),
        cmocka_unit_test(a_tool_that_cannot_be_loaded_is_refused_at_once),
        cmocka_unit_test(text_numbers_and_tables_become_observations),
        cmocka_unit_test(its_errors_and_caps_are_shown_to_the_policy),
        cmocka_unit_test(a_machine_that_failed_is_asked_once_more),
        cmocka_unit_test(a_machine_that_fails_again_is_a_failure_and_no_observation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
