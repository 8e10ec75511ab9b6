/* SPDX-License-Identifier: MIT */
/* What a policy can write at will must not raise an error in a reward script: that is found before a run, and what is
 * sound passes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "reward/rehearsal.h"
#include "tests/support/support.h"
#include "tests/unit/reward/host.h"

enum { LONG_BYTES = 1 << 16 };

static const char ROW[] = "{\"prompt\": \"1+1\", \"answer\": \"2\", \"kind\": \"sum\"}";

static int rehearse_file(const char *path, const char *row, char note[400], error *err)
{
    const scorer_config config = { .script = path, .cpu_ms = 2000 };
    scorer *s = scorer_new(&config, err);
    if (!s) fail_msg("%s", err->text);
    note[0] = 0;
    const int rc = reward_rehearse(s, row, LONG_BYTES, note, 400, err);
    scorer_free(s);
    return rc;
}

/* body: of the script's function, its second line. */
static int rehearse(const char *body, char note[400], error *err)
{
    char path[400];
    char *dir = test_folder_new();
    str script = { 0 };
    *err = (error){ 0 };
    str_printf(&script, "return function(task, episode)\n%s\nend\n", body);
    test_file_write(dir, "mine.lua", script.data);
    snprintf(path, sizeof path, "%s/mine.lua", dir);
    const int rc = rehearse_file(path, ROW, note, err);
    str_free(&script);
    test_folder_remove(dir);
    return rc;
}

static void a_script_that_a_policy_can_make_raise_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const CASES[][3] = {
        { "return episode.answer:lower() == task.answer and 1 or 0", "without an answer", "(episode.answer or '')" },
        { "local a = episode.answer return #a", "without an answer", "(episode.answer or '')" },
        { "return string.len(episode.answer)", "without an answer", "(episode.answer or '')" },
        { "return episode.answer < '3' and 1 or 0", "without an answer", "(episode.answer or '')" },
        { "return tonumber(episode.text:match('%d+')) > 1 and 1 or 0", "without an answer", "compare" },
        { "return #episode.text:match('%S+')", "without a word", "nil" },
        { "return episode.answer and #episode.answer:match('.') or 0", "whose answer is empty", "nil" },
        { "return episode.answer and episode.answer ~= '' and #episode.answer:match('%S+') or 0", "is white space",
          "nil" },
        { "return utf8.len(episode.text) / 1000", "not UTF-8", "nil" },
        { "local c = episode.tool_calls[1] return c and require('troupe.json').decode(c.arguments).code.x or 0",
          "whose tool call failed", "index" },
        { "local n = 0 for i = 1, #episode.text do for j = 1, #episode.text do n = n + 1 end end return 0",
          "as long as it may be", "instructions" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char note[400];
        error err;
        if (rehearse(CASES[i][0], note, &err) != ERR_SCRIPT) fail_msg("passed: %s", CASES[i][0]);
        const char *const words[] = { "mine.lua:2", CASES[i][1], CASES[i][2] };
        for (int k = 0; k < 3; k++)
            if (!strstr(err.text, words[k])) fail_msg("expected '%s' in: %s", words[k], err.text);
    }
}

static void a_value_that_a_policy_can_take_away_is_noted(void **state)
{
    (void)state;
    char note[400];
    error err;
    const char *const share = "local _, n = episode.text:gsub('%w+', '') return { share = n / #episode.text }";
    test_ok(rehearse(share, note, &err), &err);
    if (!strstr(note, "without a word") || !strstr(note, "'share'")) fail_msg("%s", note);
    test_ok(rehearse("return { share = 1 }", note, &err), &err);
    assert_string_equal(note, "");
}

/* Rows of theirs, as the recipes that come with Troupe have them. */
static void every_recipe_of_ours_passes(void **state)
{
    (void)state;
    static const char *const RECIPES[] = { "calculator", "conflict", "era",  "hints", "languages",
                                           "preference", "priority", "rare", "spans" };
    for (size_t i = 0; i < sizeof RECIPES / sizeof *RECIPES; i++) {
        char path[600], rows[600], row[4096], note[400];
        error err = { 0 };
        snprintf(path, sizeof path, "%s/recipes/%s/reward.lua", getenv("TROUPE_SOURCE"), RECIPES[i]);
        snprintf(rows, sizeof rows, "%s/recipes/%s/data/train.jsonl", getenv("TROUPE_SOURCE"), RECIPES[i]);
        FILE *f = fopen(rows, "re");
        if (!f || !fgets(row, sizeof row, f)) fail_msg("%s", rows);
        fclose(f);
        if (rehearse_file(path, row, note, &err) != OK) fail_msg("%s: %s", RECIPES[i], err.text);
        if (note[0]) fail_msg("%s: %s", RECIPES[i], note);
    }
}

/* The first block of a page that is a reward script. */
static void show_script(const char *page)
{
    static const char FENCE[] = "```lua\n";
    char path[600], note[400], script[600];
    size_t len;
    error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", getenv("TROUPE_SOURCE"), page);
    char *text = file_read(path, 1 << 20, &len, &err), *dir = test_folder_new();
    char *function = text ? strstr(text, "return function(task, episode)") : NULL;
    if (!function) fail_msg("%s: %s", page, text ? "it shows no reward script" : err.text);
    *strstr(function, "\n```") = 0;
    char *begin = function;
    while (begin > text && strncmp(begin, FENCE, strlen(FENCE)) != 0) begin--;
    test_file_write(dir, "shown.lua", begin + strlen(FENCE));
    snprintf(script, sizeof script, "%s/shown.lua", dir);
    if (rehearse_file(script, ROW, note, &err) != OK) fail_msg("%s: %s", page, err.text);
    assert_string_equal(note, "");
    test_folder_remove(dir);
    free(text);
}

static void what_the_pages_show_passes(void **state)
{
    (void)state;
    show_script("README.md");
    show_script("docs/rewards.md");
}

int main(int argc, char **argv)
{
    int status;
    if (was_reward_host(argc, argv, &status)) return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_that_a_policy_can_make_raise_is_refused_with_its_line),
        cmocka_unit_test(a_value_that_a_policy_can_take_away_is_noted),
        cmocka_unit_test(every_recipe_of_ours_passes),
        cmocka_unit_test(what_the_pages_show_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
