/* SPDX-License-Identifier: MIT */
/* What a reward script may do to us: nothing. Each of its faults costs one score, is said in a sentence, and is never
 * 0. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "reward/scorer.h"
#include "tests/support/support.h"
#include "tests/unit/reward/host.h"

enum { CPU_MS = 300, PATIENT_MS = 20000 }; /* patient: another cap is to be hit, however slow the machine */

typedef struct desk {
    char *dir, path[400];
    scorer *s;
    task t;
    episode *e;
} desk;

static desk open_with(const char *script, int64_t cpu_ms)
{
    desk d = { .dir = test_folder_new() };
    error err = { 0 };
    test_file_write(d.dir, "reward.lua", script);
    snprintf(d.path, sizeof d.path, "%s/reward.lua", d.dir);
    const scorer_config config = { .script = d.path, .cpu_ms = cpu_ms, .memory_mb = 32 };
    d.s = scorer_new(&config, &err);
    if (!d.s) fail_msg("%s", err.text);
    d.t = (task){ .id = 7,
                  .group_size = 1,
                  .max_tokens = 8,
                  .row = xstrdup("{\"prompt\": \"1+1\", \"answer\": \"2\", \"kind\": \"sum\"}") };
    d.e = episode_new(&d.t);
    d.e->text = xstrdup("<answer>2</answer>");
    d.e->transcript = xstrdup("<answer>2</answer>");
    d.e->answer = xstrdup("2");
    d.e->stop = STOP_ANSWER;
    return d;
}

static desk open_desk(const char *script) { return open_with(script, CPU_MS); }

static void close_desk(desk *d)
{
    scorer_free(d->s);
    task_reset(&d->t);
    episode_free(d->e);
    test_folder_remove(d->dir);
}

static score ask(const desk *d)
{
    score sc;
    scorer_score(d->s, &d->t, d->e, &sc);
    assert_true(sc.task == d->t.id);
    return sc;
}

/* This script has no score, and the reason has this word. */
static void costs_its_score(const char *script, const char *word)
{
    desk d = open_with(script, PATIENT_MS);
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_SCRIPT);
    assert_int_equal(sc.n_values, 0);
    assert_true(isnan(score_get(&sc, "accuracy")));
    if (!sc.error || !strstr(sc.error, word)) fail_msg("expected '%s' in: %s", word, sc.error ? sc.error : "(nothing)");
    score_reset(&sc);
    close_desk(&d);
}

static void objectives_come_back_by_name(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  return { accuracy = episode.answer == task.answer and 1 or 0, brevity = 0.25, given = "
                       "episode.answer ~= nil }, { kind = task.kind }\n"
                       "end\n");
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_int_equal(sc.n_values, 3);
    assert_true(score_get(&sc, "accuracy") == 1);
    assert_true(score_get(&sc, "brevity") == 0.25);
    assert_true(score_get(&sc, "given") == 1);
    assert_string_equal(sc.info, "{\"kind\":\"sum\"}");
    assert_string_equal(sc.values[0].name, "accuracy"); /* by name: Lua has no order */
    assert_string_equal(sc.values[2].name, "given");
    score_reset(&sc);
    close_desk(&d);
}

static void one_number_is_the_objective_reward(void **state)
{
    (void)state;
    desk d = open_desk("return function() return 0.5 end\n");
    score sc = ask(&d);
    assert_true(score_get(&sc, "reward") == 0.5);
    score_reset(&sc);
    close_desk(&d);
}

static void a_nan_is_a_missing_objective_and_the_others_stay(void **state)
{
    (void)state;
    desk d = open_desk("return function() return { accuracy = 0/0, endless = 1/0, brevity = 1 } end\n");
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(isnan(score_get(&sc, "accuracy")));
    assert_true(isnan(score_get(&sc, "endless")));
    assert_true(score_get(&sc, "brevity") == 1);
    assert_non_null(strstr(sc.error, "not a number"));
    score_reset(&sc);
    close_desk(&d);
}

/* Where no line of the script is running any more, the function's own is said. */
static void every_fault_names_a_line(void **state)
{
    (void)state;
    static const char *const RETURNED[] = {
        "'1'",
        "nil",
        "true",
        "function() end",
        "{ a = '1' }",
        "{ a = {}, 1 }",
        "{ ['x\\0y'] = 1 }",
        "{ a = 1 }, { 0 / 0 }",
        "{ a = 1 }, print",
        "error({})",
        "error(nil)",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
    };
    for (size_t i = 0; i < sizeof RETURNED / sizeof *RETURNED; i++) {
        char script[400];
        snprintf(script, sizeof script, "local x\nreturn function()\n  return %s\nend", RETURNED[i]);
        costs_its_score(script, strncmp(RETURNED[i], "error", 5) == 0 ? "reward.lua:3: " : "reward.lua:2: ");
    }
    costs_its_score("\nreturn function() print(('x'):rep(30000000)) end", "reward.lua:2: ");
}

static void faults_cost_their_score(void **state)
{
    (void)state;
    costs_its_score("return function() while true do end end", "reward.lua:1");
    costs_its_score("return function() while true do pcall(function() while true do end end) end end", "stopped");
    costs_its_score("return function() return { accuracy = #string.rep('x', 1e9) } end", "memory");
    costs_its_score("return function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end", "memory");
    costs_its_score("return function()\n error('too hard') end", "reward.lua:2: too hard");
    costs_its_score("return function() return 'good' end", "string");
    costs_its_score("return function() return { accuracy = 'good' } end", "accuracy");
    costs_its_score("return function() return { accuracy = {} , 1 } end", "name");
    costs_its_score("return function(task, episode) return { accuracy = episode.anwser } end", "anwser");
    costs_its_score("return function() return nil end", "nil");
    costs_its_score("return function() local function f() return f() + 1 end return f() end", "memory");
    costs_its_score("return function() count = (count or 0) + 1 return count end", "count");
}

/* A score far from what scores are is a mistake: its objective is missing, the others stay. */
static void a_score_beyond_the_bounds_is_a_missing_objective(void **state)
{
    (void)state;
    desk d = open_desk("return function() return { huge = 1e6, toolrl = -3, style = { { 1, 2000 }, { 2, 1 } }, "
                       "fine = { { 2, 1000 } } } end\n");
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(isnan(score_get(&sc, "huge")) && isnan(score_get(&sc, "style")));
    assert_true(score_get(&sc, "toolrl") == -3 && score_get(&sc, "fine") == 1000);
    assert_int_equal(sc.n_spans, 1);
    assert_non_null(strstr(sc.error, "between -1000 and 1000"));
    score_reset(&sc);
    close_desk(&d);
}

/* What Lua's own patterns take for ever is judged: the policy that wrote it gets its 0. */
static void a_catastrophic_pattern_is_no_catastrophe(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  return { found = (('a'):rep(200)):find(('a-'):rep(50) .. 'b') and 1 or 0,\n"
                       "           answer = episode.text:match('<answer>%s*(.-)%s*</answer>') and 1 or 0 }\n"
                       "end\n");
    str text = { 0 };
    str_puts(&text, "<answer>41");
    for (int i = 0; i < 200000; i++) str_putc(&text, ' ');
    str_puts(&text, "x</answer");
    free(d.e->text);
    d.e->text = str_take(&text);
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(score_get(&sc, "found") == 0 && score_get(&sc, "answer") == 0);
    score_reset(&sc);
    close_desk(&d);
}

/* No hook reaches into C: the process is killed for its CPU time, and the next episode is scored by another. */
static void what_can_not_be_stopped_costs_one_score_and_a_process(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  if episode.answer == 'slow' then\n"
                       "    local long, list = ('a'):rep(3000000), {}\n"
                       "    for i = 1, 100000 do list[i] = long end\n"
                       "    table.sort(list)\n"
                       "  end\n"
                       "  return { accuracy = 1 }\n"
                       "end\n");
    const int first = scorer_host_pid(d.s);
    free(d.e->answer);
    d.e->answer = xstrdup("slow");
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_SCRIPT);
    assert_int_equal(sc.n_values, 0);
    if (!strstr(sc.error, ":5: took more than ") || !strstr(sc.error, "of CPU time (killed)")) fail_msg("%s", sc.error);
    score_reset(&sc);
    free(d.e->answer);
    d.e->answer = xstrdup("quick");
    sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(score_get(&sc, "accuracy") == 1);
    assert_true(scorer_host_pid(d.s) != first);
    score_reset(&sc);
    close_desk(&d);
}

/* Once it has computed for longer than it takes to begin. */
static void crash(void *ctx)
{
    clockid_t clock;
    struct timespec t = { 0 };
    const int pid = scorer_host_pid(ctx);
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return;
    if (t.tv_sec > 0 || t.tv_nsec > 100000000) kill(pid, SIGSEGV);
}

/* As where C has a fault that an episode finds: what is known of it is the line that called it. */
static void a_crash_has_the_line_that_the_script_was_at(void **state)
{
    (void)state;
    desk d = open_with("return function(task, episode)\n"
                       "  local n = 0\n"
                       "  while n < 1e18 do n = n + 1 end\n"
                       "  return { accuracy = 1 }\n"
                       "end\n",
                       PATIENT_MS); /* the crash comes at a tick, the CPU limit would come before it */
    scorer_set_tick(d.s, crash, d.s);
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_SCRIPT);
    if (!strstr(sc.error, ".lua:3: the process that runs the reward script ended twice") ||
        !strstr(sc.error, "signal 11"))
        fail_msg("%s", sc.error);
    score_reset(&sc);
    close_desk(&d);
}

/* A stopped process uses no CPU time: whoever stopped it, the script is not to blame and the
 * episode keeps its score. */
static void a_host_that_is_stopped_is_replaced_and_asked_again(void **state)
{
    (void)state;
    desk d = open_desk("return function() return { accuracy = 1 } end\n");
    const int first = scorer_host_pid(d.s);
    kill(first, SIGSTOP);
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(score_get(&sc, "accuracy") == 1);
    assert_true(scorer_host_pid(d.s) != first);
    score_reset(&sc);
    close_desk(&d);
}

/* A large row is scored, a larger one is named; neither costs the next one anything. */
static void large_rows_are_scored_and_larger_ones_named(void **state)
{
    (void)state;
    desk d = open_with(
        "return function(task, episode) return { bytes = #episode.text / 1e6, row = #task.prompt / 1e6 } end\n",
        PATIENT_MS);
    static const size_t SIZES[] = { 3 << 20, MAX_ROW_BYTES - 100, MAX_ROW_BYTES + 1, 10 };
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        char *text = xmalloc(SIZES[i] + 1);
        memset(text, 'x', SIZES[i]);
        text[SIZES[i]] = 0;
        free(d.e->text);
        free(d.e->transcript);
        d.e->text = text;
        d.e->transcript = xstrdup(text);
        free(d.t.row);
        str row = { 0 };
        str_printf(&row, "{\"prompt\":\"%.*s\"}", MAX_ROW_BYTES - 20, text);
        d.t.row = str_take(&row);
        score sc = ask(&d);
        if (SIZES[i] > MAX_ROW_BYTES) {
            assert_int_equal(sc.status, SCORE_SCRIPT);
            assert_non_null(strstr(sc.error, "a response of 16.0 MB is above the limit of 16 MB"));
        } else {
            if (sc.status != SCORE_OK) fail_msg("%zu bytes: %s", SIZES[i], sc.error);
            test_near(score_get(&sc, "bytes"), (double)SIZES[i] / 1e6, 1e-9, "bytes");
        }
        score_reset(&sc);
    }
    close_desk(&d);
}

static void a_host_killed_by_others_is_replaced_and_asked_again(void **state)
{
    (void)state;
    desk d = open_desk("return function() return { accuracy = 1 } end\n");
    kill(scorer_host_pid(d.s), SIGKILL);
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(score_get(&sc, "accuracy") == 1);
    score_reset(&sc);
    close_desk(&d);
}

static void nothing_leaks_from_one_call_to_the_next(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  local old = task.answer\n"
                       "  task.answer, episode.answer = 'changed', 'changed'\n"
                       "  return { accuracy = old == '2' and 1 or 0 }\n"
                       "end\n");
    for (int i = 0; i < 3; i++) {
        score sc = ask(&d);
        assert_true(score_get(&sc, "accuracy") == 1);
        score_reset(&sc);
    }
    close_desk(&d);
}

static void a_script_that_can_not_be_loaded_is_refused_at_once(void **state)
{
    (void)state;
    static const char *const BAD[] = { "return function(", "return 3", "error('no')", "while true do end",
                                       "return io.open" };
    char *dir = test_folder_new(), path[400];
    snprintf(path, sizeof path, "%s/reward.lua", dir);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        test_file_write(dir, "reward.lua", BAD[i]);
        const scorer_config config = { .script = path, .cpu_ms = CPU_MS };
        assert_null(scorer_new(&config, &err));
        if (!strstr(err.text, "reward.lua")) fail_msg("%s: %s", BAD[i], err.text);
    }
    error err = { 0 };
    const scorer_config nowhere = { .script = "/nowhere.lua" };
    assert_null(scorer_new(&nowhere, &err));
    assert_non_null(strstr(err.text, "/nowhere.lua"));
    test_folder_remove(dir);
}

static void a_list_is_rewards_on_spans_of_the_answer(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  return { style = { { 18, -0.25 }, { 8, 0.75 } }, depth = {}, accuracy = 1 }\n"
                       "end\n");
    /* not in order: the second ends before the first */
    score sc = ask(&d);
    assert_int_equal(sc.status, SCORE_SCRIPT);
    score_reset(&sc);
    close_desk(&d);
    d = open_desk("return function(task, episode)\n"
                  "  return { style = { { 8, 0.75 }, { #episode.text, -0.25 } }, depth = {}, accuracy = 1, about = { { "
                  "1, 0 } } }\n"
                  "end\n");
    sc = ask(&d);
    assert_int_equal(sc.status, SCORE_OK);
    assert_true(score_get(&sc, "style") == 0.25 && score_get(&sc, "accuracy") == 1 && isnan(score_get(&sc, "depth")));
    assert_null(sc.error);
    assert_int_equal(sc.n_spans, 3);
    assert_string_equal(sc.spans[0].name, "about"); /* by name: Lua has no order */
    assert_true(sc.spans[1].end == 8 && sc.spans[1].value == 0.75 && sc.spans[2].end == 18);
    score_reset(&sc);
    close_desk(&d);
    costs_its_score("return function() return { a = { { 0, 1 } } } end", "a position in episode.text");
    costs_its_score("return function() return { a = { { 19, 1 } } } end", "a position in episode.text");
    costs_its_score("return function() return { a = { { 1.5, 1 } } } end", "a position in episode.text");
    costs_its_score("return function() return { a = { 1, 0.5 } } end", "{ position, value }");
    costs_its_score("return function(t, e) local m = {} for i = 1, 5000 do m[i] = { i, 0 } end return { a = m } end",
                    "position");
}

/* Half a list is no reward: the spans before the one that can't be go as well, and other objectives keep theirs. */
static void one_span_that_can_not_be_makes_its_objective_missing(void **state)
{
    (void)state;
    static const struct {
        const char *value, *why;
    } BAD[] = { { "0/0", "objective 'style' is not a number" },
                { "1e300", "objective 'style' is 1e+300: a score lies between" } };
    for (size_t i = 0; i < 2; i++) {
        char script[400];
        snprintf(
            script, sizeof script,
            "return function(task, episode)\n"
            "  return { about = { { 1, 0.5 } }, style = { { 8, 0.75 }, { 12, %s }, { 18, 1 } }, tone = { { 18, 1 } "
            "} }\n"
            "end\n",
            BAD[i].value);
        desk d = open_desk(script);
        score sc = ask(&d);
        assert_int_equal(sc.status, SCORE_OK);
        assert_non_null(sc.error);
        if (!strstr(sc.error, BAD[i].why)) fail_msg("expected '%s' in: %s", BAD[i].why, sc.error);
        assert_true(score_get(&sc, "about") == 0.5 && isnan(score_get(&sc, "style")) && score_get(&sc, "tone") == 1);
        assert_int_equal(sc.n_spans, 2);
        assert_true(score_has_spans(&sc, "about") && !score_has_spans(&sc, "style") && score_has_spans(&sc, "tone"));
        score_reset(&sc);
        close_desk(&d);
    }
}

static void a_turn_says_where_it_stops(void **state)
{
    (void)state;
    desk d =
        open_desk("return function(task, e) return { a = { { e.turns[1].stop, 1 }, { e.turns[2].stop, 0 } } } end\n");
    episode_add_turn(d.e)->text = xstrdup("<answer>");
    episode_add_turn(d.e)->text = xstrdup("2</answer>");
    score sc = ask(&d);
    assert_int_equal(sc.n_spans, 2);
    assert_true(sc.spans[0].end == 8 && sc.spans[1].end == 18);
    score_reset(&sc);
    close_desk(&d);
}

static void count_ticks(void *ctx) { ++*(int *)ctx; }

/* A worker whose script takes long says meanwhile that it lives. */
static void who_waits_for_a_script_can_say_so(void **state)
{
    (void)state;
    int ticks = 0;
    desk d = open_with("return function() local text = ('x'):rep(1000000) while true do text:reverse() end end", 1000);
    scorer_set_tick(d.s, count_ticks, &ticks);
    score sc = ask(&d);
    assert_int_not_equal(sc.status, SCORE_OK);
    assert_true(ticks >= 3);
    score_reset(&sc);
    close_desk(&d);
}

/* ---- episodes of an environment ---- */

static void add_step(episode *e, const char *name, const char *outcome)
{
    tool_call *c = episode_add_call(e);
    c->name = xstrdup(name);
    c->arguments = xstrdup("{}");
    c->observation = xstrdup("seen");
    c->ok = true;
    c->outcome = outcome ? xstrdup(outcome) : NULL;
}

/* The script has no fault, and so each of its assertions holds. */
static void holds_of(desk *d)
{
    score sc = ask(d);
    if (sc.status != SCORE_OK) fail_msg("%s", sc.error);
    score_reset(&sc);
    close_desk(d);
}

static void what_an_environment_gave_is_read_by_step(void **state)
{
    (void)state;
    desk d = open_desk("local verify = require 'troupe.verify'\n"
                       "return function(task, episode)\n"
                       "  local gave, calls = episode.env_rewards, episode.tool_calls\n"
                       "  assert(#gave == 3 and gave[1].reward == 1 and gave[1].style == 0.25, 'the first')\n"
                       "  assert(next(gave[2]) == nil, 'no rewards are an empty table')\n"
                       "  assert(gave[3].reward == -2 and gave[3].style == nil, 'the last')\n"
                       "  assert(#calls == 4 and calls[1].done == false and calls[4].done == true, 'done')\n"
                       "  assert(calls[1].rewards.style == 0.25 and calls[1].info.moves == 3, 'with its call')\n"
                       "  assert(calls[3].rewards == nil and calls[3].info == nil, 'left out')\n"
                       "  assert(calls[2].done == nil and calls[2].rewards == nil, 'a tool gives none')\n"
                       "  assert(calls[4].info == 'over', 'info is any value')\n"
                       "  assert(episode.opening.prompt == 'A door.' and not episode.opening.messages, 'opening')\n"
                       "  assert(verify.tool_calls(episode) == 3 and verify.tool_calls(episode, 'go') == 2, 'calls')\n"
                       "  assert(verify.tool_calls(episode, '') == 1, 'of those that were asked for')\n"
                       "  return 1\n"
                       "end\n");
    d.e->opening = xstrdup("{\"prompt\": \"A door.\"}");
    add_step(d.e, "go", "{\"done\": false, \"rewards\": {\"reward\": 1, \"style\": 0.25}, \"info\": {\"moves\": 3}}");
    add_step(d.e, "python", NULL);
    add_step(d.e, "", "{\"done\": false}");
    add_step(d.e, "go", "{\"done\": true, \"rewards\": {\"reward\": -2}, \"info\": \"over\"}");
    holds_of(&d);
}

static void without_an_environment_it_gave_nothing(void **state)
{
    (void)state;
    desk d = open_desk("return function(task, episode)\n"
                       "  assert(type(episode.env_rewards) == 'table' and #episode.env_rewards == 0)\n"
                       "  assert(episode.opening == false and episode.tool_calls[1].done == nil)\n"
                       "  return 1\n"
                       "end\n");
    add_step(d.e, "python", NULL);
    holds_of(&d);
}

/* What the store has may be damaged: it is read as nothing, and a step keeps its place in the list. */
static void outcomes_that_are_none_harm_no_one(void **state)
{
    (void)state;
    static const char *const DAMAGED[] = {
        "", "{", "[]", "5", "null", "\"text\"", "{\"rewards\": 5}", "{\"rewards\": null}", "{\"done\": true"
    };
    enum { N = sizeof DAMAGED / sizeof *DAMAGED };
    desk d = open_desk("return function(task, episode)\n"
                       "  local gave = episode.env_rewards\n"
                       "  assert(#gave == #episode.tool_calls and #gave == 10, #gave)\n"
                       "  for i = 1, 9 do\n"
                       "    assert(next(gave[i]) == nil, i)\n"
                       "    assert(not episode.tool_calls[i].done and episode.tool_calls[i].name == 'go', i)\n"
                       "  end\n"
                       "  assert(gave[10].reward == 1 and episode.opening == false)\n"
                       "  return 1\n"
                       "end\n");
    d.e->opening = xstrdup("{\"prompt\": ");
    for (int i = 0; i < N; i++) add_step(d.e, "go", DAMAGED[i]);
    add_step(d.e, "go", "{\"done\": false, \"rewards\": {\"reward\": 1}}");
    holds_of(&d);
}

int main(int argc, char **argv)
{
    int status;
    if (was_reward_host(argc, argv, &status)) return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_says_where_it_stops),
        cmocka_unit_test(who_waits_for_a_script_can_say_so),
        cmocka_unit_test(a_list_is_rewards_on_spans_of_the_answer),
        cmocka_unit_test(one_span_that_can_not_be_makes_its_objective_missing),
        cmocka_unit_test(objectives_come_back_by_name),
        cmocka_unit_test(one_number_is_the_objective_reward),
        cmocka_unit_test(a_nan_is_a_missing_objective_and_the_others_stay),
        cmocka_unit_test(faults_cost_their_score),
        cmocka_unit_test(every_fault_names_a_line),
        cmocka_unit_test(a_score_beyond_the_bounds_is_a_missing_objective),
        cmocka_unit_test(a_catastrophic_pattern_is_no_catastrophe),
        cmocka_unit_test(what_can_not_be_stopped_costs_one_score_and_a_process),
        cmocka_unit_test(a_host_that_is_stopped_is_replaced_and_asked_again),
        cmocka_unit_test(large_rows_are_scored_and_larger_ones_named),
        cmocka_unit_test(a_crash_has_the_line_that_the_script_was_at),
        cmocka_unit_test(a_host_killed_by_others_is_replaced_and_asked_again),
        cmocka_unit_test(nothing_leaks_from_one_call_to_the_next),
        cmocka_unit_test(a_script_that_can_not_be_loaded_is_refused_at_once),
        cmocka_unit_test(what_an_environment_gave_is_read_by_step),
        cmocka_unit_test(without_an_environment_it_gave_nothing),
        cmocka_unit_test(outcomes_that_are_none_harm_no_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
