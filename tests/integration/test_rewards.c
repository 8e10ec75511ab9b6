/* SPDX-License-Identifier: MIT */
/* What is found about a reward script, and about the rows that it is to judge, before a run begins, and by `troupe
 * score`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "rollout/task.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

static void write_recipe(const char *dir)
{
    str text = { 0 };
    str_printf(&text,
               "return { model = '%s/models/stagehand',\n"
               "data = { train = 'd.jsonl', test = 'd.jsonl' },\n"
               "prompt = { instruction = 'Say it.' },\n"
               "reward = { script = 'r.lua', objectives = { accuracy = 1 } } }\n",
               getenv("TROUPE_SOURCE"));
    test_file_write(dir, "recipe.lua", text.data);
    test_file_write(dir, "r.lua", "return function(task, episode) return { accuracy = 0 } end\n");
    test_file_write(dir, "d.jsonl", "{\"prompt\": \"1+1\", \"answer\": \"2\"}\n");
    str_free(&text);
}

/* What a policy may write at will has to have a score: found before anything starts, by train and eval, and by score,
 * whose rows have shown nothing of it. */
static void a_script_that_a_policy_can_make_raise_starts_nothing(void **state)
{
    (void)state;
    static const char *const SAYS[] = { "recipe.lua:4: reward.script: ", "r.lua:2: attempt to index a boolean value",
                                        "episode without an answer", "(episode.answer or '')",
                                        "reward.rehearse = false" };
    char path[500], run[500], script[TEST_PATH], rows[TEST_PATH];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    write_recipe(dir);
    test_file_at(dir, "r.lua", "return function(task, episode)\n return { accuracy = #episode.answer:lower() } end\n",
                 script);
    test_file_at(dir, "answered.jsonl", "{\"prompt\": \"1\", \"response\": \"<answer>2</answer>\"}\n", rows);

    outcome all[] = { TROUPE("train", path, "--run-dir", run), TROUPE("eval", path) };
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof SAYS / sizeof *SAYS; k++)
            if (!strstr(all[i].text, SAYS[k])) fail_msg("expected '%s' in: %s", SAYS[k], all[i].text);
        assert_int_equal(all[i].status, 1);
        outcome_free(&all[i]);
    }
    assert_false(dir_exists(run));

    outcome o = TROUPE("score", script, rows);
    if (o.status != 0 || !strstr(o.text, "1 episodes, 0 without a score") ||
        !strstr(o.text, "a training would refuse this script") || !strstr(o.text, "r.lua:2: "))
        fail_msg("status %d: %s", o.status, o.text);
    outcome_free(&o);
    test_folder_remove(dir);
}

/* Episodes without a score are counted by their reasons, once each. */
static void a_score_counts_its_reasons(void **state)
{
    (void)state;
    char script[TEST_PATH], rows[TEST_PATH];
    char *dir = test_folder_new();
    test_file_at(dir, "r.lua", "return function(task, episode)\n return { accuracy = #episode.answer } end\n", script);
    test_file_at(dir, "silent.jsonl",
                 "{\"prompt\": \"1\", \"response\": \"\"}\n{\"prompt\": \"1\", \"response\": \"no\"}\n"
                 "{\"prompt\": \"1\", \"response\": \"<answer>2</answer>\"}\n",
                 rows);
    outcome o = TROUPE("score", script, rows);
    const char *counted = strstr(o.text, "  2 without a score: ");
    if (!counted || !strstr(counted, "r.lua:2: attempt to get length of a boolean value") ||
        !strstr(counted, "(episode.answer or '')") || !strstr(o.text, "3 episodes, 2 without a score"))
        fail_msg("%s", o.text);
    outcome_free(&o);
    test_folder_remove(dir);
}

/* Not a missing score in the middle of a run: rows above the limit are named when they are read. */
static void a_row_above_the_limit_is_named_before_anything_starts(void **state)
{
    (void)state;
    static const char *const ALL[] = { "train", "test" };
    char path[500], override[600];
    str row = { 0 };
    char *text = memset(xmalloc(MAX_ROW_BYTES), 'x', MAX_ROW_BYTES);
    str_printf(&row, "{\"prompt\": \"1\"}\n{\"prompt\": \"%.*s\"}\n", MAX_ROW_BYTES, text);
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    write_recipe(dir);
    test_file_write(dir, "large.jsonl", row.data);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        snprintf(override, sizeof override, "data.%s=%s/large.jsonl", ALL[i], dir);
        outcome o = TROUPE("train", path, override);
        if (o.status != 1 || !strstr(o.text, "large.jsonl:2: a row of 16777230 bytes is above the limit of 16 MB"))
            fail_msg("status %d: %s", o.status, o.text);
        outcome_free(&o);
    }
    free(text);
    str_free(&row);
    test_folder_remove(dir);
}

static int times(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    return n;
}

/* What a script prints stands among what others say: with its file and line, and of the made-up episodes of a rehearsal
 * no more than a few lines. */
static void what_a_script_prints_has_its_place_and_an_end(void **state)
{
    (void)state;
    char script[500], rows[500];
    char *dir = test_folder_new();
    snprintf(script, sizeof script, "%s/r.lua", dir);
    snprintf(rows, sizeof rows, "%s/answered.jsonl", dir);
    test_file_write(
        dir, "r.lua",
        "return function(task, episode)\n print(task.prompt, ('x'):rep(100))\n return { accuracy = 1 }\nend\n");
    test_file_write(dir, "answered.jsonl",
                    "{\"prompt\": \"1\", \"response\": \"2\"}\n{\"prompt\": \"3\", \"response\": \"4\"}\n");
    outcome o = TROUPE("score", script, rows);
    assert_int_equal(o.status, 0);
    if (!strstr(o.text, "r.lua:2: 3\txxxxx")) fail_msg("%s", o.text);
    if (times(o.text, "r.lua:2: ") != 2 + 4 || times(o.text, "(print: the rest is left out)") != 1)
        fail_msg("%s", o.text);
    outcome_free(&o);
    test_folder_remove(dir);
}

/* The script is looked at before a run whether it is rehearsed or not; the run stands still after that, as none of its
 * prompts fits. */
static void a_script_that_is_only_opened_prints_no_more_than_a_rehearsal(void **state)
{
    (void)state;
    char script[500];
    char *dir = test_folder_new();
    snprintf(script, sizeof script, "reward.script=%s/r.lua", dir);
    test_file_write(
        dir, "r.lua",
        "for i = 1, 100 do print('top', ('x'):rep(100)) end\nreturn function() return { accuracy = 1 } end\n");
    place p = place_new();
    outcome o =
        TROUPE("train", p.recipe, script, "reward.rehearse=false", "rollout.max_context=16", "--run-dir", p.run);
    assert_int_equal(o.status, 1);
    assert_non_null(strstr(o.text, "no prompt of data.train fits"));
    if (times(o.text, "r.lua:1: top") != 4 || times(o.text, "(print: the rest is left out)") != 1)
        fail_msg("%s", o.text);
    outcome_free(&o);
    test_folder_remove(p.dir);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_that_a_policy_can_make_raise_starts_nothing),
        cmocka_unit_test(what_a_script_prints_has_its_place_and_an_end),
        cmocka_unit_test(a_script_that_is_only_opened_prints_no_more_than_a_rehearsal),
        cmocka_unit_test(a_score_counts_its_reasons),
        cmocka_unit_test(a_row_above_the_limit_is_named_before_anything_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
