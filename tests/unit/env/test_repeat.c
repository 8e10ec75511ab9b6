/* SPDX-License-Identifier: MIT */
#include "env/repeat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "tests/support/support.h"

enum { MAX_CALLS = 64 };

/* A tool that ends its calls when it is polled, one at a time, the youngest first; call `lost` fails for good. */
typedef struct counting {
    uint64_t under_way[MAX_CALLS];
    int n, most, begun, lost;
} counting;

static int begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx, int64_t now_ms, error *err)
{
    counting *c = self;
    (void)arguments, (void)ctx, (void)now_ms, (void)err;
    c->under_way[c->n++] = call;
    c->begun++;
    if (c->n > c->most) c->most = c->n;
    return OK;
}

static int no_fds(void *self, struct pollfd *out, int max)
{
    (void)self, (void)out, (void)max;
    return 0;
}

static int end_one(void *self, int64_t now_ms, tool_result *out, int max)
{
    counting *c = self;
    char text[32];
    (void)now_ms;
    if (c->n == 0 || max == 0) return 0;
    const uint64_t call = c->under_way[--c->n];
    const bool lost = c->lost && c->begun >= c->lost;
    snprintf(text, sizeof text, "answer %d", (int)call);
    *out = (tool_result){
        .call = call, .ok = true, .failed = lost ? FAIL_TOOL_LOST : FAIL_NONE, .text = xstrdup(text), .ms = (double)call
    };
    return 1;
}

static int64_t at_once(void *self)
{
    (void)self;
    return clock_ms();
}

static void keep(void *self) { (void)self; }

static router *with(counting *c)
{
    error err;
    router *r = router_new(NULL);
    const tool t = { .name = "count",
                     .description = "counts",
                     .parameters = "{\"type\":\"object\"}",
                     .self = c,
                     .begin = begin,
                     .fds = no_fds,
                     .poll = end_one,
                     .deadline_ms = at_once,
                     .free = keep };
    assert_int_equal(router_add(r, &t, &err), OK);
    return r;
}

static void as_many_calls_are_under_way_as_there_are_callers(void **state)
{
    (void)state;
    for (int callers = 1; callers <= 9; callers += 4) {
        error err = { 0 };
        tool_result first;
        latency took;
        counting c = { 0 };
        router *r = with(&c);
        const repetition what = { .tool = "count", .arguments_json = "{}", .calls = 20, .callers = callers };
        assert_int_equal(repeat_calls(r, &what, &first, &took, &err), OK);

        char youngest[32];
        snprintf(youngest, sizeof youngest, "answer %d", callers);
        assert_string_equal(first.text, youngest);
        assert_int_equal(c.begun, 20);
        assert_int_equal(c.most, callers);
        assert_true(took.max == 20 && took.p50 == 11);
        free(first.text);
        router_free(r);
    }
}

static void a_machine_that_fails_ends_it_and_the_first_result_stays(void **state)
{
    (void)state;
    error err = { 0 };
    tool_result first;
    latency took;
    counting c = { .lost = 5 };
    router *r = with(&c);
    const repetition what = { .tool = "count", .arguments_json = "{}", .calls = 20, .callers = 1 };
    assert_int_equal(repeat_calls(r, &what, &first, &took, &err), ERR_PEER);
    assert_non_null(strstr(err.text, "count: "));
    assert_string_equal(first.text, "answer 1");
    assert_true(c.begun < 20);
    free(first.text);
    router_free(r);
}

static void percentiles_are_values_that_were_measured(void **state)
{
    (void)state;
    double one[] = { 7 }, many[200];
    const latency alone = latency_of(one, 1);
    assert_true(alone.p50 == 7 && alone.p90 == 7 && alone.p99 == 7 && alone.max == 7);

    for (int i = 0; i < 200; i++) many[i] = (double)((i * 77) % 200); /* each of 0..199 once */
    const latency l = latency_of(many, 200);
    assert_true(l.p50 == 100 && l.p90 == 180 && l.p99 == 198 && l.max == 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_calls_are_under_way_as_there_are_callers),
        cmocka_unit_test(a_machine_that_fails_ends_it_and_the_first_result_stays),
        cmocka_unit_test(percentiles_are_values_that_were_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
