/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "show/progress.h"
#include "tests/support/support.h"

static int64_t now_ms, a_line_takes_ms;

int64_t __wrap_clock_ms(void);
int64_t __wrap_clock_ms(void) { return now_ms; }

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
        now_ms += a_line_takes_ms;
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

#define AT_STEP(n) "{\"event\": \"step\", \"step\": " #n "}"

static void a_pipe_of_a_slow_run_gets_a_line_each_half_a_minute(void **state)
{
    (void)state;
    a_line_takes_ms = 20000;
    char *text = SHOWN(10, AT_STEP(1), AT_STEP(2), AT_STEP(3), AT_STEP(4), AT_STEP(10));
    a_line_takes_ms = 0;
    assert_null(strstr(text, "step 1/"));
    assert_non_null(strstr(text, "step 2/"));
    assert_null(strstr(text, "step 3/"));
    assert_non_null(strstr(text, "step 4/"));
    assert_non_null(strstr(text, "step 10/"));
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

/* What a terminal of so many columns gets to see; false: this machine has none. */
static bool on_terminal(unsigned short columns, const char *const *lines, char *out, size_t size)
{
    const int keyboard = posix_openpt(O_RDWR | O_NOCTTY);
    const struct winsize w = { .ws_row = 24, .ws_col = columns };
    if (keyboard < 0 || grantpt(keyboard) != 0 || unlockpt(keyboard) != 0) return false;
    const int screen = open(ptsname(keyboard), O_RDWR | O_NOCTTY);
    assert_true(screen >= 0 && ioctl(screen, TIOCSWINSZ, &w) == 0);
    progress *p = progress_new(screen, 120, 1);
    for (; *lines; lines++) {
        json_t *json = json_parse(*lines, strlen(*lines), "line", NULL);
        progress_event(p, json);
        json_decref(json);
    }
    progress_free(p);
    struct pollfd shown_yet = { .fd = keyboard, .events = POLLIN };
    size_t len = 0;
    while (len < size - 1 && poll(&shown_yet, 1, 0) > 0) {
        const ssize_t n = read(keyboard, out + len, size - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
    }
    out[len] = 0;
    close(screen);
    close(keyboard);
    return true;
}

static const char *const ONE[] = {
    "{\"event\": \"step\", \"step\": 3, \"reward/accuracy/mean\": 0.5, \"prompt/shots/mean\": 2.5, "
    "\"tools/calls\": 4, \"perf/throughput\": 15000, \"training/staleness/mean\": 0.5}",
    NULL
};

/* Nothing is drawn over where it can't be: each step is a line. */
static void a_dumb_terminal_gets_plain_lines(void **state)
{
    (void)state;
    static const char *const DUMB[] = { "dumb", "", NULL };
    static char text[1 << 12];
    for (int i = 0; i < 3; i++) {
        if (DUMB[i])
            setenv("TERM", DUMB[i], 1);
        else
            unsetenv("TERM");
        if (!on_terminal(80, ONE, text, sizeof text)) skip();
        if (strchr(text, '\033') || strcmp(text + strlen(text) - 2, "\r\n") != 0) fail_msg("TERM %d: %s", i, text);
    }
    setenv("TERM", "xterm", 1);
}

/* COLUMNS asks for fewer, and speaks for a terminal that doesn't know; what is no number says nothing. */
static void columns_ask_for_fewer(void **state)
{
    (void)state;
    static const struct {
        unsigned short has;
        const char *asks;
        size_t shown; /* at most */
    } ALL[] = { { 80, "40", 39 },
                { 40, "200", 39 },
                { 0, "40", 39 },
                { 0, "", 79 },
                { 30, "x", 29 },
                { 30, "-5", 29 },
                { 30, "99999999999999999999", 29 } };
    static char text[1 << 12];
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        setenv("COLUMNS", ALL[i].asks, 1);
        if (!on_terminal(ALL[i].has, ONE, text, sizeof text)) skip();
        const char *last = strrchr(text, '\r') + strlen("\r\033[K");
        const size_t min = ALL[i].shown > 20 ? ALL[i].shown - 20 : 1;
        if (strlen(last) > ALL[i].shown || strlen(last) < min) fail_msg("COLUMNS=%s: %s", ALL[i].asks, last);
    }
    unsetenv("COLUMNS");
}

/* Ctrl-Z for an hour: what is left takes as long as it would have. */
static void a_pause_is_no_part_of_the_time_left(void **state)
{
    (void)state;
    int ends[2];
    char text[512] = "";
    assert_int_equal(pipe(ends), 0);
    progress *p = progress_new(ends[1], 10, 1);
    for (int step = 1; step <= 4; step++) {
        json_t *line = json_pack("{s:s, s:i}", "event", "step", "step", step);
        now_ms += 10000;
        progress_event(p, line);
        json_decref(line);
        if (step != 2) continue;
        now_ms += 3600000;
        progress_forgive(p, 3600000);
    }
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "step 4/10  1:00 left\n"));
    progress_free(p);
    close(ends[0]), close(ends[1]);
}

/* Whatever the width, the last line shows the step and the time left, and never wraps. */
static void a_narrow_terminal_keeps_the_time_left(void **state)
{
    (void)state;
#define STEP(n)                                                                                                        \
    "{\"event\": \"step\", \"step\": " n                                                                               \
    ", \"reward/accuracy/mean\": 0.5, \"reward/brevity/mean\": 0.25, \"prompt/shots/mean\": "                          \
    "2.5, \"tools/calls\": 4, \"tools/success_rate\": 0.75, \"perf/throughput\": 15000, \"training/staleness/mean\": " \
    "0.5}"
    static const char *const LINES[] = { STEP("3"), STEP("4"), STEP("5"), NULL };
    /* Letters of two bytes are one column wide. */
    static const char *const WIDE[] = { "{\"event\": \"step\", \"step\": 3, \"reward/genauigkeit_äöüäöü/mean\": 0.5}",
                                        NULL };
    static char text[1 << 14], wide[1 << 12];
    for (unsigned short columns = 20; columns <= 200; columns++) {
        if (!on_terminal(columns, LINES, text, sizeof text)) skip();
        const char *last = strrchr(text, '\r');
        assert_non_null(last);
        last += strlen("\r\033[K");
        if (strlen(last) >= columns) fail_msg("%u columns: %s", columns, last);
        if (!strstr(last, "step 5/120")) fail_msg("%u columns: %s", columns, last);
        if (columns >= 22 && !strstr(last, " left")) fail_msg("%u columns: %s", columns, last);
        if (columns >= 40 && !strstr(last, "accuracy 0.50")) fail_msg("%u columns: %s", columns, last);
        if (columns >= 80 && !strstr(last, "brevity 0.25")) fail_msg("%u columns: %s", columns, last);
        if (!on_terminal(columns, WIDE, wide, sizeof wide)) skip();
        if (columns >= 40 && !strstr(wide, "genauigkeit_\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc 0.50"))
            fail_msg("%u columns: %s", columns, wide);
        if (columns >= 110 && !strstr(last, "staleness 0.5")) fail_msg("%u columns: %s", columns, last);
    }
#undef STEP
}

static void a_step_without_an_episode_shows_no_figures(void **state)
{
    (void)state;
    char *text = SHOWN(
        1,
        "{\"event\": \"step\", \"step\": 1, \"training/groups\": 0, \"training/episodes\": 0, \"perf/throughput\": 0}");
    assert_string_equal(text, "step 1/20  no episode\n");
    free(text);
}

int main(void)
{
    setenv("TERM", "xterm", 1);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_one_plain_line),
        cmocka_unit_test(a_pipe_gets_each_so_manieth_step_and_the_last),
        cmocka_unit_test(a_pipe_of_a_slow_run_gets_a_line_each_half_a_minute),
        cmocka_unit_test(an_evaluation_says_shots_and_questions),
        cmocka_unit_test(a_sentence_of_the_learners_is_passed_on),
        cmocka_unit_test(what_is_no_report_is_passed_over),
        cmocka_unit_test(a_dumb_terminal_gets_plain_lines),
        cmocka_unit_test(columns_ask_for_fewer),
        cmocka_unit_test(a_narrow_terminal_keeps_the_time_left),
        cmocka_unit_test(a_pause_is_no_part_of_the_time_left),
        cmocka_unit_test(a_step_without_an_episode_shows_no_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
