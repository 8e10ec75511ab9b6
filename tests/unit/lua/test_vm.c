/* SPDX-License-Identifier: MIT */
/* A script finds what it needs and nothing else; no cap can be argued with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "lua/vm.h"
#include "tests/support/support.h"

/* For what makes much garbage: a sanitizer takes its time over each block. */
static const vm_limits PATIENT = { .memory_bytes = 16 << 20, .instructions = 20000000, .cpu_ms = 60000 };
static const vm_limits LIMITS = { .memory_bytes = 16 << 20, .instructions = 20000000, .cpu_ms = 2000 };

static vm *new_vm(vm_kind kind, const char *dir)
{
    error err = { 0 };
    vm *v = vm_new(kind, &LIMITS, dir, &err);
    if (!v) fail_msg("%s", err.text);
    return v;
}

static int run(vm *v, const char *text, error *err) { return vm_run_text(v, text, strlen(text), "script.lua", 0, err); }

static void accepted(const char *text)
{
    error err = { 0 };
    vm *v = new_vm(VM_REWARD, NULL);
    if (run(v, text, &err) != OK) fail_msg("%s: %s", text, err.text);
    vm_free(v);
}

static void collected(const char *text)
{
    error err = { 0 };
    vm *v = vm_new(VM_REWARD, &PATIENT, NULL, &err);
    if (!v) fail_msg("%s", err.text);
    if (run(v, text, &err) != OK) fail_msg("%s: %s", text, err.text);
    vm_free(v);
}

static void refused(const char *text, const char *word)
{
    error err = { 0 };
    vm *v = new_vm(VM_REWARD, NULL);
    const int64_t began_ms = clock_cpu_us() / 1000;
    if (run(v, text, &err) == OK) fail_msg("%s was accepted", text);
    if (!strstr(err.text, word)) fail_msg("%s: expected '%s' in: %s", text, word, err.text);
    assert_true(clock_cpu_us() / 1000 - began_ms < 20000);
    err = (error){ 0 };
    v = (vm_free(v), new_vm(VM_REWARD, NULL));
    test_ok(run(v, "assert(1 + 1 == 2)", &err), &err);
    vm_free(v);
}

/* However long the path is, its file is named whole, and once. */
static void a_long_path_is_named_whole_and_once(void **state)
{
    (void)state;
    static const char *const TEXTS[] = { "error('odd')", "local x = nil + 1", "return function(", "string.rep()" };
    const char *name = "/a/folder/whose/name/is/so/long/that/Lua/would/cut/it/off/in/front/reward.lua";
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        error err = { 0 };
        vm *v = new_vm(VM_REWARD, NULL);
        assert_int_not_equal(vm_run_text(v, TEXTS[i], strlen(TEXTS[i]), name, 0, &err), OK);
        if (strncmp(err.text, name, strlen(name)) != 0 || err.text[strlen(name)] != ':') fail_msg("%s", err.text);
        const char *first = strstr(err.text, "reward.lua");
        if (strstr(first + 1, "reward.lua")) fail_msg("%s", err.text);
        vm_free(v);
    }
}

static void ways_out_are_not_there(void **state)
{
    (void)state;
    static const char *const NAMES[] = { "io",       "os",     "debug",      "package",       "load",
                                         "loadfile", "dofile", "loadstring", "collectgarbage" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char text[100];
        snprintf(text, sizeof text, "assert(rawget(_G or {}, '%s') == nil and %s == nil)", NAMES[i], NAMES[i]);
        accepted(text);
    }
    accepted("assert(string.dump == nil)");
    accepted("assert(math.random == nil)");
    refused("require 'os'", "os");
    refused("require '../secret'", "secret");
}

/* What some editors put at the beginning of a file is no part of it. */
static void a_byte_order_mark_is_passed_over(void **state)
{
    (void)state;
    accepted("\xef\xbb\xbflocal x = 1");
    refused("\xef\xbb\xbf\x1bLua", "binary chunk");
}

static void bytecode_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    vm *v = new_vm(VM_REWARD, NULL);
    assert_int_not_equal(vm_run_text(v, "\x1bLua", 4, "script.lua", 0, &err), OK);
    vm_free(v);
}

static void memory_has_an_end(void **state)
{
    (void)state;
    refused("local s = string.rep('x', 1e9)", "memory");
    refused("local t = {} for i = 1, 1e9 do t[i] = i end", "memory");
    refused("local s = 'x' while true do s = s .. s end", "memory");
}

static void time_has_an_end_and_pcall_does_not_help(void **state)
{
    (void)state;
    refused("while true do end", "script.lua:1");
    refused("while true do pcall(function() while true do end end) end", "stopped");
    refused("local function f() while true do end end while true do pcall(coroutine.wrap(f)) end", "stopped");
    refused("local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
            "stopped");
    refused("while true do xpcall(error, function() while true do end end) end", "stopped");
    refused("local function f() return f() end f()", "stopped");
    refused("local m = {} m.__close = function() while true do end end\n"
            "local c = coroutine.wrap(function() local x <close> = setmetatable({}, m) while true do end end) c()",
            "stopped");
    refused("local m = {} m.__close = function() while true do end end\n"
            "pcall(function() local x <close> = setmetatable({}, m) while true do end end)",
            "stopped");
}

/* A search through a megabyte is one instruction: a loop of them ends by its time all the same. */
static void time_that_is_spent_in_searches_has_an_end(void **state)
{
    (void)state;
    static const char *const SEARCHES[] = { "s:find('a-a-a-b')", "s:match('(a*)b')", "s:find('b', 1, true)",
                                            "s:gsub('b', '')" };
    for (size_t i = 0; i < sizeof SEARCHES / sizeof *SEARCHES; i++) {
        char text[200];
        error err = { 0 };
        const vm_limits limits = { .memory_bytes = 64 << 20, .instructions = 20000000, .cpu_ms = 50 };
        vm *v = vm_new(VM_RECIPE, &limits, NULL, &err);
        snprintf(text, sizeof text, "local s = ('a'):rep(1 << 20) while true do %s end", SEARCHES[i]);
        const int64_t began_us = clock_cpu_us();
        assert_int_not_equal(vm_run_text(v, text, strlen(text), "loop", 0, &err), OK);
        assert_non_null(strstr(err.text, "ms of CPU time"));
        if (clock_cpu_us() - began_us > 2000000) fail_msg("%s: %jd us", text, (intmax_t)(clock_cpu_us() - began_us));
        vm_free(v);
    }
}

static void what_was_replaced_still_does_its_work(void **state)
{
    (void)state;
    accepted("local ok, a, b = xpcall(function(x, y) return x, y end, error, 1, 2) assert(ok and a == 1 and b == 2)");
    accepted("local ok, e = xpcall(error, function(m) return 'got ' .. m end, 'x') assert(not ok and e == 'got x')");
    accepted("local g = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) assert(g(1) == 2 "
             "and g(5) == 10)");
    accepted("local g = coroutine.wrap(function() end) g() assert(not pcall(g))");
    accepted("local g = coroutine.wrap(function() error('inner') end) local ok, e = pcall(g) assert(not ok and "
             "e:find('inner'))");
}

/* Found by fuzzing: the arguments were counted while they grew, far past the end of Lua's stack. */
static void print_says_each_argument_once(void **state)
{
    (void)state;
    accepted("for i = 1, 100 do assert(select('#', print('x', i, nil, {})) == 0) end");
    accepted("print()");
}

/* What a walk remembers outlives a call of it that raised. */
static void a_walk_goes_on_after_an_error(void **state)
{
    (void)state;
    accepted(
        "local text = ('('):rep(3000000) local f = text:gmatch('(%b())')\n"
        "for i = 1, 5 do pcall(f) end local g = (('a '):rep(9000)):gmatch('a-b?c-%s*x') for i = 1, 5 do pcall(g) end");
}

/* __mode that comes after setmetatable has no effect, whoever runs the collector: memory that has doubled, an
 * allocation that fails, a function in C that finds no room; and the script reads what it wrote. */
static void no_table_is_weak_however_late_it_is_said(void **state)
{
    (void)state;
    static const char *const COLLECTED[] = {
        "for i = 1, 60000 do local t = { i } end",
        "local x = ('x'):rep(10000) for i = 1, 40 do local s = x:rep(100) .. i end",
        "local x = ('x'):rep(10000) for i = 1, 40 do local s = x:rep(700 + i) end",
        "pcall(function() local t = {} for i = 1, 1e9 do t[i] = { i } end end)",
        "pcall(function() local t, x = {}, ('x'):rep(1000) for i = 1, 1e9 do t[i] = x .. i end end)",
        "for k = 1, 9 do pcall(function() local s = ('x'):rep(1000) while true do s = s .. s end end) end",
        "pcall(coroutine.wrap(function() local t = {} for i = 1, 1e9 do t[i] = { i } end end))",
        "coroutine.wrap(function() for i = 1, 60000 do local t = { i } end end)()",
    };
    for (size_t i = 0; i < sizeof COLLECTED / sizeof *COLLECTED; i++) {
        char text[1200];
        snprintf(text, sizeof text,
                 "local modes = { 'k', 'v', 'kv' }\n"
                 "for m = 1, 3 do\n"
                 "    local mt, base = {}, {} mt.__index = mt setmetatable(mt, base)\n"
                 "    local t, keys = setmetatable({}, mt), setmetatable({}, base)\n"
                 "    mt.__mode = modes[m] base['__' .. 'mode'] = modes[m]\n"
                 "    for j = 1, 20 do t[{ j }] = { j } t[j] = { j } keys[j] = {} end\n"
                 "    %s\n"
                 "    local n = 0 for k, v in pairs(t) do n = n + 1 end\n"
                 "    assert(n == 40 and #keys == 20, n)\n"
                 "    assert(mt.__mode == modes[m] and base.__mode == modes[m] and not pcall(setmetatable, {}, mt))\n"
                 "end\n",
                 COLLECTED[i]);
        collected(text);
    }
}

/* A collector that runs only when it is let must still run: what is dropped makes room. */
static void what_is_dropped_makes_room(void **state)
{
    (void)state;
    collected("local x = ('x'):rep(1000) for i = 1, 200 do local s = x:rep(200 + i) end");
    collected("local x = ('x'):rep(10000) for i = 1, 60 do local s = x:rep(500 + i) end");
    collected(
        "local x = ('x'):rep(10000) coroutine.wrap(function() for i = 1, 60 do local s = x:rep(500 + i) end end)()");
    collected("for i = 1, 30000 do local t = setmetatable({}, { __index = { i } }) end");
    vm *v = new_vm(VM_REWARD, NULL);
    for (int i = 0; i < 500; i++) { /* each shorter than the hook's count */
        error err = { 0 };
        test_ok(run(v, "local s = ('x'):rep(1000):rep(100)", &err), &err);
        assert_true(vm_memory(v) < 4 << 20);
    }
    vm_free(v);
}

/* The order of Lua's own pairs is another one in each process: sums of fractions would be other sums. */
static void pairs_has_one_order(void **state)
{
    (void)state;
    accepted("local t = { b = 1, a = 2, [3] = 3, [1] = 4, [2.5] = 5, ab = 6, [-1] = 7, [''] = 8 } local k = {}\n"
             "for key, value in pairs(t) do k[#k + 1] = tostring(key) .. '=' .. value end\n"
             "assert(table.concat(k, ' ') == '-1=7 1=4 3=3 2.5=5 =8 a=2 ab=6 b=1', table.concat(k, ' '))");
    accepted("local t, n = {}, 0 for i = 1, 100 do t['k' .. i] = i end\n"
             "for k in pairs(t) do t[k] = nil t['new' .. k] = nil n = n + 1 end assert(n == 100 and next(t) == nil)");
    accepted(
        "local t, n = { a = 1, b = 2, c = 3 }, 0 for k in pairs(t) do t.b = nil t.d = 4 n = n + 1 end assert(n == 2)");
    accepted("for k, v in pairs(setmetatable({}, { __pairs = function() return next, { x = 1 }, nil end })) do "
             "assert(k == 'x') "
             "end assert(not pcall(pairs, 5)) for _ in pairs({}) do error('x') end");
    accepted("local n = 0 for k, v in pairs(string) do n = n + 1 assert(string[k] == v) end assert(n > 10)");
    accepted("local f = pairs({ a = 1, b = 2 }) assert(not pcall(f, 5) and not pcall(f)) assert(f({}) == nil)");
}

static void recursion_ends_in_an_error(void **state)
{
    (void)state;
    refused("local function f() return 1 + f() end\nf()", "memory");
    refused("string.rep('(', 300):gsub('.', function(c) return c:rep(2) end) local s = string.rep('(', 1000) .. "
            "string.rep(')', 1000) error(s:find(s) or 'x')",
            "script.lua");
}

static void globals_are_read_only_after_the_script(void **state)
{
    (void)state;
    error err = { 0 };
    vm *v = new_vm(VM_REWARD, NULL);
    test_ok(vm_run_text(v, "return function() leaked = 1 end", 32, "script.lua", 1, &err), &err);
    assert_int_not_equal(vm_call(v, 0, 0, &err), OK);
    assert_non_null(strstr(err.text, "leaked"));
    vm_free(v);
}

static void a_recipe_may_require_files_beside_it(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new();
    test_file_write(dir, "part.lua", "return { value = 42 }\n");
    vm *v = new_vm(VM_RECIPE, dir);
    test_ok(run(v, "assert(require('part').value == 42)", &err), &err);
    assert_int_not_equal(run(v, "require('../part')", &err), OK);
    assert_int_not_equal(run(v, "require('nothere')", &err), OK);
    assert_non_null(strstr(err.text, "nothere"));
    vm_free(v);
    v = new_vm(VM_REWARD, NULL); /* a reward script stands alone */
    assert_int_not_equal(run(v, "require('part')", &err), OK);
    vm_free(v);
    test_folder_remove(dir);
}

static void an_error_leaves_the_stack_as_it_was(void **state)
{
    (void)state;
    error err = { 0 };
    vm *v = new_vm(VM_REWARD, NULL);
    const int top = lua_gettop(vm_state(v));
    for (int i = 0; i < 10; i++) assert_int_not_equal(run(v, "error('x')", &err), OK);
    assert_int_equal(lua_gettop(vm_state(v)), top);
    vm_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_out_are_not_there),
        cmocka_unit_test(a_long_path_is_named_whole_and_once),
        cmocka_unit_test(a_byte_order_mark_is_passed_over),
        cmocka_unit_test(bytecode_is_refused),
        cmocka_unit_test(memory_has_an_end),
        cmocka_unit_test(time_has_an_end_and_pcall_does_not_help),
        cmocka_unit_test(time_that_is_spent_in_searches_has_an_end),
        cmocka_unit_test(what_was_replaced_still_does_its_work),
        cmocka_unit_test(print_says_each_argument_once),
        cmocka_unit_test(a_walk_goes_on_after_an_error),
        cmocka_unit_test(no_table_is_weak_however_late_it_is_said),
        cmocka_unit_test(what_is_dropped_makes_room),
        cmocka_unit_test(pairs_has_one_order),
        cmocka_unit_test(recursion_ends_in_an_error),
        cmocka_unit_test(globals_are_read_only_after_the_script),
        cmocka_unit_test(a_recipe_may_require_files_beside_it),
        cmocka_unit_test(an_error_leaves_the_stack_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
