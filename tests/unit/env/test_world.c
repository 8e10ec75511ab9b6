/* SPDX-License-Identifier: MIT */
/* Environments, good and bad: this program is its own, "play KIND", which does what the text of a step says. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "env/tools/environment.h"
#include "tests/support/lines.h"
#include "tests/support/played.h"
#include "tests/support/support.h"

/* ---- the environment ---- */

static void pass_ms(int ms)
{
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static void open_it(json_t *id, const char *kind)
{
    if (strcmp(kind, "refuses") == 0) {
        lines_put(json_pack("{s:O, s:s}", "id", id, "error", "there is no such game"));
        return;
    }
    if (strcmp(kind, "slow") == 0) pass_ms(800);
    char name[70] = "go";
    if (strcmp(kind, "misnamed") == 0) strcpy(name, "go west");
    if (strcmp(kind, "wordy") == 0) memset(name, 'w', 65);
    json_t *tools = json_array();
    json_array_append_new(tools, json_pack("{s:s, s:s, s:{s:s, s:{s:{s:s}}, s:[s]}}", "name", name, "description",
                                           "moves", "parameters", "type", "object", "properties", "way", "type",
                                           "string", "required", "way"));
    for (int i = 0; i < 40 && strcmp(kind, "crowded") == 0; i++) {
        snprintf(name, sizeof name, "tool_%d", i);
        json_array_append_new(tools, json_pack("{s:s}", "name", name));
    }
    if (strcmp(kind, "listless") == 0) json_array_clear(tools);
    lines_put(json_pack("{s:O, s:o}", "id", id, "tools", tools));
}

static void say_raw(const char *format, json_t *id)
{
    printf(format, (long long)json_integer_value(id));
    printf("\n");
    fflush(stdout);
}

static int n_open; /* episodes that were reset and not closed */

/* The answer to a reset: who it is, and how often. */
static void reset_it(json_t *id, const json_t *m, const char *kind)
{
    static int resets;
    char text[200];
    const char *row_kind = json_string_value(json_object_get(json_object_get(m, "row"), "kind"));
    n_open++;
    snprintf(text, sizeof text, "pid %d, reset %d, seed %d", getpid(), ++resets,
             (int)json_integer_value(json_object_get(m, "seed")));
    if (strcmp(kind, "slow") == 0) pass_ms(100);
    if (strcmp(kind, "stillborn") == 0) raise(SIGKILL);
    if (row_kind && strcmp(row_kind, "messages") == 0)
        lines_put(json_pack("{s:O, s:[{s:s, s:s}]}", "id", id, "messages", "role", "user", "content", text));
    else if (row_kind && strcmp(row_kind, "nothing") == 0)
        lines_put(json_pack("{s:O}", "id", id));
    else if (row_kind && strcmp(row_kind, "wrong") == 0)
        lines_put(json_pack("{s:O, s:[s]}", "id", id, "messages", "hello"));
    else if (row_kind && strcmp(row_kind, "empty") == 0)
        lines_put(json_pack("{s:O, s:[]}", "id", id, "messages"));
    else if (row_kind && strcmp(row_kind, "nul") == 0)
        say_raw("{\"id\": %lld, \"observation\": \"a\\u0000b\"}", id);
    else if (row_kind && strcmp(row_kind, "failing") == 0)
        lines_put(json_pack("{s:O, s:s}", "id", id, "error", "this row has no game"));
    else
        lines_put(json_pack("{s:O, s:s}", "id", id, "observation", text));
}

/* Two wins in one piece: whoever reads the one has the other. */
static void say_both(json_t *first, json_t *second)
{
    static const char WIN[] = "{\"id\": %lld, \"observation\": \"you win\", \"done\": true, \"info\": 1}\n";
    printf(WIN, (long long)json_integer_value(first));
    printf(WIN, (long long)json_integer_value(second));
    fflush(stdout);
    json_decref(first);
}

static void step_it(json_t *id, const json_t *m)
{
    static json_t *held; /* the step that is answered with the next one */
    static int fails;
    const json_t *call = json_object_get(m, "call");
    const char *text = json_string_value(json_object_get(m, "text"));
    const char *wrote = json_string_value(json_object_get(m, "turn"));
    char says[300];
    if (call) text = json_string_value(json_object_get(json_object_get(call, "arguments"), "way"));
    snprintf(says, sizeof says, "%s %s [%s], open %d", call ? "went" : "heard", text, wrote ? wrote : "-", n_open);

    if (strcmp(text, "crash") == 0) raise(SIGKILL);
    while (strcmp(text, "hang") == 0) pause();
    if (strcmp(text, "raise") == 0) {
        fputs("Traceback (most recent call last):\n  File \"game.py\"\nKeyError: 'door'\n\n", stderr);
        exit(1);
    }
    for (int i = 0; strcmp(text, "shout") == 0 && i < 100000; i++) fprintf(stderr, "warning %d: the door is open\n", i);
    if (strcmp(text, "silence") == 0) return; /* no answer, but it hears others */
    if (strcmp(text, "hold") == 0) {
        held = json_incref(id);
        return;
    }
    if (strcmp(text, "both") == 0) return say_both(held, id);
    if (strcmp(text, "mutter") == 0) return say_raw("{\"id\": -%lld}", id); /* to no one */
    if (strcmp(text, "garbage") == 0) return say_raw("Traceback, at id %lld", id);
    if (strcmp(text, "nameless") == 0) return say_raw("{\"observation\": \"%lld\"}", id);
    if (strcmp(text, "number") == 0) return say_raw("{\"id\": %lld, \"observation\": 5}", id);
    if (strcmp(text, "worth") == 0) return say_raw("{\"id\": %lld, \"reward\": \"much\"}", id);
    if (strcmp(text, "endless") == 0) return say_raw("{\"id\": %lld, \"rewards\": {\"a\": 1e999}}", id);
    if (strcmp(text, "nulls") == 0)
        return say_raw("{\"id\": %lld, \"observation\": null, \"done\": null, \"ok\": null, \"reward\": null, "
                       "\"rewards\": null, \"info\": null}",
                       id);
    if (strcmp(text, "maybe") == 0) return say_raw("{\"id\": %lld, \"done\": 1}", id);
    if (strcmp(text, "nul") == 0) return say_raw("{\"id\": %lld, \"observation\": \"a\\u0000b\"}", id);
    if (strcmp(text, "flood") == 0)
        for (;;) printf("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    if (strcmp(text, "fail") == 0) {
        snprintf(says, sizeof says, "KeyError: 'door', failure %d", ++fails);
        lines_put(json_pack("{s:O, s:s}", "id", id, "error", says));
    } else if (strcmp(text, "bare") == 0) {
        lines_put(json_pack("{s:O}", "id", id));
    } else if (strcmp(text, "verbose") == 0) {
        str long_text = { 0 };
        while (long_text.len < 5000) str_puts(&long_text, "many words ");
        lines_put(json_pack("{s:O, s:f, s:s}", "id", id, "reward", 0.5, "info", long_text.data));
        str_free(&long_text);
    } else if (strcmp(text, "rich") == 0) {
        json_t *rewards = json_object();
        for (int i = 0; i < 1000; i++) {
            snprintf(says, sizeof says, "r%d", i);
            json_object_set_new(rewards, says, json_real(0.5));
        }
        lines_put(json_pack("{s:O, s:o}", "id", id, "rewards", rewards));
    } else if (strcmp(text, "win") == 0) {
        lines_put(json_pack("{s:O, s:s, s:b, s:b, s:i, s:{s:f, s:b}, s:{s:i}}", "id", id, "observation", "you win",
                            "done", 1, "ok", 0, "reward", 1, "rewards", "style", 0.25, "clean", 1, "info", "moves", 3));
    } else {
        lines_put(json_pack("{s:O, s:s}", "id", id, "observation", says));
    }
}

static void on_message(void *ctx, json_t *m)
{
    const char *kind = ctx, *method = json_string_value(json_object_get(m, "method"));
    json_t *id = json_object_get(m, "id");
    if (strcmp(kind, "silent") == 0) return;
    if (strcmp(method, "open") == 0) open_it(id, kind);
    if (strcmp(method, "reset") == 0) reset_it(id, m, kind);
    if (strcmp(method, "step") == 0) step_it(id, m);
    if (strcmp(method, "close") == 0) n_open--;
}

static int play(char *kind)
{
    if (strcmp(kind, "gone") == 0) return 7;
    if (strcmp(kind, "stubborn") == 0) signal(SIGTERM, SIG_IGN);
    if (strcmp(kind, "chatty") == 0) printf("Loading the game...\n");
    const int status = lines_serve(on_message, kind);
    while (strcmp(kind, "stubborn") == 0) pause();
    return status;
}

/* ---- talking to it ---- */

static int add_within(router *r, const char *kind, int instances, int at_once, int timeout_ms, error *err)
{
    char self[1024];
    test_ok(process_self_path(self, sizeof self, err), err);
    const char *const command[] = { self, "play", kind, NULL };
    const world_config config = { .command = command,
                                  .options = "{\"size\": 4}",
                                  .instances = instances,
                                  .at_once = at_once,
                                  .timeout_ms = timeout_ms,
                                  .start_ms = 3000 };
    return environment_add(r, &config, false, err);
}

static int add(router *r, const char *kind, int instances, int at_once, error *err)
{
    return add_within(r, kind, instances, at_once, 2000, err);
}

static router *router_of(const char *kind, int instances, int at_once)
{
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(add(r, kind, instances, at_once, &err), &err);
    return r;
}

static int pid_of(const char *text)
{
    const char *pid = strstr(text, "pid ");
    assert_non_null(pid);
    return atoi(pid + 4);
}

/* ---- the tests ---- */

static void an_episode_from_reset_to_its_end(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    assert_true(router_has_environment(r));
    char *words = begun(r, 1);
    assert_non_null(strstr(words, "{\"prompt\":\"pid "));
    assert_non_null(strstr(words, "seed 9")); /* the upper bits */
    free(words);
    expect_said(r, 1, "hello", FAIL_NONE, "heard hello [all of it], open 1");

    const tool_context context = { .play = 1 };
    expect(result_of(r, router_begin(r, "go", "{\"way\": \"north\"}", &context, clock_ms())), FAIL_NONE,
           "went north [-], open 1");

    tool_result t = result_of(r, begin_say(r, 1, "win"));
    assert_string_equal(t.text, "you win");
    assert_false(t.ok);
    json_t *outcome = json_parse(t.outcome, strlen(t.outcome), "outcome", NULL);
    const json_t *rewards = json_object_get(outcome, "rewards");
    assert_true(json_is_true(json_object_get(outcome, "done")) && outcome_is_done(t.outcome));
    assert_true(json_real_value(json_object_get(rewards, "reward")) == 1 && json_object_size(rewards) == 3);
    assert_true(json_real_value(json_object_get(rewards, "clean")) == 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(outcome, "info"), "moves")), 3);
    json_decref(outcome);
    tool_result_reset(&t);
    router_free(r);
}

static void what_can_be_left_out(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 8);
    expect(result_of(r, begin_reset(r, 1, "{\"kind\": \"nothing\"}")), FAIL_NONE, "{}");
    expect(result_of(r, begin_reset(r, 2, "{\"kind\": \"messages\"}")), FAIL_NONE,
           "{\"messages\":[{\"role\":\"user\",\"content\":\"pid ");
    tool_result t = result_of(r, begin_say(r, 1, "bare"));
    assert_true(t.ok && strcmp(t.text, "") == 0 && strcmp(t.outcome, "{\"done\":false}") == 0);
    tool_result_reset(&t);
    t = result_of(r, begin_say(r, 1, "nulls"));
    assert_true(t.ok && strcmp(t.text, "") == 0 && strcmp(t.outcome, "{\"done\":false}") == 0);
    tool_result_reset(&t);
    t = result_of(r, begin_say(r, 1, "verbose")); /* too much info is none */
    assert_string_equal(t.outcome, "{\"done\":false,\"rewards\":{\"reward\":0.5}}");
    tool_result_reset(&t);
    router_free(r);
}

/* Our own two are no words of the policy's. */
static void the_policy_is_told_of_its_tools_alone(void **state)
{
    (void)state;
    error err = { 0 };
    router *r = router_of("good", 1, 1);
    char *told = router_tools_json(r);
    assert_non_null(strstr(told, "\"go\""));
    assert_null(strstr(told, "(reset)"));
    assert_null(strstr(told, "(say)"));
    free(told);
    static const char *const OWN[] = { ROUTER_RESET, ROUTER_SAY };
    for (int i = 0; i < 2; i++) {
        tool_result t = { 0 };
        test_ok(router_call(r, OWN[i], "{\"text\": \"win\"}", &t, &err), &err);
        assert_false(t.ok);
        assert_non_null(strstr(t.text, "(there are: go)"));
        tool_result_reset(&t);
    }
    free(begun(r, 1));
    const tool_context context = { .play = 1 };
    tool_result t = result_of(r, router_begin(r, "go", "{\"way\": 5}", &context, clock_ms()));
    assert_true(!t.ok && t.failed == FAIL_NONE && strstr(t.text, "way")); /* never sent */
    tool_result_reset(&t);
    assert_int_equal(add(r, "good", 1, 1, &err), ERR_STATE);
    router_free(r);
}

/* What it said last on stderr is why, most times. */
static void the_last_words_of_a_program_are_told(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    free(begun(r, 1));
    expect_said(r, 1, "raise", FAIL_TOOL_LOST, "has ended (exit status 1): KeyError: 'door'");
    free(begun(r, 2)); /* another process, which has said nothing */
    expect_said(r, 2, "crash", FAIL_TOOL_LOST, "has ended (killed by signal 9 (Killed))");
    router_free(r);
}

/* 3 MB of warnings in one step: the step is answered, and the log has 64 kB of them and one line that says so. */
static void a_program_does_not_fill_the_log(void **state)
{
    (void)state;
    char path[TEST_PATH];
    char *folder = test_folder_new();
    const int own = dup(STDERR_FILENO), log = open(test_file_at(folder, "log", "", path), O_WRONLY);
    dup2(log, STDERR_FILENO);
    router *r = router_of("good", 1, 1);
    free(begun(r, 1));
    expect_said(r, 1, "shout", FAIL_NONE, "heard shout");
    router_free(r);
    dup2(own, STDERR_FILENO);
    close(own);
    close(log);

    char *text = test_file_read(folder, "log");
    assert_true(strlen(text) > (60 << 10) && strlen(text) < (66 << 10));
    assert_non_null(strstr(text, "warning 0: the door is open\nwarning 1: "));
    assert_non_null(strstr(text, "says more than 64 kB in a minute: the rest is left out\n"));
    free(text);
    test_folder_remove(folder);
}

/* A step changes the game, and is asked for once: the second failure is that of the second step. */
static void a_step_that_failed_is_not_asked_again(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    free(begun(r, 1));
    expect_said(r, 1, "fail", FAIL_TOOL_LOST, "'door', failure 1");
    const tool_context context = { .play = 1 };
    expect(result_of(r, router_begin(r, "go", "{\"way\": \"fail\"}", &context, clock_ms())), FAIL_TOOL_LOST,
           "'door', failure 2");
    router_free(r);
}

/* An answer that has come and was not fetched yet: cancelled, it reaches no one; else it goes with the router. */
static void an_answer_that_nobody_fetches_is_freed(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 2);
    free(begun(r, 1)), free(begun(r, 2));
    for (int i = 0; i < 2; i++) {
        const uint64_t first = begin_say(r, 1, "hold");
        tool_result t = result_of(r, begin_say(r, 2, "both")), other = { 0 };
        assert_true(outcome_is_done(t.outcome));
        tool_result_reset(&t);
        assert_true(router_deadline_ms(r) == 0); /* the first one's is there, too */
        if (i == 1) break;
        router_cancel(r, first);
        assert_int_equal(router_poll(r, clock_ms(), &other, 1), 0);
        assert_true(router_deadline_ms(r) == INT64_MAX);
    }
    router_free(r);
}

/* What comes of a call that was cancelled reaches no caller, and the episode's next step is answered by its own. */
static void a_cancelled_step_is_nobody_s(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    free(begun(r, 1));
    router_cancel(r, begin_say(r, 1, "win"));
    expect_said(r, 1, "hello", FAIL_NONE, "heard hello [all of it], open 1");
    router_free(r);
}

/* Whatever an instance does, the episode beside it goes on, and a new one begins within a second. */
static void a_lost_instance_costs_its_own_episode(void **state)
{
    (void)state;
    static const struct {
        const char *does, *says;
    } BAD[] = {
        { "crash", "has ended (killed by signal 9" },
        { "garbage", "not JSON" },
        { "nameless", "without an id" },
        { "number", "the observation of a step is no text" },
        { "worth", "the reward 'reward' of a step is no number" },
        { "endless", "not JSON" },
        { "maybe", "true or false" },
        { "nul", "NUL" },
        { "rich", "the rewards of a step take more than 4096 bytes" },
        { "flood", "a line of more than 16 MB" },
        { "hang", "no answer to a step within 2 s" },
    };
    router *r = router_of("good", 2, 1);
    char *first = begun(r, 1);
    for (uint64_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const int64_t before = clock_ms();
        char *second = begun(r, 2 + i);
        assert_true(clock_ms() - before < 1000);
        assert_true(pid_of(first) != pid_of(second));
        free(second);
        expect_said(r, 2 + i, BAD[i].does, FAIL_TOOL_LOST, BAD[i].says);
        expect_said(r, 2 + i, "hello", FAIL_TOOL_LOST, BAD[i].says); /* it stays lost */
        expect_said(r, 1, "hello", FAIL_NONE, "heard hello [all of it], open 1");
        router_leave(r, 2 + i);
    }
    free(first);
    router_free(r);
}

/* It failed, and says so: the instance goes on, with its other episode. */
static void an_error_costs_one_episode_of_an_instance(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 2);
    char *a = begun(r, 1), *b = begun(r, 2);
    assert_int_equal(pid_of(a), pid_of(b));
    expect_said(r, 1, "fail", FAIL_TOOL_LOST, "KeyError: 'door'");
    expect_said(r, 2, "hello", FAIL_NONE, "heard hello [all of it], open 2");
    free(a), free(b);

    /* Of an instance that hears others, an answer that doesn't come costs that episode alone, too. */
    const uint64_t silent = begin_say(r, 1, "silence");
    const int64_t asked_ms = clock_ms();
    while (clock_ms() == asked_ms) router_wait(r, 1);
    expect_said(r, 2, "hello", FAIL_NONE, "open 2");
    expect(result_of(r, silent), FAIL_TOOL_LOST, "no answer to a step within 2 s");
    expect_said(r, 1, "hello", FAIL_TOOL_LOST, "within 2 s");
    expect_said(r, 2, "hello", FAIL_NONE, "open 2");
    router_free(r);
}

/* Of one that is stuck, all plays are lost at once, and their places are others'. */
static void a_stuck_instance_is_lost_with_all_that_it_plays(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 2);
    char *a = begun(r, 1), *b = begun(r, 2);
    assert_int_equal(pid_of(a), pid_of(b));
    expect_said(r, 1, "hang", FAIL_TOOL_LOST, "no answer to a step within 2 s");
    char *c = begun(r, 3), *d = begun(r, 4);
    assert_true(pid_of(c) != pid_of(a) && pid_of(c) == pid_of(d));
    expect_said(r, 2, "hello", FAIL_TOOL_LOST, "no answer to a step within 2 s");
    free(a), free(b), free(c), free(d);
    router_free(r);
}

/* Whatever it says to no one: where it plays that episode alone, it is ended. */
static void an_instance_that_does_not_answer_its_only_play_is_ended(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 2);
    char *a = begun(r, 1);
    expect_said(r, 1, "mutter", FAIL_TOOL_LOST, "no answer to a step within 2 s");
    char *b = begun(r, 2);
    assert_true(pid_of(a) != pid_of(b));
    free(a), free(b);
    router_free(r);
}

/* None is started where one that runs has room; of two that run, the one with fewer plays is taken. */
static void a_reset_goes_where_there_is_most_room(void **state)
{
    (void)state;
    router *r = router_of("good", 2, 3);
    char *words[7];
    for (uint64_t i = 1; i <= 4; i++) words[i] = begun(r, i);
    const int first = pid_of(words[1]), second = pid_of(words[4]);
    assert_true(pid_of(words[2]) == first && pid_of(words[3]) == first && second != first);
    router_leave(r, 3);
    words[5] = begun(r, 5); /* two there, one here */
    assert_int_equal(pid_of(words[5]), second);
    expect_said(r, 1, "crash", FAIL_TOOL_LOST, "has ended");
    words[6] = begun(r, 6);
    assert_int_equal(pid_of(words[6]), second);
    for (int i = 1; i <= 6; i++) free(words[i]);
    router_free(r);
}

static void a_reset_waits_for_a_place(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    char *first = begun(r, 1);
    const uint64_t second = begin_reset(r, 2, "{}"), third = begin_reset(r, 3, "{}");
    expect_said(r, 1, "hello", FAIL_NONE, "open 1");
    assert_true(router_deadline_ms(r) == INT64_MAX); /* it waits for others, and for no clock */
    router_leave(r, 2);
    router_leave(r, 1);
    router_leave(r, 1); /* again: nothing more is freed */
    tool_result t = result_of(r, third);
    assert_true(t.failed == FAIL_NONE && pid_of(t.text) == pid_of(first));
    assert_non_null(strstr(t.text, "reset 2")); /* the second was never asked for */
    tool_result_reset(&t);
    free(first);
    expect_said(r, 3, "hello", FAIL_NONE, "open 1"); /* it was told of the first one's end */
    router_cancel(r, second);
    router_free(r);
}

static void a_row_that_can_not_be_played_is_named(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    expect(result_of(r, begin_reset(r, 1, "{\"kind\": \"failing\"}")), FAIL_TOOL_LOST, "this row has no game");
    router_leave(r, 1);
    free(begun(r, 4));
    expect_said(r, 4, "hello", FAIL_NONE, "open 1"); /* each of the four times it was told of the end */
    router_leave(r, 4);
    router_free(r);

    static const char *const BAD[][2] = { { "{\"kind\": \"wrong\"}", "no list of {\"role\"" },
                                          { "{\"kind\": \"empty\"}", "no list of {\"role\"" },
                                          { "{\"kind\": \"nul\"}", "NUL" } };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        r = router_of("good", 1, 1);
        expect(result_of(r, begin_reset(r, 2, BAD[i][0])), FAIL_TOOL_LOST, BAD[i][1]);
        free(begun(r, 3)); /* of a new instance: that was no error of the row's, but no words of the protocol */
        router_free(r);
    }
}

/* It is not started over and over: after the second loss there is a pause, which doubles. */
static void an_instance_that_never_plays_is_started_ever_less_often(void **state)
{
    (void)state;
    router *r = router_of("stillborn", 1, 1);
    const int64_t before = clock_ms();
    expect(result_of(r, begin_reset(r, 1, "{}")), FAIL_TOOL_LOST, "has ended (killed by signal 9"); /* four times */
    assert_true(clock_ms() - before >= 200 + 400);
    assert_true(clock_ms() - before < 3000);
    router_free(r);
}

/* Those that don't end by themselves are given the time that it takes one. */
static void many_that_do_not_end_are_ended_together(void **state)
{
    (void)state;
    router *r = router_of("stubborn", 6, 1);
    for (uint64_t i = 1; i <= 6; i++) free(begun(r, i));
    const int64_t before = clock_ms();
    router_free(r);
    assert_true(clock_ms() - before < 2500);
}

/* A reset's own time begins where the program is open. */
static void a_program_may_take_longer_to_open_than_to_answer(void **state)
{
    (void)state;
    error err = { 0 };
    router *r = router_new(NULL);
    test_ok(add_within(r, "slow", 2, 1, 500, &err), &err);
    char *first = begun(r, 1), *second = begun(r, 2);
    assert_true(pid_of(first) != pid_of(second));
    assert_non_null(strstr(second, "reset 1"));
    free(first), free(second);
    router_free(r);
}

static void a_step_before_a_reset_is_refused(void **state)
{
    (void)state;
    router *r = router_of("good", 1, 1);
    expect_said(r, 5, "hello", FAIL_TOOL_LOST, "before it is reset");
    free(begun(r, 5));
    router_leave(r, 5);
    expect_said(r, 5, "hello", FAIL_TOOL_LOST, "before it is reset");
    router_free(r);
}

static void environments_that_can_not_be_opened_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *says;
    } BAD[] = {
        { "gone", "has ended (exit status 7)" },
        { "chatty", "not JSON" },
        { "silent", "not open after 3 s" },
        { "refuses", "there is no such game" },
        { "misnamed", "'go west'" },
        { "wordy", "expected 1 to 64 letters" },
        { "crowded", "41 tools (at most 30 are allowed)" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        error err = { 0 };
        router *r = router_new(NULL);
        assert_int_equal(add(r, BAD[i].kind, 1, 1, &err), ERR_PEER);
        if (!strstr(err.text, BAD[i].says)) fail_msg("%s: '%s'", BAD[i].kind, err.text);
        router_free(r);
    }
    router *r = router_of("listless", 1, 1); /* text alone */
    char *told = router_tools_json(r);
    assert_string_equal(told, "[]");
    free(told);
    router_free(r);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "play") == 0) return play(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_episode_from_reset_to_its_end),
        cmocka_unit_test(what_can_be_left_out),
        cmocka_unit_test(the_policy_is_told_of_its_tools_alone),
        cmocka_unit_test(the_last_words_of_a_program_are_told),
        cmocka_unit_test(a_program_does_not_fill_the_log),
        cmocka_unit_test(a_step_that_failed_is_not_asked_again),
        cmocka_unit_test(an_answer_that_nobody_fetches_is_freed),
        cmocka_unit_test(a_cancelled_step_is_nobody_s),
        cmocka_unit_test(a_lost_instance_costs_its_own_episode),
        cmocka_unit_test(an_error_costs_one_episode_of_an_instance),
        cmocka_unit_test(a_stuck_instance_is_lost_with_all_that_it_plays),
        cmocka_unit_test(an_instance_that_does_not_answer_its_only_play_is_ended),
        cmocka_unit_test(a_reset_goes_where_there_is_most_room),
        cmocka_unit_test(a_reset_waits_for_a_place),
        cmocka_unit_test(a_row_that_can_not_be_played_is_named),
        cmocka_unit_test(an_instance_that_never_plays_is_started_ever_less_often),
        cmocka_unit_test(many_that_do_not_end_are_ended_together),
        cmocka_unit_test(a_program_may_take_longer_to_open_than_to_answer),
        cmocka_unit_test(a_step_before_a_reset_is_refused),
        cmocka_unit_test(environments_that_can_not_be_opened_are_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
