/* SPDX-License-Identifier: MIT */
/* T.env and env.plugin, as a recipe has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include "run/check_data.h"
#include "tests/support/support.h"

#define WORLD "T.env{ command = { 'true' } }"

/* A recipe with these fields of env, opened as it stands in `dir`; NULL with its reason. */
static recipe *open_with_env(const char *dir, const char *env, error *err)
{
    char path[TEST_PATH];
    str text = { 0 };
    const char *source = getenv("TROUPE_SOURCE");
    str_printf(&text,
               "local T = require 'troupe'\n"
               "return { model = '%s/models/stagehand', data = { train = 'rows.jsonl' },\n"
               "  env = { %s },\n"
               "  reward = { script = '%s/recipes/calculator/reward.lua', objectives = { accuracy = 1 } } }\n",
               source, env, source);
    recipe *r = recipe_open(test_file_at(dir, "r.lua", text.data, path), NULL, 0, err);
    str_free(&text);
    return r;
}

static recipe *open_with_tools(const char *dir, const char *tools, error *err)
{
    str env = { 0 };
    str_printf(&env, "tools = { %s }", tools);
    recipe *r = open_with_env(dir, env.data, err);
    str_free(&env);
    return r;
}

static void mistakes_in_an_environment_are_named(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        { "T.env(1)", "T.env expects a table" },
        { "T.env()",
          "entry 1, T.env, needs command, such as { \"python3\", \"environment.py\" }, or the key env.plugin" },
        { "T.env{ command = {} }", "T.env: command is empty" },
        { "T.env{ command = 'python3 w.py' }", "T.env: command should be a table, not a string" },
        { "T.env{ command = { 'python3', 5 } }", "T.env: command should be a list of texts" },
        { "T.env{ command = { run = 'python3' } }", "T.env: command should be a list of texts" },
        { "T.env{ command = { 'true' }, config = 'easy' }", "T.env: config should be a table, not a string" },
        { "T.env{ command = { 'true' }, instances = '8' }", "T.env: instances should be a number, not a string" },
        { "T.env{ command = { 'true' }, instances = 0 }", "T.env: instances is 0; it should be a whole number from 1" },
        { "T.env{ command = { 'true' }, instances = 257 }", "T.env: instances is 257" },
        { "T.env{ command = { 'true' }, at_once = 1.5 }", "T.env: at_once is 1.5; it should be a whole number from 1" },
        { "T.env{ command = { 'true' }, timeout = 0 }", "T.env: timeout is 0; it should be a number from 0.01" },
        { "T.env{ command = { 'true' }, timeout = 0/0 }", "T.env: timeout is " },
        { "T.env{ command = { 'true' }, start = 0.05 }", "T.env: start is 0.05; it should be a number from 0.1" },
        { "T.env{ command = { 'true' }, instance = 8 }",
          "T.env has no field 'instance' (it has at_once, command, config" },
        { "T.env{ command = { 'true' }, sandbox = 'auto' }", "T.env: sandbox should be a boolean, not a string" },
        { "T.env{ sandbox = true }", "T.env: sandbox is of a program that is started with command" },
        { "T.mcp{ url = 'http://127.0.0.1:1/mcp', sandbox = true }",
          "T.mcp: sandbox is of a program that is started with command" },
        { "T.env{ command = { 'true' }, network = true }", "T.env: network is said with sandbox = true" },
        { WORLD ", " WORLD, "2 T.env{...}: episodes are played in one" },
    };
    char *dir = test_folder_new();
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        recipe *r = open_with_tools(dir, BAD[i][0], &err);
        if (r) fail_msg("%s was accepted", BAD[i][0]);
        if (!strstr(err.text, BAD[i][1])) fail_msg("%s: expected '%s' in: %s", BAD[i][0], BAD[i][1], err.text);
        if (!strstr(err.text, "r.lua")) fail_msg("%s: no file in: %s", BAD[i][0], err.text);
    }
    test_folder_remove(dir);
}

/* Its rows need no question; those of a recipe without one do. */
static void rows_without_a_question_are_an_environment_s(void **state)
{
    (void)state;
    char *dir = test_folder_new(), rows[TEST_PATH];
    test_file_at(dir, "rows.jsonl", "{\"id\": 1}\n{\"id\": 2}\n", rows);
    static const struct {
        const char *tools;
        bool environment;
    } WANT[] = { { WORLD, true },
                 { "T.tool{ name = 'a', call = function() return 1 end }, " WORLD, true },
                 { "T.tool{ name = 'env', call = function() return 1 end }", false },
                 { "", false } };
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        error err = { 0 };
        recipe *r = open_with_tools(dir, WANT[i].tools, &err);
        if (!r) fail_msg("%s", err.text);
        assert_int_equal(recipe_has_environment(r), WANT[i].environment);
        dataset *d = recipe_rows(r, rows, &err);
        assert_int_equal(d != NULL, WANT[i].environment);
        if (!d && !strstr(err.text, "prompt")) fail_msg("%s", err.text);
        dataset_free(d);
        recipe_free(r);
    }
    test_folder_remove(dir);
}

/* What is asked is known once it was reset. */
static void nobody_is_helped_in_an_environment(void **state)
{
    (void)state;
    static const char *const HELP[] = { "rollout.hinted", "rollout.demonstrations" };
    char *dir = test_folder_new(), path[TEST_PATH], word[60];
    error err = { 0 };
    recipe_free(open_with_tools(dir, WORLD, &err)); /* its file stays */
    path_join(path, sizeof path, dir, "r.lua");
    for (int i = 0; i < 2; i++) {
        snprintf(word, sizeof word, "%s=1", HELP[i]);
        recipe *r = recipe_open(path, (const char *const[]){ word }, 1, &err);
        if (r) fail_msg("%s was accepted", word);
        if (!strstr(err.text, HELP[i]) || !strstr(err.text, "rows of a T.env have no demonstrations"))
            fail_msg("%s: %s", word, err.text);
    }
    test_folder_remove(dir);
}

/* Another machine's recipe starts no program of its choice on this one, not even to ask for words. */
static void a_recipe_that_was_sent_starts_no_program(void **state)
{
    (void)state;
    static const char *const KINDS[] = { "env", "mcp" };
    char *dir = test_folder_new(), started[TEST_PATH];
    path_join(started, sizeof started, dir, "started");
    for (int i = 0; i < 2; i++) {
        error err = { 0 };
        str tools = { 0 };
        str_printf(&tools, "T.%s{ command = { '/usr/bin/touch', '%s' } }", KINDS[i], started);
        recipe *r = open_with_tools(dir, tools.data, &err);
        if (!r) fail_msg("%s", err.text);
        r->sent = true;
        assert_null(recipe_router(r, NULL, &err));
        assert_null(recipe_router_of_words(r, &err));
        char says[40];
        snprintf(says, sizeof says, "T.%s in a recipe that was sent", KINDS[i]);
        if (!strstr(err.text, says) || !strstr(err.text, "if it may run /usr/bin/touch")) fail_msg("%s", err.text);
        assert_false(file_exists(started));
        recipe_free(r);
        str_free(&tools);
    }
    test_folder_remove(dir);
}

/* One that writes a file before it answers: with sandbox = true the file is not there. What ends at once is called by
 * its own name. */
static void a_program_runs_in_a_sandbox_if_asked(void **state)
{
    (void)state;
    static const char *const FIELDS[] = { "", ", sandbox = true", ", sandbox = true, network = true" };
    char *dir = test_folder_new(), written[TEST_PATH];
    path_join(written, sizeof written, dir, "written");
    for (int i = 2; i >= 0; i--) {
        error err = { 0 };
        str tools = { 0 };
        str_printf(&tools,
                   "T.env{ command = { '/bin/sh', '-c', [[touch %s; sed -u 's/.*\"id\":\\([0-9]*\\).*/"
                   "{\"id\":\\1,\"tools\":[]}/']] }%s }, T.mcp{ command = { '/bin/false' }%s }",
                   written, FIELDS[i], FIELDS[i]);
        recipe *r = open_with_tools(dir, tools.data, &err);
        if (!r) fail_msg("%s", err.text);
        assert_null(recipe_router(r, NULL, &err)); /* T.env is open by then, T.mcp fails */
        if (!strstr(err.text, "MCP server: /bin/false has ended (exit status 1)"))
            fail_msg("%s: %s", tools.data, err.text);
        assert_int_equal(file_exists(written), i == 0);
        recipe_free(r);
        str_free(&tools);
    }
    test_folder_remove(dir);
}

/* ---- env.plugin ---- */

static void mistakes_with_a_plugin_are_named(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        { "plugin = 'game.lua'", "env.plugin: it is played where env.tools has a T.env{}" },
        { "plugin = 'game.lua', tools = {}", "env.plugin: it is played where env.tools has a T.env{}" },
        { "plugin = 'game.lua', tools = { " WORLD " }", "entry 1 of env.tools, T.env, has a command: one of the two" },
        { "plugin = 5, tools = { T.env{} }", "env.plugin" },
        { "plugin = 'gone.lua', tools = { T.env{} }", "gone.lua" },
        { "plugin = 'game.lua', plugin_sandbox = 'landlock', tools = { T.env{} }", "env.plugin_sandbox" },
        { "plugin = 'game.lua', plugin_memory_mb = 1, tools = { T.env{} }", "env.plugin_memory_mb" },
        { "plugin_sandbox = 'none', tools = { " WORLD " }", "env.plugin_sandbox" },
    };
    char *dir = test_folder_new(), path[TEST_PATH];
    test_file_at(dir, "game.lua", "return {}", path);
    test_file_at(dir, "rows.jsonl", "{\"id\": 1}\n", path);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        recipe *r = open_with_env(dir, BAD[i][0], &err);
        if (r && check_data(r, NEEDS_TRAIN | NEEDS_WORDS, &err) == OK) fail_msg("%s was accepted", BAD[i][0]);
        if (!strstr(err.text, BAD[i][1]) || !strstr(err.text, "r.lua")) fail_msg("%s: %s", BAD[i][0], err.text);
        recipe_free(r);
    }
    test_folder_remove(dir);
}

static const char GAME[] = "return { open = function(c) return { { name = 'go_' .. (c.way or 'on') } } end,\n"
                           "reset = function(row) return 'row ' .. row.id end, step = function() return 'x' end }\n";

static tool_result reset_of(router *r, error *err)
{
    tool_result t = { 0 };
    const uint64_t id = router_reset(r, &(tool_context){ .play = 1, .row = "{\"id\": 4}" }, clock_ms());
    test_ok(router_await(r, id, &t, err), err);
    return t;
}

/* Lua may come from another machine; a shared object, which may do what this machine's user may, does not. */
static void a_plugin_is_played(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new(), path[TEST_PATH];
    test_file_at(dir, "game.lua", GAME, path);
    recipe *r = open_with_env(dir, "plugin = 'game.lua', tools = { T.env{ config = { way = 'west' } } }", &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(recipe_has_environment(r));
    for (int sent = 0; sent < 2; sent++) {
        r->sent = sent;
        router *played = recipe_router(r, NULL, &err), *words = played ? recipe_router_of_words(r, &err) : NULL;
        if (!words) fail_msg("%s", err.text);
        tool_result t = reset_of(played, &err);
        assert_string_equal(t.text, "{\"prompt\":\"row 4\"}");
        tool_result_reset(&t);
        char *told = router_tools_json(words);
        assert_non_null(strstr(told, "\"go_west\""));
        free(told);
        router_free(words);
        router_free(played);
    }
    recipe_free(r);
    test_folder_remove(dir);
}

/* Whoever sends a recipe does not decide what its plugin may do here. */
static void a_plugin_that_was_sent_is_locked_in(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new(), path[TEST_PATH];
    test_file_at(dir, "game.lua", GAME, path);
    recipe *r = open_with_env(dir, "plugin = 'game.lua', plugin_sandbox = 'none', tools = { T.env{} }", &err);
    if (!r) fail_msg("%s", err.text);
    router_free(recipe_router(r, NULL, &err));
    r->sent = true;
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "env.plugin_sandbox = \"none\" in a recipe that was sent"));
    recipe_free(r);
    test_folder_remove(dir);
}

/* Without at_once a process plays 16 episodes of Lua, each in a state of its own. */
static void a_plugin_in_lua_needs_few_processes(void **state)
{
    (void)state;
    error err = { 0 };
    enum { PLAYS = 16, PROCESS_FDS = 2 }; /* a process's stdout and stderr */
    struct pollfd fds[64];
    char *dir = test_folder_new(), path[TEST_PATH];
    test_file_at(dir, "game.lua", GAME, path);
    recipe *r = open_with_env(dir, "plugin = 'game.lua', tools = { T.env{} }", &err);
    router *played = r ? recipe_router(r, NULL, &err) : NULL;
    if (!played) fail_msg("%s", err.text);
    for (uint64_t i = 0; i < PLAYS; i++)
        router_reset(played, &(tool_context){ .play = i + 1, .row = "{\"id\": 4}" }, clock_ms());

    /* Answers come in any order: router_await() would drop those of the other episodes. */
    for (int answered = 0; answered < PLAYS;) {
        tool_result t = { 0 };
        router_wait(played, 1000);
        if (router_poll(played, clock_ms(), &t, 1) == 0) continue;
        assert_int_equal(t.failed, FAIL_NONE);
        answered++;
        tool_result_reset(&t);
    }
    assert_int_equal(router_fds(played, fds, 64), PROCESS_FDS);
    router_free(played);
    recipe_free(r);
    test_folder_remove(dir);
}

static void a_plugin_of_machine_code_is_not_sent_for(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new(), path[TEST_PATH];
    test_file_at(dir, "game.so", "none", path);
    recipe *r = open_with_env(dir, "plugin = 'game.so', tools = { T.env{} }", &err);
    if (!r) fail_msg("%s", err.text);
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "environment game.so: "));
    r->sent = true;
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "T.env in a recipe that was sent"));
    assert_non_null(strstr(err.text, "if it may run "));
    test_ok(check_data(r, NEEDS_WORDS, &err), &err); /* so that the sentence above is the one that is read */
    recipe_free(r);
    test_folder_remove(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "env-host") == 0) return verb_main(&VERB_ENV_HOST, argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "enclosed") == 0) return verb_main(&VERB_ENCLOSED, argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_runs_in_a_sandbox_if_asked),
        cmocka_unit_test(mistakes_in_an_environment_are_named),
        cmocka_unit_test(rows_without_a_question_are_an_environment_s),
        cmocka_unit_test(nobody_is_helped_in_an_environment),
        cmocka_unit_test(a_recipe_that_was_sent_starts_no_program),
        cmocka_unit_test(mistakes_with_a_plugin_are_named),
        cmocka_unit_test(a_plugin_is_played),
        cmocka_unit_test(a_plugin_that_was_sent_is_locked_in),
        cmocka_unit_test(a_plugin_in_lua_needs_few_processes),
        cmocka_unit_test(a_plugin_of_machine_code_is_not_sent_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
