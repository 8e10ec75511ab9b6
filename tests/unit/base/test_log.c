/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/json.h"
#include "tests/support/support.h"

typedef struct sink {
    char *folder;
    int fd;
} sink;

static sink sink_open(void)
{
    char path[1024];
    sink s = { .folder = test_folder_new() };
    snprintf(path, sizeof path, "%s/log", s.folder);
    s.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(s.fd >= 0);
    return s;
}

/* What was logged; the caller frees. */
static char *sink_close(sink *s)
{
    close(s->fd);
    char *text = test_file_read(s->folder, "log");
    test_folder_remove(s->folder);
    return text;
}

static void a_line_has_level_role_and_sentence(void **state)
{
    (void)state;
    sink s = sink_open();
    logger *lg = logger_new(s.fd, "actor-1", LOG_INFO, false);
    log_debug(lg, "not shown");
    log_info(lg, "played %d episodes", 3);
    log_error(lg, "two\nlines and \x1b[31mcolour");
    logger_free(lg);
    char *text = sink_close(&s);
    assert_string_equal(text, "info  actor-1: played 3 episodes\nerror actor-1: two lines and  [31mcolour\n");
    free(text);
}

static void a_json_line_is_one_object_with_the_same(void **state)
{
    (void)state;
    sink s = sink_open();
    error err = { 0 };
    logger *lg = logger_new(s.fd, "reward \"x\"", LOG_DEBUG, true);
    log_warn(lg, "a \"quoted\"\nsentence");
    logger_free(lg);
    char *text = sink_close(&s);
    json_t *o = json_parse(text, strlen(text), "log", &err);
    if (!o) fail_msg("%s", err.text);
    const char *value;
    test_ok(json_need_string(o, "level", "log", &value, &err), &err);
    assert_string_equal(value, "warn");
    test_ok(json_need_string(o, "role", "log", &value, &err), &err);
    assert_string_equal(value, "reward \"x\"");
    test_ok(json_need_string(o, "text", "log", &value, &err), &err);
    assert_string_equal(value, "a \"quoted\"\nsentence");
    test_ok(json_need_string(o, "time", "log", &value, &err), &err);
    assert_int_equal(strlen(value), 20);
    json_decref(o);
    free(text);
}

static void no_logger_is_a_silent_one(void **state)
{
    (void)state;
    log_error(NULL, "no log has %s", "this");
    logger_free(NULL);
}

enum { LINES = 500, THREADS = 4 };

static void *speak(void *lg)
{
    for (int i = 0; i < LINES; i++) log_info(lg, "%0200d", i);
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
    (void)state;
    sink s = sink_open();
    logger *lg = logger_new(s.fd, "r", LOG_INFO, false);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, speak, lg), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    logger_free(lg);
    char *text = sink_close(&s);
    int n = 0;
    for (char *line = text; *line; n++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(end - line, strlen("info  r: ") + 200);
        line = end + 1;
    }
    assert_int_equal(n, LINES * THREADS);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_level_role_and_sentence),
        cmocka_unit_test(a_json_line_is_one_object_with_the_same),
        cmocka_unit_test(no_logger_is_a_silent_one),
        cmocka_unit_test(lines_of_several_threads_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
