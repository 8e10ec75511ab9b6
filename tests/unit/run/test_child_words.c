/* SPDX-License-Identifier: MIT */
/* The command lines of a run's processes. */
#include "run/child_words.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/support.h"

static run_dir RUN;
static char OVERRIDE[] = "steps=4";

static fleet_words all_words(int64_t learners, bool resumed)
{
    snprintf(RUN.path, sizeof RUN.path, "/r");
    snprintf(RUN.recipe, sizeof RUN.recipe, "/r/recipe.lua");
    snprintf(RUN.sockets.path, sizeof RUN.sockets.path, "/s");
    RUN.words[0] = OVERRIDE, RUN.n_words = 1;
    return (fleet_words){
        .self = "troupe", .address = "ipc:///s/x", .report_fd = 5, .learners = learners, .resumed = resumed, .run = &RUN
    };
}

static void says(const char *const *argv, const char *expected)
{
    str line = { 0 };
    for (int i = 0; argv[i]; i++) str_printf(&line, "%s%s", i ? " " : "", argv[i]);
    assert_string_equal(line.data, expected);
    str_free(&line);
}

/* A learner that crashed continues from its checkpoint; one that begins must not take an old one's. */
static void only_a_restart_resumes(void **state)
{
    (void)state;
    const fleet_words begun = all_words(1, false), again = all_words(1, true);
    child_words c = { 0 };
    child_words_learner(&c, &begun, 0);
    assert_string_equal(c.name, "learner");
    assert_string_equal(c.log, "/r/logs/learner.log");
    says(c.argv, "troupe learner /r/recipe.lua --run /r --bind ipc:///s/x --report-fd 5 steps=4");
    says(c.restart, "troupe learner /r/recipe.lua --run /r --bind ipc:///s/x --report-fd 5 --resume steps=4");

    child_words_learner(&c, &again, 0);
    says(c.argv, "troupe learner /r/recipe.lua --run /r --bind ipc:///s/x --report-fd 5 --resume steps=4");
}

static void only_the_first_learner_reports(void **state)
{
    (void)state;
    const fleet_words f = all_words(3, false);
    child_words first = { 0 }, third = { 0 };
    child_words_learner(&first, &f, 0);
    child_words_learner(&third, &f, 2);
    assert_string_equal(first.name, "learner");
    assert_string_equal(third.name, "learner-3");
    says(first.argv, "troupe learner /r/recipe.lua --run /r --bind ipc:///s/x --report-fd 5 "
                     "--rank 0 --of 3 --meet /s steps=4");
    says(third.argv, "troupe learner /r/recipe.lua --run /r --bind ipc:///s/x --rank 2 --of 3 --meet /s steps=4");
}

static void a_worker_has_a_name_and_the_runs_words(void **state)
{
    (void)state;
    const fleet_words f = all_words(1, true);
    child_words c = { 0 };
    child_words_worker(&c, &f, "reward", 12);
    assert_string_equal(c.log, "/r/logs/reward-12.log");
    says(c.argv, "troupe reward /r/recipe.lua --connect ipc:///s/x --name reward-12 steps=4");
    assert_null(c.restart[0]);
}

/* The most that a run can say fits, and the list ends. */
static void all_words_of_a_run_fit(void **state)
{
    (void)state;
    const fleet_words f = all_words(64, false);
    child_words c = { 0 };
    for (int i = 0; i < RUN_WORDS; i++) RUN.words[i] = OVERRIDE;
    RUN.n_words = RUN_WORDS;
    child_words_learner(&c, &f, 0);
    int n = 0;
    while (c.restart[n]) n++;
    assert_int_equal(n, 1 + 6 + 2 + 6 + 1 + RUN_WORDS);
    assert_true(n < CHILD_WORDS);
    assert_string_equal(c.restart[n - 1], OVERRIDE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_restart_resumes),
        cmocka_unit_test(only_the_first_learner_reports),
        cmocka_unit_test(a_worker_has_a_name_and_the_runs_words),
        cmocka_unit_test(all_words_of_a_run_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
