#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"
#include "tests/support/support.h"

/* What a pipe gets to see of these lines. */
static char *shown(int every, const char *const *lines)
{
    int ends[2];
    char *text = calloc(1, 8192);
    assert_int_equal(pipe(ends), 0);
    progress *p = progress_new(ends[1], 20, every);
    for (; *lines; lines++) {
        json_t *json = json_parse(*lines, strlen(*lines), "line", NULL);
        assert_non_null(json);
        progress_event(p, json);
        json_decref(json);
    }
    progress_end(p);
    progress_free(p);
    close(ends[1]);
    assert_true(read(ends[0], text, 8191) >= 0);
    close(ends[0]);
    return text;
}
#define SHOWN(every, ...) shown(every, (const char *const[]){ __VA_ARGS__, NULL })

static void a_step_is_one_plain_line(void **state)
{
    (void)state;
    char *text = SHOWN(1, "{\"event\": \"step\", \"step\": 3, \"reward/accuracy/mean\": 0.5, \"prompt/shots/mean\": 2, "
                          "\"tools/calls\": 4, "
                          "\"tools/success_rate\": 0.75, \"perf/throughput\": 1500, \"training/staleness/mean\": 0}");
    assert_string_equal(text, "step 3/20  shots 2  accuracy 0.50  tools ok 75%  1.5k tok/s  staleness 0\n");
    free(text);
}

static void a_pipe_gets_each_so_manieth_step_and_the_last(void **state)
{
    (void)state;
    char *text = SHOWN(10, "{\"event\": \"step\", \"step\": 9}", "{\"event\": \"step\", \"step\": 10}",
                       "{\"event\": \"step\", \"step\": 11}", "{\"event\": \"step\", \"step\": 20}");
    assert_null(strstr(text, "step 9/"));
    assert_non_null(strstr(text, "step 10/20"));
    assert_null(strstr(text, "step 11/"));
    assert_non_null(strstr(text, "step 20/20"));
    assert_null(strchr(text, '\r'));
    free(text);
}

static void an_evaluation_says_shots_and_questions(void **state)
{
    (void)state;
    char *text = SHOWN(
        1,
        "{\"event\": \"eval\", \"step\": 4, \"eval/accuracy/mean\": 0.125, \"eval/shots\": 0, \"eval/episodes\": 16}");
    assert_string_equal(text, "eval at step 4 (0 shots, 16 questions):  accuracy 0.125\n");
    free(text);
}

static void a_sentence_of_the_learners_is_passed_on(void **state)
{
    (void)state;
    char *text = SHOWN(10, "{\"event\": \"say\", \"text\": \"waiting for 3 scores\"}", "{\"event\": \"say\"}");
    assert_string_equal(text, "waiting for 3 scores\n");
    free(text);
}

static void what_is_no_report_is_passed_over(void **state)
{
    (void)state;
    char *text = SHOWN(1, "{\"event\": 3}", "[1]", "{\"event\": \"news\", \"step\": 1}",
                       "{\"event\": \"step\", \"step\": \"x\"}");
    assert_null(strstr(text, "news"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_one_plain_line),
        cmocka_unit_test(a_pipe_gets_each_so_manieth_step_and_the_last),
        cmocka_unit_test(an_evaluation_says_shots_and_questions),
        cmocka_unit_test(a_sentence_of_the_learners_is_passed_on),
        cmocka_unit_test(what_is_no_report_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
