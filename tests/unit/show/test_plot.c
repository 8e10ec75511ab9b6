/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "show/plot.h"
#include "tests/support/support.h"

/* A folder with a run `name` of these metrics. */
static char *folder_with_run(const char *name, const char *metrics)
{
    error err = { 0 };
    char *folder = test_folder_new(), path[1024];
    path_join(path, sizeof path, folder, name);
    test_ok(dir_make_all(path, &err), &err);
    test_file_write(path, "metrics.jsonl", metrics);
    return folder;
}

/* The drawing of one run; the caller frees. */
static char *drawing_of(const char *name, const char *metrics, const char *objective)
{
    error err = { 0 };
    char *folder = folder_with_run(name, metrics), run[1024], path[1024];
    test_ok(plot_runs(path_join(path, sizeof path, folder, "out.svg"),
                      (const char *const[]){ path_join(run, sizeof run, folder, name) }, 1, objective, &err),
            &err);
    char *svg = test_file_read(folder, "out.svg");
    test_folder_remove(folder);
    return svg;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++) n++;
    return n;
}

static const char TWO_STEPS[] =
    "{\"event\": \"step\", \"step\": 1, \"reward/accuracy/mean\": 0, \"reward/format/mean\": 1, "
    "\"prompt/shots/mean\": 3}\n"
    "{\"event\": \"step\", \"step\": 2, \"reward/accuracy/mean\": 0.5}\n"
    "{\"event\": \"eval\", \"step\": 2, \"eval/accuracy/mean\": 1}\n";

static void values_stand_at_their_step_and_height(void **state)
{
    (void)state;
    char *svg = drawing_of("a", TWO_STEPS, "");
    assert_non_null(strstr(svg, ">accuracy by training step"));
    /* the curves' square: x from 56 to 704 for steps 0 to 2, y from 336 (reward 0) up to 52 (reward 1) */
    assert_non_null(strstr(svg, "stroke-opacity=\"0.35\" points=\"380.0,336.0 704.0,194.0 \""));
    assert_non_null(strstr(svg, "<circle cx=\"704.0\" cy=\"52.0\""));
    assert_int_equal(count(svg, "<circle"), 1);
    assert_int_equal(count(svg, "shots in the prompt (at most 3)"), 1);
    free(svg);
}

static void another_objective_can_be_asked_for(void **state)
{
    (void)state;
    char *svg = drawing_of("a", TWO_STEPS, "format");
    assert_non_null(strstr(svg, ">format by training step"));
    assert_non_null(strstr(svg, "points=\"704.0,52.0 \""));
    assert_int_equal(count(svg, "<circle"), 0); /* no evaluation has it */
    free(svg);
}

static void rewards_below_zero_widen_the_axis(void **state)
{
    (void)state;
    char *svg = drawing_of("a", "{\"step\": 1, \"reward/r/mean\": -1}\n{\"step\": 2, \"reward/r/mean\": 1}\n", "");
    assert_non_null(strstr(svg, ">-1</text>"));
    assert_non_null(strstr(svg, "points=\"380.0,336.0 704.0,52.0 \""));
    free(svg);
}

static void what_is_never_above_0_ends_there(void **state)
{
    (void)state;
    char *svg = drawing_of("sft", "{\"event\": \"step\", \"step\": 1, \"reward/logprob/mean\": -0.5}\n", "");
    assert_non_null(strstr(svg, ">-0.5</text>"));
    assert_non_null(strstr(svg, "text-anchor=\"end\">0</text>"));
    free(svg);
}

static void a_name_is_not_markup(void **state)
{
    (void)state;
    char *svg = drawing_of("<b>&\xff\n", "{\"step\": 1, \"reward/<i>/mean\": 1}\n", "");
    assert_non_null(strstr(svg, ">&lt;b>&amp;?"
                                "?</text>"));
    assert_non_null(strstr(svg, ">&lt;i> by training step"));
    assert_null(strstr(svg, "<b>"));
    free(svg);
}

static void an_objective_that_is_not_there_is_answered_with_those_that_are(void **state)
{
    (void)state;
    error err = { 0 };
    run_curves r = { 0 };
    char *folder = folder_with_run("a", TWO_STEPS), run[1024], name[OBJECTIVE_NAME + 1] = "acuracy";
    path_join(run, sizeof run, folder, "a");

    assert_int_equal(run_curves_read(&r, run, name, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "no values of 'acuracy' yet (it has accuracy, format)"));
    run_curves_reset(&r);
    test_folder_remove(folder);
}

static void a_runs_label_is_its_folders_name(void **state)
{
    (void)state;
    error err = { 0 };
    run_curves r = { 0 };
    char *folder = folder_with_run("mine", TWO_STEPS), run[1024], name[OBJECTIVE_NAME + 1] = "";
    path_join(run, sizeof run, folder, "mine//");

    test_ok(run_curves_read(&r, run, name, &err), &err);
    assert_string_equal(r.label, "mine");
    assert_string_equal(name, "accuracy");
    run_curves_reset(&r);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_stand_at_their_step_and_height),
        cmocka_unit_test(another_objective_can_be_asked_for),
        cmocka_unit_test(rewards_below_zero_widen_the_axis),
        cmocka_unit_test(a_name_is_not_markup),
        cmocka_unit_test(an_objective_that_is_not_there_is_answered_with_those_that_are),
        cmocka_unit_test(a_runs_label_is_its_folders_name),
        cmocka_unit_test(what_is_never_above_0_ends_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
