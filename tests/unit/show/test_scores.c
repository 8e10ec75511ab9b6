/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "show/scores.h"
#include "tests/support/support.h"

static score scored(double right, double brief)
{
    error err = { 0 };
    score sc = { .status = SCORE_OK };
    test_ok(score_set(&sc, "right", right, &err), &err);
    test_ok(score_set(&sc, "short", brief, &err), &err);
    return sc;
}

static char *summary(const score_tally *t)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    score_tally_print(out, t);
    fclose(out);
    return text;
}

static void a_mean_is_over_those_that_have_the_objective(void **state)
{
    (void)state;
    score_tally t = { 0 };
    const score scores[] = { scored(1, NAN), scored(0, 0.25), scored(0.5, 0.75) };
    for (int i = 0; i < 3; i++) score_tally_add(&t, &scores[i]);
    char *text = summary(&t);
    assert_string_equal(text, "3 episodes, 0 without a score\n"
                              "  right                    mean 0.5000 over 3\n"
                              "  short                    mean 0.5000 over 2\n");
    free(text);
    score_tally_reset(&t);
}

/* The machine's reasons are not the script's author's. */
static void reasons_that_differ_are_counted_up_to_four(void **state)
{
    (void)state;
    score_tally t = { .unread = 1 };
    char *const reasons[] = { "a", "b", "a", "c", "d", "e", "e" };
    for (int i = 0; i < 7; i++) score_tally_add(&t, &(score){ .status = SCORE_SCRIPT, .error = reasons[i] });
    score_tally_add(&t, &(score){ .status = SCORE_MACHINE, .error = reasons[0] });
    char *text = summary(&t);
    assert_string_equal(text, "8 episodes, 8 without a score (1 of them are lines that could not be read)\n"
                              "  2 without a score: a\n"
                              "  1 without a score: b\n"
                              "  1 without a score: c\n"
                              "  1 without a score: d\n");
    free(text);
    score_tally_reset(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mean_is_over_those_that_have_the_objective),
        cmocka_unit_test(reasons_that_differ_are_counted_up_to_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
