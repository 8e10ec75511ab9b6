/* SPDX-License-Identifier: MIT */
/* A process as it is seen second by second, in made-up time. */
#include "run/vigil.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/support.h"

static const vigil_limits LIMITS = { .stopped_ms = 15000, .lost_ms = 60000, .silent_ms = 60000 };

typedef struct scene {
    vigil v;
    vigil_sight sight;
    int64_t now_ms;
    int share; /* percent of a core it computes with */
    int said;
    char last[300];
} scene;

static scene worker(void)
{
    return (scene){ .sight = { .name = "actor-1", .process = { 'S', 0 }, .connects = true, .listed = true },
                    .now_ms = 1000000 };
}

static scene principal(void)
{
    return (scene){ .sight = { .name = "learner", .process = { 'S', 0 }, .reports = true, .heard_ms = 1000000 },
                    .now_ms = 1000000 };
}

/* So many seconds as they are; returns after how many it was to be replaced, -1: never. */
static int watch(scene *s, int seconds)
{
    for (int i = 1; i <= seconds; i++) {
        char out[300] = "";
        s->now_ms += 1000;
        s->sight.process.cpu_ms += s->share * 10;
        const vigil_verdict verdict = vigil_look(&s->v, &LIMITS, &s->sight, s->now_ms, out, sizeof out);
        if (verdict != VIGIL_WELL) snprintf(s->last, sizeof s->last, "%s", out), s->said += verdict == VIGIL_SAY;
        if (verdict == VIGIL_REPLACE) return i;
    }
    return -1;
}

static void who_is_stopped_is_named_then_replaced(void **state)
{
    (void)state;
    scene s = worker();
    s.sight.connected = true;
    assert_int_equal(watch(&s, 100), -1);
    s.sight.process.state = 'T';
    const int after = watch(&s, 100);
    assert_in_range(after, 15, 17);
    assert_int_equal(s.said, 1);
    assert_non_null(strstr(s.last, "actor-1 has been stopped for 15 s"));
    scene p = principal(); /* any process may be */
    p.sight.process.state = 'T';
    assert_in_range(watch(&p, 100), 15, 17);
}

static void who_goes_on_in_time_is_left_alone(void **state)
{
    (void)state;
    scene s = worker();
    s.sight.connected = true;
    for (int i = 0; i < 5; i++) {
        s.sight.process.state = 'T';
        assert_int_equal(watch(&s, 10), -1);
        s.sight.process.state = 'S';
        assert_int_equal(watch(&s, 2), -1);
        assert_string_equal(s.last, "actor-1 continues");
    }
}

static void who_is_debugged_is_waited_for(void **state)
{
    (void)state;
    scene s = worker();
    s.sight.process.state = 't';
    assert_int_equal(watch(&s, 3600), -1);
}

/* Its own fault or not: a worker that the exchange doesn't hear of is of no use. */
static void who_lives_but_is_lost_is_replaced(void **state)
{
    (void)state;
    scene s = worker();
    s.sight.connected = true;
    watch(&s, 10);
    s.sight.connected = false;
    s.share = 70; /* it computes, but it was here before: its results reach no learner */
    assert_in_range(watch(&s, 100), 60, 62);
    assert_int_equal(s.said, 1);
    assert_non_null(strstr(s.last, "is alive but has not been connected to the learner for 60 s"));
}

static void who_loads_a_model_has_longer(void **state)
{
    (void)state;
    scene s = worker();
    s.share = 90;
    assert_int_equal(watch(&s, 200), -1);
    s.sight.connected = true;
    assert_int_equal(watch(&s, 1000), -1);
    scene idle = worker();
    assert_in_range(watch(&idle, 100), 60, 62);
    scene on_disk = worker();
    on_disk.sight.process.state = 'D';
    assert_int_equal(watch(&on_disk, 200), -1);
    scene never = worker();
    never.share = 90;
    assert_in_range(watch(&never, 1000), 300, 302);
}

static void nobody_is_lost_while_nobody_is_listed(void **state)
{
    (void)state;
    scene s = worker();
    for (int i = 0; i < 10; i++) {
        s.sight.listed = false; /* the learner is being started again */
        assert_int_equal(watch(&s, 1000), -1);
        s.sight.listed = true;
        assert_int_equal(watch(&s, 50), -1);
    }
}

static void a_principal_that_computes_is_waited_for_one_that_hangs_is_not(void **state)
{
    (void)state;
    scene s = principal();
    s.share = 150;
    assert_int_equal(watch(&s, 3600), -1);
    assert_in_range(s.said, 50, 61); /* once a minute */
    assert_non_null(strstr(s.last, "but uses CPU time: waiting for it"));
    scene hangs = principal();
    hangs.share = 1; /* heartbeats */
    assert_in_range(watch(&hangs, 200), 60, 62);
    assert_non_null(strstr(hangs.last, "uses no CPU time"));
    scene starting = principal();
    starting.sight.reports = false; /* reading a large database */
    assert_int_equal(watch(&starting, 3600), -1);
}

/* The supervisor was stopped with the others (Ctrl-Z of the whole job) and sees them as they were. */
static void what_was_not_watched_is_not_counted(void **state)
{
    (void)state;
    scene s = worker();
    s.sight.process.state = 'T';
    assert_int_equal(watch(&s, 10), -1);
    vigil_forgive(&s.v, 3600000);
    s.now_ms += 3600000;
    assert_int_equal(watch(&s, 4), -1);
    assert_in_range(watch(&s, 10), 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_stopped_is_named_then_replaced),
        cmocka_unit_test(who_goes_on_in_time_is_left_alone),
        cmocka_unit_test(who_is_debugged_is_waited_for),
        cmocka_unit_test(who_lives_but_is_lost_is_replaced),
        cmocka_unit_test(who_loads_a_model_has_longer),
        cmocka_unit_test(nobody_is_lost_while_nobody_is_listed),
        cmocka_unit_test(a_principal_that_computes_is_waited_for_one_that_hangs_is_not),
        cmocka_unit_test(what_was_not_watched_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
