/* SPDX-License-Identifier: MIT */
#include "env/repeat.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"

enum { MAX_RESULTS = 256, LONGEST_WAIT_MS = 1000 };

typedef struct progress {
    router *router;
    const repetition *what;
    int begun, ended;
    double *ms; /* [ended], in the order in which they ended */
    tool_result *first;
} progress;

static void begin_calls(progress *p)
{
    const repetition *what = p->what;
    for (; p->begun < what->calls && p->begun - p->ended < what->callers; p->begun++)
        router_begin(p->router, what->tool, what->arguments_json, NULL, clock_ms());
}

/* Takes the result. */
static int count(progress *p, tool_result *result, error *err)
{
    int rc = OK;
    p->ms[p->ended] = result->ms;
    if (result->failed != FAIL_NONE)
        rc = error_set(err, ERR_PEER, "%s: %s: %s", p->what->tool, failure_name(result->failed), result->text);

    if (rc == OK && p->ended == 0)
        *p->first = *result;
    else
        free(result->text);
    p->ended++;
    return rc;
}

static int make_calls(progress *p, error *err)
{
    int rc = OK;
    while (rc == OK && p->ended < p->what->calls) {
        begin_calls(p);

        tool_result results[MAX_RESULTS];
        const int n = router_poll(p->router, clock_ms(), results, MAX_RESULTS);
        for (int i = 0; i < n; i++) { /* after a failure too: each result owns its text */
            const int counted = count(p, &results[i], err);
            if (rc == OK) rc = counted;
        }
        if (n == 0) router_wait(p->router, LONGEST_WAIT_MS);
    }
    return rc;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

latency latency_of(double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    return (latency){ .p50 = ms[n / 2], .p90 = ms[n * 9 / 10], .p99 = ms[n * 99 / 100], .max = ms[n - 1] };
}

int repeat_calls(router *r, const repetition *what, tool_result *first, latency *out, error *err)
{
    progress p = { .router = r, .what = what, .first = first };
    *first = (tool_result){ 0 };
    p.ms = xcalloc((size_t)what->calls, sizeof *p.ms);
    const int rc = make_calls(&p, err);
    if (rc == OK) *out = latency_of(p.ms, what->calls);
    free(p.ms);
    return rc;
}
