/* SPDX-License-Identifier: MIT */
/* Environments that are files: Lua ones written here, and shared objects (bad_plugin.c, plugins/gridworld). This
 * program is the process that hosts them: "env-host FILE [none]", the last without a sandbox. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "env/plugin/plugin.h"
#include "env/tools/environment.h"
#include "env/troupe_env.h"
#include "tests/support/played.h"
#include "tests/support/support.h"

static int add_as(router *r, const char *file, const char *config, int at_once, const char *sandbox, error *err)
{
    char self[1024];
    test_ok(process_self_path(self, sizeof self, err), err);
    const char *const command[] = { self, "env-host", file, sandbox, NULL };
    const world_config played = { .command = command,
                                  .name = "the game",
                                  .options = config,
                                  .instances = 2,
                                  .at_once = at_once,
                                  .timeout_ms = at_once > 1 ? 40000 : 2000, /* alone: for what hangs */
                                  .start_ms = 10000 };
    return environment_add(r, &played, false, err);
}

static int add(router *r, const char *file, const char *config, int at_once, error *err)
{
    return add_as(r, file, config, at_once, NULL, err);
}

/* An environment in Lua that is written here. */
static int add_lua(router *r, const char *text, const char *config, error *err)
{
    char path[TEST_PATH];
    char *folder = test_folder_new();
    const int rc = add(r, test_file_at(folder, "game.lua", text, path), config, 16, err);
    test_folder_remove(folder); /* it is read once */
    return rc;
}

static router *lua_router(const char *text, const char *config)
{
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(add_lua(r, text, config, &err), &err);
    return r;
}

static tool_result called(router *r, uint64_t play, const char *name, const char *arguments)
{
    const tool_context context = { .play = play };
    return result_of(r, router_begin(r, name, arguments, &context, clock_ms()));
}

/* ---- Lua ---- */

#define GUESS                                                                                                          \
    "local T = require 'troupe'\n"                                                                                     \
    "local number, size, tries = nil, nil, 0\n"                                                                        \
    "return {\n"                                                                                                       \
    "  open = function(config) size = config.size; return { { name = 'give_up', description = 'ends it' } } end,\n"    \
    "  reset = function(row, seed, episode)\n"                                                                         \
    "    number = T.random(seed)(1, size)\n"                                                                           \
    "    if row.mute then return nil end\n"                                                                            \
    "    if row.chat then return { { role = 'user', content = 'Guess.' } } end\n"                                      \
    "    return 'row ' .. tostring(row.id) .. ', seed ' .. seed .. ', episode ' .. episode .. ', number ' .. number\n" \
    "  end,\n"                                                                                                         \
    "  step = function(call, text, turn)\n"                                                                            \
    "    tries = tries + 1\n"                                                                                          \
    "    if call then return { observation = call.name .. ' ' .. tostring(call.arguments.why), done = true } end\n"    \
    "    if text == '1' then return { done = true, reward = 1, rewards = { style = 0.5 }, info = { t = tries } } "     \
    "end\n"                                                                                                            \
    "    if text == 'wrong' then return { ok = false, observation = 'No number.' } end\n"                              \
    "    return 'try ' .. tries .. ' [' .. turn .. ']'\n"                                                              \
    "  end,\n"                                                                                                         \
    "}\n"

static void lua_plays_an_episode(void **state)
{
    (void)state;
    router *r = lua_router(GUESS, "{\"size\": 1}");
    expect(result_of(r, begin_reset(r, 1, "{\"id\": 7}")), FAIL_NONE,
           "{\"prompt\":\"row 7, seed 9, episode 1, number 1\"}");
    expect_said(r, 1, "hello", FAIL_NONE, "try 1 [all of it]");

    tool_result t = result_of(r, begin_say(r, 1, "wrong"));
    assert_true(!t.ok && t.failed == FAIL_NONE && strcmp(t.text, "No number.") == 0);
    tool_result_reset(&t);
    t = result_of(r, begin_say(r, 1, "1"));
    assert_string_equal(t.outcome, "{\"done\":true,\"info\":{\"t\":3},\"rewards\":{\"reward\":1.0,\"style\":0.5}}");
    assert_true(t.ok && strcmp(t.text, "") == 0);
    tool_result_reset(&t);
    router_free(r);
}

static void lua_has_tools_and_openings(void **state)
{
    (void)state;
    router *r = lua_router(GUESS, "{\"size\": 1}");
    char *told = router_tools_json(r);
    assert_non_null(strstr(told, "\"give_up\""));
    free(told);
    expect(result_of(r, begin_reset(r, 1, "{\"mute\": true}")), FAIL_NONE, "{}");
    for (uint64_t play = 2; play < 14; play++) /* Lua's tables have another order in each state: these have one */
        expect(result_of(r, begin_reset(r, play, "{\"chat\": true}")), FAIL_NONE,
               "{\"messages\":[{\"content\":\"Guess.\",\"role\":\"user\"}]}");
    tool_result t = called(r, 2, "give_up", "{\"why\": \"bored\"}");
    assert_string_equal(t.text, "give_up bored");
    assert_true(outcome_is_done(t.outcome));
    tool_result_reset(&t);
    router_free(r);
}

/* Two at once, and one of them begun again: what an episode counts is its own. */
static void lua_state_is_an_episodes_own(void **state)
{
    (void)state;
    router *r = lua_router(GUESS, "{\"size\": 1}");
    for (uint64_t play = 1; play <= 2; play++) tool_result_reset(&(tool_result){ .text = begun(r, play) });
    expect_said(r, 1, "a", FAIL_NONE, "try 1");
    expect_said(r, 1, "b", FAIL_NONE, "try 2");
    expect_said(r, 2, "a", FAIL_NONE, "try 1");
    router_leave(r, 1);
    free(begun(r, 1));
    expect_said(r, 1, "a", FAIL_NONE, "try 1");
    router_free(r);
}

#define TROUBLE                                                                                                        \
    "local kept = {}\n"                                                                                                \
    "return { reset = function(row) if row.bad then error('no such row') end return 'x' end,\n"                        \
    "  step = function(_, text)\n"                                                                                     \
    "    if text == 'raise' then return nil + 1 end\n"                                                                 \
    "    if text == 'loop' then while true do end end\n"                                                               \
    "    if text == 'hoard' then while true do kept[#kept + 1] = ('x'):rep(100000) .. #kept end end\n"                 \
    "    if text == 'global' then forgotten = 1 end\n"                                                                 \
    "    if text == 'field' then return { obervation = 'x' } end\n"                                                    \
    "    if text == 'nothing' then return end\n"                                                                       \
    "    if text == 'function' then return { info = { print } } end\n"                                                 \
    "    if text == 'word' then return { reward = 'much' } end\n"                                                      \
    "    if text == 'print' then print('to the log'); return 'printed' end\n"                                          \
    "    return 'fine'\n"                                                                                              \
    "  end, close = function() error('closed badly') end }\n"

/* Whoever goes wrong has its own VM, and the others play on. */
static void lua_that_fails_fails_alone(void **state)
{
    (void)state;
    static const struct {
        const char *says, *why;
    } CASES[] = {
        { "raise", "game.lua:4: attempt to perform arithmetic on a nil value" },
        { "loop", "game.lua:5: " },
        { "hoard", "not enough memory (cap 64 MB)" },
        { "global", "game.lua:7: global 'forgotten' is read-only" },
        { "field", "step returned a table with 'obervation'" },
        { "nothing", "step returned a nil (text, or a table with observation" },
        { "function", "can't be written as JSON: a function" },
    };
    router *r = lua_router(TROUBLE, NULL);
    free(begun(r, 1));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        free(begun(r, 2 + i));
        expect_said(r, 2 + i, CASES[i].says, FAIL_TOOL_LOST, CASES[i].why);
        expect_said(r, 1, "hello", FAIL_NONE, "fine");
    }
    expect_said(r, 1, "print", FAIL_NONE, "printed");
    expect(result_of(r, begin_reset(r, 50, "{\"bad\": true}")), FAIL_TOOL_LOST, "the game: ");
    expect(result_of(r, begin_reset(r, 51, "{\"bad\": true}")), FAIL_TOOL_LOST, "game.lua:2: no such row");
    router_leave(r, 1);
    free(begun(r, 60)); /* that it closed badly is in the log */
    router_free(r);
}

/* What a step returns, in Lua, by what the policy says: wrong, or large, or bytes of any kind. */
#define ANSWERS                                                                                                        \
    "local nest, bomb, loop, odd = {}, {}, {}, setmetatable({ observation = 'plain' }, { __index = error,\n"           \
    "  __pairs = error, __len = error, __tostring = error })\n"                                                        \
    "loop.info = loop\n"                                                                                               \
    "for _ = 1, 200 do nest = { nest } end\n"                                                                          \
    "for _ = 1, 40 do bomb = { bomb, bomb } end\n"                                                                     \
    "local says = { word = { reward = 'much' }, number = { observation = 5 }, yes = { observation = true }, one = { "  \
    "done = 1 },\n"                                                                                                    \
    "  list = { rewards = { 1, 2 } }, inf = { reward = 1 / 0 }, nan = { reward = 0 / 0 }, nested = { info = nest },\n" \
    "  selfish = loop, bomb = { info = bomb }, odd = odd, keys = { [1] = 'x' },\n"                                     \
    "  nul = { observation = 'a\\0b' }, bytes = { observation = 'caf\\xc3' }, nul_text = 'a\\0b', bytes_text = "       \
    "'caf\\xc3',\n"                                                                                                    \
    "  info = { info = { 'a\\0b' } }, large = { reward = math.maxinteger } }\n"                                        \
    "return { reset = function() return 'x' end, step = function(_, text)\n"                                           \
    "  local random = require('troupe').random(1)\n"                                                                   \
    "  if text == 'far' then return random(0, math.maxinteger) end\n"                                                  \
    "  if text == 'half' then return random(nil, 5) end\n"                                                             \
    "  if text == 'yield' then coroutine.yield(1) end\n"                                                               \
    "  if text == 'table' then error({}) end\n"                                                                        \
    "  if text == 'nil' then error(nil) end\n"                                                                         \
    "  if text == 'huge' then return ('x'):rep(20000000) end\n"                                                        \
    "  if text == 'pcall' then while true do pcall(function() while true do end end) end end\n"                        \
    "  return says[text] or 'fine' end }\n"

/* An answer that is none costs the episode that it was for; the process and the others' episodes stay. */
static void lua_answers_that_are_none_cost_one_episode(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        failure failed;
        const char *why;
    } CASES[] = {
        { "word", FAIL_TOOL_LOST, "the reward 'reward' of a step is no number" },
        { "number", FAIL_NONE, "5" },
        { "yes", FAIL_TOOL_LOST, "the observation of a step is no text" },
        { "one", FAIL_TOOL_LOST, "\"done\" and \"ok\" of a step are true or false" },
        { "list", FAIL_TOOL_LOST, "the rewards of a step are no object" },
        { "inf", FAIL_TOOL_LOST, "a number that is not finite" },
        { "nan", FAIL_TOOL_LOST, "a number that is not finite" },
        { "nested", FAIL_TOOL_LOST, "nested too deep" },
        { "selfish", FAIL_TOOL_LOST, "nested too deep" },
        { "bomb", FAIL_TOOL_LOST, "it has more than" },
        { "odd", FAIL_NONE, "plain" },
        { "keys", FAIL_TOOL_LOST, "a table with '1'" },
        { "nul", FAIL_NONE,
          "a\xef\xbf\xbd"
          "b" },
        { "bytes", FAIL_NONE, "caf\xef\xbf\xbd" },
        { "nul_text", FAIL_NONE,
          "a\xef\xbf\xbd"
          "b" },
        { "bytes_text", FAIL_NONE, "caf\xef\xbf\xbd" },
        { "info", FAIL_TOOL_LOST, "holds a NUL" },
        { "large", FAIL_NONE, "" },
        { "far", FAIL_TOOL_LOST, "random: m and n are 2^63 or more apart" },
        { "half", FAIL_TOOL_LOST, "random: expected whole numbers m <= n" },
        { "yield", FAIL_TOOL_LOST, "outside a coroutine" },
        { "table", FAIL_TOOL_LOST, "an error value that is a table" },
        { "nil", FAIL_TOOL_LOST, "an error value that is a nil" },
        { "huge", FAIL_TOOL_LOST, "more than 16 MB" },
        { "pcall", FAIL_TOOL_LOST, "stopped" },
    };
    router *r = lua_router(ANSWERS, NULL);
    free(begun(r, 1));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        free(begun(r, 2));
        expect_said(r, 2, CASES[i].says, CASES[i].failed, CASES[i].why);
        router_leave(r, 2);
        expect_said(r, 1, "hello", FAIL_NONE, "fine");
    }
    router_free(r);
}

static void lua_files_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } CASES[] = {
        { "return 5", "game.lua: the file returns a number, not a table of functions reset and step" },
        { "return { reset = function() end }", "the file returns a table without a function step" },
        { "return { step = function() end }", "the file returns a table without a function reset" },
        { "return { reset = 1, step = print }", "the file returns a table with 'reset', a number" },
        { "return { reset = print, step = print, stop = print }",
          "'stop', a function (functions open, reset, step and" },
        { "return { reset = print, step = print, open = function() return 'go' end }", "open returned a string" },
        { "return { reset = print, step = print, open = function() return { { name = 'go west' } } end }",
          "a tool's name is 'go west'" },
        { "return {\n  reset = \n", "game.lua:3: " },
        { "os.exit(0)", "game.lua:1: " },
        { "while true do end", "game.lua:1: " },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        error err = { 0 };
        router *r = router_new(NULL);
        assert_int_equal(add_lua(r, CASES[i].text, NULL, &err), ERR_PEER);
        if (!strstr(err.text, CASES[i].why) || !strstr(err.text, "environment the game: "))
            fail_msg("%s: %s", CASES[i].text, err.text);
        router_free(r);
    }
}

/* ---- shared objects ---- */

static char *built(const char *name, char path[TEST_PATH])
{
    const char *build = getenv("TROUPE_BUILD");
    snprintf(path, TEST_PATH, "%s/env/%s.so", build ? build : ".", name);
    return path;
}

static router *native_router(const char *name, int at_once)
{
    error err = { 0 };
    char path[TEST_PATH];
    router *r = router_new(NULL);
    test_ok(add(r, built(name, path), "{}", at_once, &err), &err);
    return r;
}

static void native_plays_an_episode(void **state)
{
    (void)state;
    char expected[200];
    router *r = native_router("bad_plugin", 4);
    snprintf(expected, sizeof expected, "{\"prompt\":\"row {\\\"id\\\":7}, seed 9, size %zu\"}",
             sizeof(troupe_env_reply));
    expect(result_of(r, begin_reset(r, 1, "{\"id\": 7}")), FAIL_NONE, expected);
    expect(result_of(r, begin_reset(r, 2, "{\"nothing\": 1}")), FAIL_NONE, "{}");
    expect(result_of(r, begin_reset(r, 3, "{\"broken\": 1}")), FAIL_TOOL_LOST, "info"); /* and is ended */
    expect_said(r, 1, "hello", FAIL_NONE, "heard hello [all of it], open 2");
    router_leave(r, 2);
    expect(called(r, 1, "go", "{\"way\": \"up\"}"), FAIL_NONE, "go {\"way\":\"up\"} [], open 1");

    tool_result t = result_of(r, begin_say(r, 1, "win"));
    assert_string_equal(t.outcome,
                        "{\"done\":true,\"info\":{\"moves\":3},\"rewards\":{\"reward\":1.0,\"style\":0.25}}");
    assert_false(t.ok);
    tool_result_reset(&t);
    router_free(r);
}

/* One a process: what it breaks is its own. */
static void native_that_fails_fails_alone(void **state)
{
    (void)state;
    static const struct {
        const char *says, *why;
    } CASES[] = {
        { "fail", "bad_plugin.so: the door is stuck" },
        { "endless", "the reward of a step is infinite" },
        { "list", "rewards is no JSON object" },
        { "broken", "info" },
        { "words", "the reward 'style' of a step is no number" },
        { "close", "it has closed what its answers go to" },
        { "crash", "the game has ended (killed by signal 6" },
        { "hang", "no answer to a step within 2 s" },
    };
    router *r = native_router("bad_plugin", 1);
    free(begun(r, 1));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        free(begun(r, 2 + i));
        expect_said(r, 2 + i, CASES[i].says, FAIL_TOOL_LOST, CASES[i].why);
        router_leave(r, 2 + i);
        expect_said(r, 1, "hello", FAIL_NONE, "heard hello [all of it], open 1");
    }
    expect_said(r, 1, "read", FAIL_NONE, "there is nothing to read"); /* requests are not its stdin */
    expect(result_of(r, begin_reset(r, 50, "{\"failing\": 1}")), FAIL_TOOL_LOST, "this row has no game");
    router_free(r);
}

static void native_files_that_are_none(void **state)
{
    (void)state;
    char good[TEST_PATH], text[TEST_PATH];
    built("bad_plugin", good);
    char *folder = test_folder_new();
    test_file_at(folder, "words.so", "these are words", text);
    const struct {
        const char *file, *config, *why;
    } cases[] = {
        { good, "{\"refuse\": true}", "there is no such game" },
        { good, "{\"tools\": true}", "tools is no JSON list" },
        { text, NULL, "words.so: " },
        { "missing.so", NULL, "there is no missing.so" },
        { "game.py", NULL, "game.py is neither .lua nor .so" },
        { "missing.lua", NULL, "missing.lua" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error err = { 0 };
        router *r = router_new(NULL);
        assert_int_equal(add(r, cases[i].file, cases[i].config, 1, &err), ERR_PEER);
        if (!strstr(err.text, cases[i].why)) fail_msg("%s: %s", cases[i].file, err.text);
        router_free(r);
    }
    test_folder_remove(folder);
}

/* A plugin's own processes, which it has without a sandbox, end with it, however it ends. */
static void native_leaves_no_process_behind(void **state)
{
    (void)state;
    error err = { 0 };
    char path[TEST_PATH], file[TEST_PATH], text[TEST_PATH + 8];
    char *folder = test_folder_new();
    test_file_at(folder, "held", "", path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(text, sizeof text, "leave %s", path);
    for (int i = 0; i < 2; i++) {
        router *r = router_new(NULL);
        test_ok(add_as(r, built("bad_plugin", file), "{}", 1, "none", &err), &err);
        struct pollfd held = { .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .events = POLLIN };
        free(begun(r, 1));
        expect_said(r, 1, text, FAIL_NONE, "heard");
        assert_int_equal(poll(&held, 1, 0), 0);
        if (i == 1) expect_said(r, 1, "exit", FAIL_TOOL_LOST, "has ended (exit status 3)");
        router_free(r);
        assert_int_equal(poll(&held, 1, -1), 1); /* its last writer is gone */
        assert_true(held.revents & POLLHUP);
        close(held.fd);
    }
    test_folder_remove(folder);
}

/* The worked example: every room of many can be left, by trying. */
static void gridworld_can_be_left(void **state)
{
    (void)state;
    static const char *const WAYS[] = { "up", "down", "left", "right" };
    router *r = native_router("gridworld", 1);
    test_random rnd = test_random_seed(5);
    char *room = begun(r, 1);
    assert_true(strstr(room, "R") && strstr(room, "D"));
    free(room);
    bool out = false;
    for (int i = 0; i < 3000 && !out; i++) {
        char arguments[40];
        snprintf(arguments, sizeof arguments, "{\"direction\": \"%s\"}", WAYS[test_random_below(&rnd, 4)]);
        tool_result t = called(r, 1, "move", arguments);
        out = outcome_is_done(t.outcome);
        assert_true(strstr(t.outcome, out ? "\"reward\":1.0" : "\"reward\":-0.02") != NULL);
        tool_result_reset(&t);
    }
    assert_true(out);
    router_free(r);
}

/* What the clerk has said and done is `solved`, with these words at the end; its rewards are 0 or 1. */
static void clerk(router *r, const char *tool_name, const char *words, double handled, double solved)
{
    static uint64_t play;
    char *opening = begun_with(r, ++play, "{\"case\": 1, \"words\": \"train\"}");
    assert_non_null(
        strstr(opening, "no longer want the blanket that I ordered. Cancel it, please. The order is 5232."));
    free(opening);
    expect(called(r, play, "order", "{\"id\": \" 5232\"}"), FAIL_NONE, "blanket, 17 euro, leaves the house in 2 days");
    if (tool_name) {
        tool_result done = called(r, play, tool_name, "{\"id\": \"5232\"}");
        tool_result_reset(&done);
    }

    tool_result t = result_of(r, begin_say(r, play, words));
    json_t *outcome = json_parse(t.outcome, strlen(t.outcome), "outcome", NULL);
    const json_t *rewards = json_object_get(outcome, "rewards");
    assert_true(outcome_is_done(t.outcome));
    if (json_number_value(json_object_get(rewards, "handled")) != handled ||
        json_number_value(json_object_get(rewards, "solved")) != solved)
        fail_msg("%s, then '%s': %s", tool_name ? tool_name : "nothing", words, t.outcome);
    json_decref(outcome);
    tool_result_reset(&t);
    router_leave(r, play);
}

/* The other worked example: what is due has to be done, and said; no sentence serves every customer. */
static void retail_desk_is_judged_by_deeds_and_words(void **state)
{
    (void)state;
    error err = { 0 };
    char path[TEST_PATH];
    snprintf(path, sizeof path, "%s/plugins/retail_desk/desk.lua", getenv("TROUPE_SOURCE"));
    router *r = router_new(NULL);
    test_ok(add(r, path, NULL, 4, &err), &err);
    clerk(r, "cancel", "It is cancelled.", 1, 1);
    clerk(r, "cancel", "Sorry, it is cancelled.", 1, 0);
    clerk(r, "cancel", "Done.", 1, 0);
    clerk(r, "refund", "It is cancelled.", 0, 0);
    clerk(r, NULL, "It is cancelled.", 0, 0);
    clerk(r, NULL, "Sorry, it leaves the house in 2 days.", 0, 0);
    router_free(r);
}

int main(int argc, char **argv)
{
    error err = { 0 };
    if (argc >= 3 && strcmp(argv[1], "env-host") == 0) {
        const plugin_limits limits = { argc == 4 ? PLUGIN_NONE : PLUGIN_AUTO, 4096 };
        if (plugin_serve(argv[2], &limits, &err) == OK) return 0;
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lua_plays_an_episode),
        cmocka_unit_test(lua_has_tools_and_openings),
        cmocka_unit_test(lua_state_is_an_episodes_own),
        cmocka_unit_test(lua_that_fails_fails_alone),
        cmocka_unit_test(lua_answers_that_are_none_cost_one_episode),
        cmocka_unit_test(lua_files_that_are_none),
        cmocka_unit_test(native_plays_an_episode),
        cmocka_unit_test(native_that_fails_fails_alone),
        cmocka_unit_test(native_files_that_are_none),
        cmocka_unit_test(native_leaves_no_process_behind),
        cmocka_unit_test(gridworld_can_be_left),
        cmocka_unit_test(retail_desk_is_judged_by_deeds_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
