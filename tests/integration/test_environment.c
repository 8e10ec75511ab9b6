/* SPDX-License-Identifier: MIT */
/* A run whose episodes are played in an environment, and whose environment's processes are killed again and again: what
 * it learns is what it learns undisturbed, and no process is left. This program is the environment, "play". */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/integration/fleet.h"
#include "tests/support/lines.h"
#include "tests/support/support.h"

enum { SECONDS = 240, STEPS = 4 };

/* ---- the environment: it echoes, and rewards the turns that hold many of a letter of its choice ---- */

enum { MAX_EPISODES = 1 << 16 };
static int turns[MAX_EPISODES];
static char letters[MAX_EPISODES];

static json_t *answer_to(const json_t *m, int at)
{
    const char *method = json_string_value(json_object_get(m, "method"));
    const char *text = json_string_value(json_object_get(m, "text"));
    char says[100];
    const json_t *row = json_object_get(m, "row");
    if (strcmp(method, "open") == 0) return json_pack("{s:[]}", "tools");
    if (json_object_get(row, "broken")) return json_pack("{s:s}", "error", "this row has no game");
    if (strcmp(method, "reset") == 0) {
        letters[at] = (char)('a' + json_integer_value(json_object_get(m, "seed")) % 8);
        turns[at] = 0;
        snprintf(says, sizeof says, "say %c", letters[at]);
        return json_pack("{s:s}", "observation", says);
    }
    int n = 0;
    for (const char *c = text ? text : ""; *c; c++) n += *c == letters[at];
    snprintf(says, sizeof says, "%d", n);
    return json_pack("{s:s, s:f, s:b}", "observation", says, "reward", n < 10 ? n / 10.0 : 1.0, "done",
                     ++turns[at] == 2);
}

static void on_message(void *ctx, json_t *m)
{
    json_t *id = json_object_get(m, "id");
    const char *name = json_string_value(json_object_get(m, "episode"));
    (void)ctx;
    if (!id) return;
    json_t *answer = answer_to(m, name ? atoi(name) % MAX_EPISODES : 0);
    json_object_set(answer, "id", id);
    lines_put(answer);
}

/* ---- the runs ---- */

static const char REWARD[] = "return function(task, episode)\n"
                             "    local sum = 0\n"
                             "    for _, step in ipairs(episode.env_rewards) do sum = sum + (step.reward or 0) end\n"
                             "    if task.prompt then error('the row has no prompt') end\n"
                             "    return { said = sum / 2 }\n"
                             "end\n";

static const char RECIPE[] =
    "local T = require \"troupe\"\n"
    "return {\n"
    "    model = \"%s/models/stagehand\",\n"
    "    data = { train = \"rows.jsonl\" },\n"
    "    env = { tools = { T.env{ command = { \"%s\", \"play\", \"%s\" }, instances = 3 } }, max_turns = 3 },\n"
    "    prompt = { dialect = \"xml\", instruction = \"Say <answer>letters</answer>.\" },\n"
    "    reward = { script = \"reward.lua\", objectives = { said = 1.0 } },\n"
    "    rollout = { group = 6, prompts_per_step = 3, max_tokens = 48, max_context = 256 },\n"
    "    optim = { lr = 1e-4, warmup = 2 },\n"
    "    steps = %d, checkpoint_every = 2, eval_every = 0, actors = 2, learner_threads = 1, patience = 0,\n"
    "}\n";

/* ---- the same in a file of Lua ---- */

static const char PLUGIN[] =
    "local letter, turns = nil, 0\n"
    "return {\n"
    "    reset = function(_, seed)\n"
    "        letter = string.char(97 + seed % 8)\n"
    "        return 'say ' .. letter\n"
    "    end,\n"
    "    step = function(_, text)\n"
    "        local _, n = text:gsub(letter, letter)\n"
    "        turns = turns + 1\n"
    "        return { observation = tostring(n), reward = math.min(n / 10, 1), done = turns == 2 }\n"
    "    end,\n"
    "}\n";

/* The recipe's program gives way to the file. */
static void use_plugin(const place *p)
{
    char text[4096];
    char *recipe = test_file_read(p->dir, "recipe.lua"), *program = strstr(recipe, "command = "),
         *rest = strstr(program, "instances");
    assert_non_null(program);
    snprintf(text, sizeof text, "%.*s%s", (int)(program - recipe), recipe, rest);
    char *env = strstr(text, "env = { ") + strlen("env = { ");
    str whole = { 0 };
    str_printf(&whole, "%.*splugin = \"game.lua\", %s", (int)(env - text), text, env);
    test_file_write(p->dir, "recipe.lua", whole.data);
    test_file_write(p->dir, "game.lua", PLUGIN);
    str_free(&whole);
    free(recipe);
}

/* The folder is in the environment's command line, by which it is found. */
static place place_of_environment(void)
{
    place p = { .dir = test_folder_new() };
    char self[1024], text[4096];
    error err = { 0 };
    test_ok(process_self_path(self, sizeof self, &err), &err);
    snprintf(text, sizeof text, RECIPE, getenv("TROUPE_SOURCE"), self, p.dir, STEPS);
    test_file_write(p.dir, "recipe.lua", text);
    test_file_write(p.dir, "reward.lua", REWARD);
    test_file_write(p.dir, "rows.jsonl", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n{\"id\": 4}\n{\"id\": 5}\n");
    snprintf(p.run, sizeof p.run, "%s/run", p.dir);
    snprintf(p.out, sizeof p.out, "%s/out", p.dir);
    snprintf(p.recipe, sizeof p.recipe, "%s/recipe.lua", p.dir);
    return p;
}

static process started(const place *p)
{
    return troupe_start(p->out, (const char *const[]){ "train", p->recipe, "--run-dir", p->run, NULL });
}

static void assert_no_environment_left(const place *p)
{
    int pids[64];
    assert_int_equal(find_processes("play", p->dir, pids, 64), 0);
    assert_int_equal(find_processes("env-host", p->dir, pids, 64), 0);
}

/* After each step two of its processes, each of which may have an episode: of no episode as many as it may be played
 * again. */
static int kill_now_and_then(const place *p, process *run, const char *what)
{
    int pids[64], killed = 0;
    for (int step = 1; step < STEPS; step++) {
        wait_for_step(p->run, step, SECONDS);
        const int n = find_processes(what, p->dir, pids, 64);
        for (int i = 0; i < n && i < 2; i++) killed += kill(pids[i], SIGKILL) == 0;
    }
    assert_int_equal(troupe_wait(run, SECONDS), 0);
    return killed;
}

/* what: by which its processes are found. A plugin's author writes the next version meanwhile: it is played from the
 * run's own copy. */
static void assert_kills_change_nothing(place *calm, place *shaken, const char *what)
{
    process run = started(calm);
    assert_int_equal(troupe_wait(&run, SECONDS), 0);
    double rewards[STEPS];
    assert_int_equal(metric_values(calm->run, "step", "reward/said/mean", rewards, STEPS), STEPS);

    run = started(shaken);
    wait_for_step(shaken->run, 1, SECONDS);
    test_file_write(shaken->dir, "game.lua", "error('not finished')");
    const int killed = kill_now_and_then(shaken, &run, what);
    print_message("%d processes killed\n", killed);
    assert_true(killed > 0);
    assert_same_model(calm, shaken, STEPS);
    assert_no_environment_left(calm);
    assert_no_environment_left(shaken);
    test_folder_remove(calm->dir);
    test_folder_remove(shaken->dir);
}

static void an_environment_that_is_killed_changes_nothing(void **state)
{
    (void)state;
    place calm = place_of_environment(), shaken = place_of_environment();
    assert_kills_change_nothing(&calm, &shaken, "play");
}

static void a_plugin_that_is_killed_and_rewritten_changes_nothing(void **state)
{
    (void)state;
    place calm = place_of_environment(), shaken = place_of_environment();
    use_plugin(&calm);
    use_plugin(&shaken);
    assert_kills_change_nothing(&calm, &shaken, "env-host");
}

/* By hand, a game that can't begin is one sentence before anything is started. */
static void an_environment_that_can_not_begin_is_said_before_the_start(void **state)
{
    (void)state;
    place p = place_of_environment();
    char text[4096];
    size_t len;
    snprintf(text, sizeof text, RECIPE, getenv("TROUPE_SOURCE"), "/nowhere/game", p.dir, STEPS);
    test_file_write(p.dir, "recipe.lua", text);
    process run = started(&p);
    assert_int_not_equal(troupe_wait(&run, SECONDS), 0);
    char *out = bytes_of(p.out, &len);
    assert_non_null(strstr(out, "recipe.lua:5: env.tools: "));
    assert_non_null(strstr(out, "/nowhere/game"));
    free(out);
    test_folder_remove(p.dir);
}

static void a_row_that_can_not_be_played_is_said_before_the_start(void **state)
{
    (void)state;
    place p = place_of_environment();
    size_t len;
    test_file_write(p.dir, "rows.jsonl", "{\"broken\": true}\n{\"id\": 2}\n{\"id\": 3}\n");
    process run = started(&p);
    assert_int_not_equal(troupe_wait(&run, SECONDS), 0);
    char *out = bytes_of(p.out, &len);
    assert_non_null(strstr(out, "recipe.lua:5: env.tools: the first row can't be played: "));
    assert_non_null(strstr(out, "this row has no game"));
    free(out);
    assert_no_environment_left(&p);
    test_folder_remove(p.dir);
}

static void expect(const char *input, int status, const char *const *words, const char *says)
{
    outcome o = troupe_run(input, SECONDS, words);
    if (o.status != status || !strstr(o.text, says))
        fail_msg("%s %s: expected '%s' and status %d, found %d: %s", words[0], words[1], says, status, o.status,
                 o.text);
    free(o.text);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void it_is_played_and_tried_by_hand(void **state)
{
    (void)state;
    place p = place_of_environment();
    expect("ab\nfff\nhello\n", 0, WORDS("env", "play", "--recipe", p.recipe, "--row", "2", "--seed", "5"),
           "say f\n0\n(reward 0)\n3\n(reward 0.3)\n(over)\n"); /* the third line is never read */
    expect("", 0, WORDS("env", "play", "--recipe", p.recipe), "say b\n");
    expect(NULL, 1, WORDS("env", "play", "--recipe", p.recipe, "--row", "6"), "5 rows, and no row 6");
    expect(NULL, 0, WORDS("env", "test", "--recipe", p.recipe, "--resets", "20"),
           "ok      apart       16 at once\nok ");

    test_file_write(p.dir, "rows.jsonl", "{\"id\": 1}\n{\"broken\": true}\n");
    expect(NULL, 1, WORDS("env", "test", "--recipe", p.recipe, "--resets", "20"),
           "FAILED  begins      a reset of row {\"broken\": true}: ");
    assert_no_environment_left(&p);
    test_folder_remove(p.dir);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "play") == 0) return lines_serve(on_message, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_environment_that_is_killed_changes_nothing),
        cmocka_unit_test(a_plugin_that_is_killed_and_rewritten_changes_nothing),
        cmocka_unit_test(an_environment_that_can_not_begin_is_said_before_the_start),
        cmocka_unit_test(a_row_that_can_not_be_played_is_said_before_the_start),
        cmocka_unit_test(it_is_played_and_tried_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
