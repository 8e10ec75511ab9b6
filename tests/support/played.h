/* SPDX-License-Identifier: MIT */
/* played - an environment behind a router, as a test plays it: resets, words, and what comes of them. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "env/router.h"
#include "tests/support/support.h"

static inline tool_result result_of(router *r, uint64_t call)
{
    error err = { 0 };
    tool_result t = { 0 };
    test_ok(router_await(r, call, &t, &err), &err);
    return t;
}

static inline uint64_t begin_reset(router *r, uint64_t play, const char *row)
{
    return router_reset(r, &(tool_context){ .play = play, .row = row, .start = (uint64_t)9 << 33 }, clock_ms());
}

static inline uint64_t begin_say(router *r, uint64_t play, const char *text)
{
    char *said = said_arguments(text);
    const uint64_t call = router_say(r, said, &(tool_context){ .play = play, .turn = "all of it" }, clock_ms());
    free(said);
    return call;
}

/* Fails unless it began; its words are the caller's to free. */
static inline char *begun_with(router *r, uint64_t play, const char *row)
{
    tool_result t = result_of(r, begin_reset(r, play, row));
    if (t.failed) fail_msg("play %d did not begin: %s", (int)play, t.text);
    return t.text;
}

static inline char *begun(router *r, uint64_t play) { return begun_with(r, play, "{}"); }

static inline void expect(tool_result t, failure failed, const char *text)
{
    if (t.failed != failed || !strstr(t.text, text))
        fail_msg("expected '%s', found (failed %d): %s", text, t.failed, t.text);
    tool_result_reset(&t);
}

static inline void expect_said(router *r, uint64_t play, const char *text, failure failed, const char *expected)
{
    expect(result_of(r, begin_say(r, play, text)), failed, expected);
}
