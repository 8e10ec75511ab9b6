/* SPDX-License-Identifier: MIT */
/* What a child that has ended is reported to have said: by its pipe, else by its log. */
#include "run/last_words.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/support.h"

/* A child's end of the pipe and its log, written by the test in the child's place. */
typedef struct life {
    char *dir;
    char path[1100];
    int log, pipe;
    last_words words;
} life;

/* before: what an earlier life has left in the log. */
static life *begin(const char *before)
{
    life *l = calloc(1, sizeof *l);
    error err = { 0 };
    l->dir = test_folder_new();
    snprintf(l->path, sizeof l->path, "%s/log", l->dir);
    l->log = open(l->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(dprintf(l->log, "%s", before) >= 0);
    test_ok(last_words_begin(&l->words, l->log, &l->pipe, &err), &err);
    return l;
}

static bool poll_words(life *l, char *why, size_t size) { return last_words_poll(&l->words, why, size); }

/* The child ends: its ends close, and what it said is compared. */
static void ends_with(life *l, const char *expected)
{
    char why[200], out[200] = "unset";
    close(l->pipe);
    assert_false(poll_words(l, why, sizeof why));
    last_words_end(&l->words, l->path, out, sizeof out);
    assert_string_equal(out, expected);

    close(l->log);
    last_words_free(&l->words);
    test_folder_remove(l->dir);
    free(l);
}

static void the_pipe_counts_before_the_log(void **state)
{
    (void)state;
    life *l = begin("");
    dprintf(l->log, "troupe: actor: what the log says\n");
    dprintf(l->pipe, "disk quota exceeded: /r/rollouts.db\n");
    ends_with(l, "disk quota exceeded: /r/rollouts.db");
}

static void without_the_pipe_its_own_sentence_counts_and_not_a_library_s(void **state)
{
    (void)state;
    static const struct {
        const char *log, *said;
    } ROWS[] = {
        { "troupe: actor: no model in /m\n", "no model in /m" },
        { "troupe: learner: out of memory\nnvrtc: some library's line behind it\n", "out of memory" },
        { "troupe: reward: first\ntroupe: reward: last\n\n", "last" },
        { "terminate called without an exception\ninfo  actor step 3\n", "terminate called without an exception" },
        { "info  actor step 3\ndebug actor x\nwarn  actor y\n", "" },
        { "  \t\n\n", "" },
        { "", "" },
        { "troupe: actor: no newline at its end", "no newline at its end" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        life *l = begin("");
        assert_true(dprintf(l->log, "%s", ROWS[i].log) >= 0);
        ends_with(l, ROWS[i].said);
    }
}

/* A child that is started again and dies without a word must not be reported with the words of the one before. */
static void an_earlier_life_s_words_are_not_its_own(void **state)
{
    (void)state;
    life *l = begin("troupe: actor: of the life before\n");
    ends_with(l, "");

    l = begin("troupe: actor: of the life before\n");
    dprintf(l->log, "troupe: actor: of this one\n");
    ends_with(l, "of this one");
}

/* The end of a log that is longer than what is read: the sentence is at the end, and the cut line is none. */
static void a_long_log_is_read_at_its_end(void **state)
{
    (void)state;
    life *l = begin("");
    for (int i = 0; i < 1000; i++) dprintf(l->log, "info  actor step %d\n", i);
    dprintf(l->log, "troupe: actor: the disk is full\n");
    ends_with(l, "the disk is full");
}

static void a_lost_log_is_told_with_its_reason_and_is_no_last_sentence(void **state)
{
    (void)state;
    char why[200] = "";
    life *l = begin("");
    assert_false(poll_words(l, why, sizeof why)); /* nothing yet, and it does not wait */

    dprintf(l->pipe, LOG_IS_LOST "No space left on device\n");
    assert_true(poll_words(l, why, sizeof why));
    assert_string_equal(why, "No space left on device");
    assert_false(poll_words(l, why, sizeof why));

    dprintf(l->pipe, LOG_IS_LOST "Input/output error\ncannot write /r/metrics.jsonl\n");
    assert_true(poll_words(l, why, sizeof why));
    assert_string_equal(why, "Input/output error");
    ends_with(l, "cannot write /r/metrics.jsonl");
}

/* The same struct serves the next life: what this one said is gone with it. */
static void the_next_life_begins_with_no_words(void **state)
{
    (void)state;
    char why[200], out[200];
    error err = { 0 };
    life *l = begin("");
    dprintf(l->pipe, "the first life's\n");
    poll_words(l, why, sizeof why);
    close(l->pipe);
    last_words_end(&l->words, l->path, out, sizeof out);
    assert_string_equal(out, "the first life's");

    test_ok(last_words_begin(&l->words, l->log, &l->pipe, &err), &err);
    ends_with(l, "");
}

static void a_child_that_was_never_started_has_said_nothing(void **state)
{
    (void)state;
    char out[40] = "unset";
    last_words w = { .fd = -1 };
    last_words_end(&w, "/nowhere/log", out, sizeof out);
    assert_string_equal(out, "");
    last_words_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pipe_counts_before_the_log),
        cmocka_unit_test(without_the_pipe_its_own_sentence_counts_and_not_a_library_s),
        cmocka_unit_test(an_earlier_life_s_words_are_not_its_own),
        cmocka_unit_test(a_long_log_is_read_at_its_end),
        cmocka_unit_test(a_lost_log_is_told_with_its_reason_and_is_no_last_sentence),
        cmocka_unit_test(the_next_life_begins_with_no_words),
        cmocka_unit_test(a_child_that_was_never_started_has_said_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
