/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "show/episodes.h"
#include "tests/support/support.h"

static uint64_t put(store *s, bool eval, int64_t step, uint32_t index, const score *sc)
{
    error err = { 0 };
    task t = { .id = task_id(eval, step, index), .group_size = 4, .max_tokens = 8, .step = step, .eval = eval };
    t.row = xstrdup("{\"prompt\": \"1 + 1\"}");
    episode *e = episode_new(&t);
    e->text = xstrdup("two\nlines");
    e->transcript = xstrdup(e->text);
    test_ok(store_put_episode(s, &t, e, &err), &err);

    if (sc) {
        score mine = *sc;
        mine.task = t.id;
        test_ok(store_put_score(s, &mine, &err), &err);
    }
    episode_free(e);
    const uint64_t id = t.id;
    task_reset(&t);
    return id;
}

typedef struct run {
    char *folder;
    uint64_t scored, evaluated;
} run;

/* Two episodes of step 1, the first of them scored; one of step 2; one evaluation of step 1. */
static run run_new(void)
{
    error err = { 0 };
    run r = { .folder = test_folder_new() };
    char path[1024];
    store *s = store_open(path_join(path, sizeof path, r.folder, "rollouts.db"), &err);
    if (!s) fail_msg("%s", err.text);

    score sc = { .status = SCORE_OK };
    test_ok(score_set(&sc, "right", 0.5, &err), &err);
    test_ok(score_set(&sc, "short", NAN, &err), &err);
    r.scored = put(s, false, 1, 0, &sc);
    put(s, false, 1, 1, NULL);
    put(s, false, 2, 0, NULL);
    r.evaluated = put(s, true, 1, 0, NULL);
    test_ok(store_put_step(s, 1, 0, 1, 2, &err), &err);
    store_close(s);
    return r;
}

static void run_free(run *r) { test_folder_remove(r->folder); }

/* What is printed; NULL with `err`. The caller frees. */
static char *printed(const run *r, episodes_wanted wanted, error *err)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    const int rc = episodes_print(out, r->folder, &wanted, err);
    fclose(out);
    if (rc == OK) return text;
    free(text);
    return NULL;
}

/* How many lines hold an episode; of `wanted` there is one at least. */
static int shown(const run *r, episodes_wanted wanted)
{
    error err = { 0 };
    char *text = printed(r, wanted, &err);
    if (!text) fail_msg("%s", err.text);
    int n = 0;
    for (const char *at = text; (at = strstr(at, " shots ")); at++) n++;
    free(text);
    return n;
}

static void steps_kinds_and_a_limit_choose(void **state)
{
    (void)state;
    run r = run_new();
    assert_int_equal(shown(&r, (episodes_wanted){ .step = -1, .limit = -1 }), 3);
    assert_int_equal(shown(&r, (episodes_wanted){ .step = 1, .limit = -1 }), 2);
    assert_int_equal(shown(&r, (episodes_wanted){ .step = 1, .limit = 1 }), 1);
    assert_int_equal(shown(&r, (episodes_wanted){ .step = -1, .limit = -1, .eval = true }), 1);
    run_free(&r);
}

static void an_id_finds_its_episode_whatever_it_is_of(void **state)
{
    (void)state;
    run r = run_new();
    assert_int_equal(shown(&r, (episodes_wanted){ .step = -1, .limit = -1, .id = r.scored }), 1);
    assert_int_equal(shown(&r, (episodes_wanted){ .step = -1, .limit = -1, .id = r.evaluated }), 1);
    run_free(&r);
}

static void a_transcript_is_barred_line_by_line(void **state)
{
    (void)state;
    error err = { 0 };
    run r = run_new();
    char *text = printed(&r, (episodes_wanted){ .step = -1, .limit = 1, .form = EPISODE_TRANSCRIPT }, &err);
    assert_non_null(text);
    assert_non_null(strstr(text, "right 0.5 short missing  1 + 1\n"));
    assert_non_null(strstr(text, "\n  | two\n  | lines\n"));
    assert_non_null(strstr(text, "trained: 1 steps, 1 groups, 2 episodes\n"));
    free(text);
    run_free(&r);
}

static void a_missing_objective_is_null_in_json(void **state)
{
    (void)state;
    error err = { 0 };
    run r = run_new();
    char *text = printed(&r, (episodes_wanted){ .step = -1, .limit = 1, .form = EPISODE_JSON }, &err);
    assert_non_null(text);
    json_t *line = json_parse(text, strlen(text) - 1, "line", &err);
    if (!line) fail_msg("%s", err.text);
    const json_t *objectives = json_object_get(line, "objectives");
    assert_true(json_number_value(json_object_get(objectives, "right")) == 0.5);
    assert_true(json_is_null(json_object_get(objectives, "short")));
    assert_string_equal(json_string_value(json_object_get(line, "transcript")), "two\nlines");
    json_decref(line);
    free(text);
    run_free(&r);
}

static void where_none_is_left_the_reason_is_said(void **state)
{
    (void)state;
    error err = { 0 };
    run r = run_new();
    assert_null(printed(&r, (episodes_wanted){ .step = 77, .limit = -1 }, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "no such episodes (1 steps are trained)"));

    run nowhere = { .folder = test_folder_new() };
    assert_null(printed(&nowhere, (episodes_wanted){ .step = -1, .limit = -1 }, &err));
    assert_non_null(strstr(err.text, "is not a run: it has no rollouts.db"));
    run_free(&nowhere);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_kinds_and_a_limit_choose),
        cmocka_unit_test(an_id_finds_its_episode_whatever_it_is_of),
        cmocka_unit_test(a_transcript_is_barred_line_by_line),
        cmocka_unit_test(a_missing_objective_is_null_in_json),
        cmocka_unit_test(where_none_is_left_the_reason_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
