/* A tool that a recipe wrote, and the router's way with tools that fail. */
#include <stdlib.h>
#include <string.h>

#include "env/router.h"
#include "env/tools/lua.h"
#include "tests/support/support.h"

typedef struct desk {
    vm *vm;
    router *router;
} desk;

static desk open_desk(const char *function)
{
    const vm_limits limits = { .memory_bytes = 16 << 20, .instructions = 5000000, .wall_ms = 2000 };
    error err = { 0 };
    tool t;
    desk d = { .vm = vm_new(VM_RECIPE, &limits, NULL, &err), .router = router_new(NULL) };
    assert_non_null(d.vm);
    test_ok(vm_run_text(d.vm, function, strlen(function), "tool.lua", 1, &err), &err);
    const lua_tool_config config = {
        .name = "mine", .description = "", .parameters = "{\"type\": \"object\"}", .vm = d.vm, .function = vm_keep(d.vm)
    };
    test_ok(lua_tool(&config, &t, &err), &err);
    test_ok(router_add(d.router, &t, &err), &err);
    return d;
}

static void close_desk(desk *d)
{
    router_free(d->router);
    vm_free(d->vm);
}

static void expect(const char *function, const char *arguments, bool ok, const char *words)
{
    error err = { 0 };
    tool_result t = { 0 };
    desk d = open_desk(function);
    test_ok(router_call(d.router, "mine", arguments, &t, &err), &err);
    assert_int_equal(t.failed, FAIL_NONE);
    if (t.ok != ok || !strstr(t.text, words)) fail_msg("%s: expected '%s' in: %s", function, words, t.text);
    free(t.text);
    close_desk(&d);
}

static void text_numbers_and_tables_become_observations(void **state)
{
    (void)state;
    expect("return function(a) return 'hello ' .. a.name end", "{\"name\": \"x\"}", true, "hello x");
    expect("return function(a) return a.n * 2 end", "{\"n\": 21}", true, "42");
    expect("return function(a) return { twice = a.n * 2 } end", "{\"n\": 21}", true, "{\"twice\":42}");
}

static void its_errors_and_caps_are_shown_to_the_policy(void **state)
{
    (void)state;
    expect("return function() error('no such city') end", "{}", false, "no such city");
    expect("return function() while true do end end", "{}", false, "stopped");
    expect("return function() return ('x'):rep(1e9) end", "{}", false, "memory");
    expect("return function(a) return a.n.m end", "{}", false, "nil");
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
                                .failed = fails ? FAIL_TOOL_CRASH : FAIL_NONE,
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
    assert_int_equal(t.failed, FAIL_TOOL_CRASH);
    assert_string_equal(t.text, "it broke");
    assert_int_equal(b.begun, 4);
    free(t.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_numbers_and_tables_become_observations),
        cmocka_unit_test(its_errors_and_caps_are_shown_to_the_policy),
        cmocka_unit_test(a_machine_that_failed_is_asked_once_more),
        cmocka_unit_test(a_machine_that_fails_again_is_a_failure_and_no_observation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
