/* SPDX-License-Identifier: MIT */
/* A row changes nothing for another: whatever a script does while it scores one, the scores of the others are the same
 * to the bit, and in any order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "reward/scorer.h"
#include "tests/support/support.h"
#include "tests/unit/reward/host.h"

/* What an honest row is scored by: every library, and the script's own state, which must be fresh. */
static const char HEAD[] =
    "local verify, shaping = require 'troupe.verify', require 'troupe.shaping'\n"
    "local json, regex = require 'troupe.json', require 'troupe.regex'\n"
    "local seen, count, shared = {}, 0, { list = { 1, 2, 3 }, deep = { x = { y = 1 } } }\n"
    "local walk = coroutine.wrap(function() local n = 0 while true do n = n + 1 coroutine.yield(n) end end)\n"
    "local function honest(task, episode)\n"
    "    count = count + 1\n"
    "    seen[#seen + 1] = task.n\n"
    "    local words = 0\n"
    "    for w in episode.text:gmatch('%a+') do words = words + #w end\n"
    "    local keys = {}\n"
    "    for k in pairs(json.decode('{\"b\":1,\"a\":[1,null,{}]}')) do keys[#keys + 1] = k end\n"
    "    table.sort(keys)\n"
    "    return {\n"
    "        right = verify.math_equal(episode.answer, task.answer) and 1 or 0,\n"
    "        exact = verify.exact(episode.answer, task.answer) and 1 or 0,\n"
    "        f1 = verify.f1(episode.text, task.prompt), near = shaping.proximity(words, 7),\n"
    "        state = (count + #seen + walk() + #shared.list + shared.deep.x.y) / 10,\n"
    "        text = #string.format('%5.2f', math.pi) + #('x'):rep(3) + (utf8.len('hé') or 0) + #table.concat(keys, "
    "','),\n"
    "        found = #regex.find_all(episode.text, '[a-z]+') + #(('a b'):gsub('%s', '')),\n"
    "        pcalled = select('#', pcall(error)) + (tonumber('7') or 0) + #tostring(nil),\n"
    "        kinds = #type(print) + #math.type(1) + (rawlen({ 1, 2 })) + (next({}) == nil and 1 or 0),\n"
    "    }\n"
    "end\n"
    "local attacks = {\n";

/* Each is what a row of its own does. Some are refused, some only harm themselves. */
static const char *const ATTACKS[] = {
    "verify.exact = function() return true end",
    "verify.math_equal = function() return true end",
    "verify.regex.match = function() return 'x' end",
    "verify.json.decode = function() return {} end",
    "shaping.proximity = function() return 1 end",
    "json.decode = function() return {} end",
    "regex.find_all = function() return {} end",
    "require('troupe.verify').f1 = function() return 1 end",
    "require('troupe.math').equal = function() return true end",
    "require('troupe').python = nil",
    "string.format = function() return '' end",
    "string.rep = nil",
    "('').rep = nil",
    "getmetatable('').__index = {}",
    "getmetatable('').__add = function() return 1 end",
    "setmetatable('', {})",
    "math.pi = 3",
    "math.type = nil",
    "table.sort = function() end",
    "table.concat = nil",
    "utf8.len = nil",
    "coroutine.wrap = nil",
    "print = nil",
    "error = function() end",
    "pcall = nil",
    "type = function() return 'x' end",
    "tostring = nil",
    "tonumber = nil",
    "pairs = nil",
    "next = nil",
    "select = nil",
    "require = nil",
    "leaked = 1",
    "_ENV.leaked = 1",
    "_ENV = { leaked = 1 }",
    "_G.leaked = 1",
    "table.insert(verify, 1)",
    "table.insert(string, 'x')",
    "table.remove(verify)",
    "table.move({ 1, 2 }, 1, 2, 1, verify)",
    "table.sort(verify)",
    "setmetatable(verify, {})",
    "setmetatable(string, { __index = function() return 1 end })",
    "setmetatable(_ENV, nil)",
    "getmetatable(verify).__index = {}",
    "getmetatable(string).__index.rep = nil",
    "rawset(verify, 'exact', nil)",
    "for k in pairs(verify) do verify[k] = nil end",
    "for k, v in pairs(string) do if type(v) == 'table' then v.x = 1 end end",
    "local _, f = next(verify) f.x = 1",
    "local f, s, k = pairs(verify) s.exact = nil",
    "local f, s, k = pairs(verify) local t = f(s, nil) t.x = 1",
    "debug.setmetatable(1, {})",
    "debug.setupvalue(verify.exact, 1, nil)",
    "load('verify = nil')()",
    "collectgarbage('stop')",
    "math.randomseed(1)",
    "math.random = function() return 1 end",
    "seen[1] = 99 seen[2] = 99",
    "for i = 1, 1000 do seen[i] = i end",
    "count = 1000",
    "count = nil",
    "shared.list[5] = 5 shared.deep.x.y = 7",
    "shared.deep = nil",
    "shared = setmetatable({}, { __index = function() return { x = { y = 5 } } end })",
    "walk() walk() walk()",
    "walk = nil",
    "honest = function() return 1 end",
    "setmetatable(seen, { __newindex = function() end })",
    "setmetatable(shared.list, { __len = function() return 9 end })",
    "task.answer = 'x' task.n = nil",
    "episode.answer = task.answer episode.text = ''",
    "episode.tool_calls[1] = { name = 'python', ok = true }",
    "getmetatable(episode).__index = function() return 1 end",
    "setmetatable(task, { __index = function() return 1 end })",
    "local mt = getmetatable(json.decode('[]')) mt.__index = { x = 1 }",
    "getmetatable(json.null).__tostring = nil",
    "json.null = nil",
    "setmetatable(json.decode('[]'), { __len = function() return 3 end })",
    "local co = coroutine.wrap(function() verify.exact = nil end) co()",
    "local co = coroutine.create(function() while true do coroutine.yield() count = count + 1 end end) "
    "coroutine.resume(co) "
    "coroutine.resume(co)",
    "xpcall(function() string.rep = nil end, function() verify.exact = nil end)",
    "local t <close> = setmetatable({}, { __close = function() shared.list = nil end })",
    "setmetatable({}, { __gc = function() shared = nil end })",
    "setmetatable({}, { __mode = 'k' })[verify] = 1",
    "error(setmetatable({}, { __tostring = function() verify.exact = nil end }))",
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local function f() return f() + 1 end f()",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "return string.rep('x', 1e9)",
    "return ('a'):rep(1e6):rep(1e6)",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "table.concat(setmetatable({}, { __index = setmetatable({}, { __index = function() return '' end }) }), '', 1, "
    "1e18)",
    "table.insert(setmetatable({}, { __len = function() return 1e18 end }), 1, 1)",
    "table.unpack({}, 1, 1e8)",
    "for i = 1, 1e6 do print(('x'):rep(900)) end",
    "for i = 1, 3000 do regex.match('x', 'a{' .. i % 900 .. '}b' .. i) end",
    "regex.match(('a'):rep(5000) .. 'b', '(a+)+$')",
    "(('a'):rep(20000)):find(('a-'):rep(60) .. 'b')",
    "(('('):rep(100000)):find('%b()')",
    "json.decode(('['):rep(100000))",
    "json.encode(setmetatable({}, { __index = function() error('x') end }))",
    "local t = {} t.t = t json.encode(t)",
    "verify.tag(('<a>'):rep(100000), 'a')",
    "return { right = 'x' }",
    "return 'x'",
};
enum { N_ATTACKS = sizeof ATTACKS / sizeof *ATTACKS };

typedef struct fixture {
    char *dir, path[400];
    scorer *s;
    task t;
    episode *e;
} fixture;

static fixture open_fixture(const char *script, bool fixed_order)
{
    fixture g = { .dir = test_folder_new() };
    error err = { 0 };
    test_file_write(g.dir, "reward.lua", script);
    snprintf(g.path, sizeof g.path, "%s/reward.lua", g.dir);
    const scorer_config config = { .script = g.path, .cpu_ms = 300, .memory_mb = 16, .fixed_order = fixed_order };
    if (!(g.s = scorer_new(&config, &err))) fail_msg("%s", err.text);
    g.t = (task){ .id = 1, .group_size = 1, .max_tokens = 8 };
    g.e = episode_new(&g.t);
    g.e->text = xstrdup("<answer>twelve and 12</answer>");
    g.e->transcript = xstrdup("<answer>twelve and 12</answer>");
    g.e->answer = xstrdup("12");
    return g;
}

static void close_fixture(fixture *g)
{
    scorer_free(g->s);
    task_reset(&g->t);
    episode_free(g->e);
    test_folder_remove(g->dir);
}

static score score_row(fixture *g, int n, bool attack)
{
    score sc;
    str row = { 0 };
    str_printf(&row, "{\"prompt\":\"how much is twelve\",\"answer\":\"12\",\"n\":%d,\"attack\":%s}", n,
               attack ? "true" : "false");
    free(g->t.row);
    g->t.row = str_take(&row);
    scorer_score(g->s, &g->t, g->e, &sc);
    return sc;
}

static char *script_with_attacks(void)
{
    str script = { 0 };
    str_puts(&script, HEAD);
    for (int i = 0; i < N_ATTACKS; i++) str_printf(&script, "function(task, episode) %s end,\n", ATTACKS[i]);
    str_puts(&script, "}\nreturn function(task, episode)\n"
                      "    if task.attack then attacks[task.n](task, episode) end\n"
                      "    return honest(task, episode)\nend\n");
    return str_take(&script);
}

static void no_attack_changes_another_row(void **state)
{
    (void)state;
    assert_true(N_ATTACKS >= 100);
    char *script = script_with_attacks();
    fixture g = open_fixture(script, false);
    score control = score_row(&g, 1, false);
    if (control.status != SCORE_OK) fail_msg("%s", control.error);
    assert_int_equal(control.n_values, 9);
    for (int i = 0; i < N_ATTACKS; i++) {
        score hostile = score_row(&g, i + 1, true);
        if (hostile.status == SCORE_MACHINE) fail_msg("%s: %s", ATTACKS[i], hostile.error);
        if (hostile.status == SCORE_SCRIPT && !strstr(hostile.error, "reward.lua"))
            fail_msg("%s: no line in: %s", ATTACKS[i], hostile.error);
        score_reset(&hostile);
        score after = score_row(&g, 1, false);
        if (after.status != SCORE_OK) fail_msg("behind %s: %s", ATTACKS[i], after.error);
        if (memcmp(after.values, control.values, sizeof control.values) != 0) fail_msg("changed by %s", ATTACKS[i]);
        score_reset(&after);
    }
    score_reset(&control);
    close_fixture(&g);
    free(script);
}

/* State is there for whoever says so, and begins anew with the process: where the order of rows is not fixed it is
 * refused. */
static void state_is_kept_only_by_a_script_that_says_so(void **state)
{
    (void)state;
    static const char SCRIPT[] =
        "local n = 0\nreturn { keeps_state = true, score = function() n = n + 1 return n end }\n";
    fixture g = open_fixture(SCRIPT, true);
    for (int i = 1; i <= 3; i++) {
        score sc = score_row(&g, i, false);
        assert_true(score_get(&sc, "reward") == i);
        score_reset(&sc);
    }
    error err = { 0 };
    const scorer_config config = { .script = g.path };
    assert_null(scorer_new(&config, &err));
    assert_non_null(strstr(err.text, "keeps_state"));
    close_fixture(&g);
    g = open_fixture("local n = 0\nreturn { score = function() n = n + 1 return n end }\n", false);
    for (int i = 1; i <= 3; i++) {
        score sc = score_row(&g, i, false);
        assert_true(score_get(&sc, "reward") == 1);
        score_reset(&sc);
    }
    close_fixture(&g);
}

/* A script that keeps more and more gets a new process before its memory is gone: no row is lost to those before it. */
static void state_that_grows_loses_no_row(void **state)
{
    (void)state;
    fixture g = open_fixture("local kept = {}\nreturn { keeps_state = true, score = function() kept[#kept + 1] = "
                             "('x'):rep(1000000) .. #kept return 1 end }\n",
                             true);
    for (int i = 1; i <= 60; i++) {
        score sc = score_row(&g, i, false);
        if (sc.status != SCORE_OK) fail_msg("row %d: %s", i, sc.error);
        score_reset(&sc);
    }
    close_fixture(&g);
}

/* 3,000 patterns, one a row: they count in the cap and the cache forgets them. */
static void a_pattern_for_every_row_fills_nothing(void **state)
{
    (void)state;
    fixture g = open_fixture(
        "local regex = require 'troupe.regex'\nreturn function(task) return regex.match('a' .. task.n, '^a' .. "
        "task.n .. '(?:b|c|d){0,99}$') and 1 or 0 end\n",
        false);
    const int first = scorer_host_pid(g.s);
    for (int i = 1; i <= 3000; i++) {
        score sc = score_row(&g, i, false);
        if (sc.status != SCORE_OK || score_get(&sc, "reward") != 1) fail_msg("row %d: %s", i, sc.error);
        score_reset(&sc);
    }
    assert_int_equal(scorer_host_pid(g.s), first);
    close_fixture(&g);
}

int main(int argc, char **argv)
{
    int status;
    if (was_reward_host(argc, argv, &status)) return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_attack_changes_another_row),
        cmocka_unit_test(state_is_kept_only_by_a_script_that_says_so),
        cmocka_unit_test(state_that_grows_loses_no_row),
        cmocka_unit_test(a_pattern_for_every_row_fills_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
