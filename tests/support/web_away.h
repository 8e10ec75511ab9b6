/* SPDX-License-Identifier: MIT */
/* web_away - a tool whose server is away for a while. */
#pragma once

#include "base/clock.h"
#include "env/router.h"
#include "tests/support/web.h"

/* The call was begun when the server had gone: it has no result for so many turns, and once the server is started
 * again it has one. */
static inline tool_result web_result_after_away(router *r, uint64_t id, int turns, web *server, const char *script,
                                                int port)
{
    error err = { 0 };
    tool_result t = { 0 };
    for (int i = 0; i < turns; i++) {
        router_wait(r, 1000);
        assert_int_equal(router_poll(r, clock_ms(), &t, 1), 0);
    }
    *server = web_start(script, port);
    test_ok(router_await(r, id, &t, &err), &err);
    return t;
}
