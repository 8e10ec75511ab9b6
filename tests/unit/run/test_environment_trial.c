/* SPDX-License-Identifier: MIT */
/* What `troupe env test` and `troupe env play` find out about environments: this program is one, "play KIND". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "run/environment_by_hand.h"
#include "run/environment_trial.h"
#include "run/sample_call.h"
#include "tests/support/lines.h"
#include "tests/support/support.h"

/* ---- the environment: it counts what it is told, in each episode ---- */

enum { MAX_EPISODES = 100000 };
static int counts[MAX_EPISODES]; /* of the episode of this number */

static void open_it(json_t *id)
{
    lines_put(json_pack("{s:O, s:[{s:s, s:{s:s, s:{s:{s:i, s:i}}, s:[s]}}]}", "id", id, "tools", "name", "add",
                        "parameters", "type", "object", "properties", "n", "minimum", 2, "maximum", 5, "required",
                        "n"));
}

static void step_it(json_t *id, const json_t *m, const char *kind, int *count)
{
    const char *text = json_string_value(json_object_get(m, "text"));
    const json_t *given = json_object_get(json_object_get(m, "call"), "arguments");
    if (text && strcmp(kind, "fragile") == 0 && strlen(text) > 1000) _exit(3);
    *count += text ? 1 : (int)json_integer_value(json_object_get(given, "n"));
    if (text && strcmp(text, "bye") == 0) {
        lines_put(json_pack("{s:O, s:s, s:f, s:b}", "id", id, "observation", "good bye", "reward", 0.5, "done", 1));
        return;
    }
    char says[40];
    snprintf(says, sizeof says, "%d", *count);
    lines_put(json_pack("{s:O, s:s}", "id", id, "observation", says));
}

static void reset_it(json_t *id, const json_t *m, const char *kind, int *count)
{
    static int resets;
    char says[80];
    if (strcmp(kind, "unready") == 0) {
        lines_put(json_pack("{s:O, s:s}", "id", id, "error", "no game in this row"));
        return;
    }
    *count = (int)json_integer_value(json_object_get(m, "seed"));
    snprintf(says, sizeof says, "seed %d%s", *count, strcmp(kind, "random") == 0 && ++resets % 2 ? "!" : "");
    if (strcmp(kind, "leaking") == 0) memset(xmalloc(1 << 20), 1, 1 << 20);
    lines_put(json_pack("{s:O, s:s}", "id", id, "observation", says));
}

static void on_message(void *ctx, json_t *m)
{
    const char *kind = ctx, *method = json_string_value(json_object_get(m, "method"));
    const char *name = json_string_value(json_object_get(m, "episode"));
    json_t *id = json_object_get(m, "id");
    int *count = &counts[strcmp(kind, "mixing") == 0 || !name ? 0 : atoi(name) % MAX_EPISODES];
    if (strcmp(method, "open") == 0) open_it(id);
    if (strcmp(method, "step") == 0) step_it(id, m, kind, count);
    if (strcmp(method, "reset") == 0) reset_it(id, m, kind, count);
}

static int play(char *kind)
{
    const int status = lines_serve(on_message, kind);
    while (strcmp(kind, "stubborn") == 0) pause();
    return status;
}

/* ---- the tests ---- */

static recipe *recipe_of(const char *folder, const char *kind)
{
    char self[1024], path[1100], text[3000];
    error err = { 0 };
    test_ok(process_self_path(self, sizeof self, &err), &err);
    snprintf(
        text, sizeof text,
        "local T = require 'troupe'\n"
        "return { model = 'm', data = { train = 'rows.jsonl' },\n"
        "  env = { tools = { T.env{ command = { '%s', 'play', '%s' }, instances = 1, at_once = 2, timeout = 2 } } },\n"
        "  reward = { script = 'reward.lua', objectives = { a = 1 } } }\n",
        self, kind);
    test_ok(file_write_atomic(path_join(path, sizeof path, folder, "rows.jsonl"), "{}\n{}\n", 6, &err), &err);
    test_ok(file_write_atomic(path_join(path, sizeof path, folder, "recipe.lua"), text, strlen(text), &err), &err);
    recipe *r = recipe_open(path, NULL, 0, &err);
    if (!r) fail_msg("%s", err.text);
    return r;
}

typedef struct told {
    char failed[200]; /* names of the checks that failed */
    char why[600];    /* of the first of them */
    int n;
} told;

static void tell(void *ctx, const char *check, const char *note, const char *why)
{
    told *t = ctx;
    (void)note;
    t->n++;
    if (!why) return;
    if (!t->failed[0]) snprintf(t->why, sizeof t->why, "%s", why);
    const size_t len = strlen(t->failed);
    snprintf(t->failed + len, sizeof t->failed - len, "%s%s", len ? ", " : "", check);
}

static void each_fault_is_found_by_its_check_and_by_no_other(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *failed, *why;
    } KINDS[] = {
        { "good", "", "" },
        { "random", "same start, same play", "the same row and seed: once '{\"prompt\":\"seed 7" },
        { "mixing", "apart", "an episode alone and beside others: once '" },
        { "fragile", "bad input", "a text of 64 kB: environment: " },
        { "leaking", "no leak", "its processes have grown from " },
        { "stubborn", "ends", "a process had to be ended" },
    };
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        error err = { 0 };
        told t = { 0 };
        char *folder = test_folder_new();
        recipe *r = recipe_of(folder, KINDS[i].kind);
        const environment_trial trial = { .recipe = r, .resets = 60, .ctx = &t, .tell = tell };
        const int rc = environment_trial_run(&trial, &err);
        if (strcmp(t.failed, KINDS[i].failed) != 0 || !strstr(t.why, KINDS[i].why))
            fail_msg("%s: failed '%s': %s", KINDS[i].kind, t.failed, t.why);
        assert_int_equal(t.n, 7);
        assert_int_equal(rc, KINDS[i].failed[0] ? ERR_STATE : OK);
        recipe_free(r);
        test_folder_remove(folder);
    }
}

static void arguments_keep_to_their_schema(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *value;
    } ROWS[] = {
        { "{\"enum\": [\"a\", \"b\"]}", "\"b\"" },
        { "{\"const\": [1]}", "[1]" },
        { "{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 7}", "7" },
        { "{\"type\": [\"boolean\", \"null\"]}", "true" },
        { "{\"type\": \"array\"}", "[]" },
        { "{\"type\": \"null\"}", "null" },
        { "{\"anyOf\": [{\"type\": \"number\"}, {\"type\": \"null\"}]}", "3" },
        { "{\"properties\": {\"n\": {\"enum\": [1, 2]}, \"m\": {}}, \"required\": [\"n\"]}", "{\"n\":2}" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        json_t *schema = json_loads(ROWS[i].schema, JSON_DECODE_ANY, NULL), *value = sample_value(schema, 3);
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (strcmp(text, ROWS[i].value) != 0) fail_msg("%s: %s", ROWS[i].schema, text);
        free(text);
        json_decref(value);
        json_decref(schema);
    }
    json_t *endless = json_loads("{\"type\": \"object\", \"required\": [\"a\"]}", 0, NULL);
    json_t *properties = json_object();
    json_object_set_new(properties, "a", json_incref(endless)); /* as a schema that refers to itself */
    json_object_set(endless, "properties", properties);
    json_decref(sample_value(endless, 0));
    json_object_clear(properties);
    json_decref(properties);
    json_decref(endless);
}

/* ---- by hand ---- */

typedef struct hands {
    const char *const *moves;
    char heard[600];
} hands;

static void hear(void *ctx, const char *words, const char *outcome)
{
    hands *h = ctx;
    const size_t len = strlen(h->heard);
    snprintf(h->heard + len, sizeof h->heard - len, "%s%s|", words,
             outcome && outcome_is_done(outcome) ? ", over" : "");
}

static bool move(void *ctx, str *line)
{
    hands *h = ctx;
    if (!*h->moves) return false;
    str_puts(line, *h->moves++);
    return true;
}

static void a_line_is_a_call_or_is_said(void **state)
{
    (void)state;
    static const char *const MOVES[] = { "hello", "add {\"n\": 3}", "add{\"n\": 2}", "add 3", "add", "bye", "hello",
                                         NULL };
    error err = { 0 };
    char *folder = test_folder_new();
    recipe *r = recipe_of(folder, "good");
    hands h = { .moves = MOVES };
    environment_by_hand by = { .recipe = r, .row = 1, .seed = 10, .ctx = &h, .hear = hear, .move = move };
    test_ok(environment_by_hand_play(&by, &err), &err);
    const char *refused = strstr(h.heard, "|17|");
    assert_non_null(refused);
    assert_int_equal(strncmp(h.heard, "seed 10|11|14|16|17|", 20), 0);
    assert_non_null(strstr(refused, "n")); /* "add" alone is a call without its n: said so */
    assert_non_null(strstr(refused, "|good bye, over|"));
    assert_string_equal(*h.moves, "hello"); /* never asked for */

    by.row = 2;
    assert_int_equal(environment_by_hand_play(&by, &err), ERR_ARGUMENT);
    recipe_free(r);

    by.recipe = r = recipe_of(folder, "unready");
    by.row = 0;
    assert_int_equal(environment_by_hand_play(&by, &err), ERR_PEER);
    assert_non_null(strstr(err.text, "no game in this row"));
    recipe_free(r);
    test_folder_remove(folder);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "play") == 0) return play(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_found_by_its_check_and_by_no_other),
        cmocka_unit_test(arguments_keep_to_their_schema),
        cmocka_unit_test(a_line_is_a_call_or_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
