/* SPDX-License-Identifier: MIT */
/* Environments of other people, brought in by `troupe env import`, and environments without a recipe that are tested,
 * played and listed: as a user types it, in a folder of its own. No package of Python's is needed: verifiers is the
 * small stand-in of the adapters' tests. */
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

#define SHOP                                                                                                           \
    "SHOP=file:$TROUPE_SOURCE/tests/unit/env/shop.py:Shop; PLAYER=$TROUPE_SOURCE/plugins/python/troupe_env.py; "
#define STANDINS "export PYTHONHASHSEED=0 PYTHONPATH=$TROUPE_SOURCE/tests/unit/env/standins; "
#define IMPORT "$TROUPE env import --model $MODEL "
#define GAME                                                                                                           \
    "printf 'local n\\nreturn { reset = function(row, seed) n = seed %% 7 return \"guess \" .. (row.what or \"it\") "  \
    "end,\\n"                                                                                                          \
    "step = function(_, text) return { observation = tostring(n), done = text == \"bye\", reward = 1 } end }' > "      \
    "game.lua; "

/* ---- import ---- */

static void an_imported_recipe_is_tested_and_trained_as_it_is(void **state)
{
    (void)state;
    SHELL(0, STANDINS IMPORT "verifiers:sums_env --rows 3 && ls sums_env && wc -l < sums_env/rows.jsonl",
          "written: sums_env/recipe.lua", "next: troupe env test --recipe sums_env/recipe.lua, troupe train sums_env/",
          "recipe.lua\n", "reward.lua\n", "rows.jsonl\n", "3\n");
    SHELL(0, STANDINS "$TROUPE env list --recipe sums_env/recipe.lua", "add\n  Adds.");
    SHELL(0,
          STANDINS "$TROUPE train sums_env/recipe.lua steps=1 rollout.group=2 rollout.prompts_per_step=1 "
                   "rollout.max_tokens=16 patience=0 --run-dir run",
          "done: 1 step", "valid:");
}

static void an_imported_recipe_names_its_python_and_is_played_from_anywhere(void **state)
{
    (void)state;
    SHELL(0, SHOP IMPORT "$SHOP --into a/b --rows 2 --seed 5 --config '{\"greeting\": \"Servus\"}'",
          "written: a/b/recipe.lua");
    SHELL(0, "cat a/b/rows.jsonl", "{\"id\": \"Shop-5\", \"seed\": 5}", "{\"id\": \"Shop-6\"");
    SHELL(0, "D=$PWD; cd /; PATH=; echo bye | $TROUPE env play --recipe $D/a/b/recipe.lua", "Servus ", "goodbye",
          "(over)");
}

static void an_imported_recipe_has_the_users_rows(void **state)
{
    (void)state;
    SHELL(0,
          "echo '{\"id\": 1}' > mine.jsonl; " SHOP IMPORT "$SHOP --data mine.jsonl && ls Shop && cat Shop/recipe.lua",
          "reward.lua\nlocal T", "/mine.jsonl\" }");
    SHELL(0, "$TROUPE env test --recipe Shop/recipe.lua --resets 10", "ok      begins      1 of 1 rows");
    SHELL(1, SHOP IMPORT "$SHOP --data nowhere --into two", "there is no file nowhere");
}

static void the_python_is_the_one_asked_for_or_the_active_one(void **state)
{
    (void)state;
    SHELL(0,
          "mkdir -p venv/bin; printf '#!/bin/sh\necho ours >> used\nexec python3 \"$@\"\n' > venv/bin/python3; "
          "chmod +x venv/bin/python3; " SHOP IMPORT "$SHOP --python venv && " IMPORT
          "$SHOP --python venv/bin/python3 --into two && VIRTUAL_ENV=$PWD/venv " IMPORT "$SHOP --into three && "
          "wc -l < used",
          "written: Shop/recipe.lua", "written: two/", "written: three/", "\n3\n");
}

static void what_an_import_lacks_is_said_in_one_sentence(void **state)
{
    (void)state;
    SHELL(2, IMPORT "gymnasum:Taxi-v3", "no kind of environment 'gymnasum' (did you mean 'gymnasium'?)");
    SHELL(2, IMPORT "chess:blitz", "no kind of environment 'chess' (there are gymnasium, openenv, ");
    SHELL(2, IMPORT "Taxi-v3", "expected KIND:NAME, such as gymnasium:FrozenLake-v1, found 'Taxi-v3'");
    SHELL(2, IMPORT "gymnasium:", "expected a name after the colon");
    SHELL(2, IMPORT, "import needs one KIND:NAME");
    SHELL(2, IMPORT "file:a.py:A file:b.py:B", "import takes no further word 'file:b.py:B'");
    SHELL(2, IMPORT "mcp:server", "an MCP server has tools, but no tasks to learn: docs/mcp.md");
    SHELL(2, IMPORT "file:a.py:A --recipe r.lua", "takes no --recipe");
    SHELL(2, IMPORT "file:a.py:A --row 3", "--row goes with play and test");
    SHELL(2, IMPORT "file:a.py:A --config 3", "--config: expected a JSON object", "found '3'");
    SHELL(2, IMPORT "file:a.py:A --rows 0", "--rows: expected a whole number from 1");
    SHELL(1, IMPORT "file:a.py:A --python nowhere", "--python nowhere: there is no such program");
    SHELL(1, "VIRTUAL_ENV=/nowhere " IMPORT "file:a.py:A", "$VIRTUAL_ENV is /nowhere, and has no bin/python3");
    SHELL(1, "unset VIRTUAL_ENV; PATH=/nowhere " IMPORT "file:a.py:A",
          "there is no python3 in $PATH: install Python 3.9");
    SHELL(1, "$TROUPE env import file:a.py:A --model nowhere",
          "--model nowhere: there is no such model (no config.json");
    SHELL(1, IMPORT "file:a.py:A", "there is no file ", "/a.py\n");
    SHELL(2, "$TROUPE env list game.lua --data x", "--data goes with import");
    SHELL(1, SHOP IMPORT "${SHOP}p", "has no class 'Shopp'");
    SHELL(1,
          "echo 'raise ModuleNotFoundError(name=\"textworld\")' > textworld.py; export PYTHONPATH=$PWD; " IMPORT
          "textworld:game.z8",
          "has no Python package 'textworld': install it by ", " -m pip install 'textworld'");
}

static void what_is_in_the_way_is_not_written_over(void **state)
{
    (void)state;
    SHELL(0, SHOP IMPORT "$SHOP && rm Shop/recipe.lua Shop/reward.lua && echo mine > Shop/rows.jsonl", "written: ");
    SHELL(1, SHOP IMPORT "$SHOP", "Shop has a rows.jsonl already: name another folder, or remove it");
    SHELL(1, SHOP "touch file; " IMPORT "$SHOP --into file", "file is a file, not a folder");
    SHELL(0, "cat Shop/rows.jsonl", "mine");
}

/* A package's own exception is its sentence; where it was raised in there helps who has written it. */
static void an_exception_is_one_line(void **state)
{
    (void)state;
    SHELL(0,
          "echo 'raise ValueError(\"broken\")' > textworld.py; export PYTHONPATH=$PWD; " IMPORT
          "textworld:game.z8 > said 2>&1; cat said; wc -l < said",
          "troupe_env.py: textworld:game.z8 raised ValueError: broken", "\n1\n");
    SHELL(1, "echo 'import gone' > own.py; " IMPORT "file:own.py:Own", "Traceback", "own.py\", line 1");
}

/* ---- without a recipe ---- */

static void a_file_of_lua_needs_no_recipe(void **state)
{
    (void)state;
    SHELL(0, GAME "$TROUPE env test game.lua --resets 10", "no --row was given: each episode's row is {}",
          "ok      begins      1 of 1 rows", "ok      no leak", "ok      ends");
    SHELL(0, "echo bye | $TROUPE env play game.lua --seed 9 --row '{\"what\":\n\"me\"}'",
          "guess me\n2\n(reward 1)\n(over)\n");
    SHELL(1, "printf 'return {}' > game.lua; $TROUPE env test game.lua 2>&1",
          "troupe: env: environment game.lua: ", "reset");
    SHELL(0, "ls /tmp ${TMPDIR:-/tmp} | grep -c troupe-env- ; true", "0\n");
}

static void a_program_needs_no_recipe(void **state)
{
    (void)state;
    SHELL(0, SHOP "$TROUPE env test --resets 10 --row '{\"id\": 1}' -- python3 $PLAYER $SHOP",
          "ok      begins      1 of 1 rows; tools: 1", "ok      ends");
    SHELL(0, SHOP "printf '#!/bin/sh\nexec python3 %s %s' $PLAYER $SHOP > game; chmod +x game; $TROUPE env list ./game",
          "add\n");
    SHELL(1, "$TROUPE env test -- sh -c 'exit 3'", "troupe: env: environment: sh has ended (exit status 3)");
    SHELL(1, "$TROUPE env test -- echo rubbish", "troupe: env: environment echo: a line of its stdout: not JSON");
    SHELL(1, "$TROUPE env test -- nowhere", "troupe: env: ", "nowhere");
}

static void an_environment_of_pythons_needs_no_recipe(void **state)
{
    (void)state;
    SHELL(0, STANDINS "$TROUPE env list verifiers:sums_env", "add\n  Adds.");
    SHELL(0, STANDINS "$TROUPE env test verifiers:sums_env --rows 3 --resets 10",
          "ok      begins      3 of 3 rows; tools: 1");
    SHELL(0, STANDINS "echo 3 | $TROUPE env play verifiers:sums_env --row 3", "2 + 1?", "(reward 2)");
    SHELL(0, STANDINS "$TROUPE env play verifiers:sums_env --row '{\"input\": {\"question\": \"why?\"}}'",
          "user: why?");
    SHELL(1, STANDINS "$TROUPE env test verifiers:nothing", "troupe_env.py: ", "nothing");
}

static void a_plugin_that_fails_the_test_is_status_1(void **state)
{
    (void)state;
    SHELL(
        1,
        GAME
        "sed -i 's/seed %/math.huge + seed %/; s/tostring(n)/error()/' game.lua; $TROUPE env test game.lua --resets 10",
        "FAILED  same play", "checks failed");
}

static void what_is_no_plugin_is_said(void **state)
{
    (void)state;
    SHELL(1, "$TROUPE env test game.lua", "there is no file game.lua");
    SHELL(2, "$TROUPE env test nothing",
          "there is no nothing: expected a .lua or .so, KIND:NAME, or a program (-- COMMAND");
    SHELL(2, "touch game.py; $TROUPE env play game.py",
          "game.py is not a program: -- COMMAND ... plays one, such as: -- python3 game.py");
    SHELL(2, "$TROUPE env list reasoning-gym:legs", "did you mean 'reasoning_gym'?");
    SHELL(2, "$TROUPE env test", "test needs --recipe RECIPE.lua, with a T.env{...}, or an environment: game.lua");
    SHELL(2, "$TROUPE env test a.lua b.lua", "takes no further word 'b.lua' (a program with arguments: -- COMMAND");
    SHELL(2, "$TROUPE env test a.lua -- python3", "test takes 'a.lua' or a command, not both");
    SHELL(2, "$TROUPE env test a.lua --recipe r.lua", "test takes --recipe or PLUGIN, not both");
    SHELL(2, "$TROUPE env test a.lua --into b", "--into goes with import");
    SHELL(2, "$TROUPE env list --config '{}'", "--config goes with PLUGIN and import");
    SHELL(2, "$TROUPE env test --recipe r.lua --row '{}'", "--row JSON is for PLUGIN; a recipe has rows: --row N");
    SHELL(2, "$TROUPE env play a.lua --row x", "--row: expected a whole number from 1", "'x'");
    SHELL(2, GAME "$TROUPE env play game.lua --row '{'", "--row: expected a JSON object");
    SHELL(2, "$TROUPE env play mcp:server", "an MCP server has tools, and no episodes to play");
}

static const char SERVER[] =
    "import json, sys\n"
    "for line in sys.stdin:\n"
    "    m = json.loads(line)\n"
    "    first = m['method'] == 'initialize'\n"
    "    about = {'capabilities': {'tools': {}}, 'serverInfo': {'name': 'sums', 'version': '1'}}\n"
    "    tools = {'tools': [{'name': 'add', 'description': 'Adds.', 'inputSchema': {'type': 'object'}}]}\n"
    "    told = {**about, 'protocolVersion': m['params']['protocolVersion']} if first else tools\n"
    "    if 'id' in m: print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'result': told}), flush=True)\n";

static void the_tools_of_an_mcp_server_are_listed(void **state)
{
    (void)state;
    test_file_write(".", "server.py", SERVER);
    SHELL(0, "$TROUPE env list 'mcp:python3 server.py'", "add\n  Adds.");
    SHELL(1, "$TROUPE env list 'mcp:sh -c exit'", "troupe: env: MCP server: sh has ended");
    SHELL(1, "$TROUPE env list mcp:http://127.0.0.1:9/mcp", "troupe: env: ", "127.0.0.1:9");
}

int main(void)
{
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(an_imported_recipe_is_tested_and_trained_as_it_is),
        IN_A_FOLDER(an_imported_recipe_names_its_python_and_is_played_from_anywhere),
        IN_A_FOLDER(an_imported_recipe_has_the_users_rows),
        IN_A_FOLDER(the_python_is_the_one_asked_for_or_the_active_one),
        IN_A_FOLDER(what_an_import_lacks_is_said_in_one_sentence),
        IN_A_FOLDER(an_exception_is_one_line),
        IN_A_FOLDER(what_is_in_the_way_is_not_written_over),
        IN_A_FOLDER(a_file_of_lua_needs_no_recipe),
        IN_A_FOLDER(a_program_needs_no_recipe),
        IN_A_FOLDER(an_environment_of_pythons_needs_no_recipe),
        IN_A_FOLDER(a_plugin_that_fails_the_test_is_status_1),
        IN_A_FOLDER(what_is_no_plugin_is_said),
        IN_A_FOLDER(the_tools_of_an_mcp_server_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
