/* SPDX-License-Identifier: MIT */
/* T.python{ session = true }: what a call defines, the next ones of its episode find, and nothing else is to be seen of
 * how that is done. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "env/tools/cells.h"
#include "env/tools/python.h"
#include "tests/support/played.h"
#include "tests/support/support.h"

static router *session_router(box_mode mode)
{
    error err = { 0 };
    tool made;
    router *r = router_new(NULL);
    const box_config limits = { .timeout_ms = 1500, .mode = mode };
    const int rc = python_session_tool(&limits, 0, &made, &err);
    if (rc == ERR_UNSUPPORTED) {
        print_message("no sandbox on this machine: %s\n", err.text);
        router_free(r);
        skip();
    }
    test_ok(rc, &err);
    test_ok(router_add(r, &made, &err), &err);
    return r;
}

/* A call of episode `play`, its seed that of the call's number. */
static tool_result ran(router *r, uint64_t play, uint64_t number, const char *code)
{
    json_t *arguments = json_pack("{s:s}", "code", code);
    char *text = json_text(arguments, false);
    const tool_context context = { .play = play, .seed = number };
    tool_result t = result_of(r, router_begin(r, PYTHON_NAME, text, &context, clock_ms()));
    free(text);
    json_decref(arguments);
    return t;
}

static void prints(router *r, uint64_t play, const char *code, bool ok, const char *expected)
{
    tool_result t = ran(r, play, 1, code);
    if (t.failed || t.ok != ok || strcmp(t.text, expected) != 0)
        fail_msg("%s: expected '%s', found (failed %d, ok %d): %s", code, expected, t.failed, t.ok, t.text);
    tool_result_reset(&t);
}

static void variables_last(router *r)
{
    prints(r, 1, "x = 3\nprint('x is', x)", true, "x is 3");
    prints(r, 1, "import math\ndef half(a):\n  return a / 2 if a else 1 / a\nx += 1", true, "");
    prints(r, 1, "print(half(x), math.pi > 3)", true, "2.0 True");
    prints(r, 2, "print(x)", false, "NameError: name 'x' is not defined\n  line 1");
    router_leave(r, 1);
    prints(r, 1, "print(x)", false, "NameError: name 'x' is not defined\n  line 1");
}

static void variables_last_for_an_episode(void **state)
{
    (void)state;
    static const box_mode MODES[] = { BOX_AUTO, BOX_LANDLOCK, BOX_NONE };
    for (int i = 0; i < 3; i++) {
        router *r = session_router(MODES[i]);
        variables_last(r);
        router_free(r);
    }
}

/* What a call did before it raised is done; where the error is, is said by call and line. */
static void errors_are_said_once_and_where_they_are(void **state)
{
    (void)state;
    router *r = session_router(BOX_AUTO);
    prints(r, 1, "def f(a):\n  return 1 / a", true, "");
    prints(r, 1, "y = 7\nprint(y)\nf(0)\ny = 8", false,
           "7\nZeroDivisionError: division by zero\n  line 3\n  line 2 of call 1, in f");
    prints(r, 1, "print(y)", true, "7");
    prints(r, 1, "print(", false, "SyntaxError: '(' was never closed\n  line 1");
    prints(r, 1, "import os, sys\nos.write(1, b'out')\nprint('err', file=sys.stderr)\nz = 5", true, "outerr");
    prints(r, 1, "print(y + z)", true, "12");
    router_free(r);
}

static void a_limit_leaves_nothing_of_its_call(void **state)
{
    (void)state;
    router *r = session_router(BOX_AUTO);
    prints(r, 1, "a = 1", true, "");
    prints(r, 1, "a = 2\nwhile True: pass", false, "error: time limit of 1.5 s exceeded");
    prints(r, 1, "a += 10\nimport os\nos._exit(3)", false, "error: the code exited with status 3");
    prints(r, 1, "print(a)", true, "1");
    prints(r, 1, "b = 1\nexit()", true, "");
    prints(r, 1, "c = 1\nimport os\nos._exit(0)", true, "");
    prints(r, 1, "print(a, b, c)", true, "1 1 1"); /* that they ended is no end of what comes after */
    router_free(r);
}

/* Of many calls each may be short and all together too long; the policy is told so, and that call alone is lost. */
static void code_is_too_long_with_what_came_before(void **state)
{
    (void)state;
    enum { LONG = 400000 };
    router *r = session_router(BOX_AUTO);
    char *code = xmalloc(LONG + 1);
    memset(code, '#', LONG);
    code[LONG] = 0;
    prints(r, 1, code, true, "");
    prints(r, 1, code, true, "");
    tool_result t = ran(r, 1, 1, code);
    assert_true(t.failed == FAIL_NONE && !t.ok && strstr(t.text, "bytes of code, with that of the calls before,"));
    tool_result_reset(&t);
    prints(r, 1, "print(1)", true, "1");
    free(code);
    router_free(r);
}

/* What a call has done to the generators ends no later one. */
static void chance_can_t_be_taken_away(void **state)
{
    (void)state;
    router *r = session_router(BOX_AUTO);
    prints(r, 1, "import random\ndel random.Random", true, "");
    prints(r, 1, "print(1)", true, "1");
    prints(r, 2, "import random\nrandom.Random.seed = random.seed = None", true, "");
    prints(r, 2, "print(random.random() < 1)", true, "True");
    router_free(r);
}

/* The number that a call has drawn stays the one that it was told of; each call has its own. */
static void chance_is_each_call_s_own(void **state)
{
    (void)state;
    router *r = session_router(BOX_AUTO);
    tool_result first = ran(r, 1, 11, "import random\nx = random.random()\nprint(x)");
    tool_result second = ran(r, 1, 12, "y = random.random()\nprint(y)");
    tool_result both = ran(r, 1, 13, "print(x)\nprint(y)"),
                alone = ran(r, 2, 12, "import random\nprint(random.random())");
    char expected[200];
    snprintf(expected, sizeof expected, "%s\n%s", first.text, second.text);
    assert_string_equal(both.text, expected);
    assert_string_equal(alone.text, second.text);
    assert_string_not_equal(first.text, second.text);
    tool_result_reset(&first);
    tool_result_reset(&second);
    tool_result_reset(&both);
    tool_result_reset(&alone);
    router_free(r);
}

/* A call that was lost is asked again, and stands there once. */
static void what_the_box_is_asked(void **state)
{
    (void)state;
    cells *c = cells_new();
    const tool_context in_play = { .play = 4, .seed = UINT64_MAX }, alone = { .seed = 2 };
    size_t len;
    char *text = cells_request(c, 1, "a = '\"'\n", 8, &in_play, &len);
    assert_string_equal(text, "[[18446744073709551615, \"a = '\\\"'\\n\"]]");
    free(text);
    free(cells_request(c, 1, "a = 1", 5, &in_play, &len));
    cells_ended(c, 1, true);
    cells_ended(c, 1, true);
    text = cells_request(c, 2, "b", 1, &in_play, &len);
    assert_string_equal(text, "[[18446744073709551615, \"a = 1\"], [18446744073709551615, \"b\"]]");
    assert_int_equal(len, strlen(text));
    free(text);
    cells_ended(c, 2, false);
    text = cells_request(c, 3, "c", 1, &alone, &len);
    assert_string_equal(text, "[[2, \"c\"]]");
    free(text);
    cells_ended(c, 3, true);
    free(cells_request(c, 4, "d", 1, &in_play, &len)); /* under way when the episode ends */
    cells_leave(c, 4);
    cells_ended(c, 4, true);
    text = cells_request(c, 5, "e", 1, &in_play, &len);
    assert_string_equal(text, "[[18446744073709551615, \"e\"]]");
    free(text);
    cells_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_last_for_an_episode),
        cmocka_unit_test(errors_are_said_once_and_where_they_are),
        cmocka_unit_test(a_limit_leaves_nothing_of_its_call),
        cmocka_unit_test(chance_is_each_call_s_own),
        cmocka_unit_test(chance_can_t_be_taken_away),
        cmocka_unit_test(code_is_too_long_with_what_came_before),
        cmocka_unit_test(what_the_box_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
