/* SPDX-License-Identifier: MIT */
#include "proto/refusals.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/support.h"

typedef struct desk {
    char *dir, path[400];
    int fd;
    logger *log;
    refusals *r;
} desk;

static desk open_desk(void)
{
    desk d = { .dir = test_folder_new() };
    snprintf(d.path, sizeof d.path, "%s/log", d.dir);
    d.fd = open(d.path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    assert_true(d.fd >= 0);
    d.log = logger_new(d.fd, "learner", LOG_INFO, false);
    d.r = refusals_new(d.log);
    return d;
}

static void close_desk(desk *d)
{
    refusals_free(d->r);
    logger_free(d->log);
    close(d->fd);
    test_folder_remove(d->dir);
}

/* Lines of the log that have this word; *more: the sum of their "and N more". */
static int lines_with(const desk *d, const char *word, long *more)
{
    char *text = test_file_read(d->dir, "log"), *rest = text;
    int n = 0;
    *more = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (!strstr(line, word)) continue;
        const char *and = strstr(line, "(and ");
        n++;
        if (and) *more += strtol(and+5, NULL, 10);
    }
    free(text);
    return n;
}

static void every_refusal_is_counted_by_peer_and_reason(void **state)
{
    (void)state;
    refusals *r = refusals_new(NULL);
    for (int i = 0; i < 100; i++) refusals_add(r, i, "actor-1", REFUSAL_EPISODE, "an episode");
    for (int i = 0; i < 7; i++) refusals_add(r, i, "reward-1", REFUSAL_ROLE, "EPISODE");
    const refusal_counts *c = refusals_counted(r);
    assert_true(c->all == 107 && c->by_reason[REFUSAL_EPISODE] == 100 && c->by_reason[REFUSAL_ROLE] == 7);
    assert_int_equal(c->n_peers, 2);
    assert_string_equal(c->peers[1].name, "reward-1");
    assert_true(c->peers[0].n == 100 && c->peers[1].n == 7);
    refusals_free(r);
}

/* A day of a thousand an hour: the log grows by a line in ten seconds at most, and still speaks at the end. */
static void a_peer_is_named_for_ever_at_a_bounded_rate(void **state)
{
    (void)state;
    enum { HOURS = 24, AN_HOUR = 1000 };
    desk d = open_desk();
    long more;
    for (int64_t i = 0; i < HOURS * AN_HOUR; i++)
        refusals_add(d.r, 1000000 + i * 3600, "actor-7", REFUSAL_MALFORMED, i < HOURS * AN_HOUR / 2 ? "early" : "late");
    refusals_tick(d.r, 1000000 + (int64_t)HOURS * 3600 * 1000 + 60000);
    const int early = lines_with(&d, "early", &more);
    long all = more + early;
    const int late = lines_with(&d, "actor-7: late", &more);
    all += more + late;
    assert_in_range(early, HOURS * 360 / 2 - 100, HOURS * 360 / 2 + 10);
    assert_in_range(late, HOURS * 360 / 2 - 100, HOURS * 360 / 2 + 10);
    assert_int_equal(all, HOURS * AN_HOUR); /* none is lost from the tale */
    close_desk(&d);
}

static void a_burst_is_told_with_how_many_more_there_were(void **state)
{
    (void)state;
    desk d = open_desk();
    long more;
    for (int i = 0; i < 1204; i++) refusals_add(d.r, 5000, "actor-1", REFUSAL_SCORE, "nonsense");
    assert_int_equal(lines_with(&d, "nonsense", &more), 5);
    assert_int_equal(more, 0);
    refusals_tick(d.r, 5000);
    assert_int_equal(lines_with(&d, "nonsense", &more), 5);
    refusals_tick(d.r, 15001); /* though nothing came since */
    assert_int_equal(lines_with(&d, "nonsense", &more), 6);
    assert_int_equal(more, 1204 - 6);
    refusals_tick(d.r, 99999);
    assert_int_equal(lines_with(&d, "nonsense", &more), 6);
    close_desk(&d);
}

static void a_crowd_of_names_is_bounded_and_hides_nobody_that_came_before(void **state)
{
    (void)state;
    desk d = open_desk();
    long more;
    char name[64];
    refusals_add(d.r, 1, "first", REFUSAL_ROLE, "WEIGHTS");
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "flood-%d", i);
        refusals_add(d.r, 2, name, REFUSAL_NAMESAKE, "HELLO");
    }
    const refusal_counts *c = refusals_counted(d.r);
    assert_int_equal(c->n_peers, REFUSING_PEERS + 1);
    assert_string_equal(c->peers[REFUSING_PEERS].name, "others");
    assert_int_equal(c->peers[REFUSING_PEERS].n, 5000 - (REFUSING_PEERS - 1));
    assert_in_range(lines_with(&d, "refused of", &more), 10, 20); /* all together */
    refusals_add(d.r, 60000, "first", REFUSAL_ROLE, "again");
    assert_int_equal(lines_with(&d, "first: again", &more), 1);
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_is_counted_by_peer_and_reason),
        cmocka_unit_test(a_peer_is_named_for_ever_at_a_bounded_rate),
        cmocka_unit_test(a_burst_is_told_with_how_many_more_there_were),
        cmocka_unit_test(a_crowd_of_names_is_bounded_and_hides_nobody_that_came_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
