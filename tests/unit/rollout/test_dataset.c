/* SPDX-License-Identifier: MIT */
#include "rollout/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "rollout/task.h"
#include "tests/support/support.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = test_folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static dataset *open_text(const char *text, uint64_t max_rows, error *err)
{
    char path[1024];
    test_file_write(folder, "rows.jsonl", text);
    return dataset_open(path_join(path, sizeof path, folder, "rows.jsonl"), max_rows, err);
}

static dataset *numbered(uint64_t n)
{
    str text = { 0 };
    error err = { 0 };
    for (uint64_t i = 0; i < n; i++) str_printf(&text, "{\"prompt\": \"%d\"}\n", (int)i);
    dataset *d = open_text(text.data, 0, &err);
    if (!d) fail_msg("%s", err.text);
    str_free(&text);
    return d;
}

static void rows_are_the_files_lines_in_its_order(void **state)
{
    (void)state;
    error err = { 0 };
    dataset *d = open_text("{\"prompt\": \"a\", \"answer\": 1}\r\n"
                           "\n"
                           "{\"messages\": [{}]}  \n"
                           "{\"prompt\": \"without a newline\"}",
                           0, &err);
    if (!d) fail_msg("%s", err.text);
    assert_int_equal(dataset_size(d), 3);
    assert_string_equal(dataset_row(d, 0), "{\"prompt\": \"a\", \"answer\": 1}");
    assert_string_equal(dataset_row(d, 1), "{\"messages\": [{}]}");
    assert_string_equal(dataset_row(d, 2), "{\"prompt\": \"without a newline\"}");
    dataset_free(d);
    dataset_free(NULL);
}

/* As Windows' editors leave a file. */
static void a_mark_at_the_start_is_no_part_of_a_row(void **state)
{
    (void)state;
    error err = { 0 };
    dataset *d = open_text("\xef\xbb\xbf{\"prompt\": \"a\"}\r\n{\"prompt\": \"b\"}", 0, &err);
    if (!d) fail_msg("%s", err.text);
    assert_int_equal(dataset_size(d), 2);
    assert_string_equal(dataset_row(d, 0), "{\"prompt\": \"a\"}");
    dataset_free(d);
    assert_null(open_text("\xef\xbb\xbf", 0, &err));
    assert_non_null(strstr(err.text, "holds no rows"));
    /* Two such files in one: elsewhere it is a mistake, and has a name. */
    assert_null(open_text("{\"prompt\": \"a\"}\n\xef\xbb\xbf{\"prompt\": \"b\"}\n", 0, &err));
    assert_non_null(strstr(err.text, "rows.jsonl:2: not JSON: a byte order mark"));
}

static void no_more_than_max_rows_are_read(void **state)
{
    (void)state;
    error err = { 0 };
    dataset *d = open_text("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\n", 2, &err);
    assert_non_null(d);
    assert_int_equal(dataset_size(d), 2);
    dataset_free(d);
}

static void a_bad_line_is_refused_by_its_number(void **state)
{
    (void)state;
    static const char *const bad[] = { "{\"prompt\": 3}",
                                       "{\"answer\": \"a\"}",
                                       "[]",
                                       "\"prompt\"",
                                       "{\"prompt\": ",
                                       "{\"messages\": {}}",
                                       "{\"messages\": []}",
                                       "{\"prompt\": \"a\", \"messages\": []}",
                                       "{\"prompt\": \"a\", \"messages\": {\"role\": \"user\"}}",
                                       "no JSON",
                                       "{\"prompt\":\"a\"} {}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[200];
        error err = { 0 };
        snprintf(text, sizeof text, "{\"prompt\": \"a\"}\n\n%s\n{\"prompt\": \"b\"}\n", bad[i]);
        if (open_text(text, 0, &err)) fail_msg("was taken: %s", bad[i]);
        assert_int_equal(err.code, ERR_PARSE);
        if (!strstr(err.text, "rows.jsonl:3")) fail_msg("no line in: %s", err.text);
    }
}

static void a_row_longer_than_the_wire_takes_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    const size_t around = strlen("{\"prompt\": \"\"}");
    for (size_t len = MAX_ROW_BYTES; len <= MAX_ROW_BYTES + 1; len++) {
        char *fill = xmalloc(len);
        memset(fill, 'a', len);
        str text = { 0 };
        str_printf(&text, "{\"prompt\": \"%.*s\"}\n", (int)(len - around), fill);
        dataset *d = open_text(text.data, 0, &err);
        assert_int_equal(d != NULL, len == MAX_ROW_BYTES);
        dataset_free(d);
        str_free(&text);
        free(fill);
    }
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.text, "rows.jsonl:1"));
}

static void no_rows_and_no_file_are_errors(void **state)
{
    (void)state;
    error err = { 0 };
    assert_null(open_text("", 0, &err));
    assert_int_equal(err.code, ERR_PARSE);
    assert_null(open_text("\n\n  \r\n", 0, &err));
    assert_int_equal(err.code, ERR_PARSE);
    assert_null(dataset_open("/nowhere/rows.jsonl", 0, &err));
    assert_true(err.code == ERR_IO || err.code == ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nowhere/rows.jsonl"));
}

static void an_epoch_visits_every_row_once(void **state)
{
    (void)state;
    enum { N = 97, EPOCHS = 3 };
    dataset *d = numbered(N);
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int seen[N] = { 0 };
        for (uint64_t i = 0; i < N; i++) seen[dataset_visit(d, 5, epoch * N + i)]++;
        for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    }
    dataset_free(d);
}

static int differing(dataset *d, uint64_t seed_a, uint64_t from_a, uint64_t seed_b, uint64_t from_b)
{
    int n = 0;
    for (uint64_t i = 0; i < dataset_size(d); i++)
        n += dataset_visit(d, seed_a, from_a + i) != dataset_visit(d, seed_b, from_b + i);
    return n;
}

static void each_epoch_and_each_seed_has_its_own_order(void **state)
{
    (void)state;
    dataset *d = numbered(100);
    assert_true(differing(d, 1, 0, 1, 100) > 80);
    assert_true(differing(d, 1, 0, 2, 0) > 80);
    assert_int_equal(differing(d, 1, 0, 1, 0), 0);
    dataset_free(d);
}

static void a_resumed_cursor_visits_what_the_first_run_would_have(void **state)
{
    (void)state;
    enum { N = 10, VISITS = 35 };
    dataset *first = numbered(N), *resumed = numbered(N);
    uint64_t seen[VISITS];
    for (uint64_t i = 0; i < VISITS; i++) seen[i] = dataset_visit(first, 3, i);
    for (uint64_t i = VISITS; i-- > 0;) assert_int_equal(dataset_visit(resumed, 3, i), seen[i]);
    dataset_free(first);
    dataset_free(resumed);
}

/* An environment asks: its rows need no question, but they are rows. */
static void rows_of_an_environment_need_no_question(void **state)
{
    (void)state;
    error err = { 0 };
    char path[1024];
    path_join(path, sizeof path, folder, "rows.jsonl");
    assert_null(open_text("{\"size\": 4}\n", 0, &err));
    dataset *d = dataset_open_bare(path, 0, &err);
    if (!d) fail_msg("%s", err.text);
    assert_int_equal(dataset_size(d), 1);
    dataset_free(d);
    static const char *const NONE[] = { "{}\n[]\n", "{}\n3\n", "{}\n{\n" };
    for (int i = 0; i < 3; i++) {
        test_file_write(folder, "rows.jsonl", NONE[i]);
        assert_null(dataset_open_bare(path, 0, &err));
        assert_non_null(strstr(err.text, "rows.jsonl:2"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_an_environment_need_no_question),
        cmocka_unit_test(rows_are_the_files_lines_in_its_order),
        cmocka_unit_test(a_mark_at_the_start_is_no_part_of_a_row),
        cmocka_unit_test(no_more_than_max_rows_are_read),
        cmocka_unit_test(a_bad_line_is_refused_by_its_number),
        cmocka_unit_test(a_row_longer_than_the_wire_takes_is_refused),
        cmocka_unit_test(no_rows_and_no_file_are_errors),
        cmocka_unit_test(an_epoch_visits_every_row_once),
        cmocka_unit_test(each_epoch_and_each_seed_has_its_own_order),
        cmocka_unit_test(a_resumed_cursor_visits_what_the_first_run_would_have),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
