/* SPDX-License-Identifier: MIT */
#include "run/shots.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "tests/support/support.h"

static int read_text(shot_pool *pool, const char *dir, const char *text, error *err)
{
    char path[1024];
    *pool = (shot_pool){ 0 };
    test_file_write(dir, "shots.jsonl", text);
    return shots_read(pool, path_join(path, sizeof path, dir, "shots.jsonl"), err);
}

static void a_file_of_any_editors_is_read(void **state)
{
    (void)state;
    char *dir = test_folder_new();
    shot_pool pool;
    error err = { 0 };
    test_ok(read_text(&pool, dir,
                      "\xef\xbb\xbf{\"prompt\": \"a\", \"answer\": \"1\"}\r\n\r\n"
                      "{\"prompt\": \"b\", \"answer\": \"2\"}",
                      &err),
            &err);
    assert_int_equal(pool.len, 2);
    assert_true(pool.data[0][0] == '{');
    shots_free(&pool);
    test_folder_remove(dir);
}

static void a_bad_line_has_its_number(void **state)
{
    (void)state;
    char *dir = test_folder_new();
    shot_pool pool;
    error err = { 0 };
    assert_int_equal(read_text(&pool, dir, "{\"prompt\": \"a\", \"answer\": \"1\"}\n{\"prompt\": \"b\"}\n", &err),
                     ERR_PARSE);
    assert_non_null(strstr(err.text, "shots.jsonl:2: a shot needs \"answer\""));
    shots_free(&pool);
    test_folder_remove(dir);
}

static void a_tool_that_is_not_there_is_no_example(void **state)
{
    (void)state;
    char *dir = test_folder_new();
    shot_pool pool;
    error err = { 0 };
    test_ok(read_text(&pool, dir,
                      "{\"prompt\": \"a\", \"answer\": \"1\"}\n"
                      "{\"prompt\": \"b\", \"answer\": \"2\", \"steps\": [{\"tool\": \"python\", \"arguments\": {}, "
                      "\"result\": \"2\"}, {\"tool\": \"serch\", \"arguments\": {}, \"result\": \"2\"}]}",
                      &err),
            &err);
    test_ok(shots_check_tools(&pool, "[{\"name\": \"serch\"}, {\"name\": \"python\"}]", &err), &err);
    assert_int_equal(shots_check_tools(&pool, "[{\"name\": \"python\"}, {\"name\": \"search\"}]", &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "shot 2, step 2: env.tools has no 'serch' (did you mean 'search'?)"));
    assert_int_equal(shots_check_tools(&pool, "[]", &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "shot 2, step 1: it calls 'python', but env.tools is empty"));
    shots_free(&pool);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_any_editors_is_read),
        cmocka_unit_test(a_bad_line_has_its_number),
        cmocka_unit_test(a_tool_that_is_not_there_is_no_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
