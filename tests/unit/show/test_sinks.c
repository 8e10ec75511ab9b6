/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "show/sinks.h"
#include "tests/support/support.h"

static void write_step(sinks *s, const char *event, int64_t step, double value)
{
    error err = { 0 };
    metrics *m = metrics_new();
    metrics_set(m, "reward/accuracy/mean", value);
    metrics_set(m, "not/there", NAN);
    test_ok(sinks_write(s, event, step, m, &err), &err);
    metrics_free(m);
}

static sinks *open_sinks(const char *dir, int report, int64_t keep)
{
    error err = { 0 };
    sinks *s = sinks_open(dir, report, keep, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static void each_line_is_json_and_what_is_no_number_is_left_out(void **state)
{
    (void)state;
    error err = { 0 };
    char *dir = test_folder_new();
    sinks *s = open_sinks(dir, -1, 0);
    write_step(s, "step", 1, 0.25);
    sinks_close(s);
    char *text = test_file_read(dir, "metrics.jsonl");
    json_t *json = json_parse(text, strlen(text) - 1, "line", &err);
    if (!json) fail_msg("%s", err.text);
    assert_int_equal(json_integer_value(json_object_get(json, "step")), 1);
    assert_true(json_number_value(json_object_get(json, "reward/accuracy/mean")) == 0.25);
    assert_null(json_object_get(json, "not/there"));
    json_decref(json);
    free(text);
    test_folder_remove(dir);
}

static void a_resumed_run_drops_what_it_will_do_again(void **state)
{
    (void)state;
    char *dir = test_folder_new();
    sinks *s = open_sinks(dir, -1, 0);
    write_step(s, "eval", 0, 0);
    for (int i = 1; i <= 4; i++) write_step(s, "step", i, i);
    write_step(s, "eval", 2, 0);
    sinks_close(s);
    test_file_write(dir, "metrics.jsonl.half", "");
    char *before = test_file_read(dir, "metrics.jsonl");
    const size_t len = strlen(before);
    before = realloc(before, len + 32);
    strcpy(before + len, "{\"event\": \"step\", \"st");
    test_file_write(dir, "metrics.jsonl", before);
    free(before);

    sinks_close(open_sinks(dir, -1, 2));
    char *after = test_file_read(dir, "metrics.jsonl");
    int lines = 0;
    for (const char *p = after; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 3); /* eval 0, steps 1 and 2; the evaluation at 2 is played again */
    assert_null(strstr(after, "\"step\": 3"));
    assert_true(after[strlen(after) - 1] == '\n');
    free(after);
    test_folder_remove(dir);
}

static void the_supervisor_gets_the_same_line(void **state)
{
    (void)state;
    int ends[2];
    char *dir = test_folder_new(), line[4096];
    assert_int_equal(pipe(ends), 0);
    sinks *s = open_sinks(dir, ends[1], 0);
    write_step(s, "step", 7, 1);
    const ssize_t n = read(ends[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = 0;
    char *text = test_file_read(dir, "metrics.jsonl");
    assert_string_equal(line, text);
    free(text);
    sinks_close(s);
    close(ends[0]);
    close(ends[1]);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_json_and_what_is_no_number_is_left_out),
        cmocka_unit_test(a_resumed_run_drops_what_it_will_do_again),
        cmocka_unit_test(the_supervisor_gets_the_same_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
