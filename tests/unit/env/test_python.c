/* SPDX-License-Identifier: MIT */
/* Real code in the real sandbox: what it says, what it can't do, and that the next call knows nothing of it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "env/router.h"
#include "env/tools/python.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 30000 };

/* All of it twice: with what this machine gives by itself, and with Landlock alone. */
static box_config LIMITS = { .timeout_ms = 1000, .memory_mb = 128, .output_bytes = 1000 };

static router *new_router(const box_config *limits, int at_once)
{
    error err = { 0 };
    tool python;
    router *r = router_new(NULL);
    const int rc = python_tool(limits, at_once, &python, &err);
    if (rc == ERR_UNSUPPORTED) {
        print_message("no sandbox on this machine: %s\n", err.text);
        router_free(r);
        skip();
    }
    test_ok(rc, &err);
    test_ok(router_add(r, &python, &err), &err);
    return r;
}

static char *arguments_of(const char *code)
{
    str s = { 0 };
    str_puts(&s, "{\"code\": ");
    str_json(&s, code, strlen(code));
    str_putc(&s, '}');
    return str_take(&s);
}

static tool_result call(router *r, const char *code)
{
    error err = { 0 };
    tool_result result = { 0 };
    char *arguments = arguments_of(code);
    test_ok(router_call(r, "python", arguments, &result, &err), &err);
    free(arguments);
    return result;
}

static void expect(router *r, const char *code, bool ok, const char *words)
{
    tool_result t = call(r, code);
    if (t.failed != FAIL_NONE) fail_msg("%s: %s: %s", code, failure_name(t.failed), t.text);
    if (t.ok != ok || !strstr(t.text, words))
        fail_msg("%s: expected %s and '%s' in: %s", code, ok ? "success" : "an error", words, t.text);
    free(t.text);
}

static bool has_namespaces(void)
{
    const box_config limits = { 0 };
    box *b = box_new(&limits, NULL);
    const bool has = b && strcmp(box_layers(b), "namespaces") == 0;
    box_free(b);
    return has;
}

static void asyncio_runs(void **state)
{
    (void)state;
    router *r = new_router(&LIMITS, 0);
    expect(r,
           "import asyncio\n"
           "async def work(n):\n"
           "  await asyncio.sleep(0.01 * (3 - n))\n"
           "  print('done', n)\n"
           "  return n\n"
           "async def main():\n"
           "  q = asyncio.Queue()\n"
           "  asyncio.get_running_loop().call_soon_threadsafe(q.put_nowait, 'woken')\n"
           "  print(await q.get())\n"
           "  print(sum(await asyncio.gather(*[work(n) for n in range(3)])))\n"
           "asyncio.run(main())\n",
           true, "woken\ndone 2\ndone 1\ndone 0\n3");
    expect(r, "import asyncio\nasync def f():\n  await asyncio.wait_for(asyncio.sleep(5), 0.01)\nasyncio.run(f())",
           false, "TimeoutError");
    router_free(r);
}

static void code_says_what_it_prints(void **state)
{
    (void)state;
    router *r = new_router(&LIMITS, 0);
    expect(r, "print(2+2)", true, "4");
    expect(r, "import math, json, re, statistics\nprint(json.dumps([math.comb(50, 25), statistics.mean([1, 2])]))",
           true, "[126410606437752, 1.5]");
    expect(r, "x = 1", true, "");
    expect(r, "print('\\u00e4\\U0001f600')", true, "\xc3\xa4\xf0\x9f\x98\x80");
    router_free(r);
}

static void faults_are_shown_to_the_policy(void **state)
{
    (void)state;
    router *r = new_router(&LIMITS, 0);
    expect(r, "1/0", false, "ZeroDivisionError: division by zero");
    expect(r, "print(1", false, "SyntaxError");
    expect(r, "while True: pass", false, "time limit");
    expect(r, "import time\nwhile True: time.sleep(1)", false, "time limit");
    expect(r, "print('x' * 100000)", false, "cut at 1000 bytes");
    expect(r, "while True: print('y')", false, "output truncated");
    expect(r, "x = bytearray(10**9)", false, "Memory");
    expect(r, "def f(): return f() + 1\nf()", false, "RecursionError");
    expect(r, "print(2+2)", true, "4");
    router_free(r);
}

/* Each must end in an error, or print that it got nowhere; and the call after it works as ever. */
static void attacks_get_nowhere(void **state)
{
    (void)state;
    static const char *const ATTACKS[] = {
        "import os\nwhile True: os.fork()",
        "import threading, time\nfor i in range(10000): threading.Thread(target=time.sleep, args=(60,), "
        "daemon=True).start()\nprint('escaped')",
        "import socket\ns = socket.socket()\nprint('escaped')",
        "import os\nos.kill(-1, 9)\nprint('escaped')",
        "import os\nos.kill(os.getppid(), 9)\nprint('escaped')",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo escaped'])",
        "import subprocess\nprint(subprocess.run(['echo', 'escaped'], capture_output=True).stdout)",
        "open('/etc/passwd').read()\nprint('escaped')",
        "open('/usr/mine', 'w').write('x')\nprint('escaped')",
        "import os\nos.listdir('/home')\nprint('escaped')",
        "open('/proc/1/mem', 'rb').read(10)\nprint('escaped')",
        "import ctypes\nctypes.CDLL(None).ptrace(16, 1, 0, 0)\nctypes.string_at(0)\nprint('escaped')",
        "import os\nos.setuid(0)\nos.mount\nprint('escaped')",
        "f = open('big.bin', 'wb')\nwhile True: f.write(b'x' * 10**7)",
        "import os\nfds = []\nwhile True: fds.append(os.open('.', 0))",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGXCPU, "
        "signal.SIG_IGN)\nwhile True: pass",
    };
    router *r = new_router(&LIMITS, 0);
    for (size_t i = 0; i < sizeof ATTACKS / sizeof *ATTACKS; i++) {
        tool_result t = call(r, ATTACKS[i]);
        if (t.ok || strstr(t.text, "escaped")) fail_msg("%s: %s", ATTACKS[i], t.text);
        if (t.failed != FAIL_NONE) fail_msg("%s took the sandbox with it: %s", ATTACKS[i], t.text);
        free(t.text);
        expect(r, "print(6*7)", true, "42");
    }
    router_free(r);
}

static void the_layers_are_told(void **state)
{
    (void)state;
    error err = { 0 };
    box *b = box_new(&LIMITS, &err);
    if (!b) skip();
    const bool landlock = strcmp(box_layers(b), "landlock") == 0;
    assert_true(landlock || (LIMITS.mode == BOX_AUTO && strcmp(box_layers(b), "namespaces") == 0));
    box_free(b);
}

/* In its own namespaces a call has a /tmp; under Landlock alone it has no folder to write in, and is told so. */
static void scratch_files_are_where_they_can_be_bounded(void **state)
{
    (void)state;
    router *r = new_router(&LIMITS, 0);
    const bool landlock = LIMITS.mode == BOX_LANDLOCK || !has_namespaces();
    expect(r, "open('x.txt', 'w').write('hello')\nprint(open('x.txt').read())", !landlock,
           landlock ? "PermissionError" : "hello");
    expect(r, "open('/dev/null', 'w').write('x')\nprint(len(open('/dev/urandom', 'rb').read(8)))", true, "8");
    router_free(r);
}

/* Code of all lengths arrives whole, in one message or in parts, and the call after it is as ever. */
static void long_code_arrives_whole(void **state)
{
    (void)state;
    static const size_t BYTES[] = { 65500, 65511, 65512, 65536, 131072, 420000, 450000, 1000000 };
    box_config patient = LIMITS;
    patient.timeout_ms = 5000;
    router *r = new_router(&patient, 0);
    for (size_t i = 0; i < sizeof BYTES / sizeof *BYTES; i++) {
        str code = { 0 };
        char expected[80];
        str_puts(&code, "x = '");
        uint64_t sum = 0;
        for (size_t k = 0; code.len < BYTES[i] - 60; k++) {
            const char c = (char)('a' + k * k % 23 % 26);
            str_putc(&code, c);
            sum = (sum * 31 + (uint64_t)c) % 1000003;
        }
        snprintf(expected, sizeof expected, "%zu %" PRIu64, code.len - 5, sum);
        str_puts(&code, "'\ns = 0\nfor c in x: s = (s * 31 + ord(c)) % 1000003\nprint(len(x), s)");
        expect(r, code.data, true, expected);
        str_free(&code);
    }
    expect(r, "print(2 + 2)", true, "4");
    router_free(r);
}

static void nothing_survives_a_call(void **state)
{
    (void)state;
    router *r = new_router(&LIMITS, 0);
    expect(r,
           "import builtins, sys, math\nbuiltins.x = 1\nmath.pi = 3\nsys.modules['re'] = None\ntry: open('left.txt', "
           "'w').write('x')\nexcept OSError: pass\nprint('done')",
           true, "done");
    expect(r,
           "import math, os, re\nprint(hasattr(__builtins__, 'x'), round(math.pi, 3), os.path.exists('left.txt'), re "
           "is not None)",
           true, "False 3.142 False True");
    router_free(r);
}

static void wait_turn(router *r)
{
    struct pollfd fds[64];
    const int n = router_fds(r, fds, 64);
    const int64_t left = router_deadline_ms(r) - clock_ms();
    poll(fds, (nfds_t)n, left < 0 ? 0 : left > 200 ? 200 : (int)left);
}

/* Results of `n` calls, each with its own id; fails when one is missing for too long. */
static void collect(router *r, int n, void (*each)(void *ctx, const tool_result *t), void *ctx)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (n > 0) {
        tool_result out[16];
        const int got = router_poll(r, clock_ms(), out, 16);
        for (int i = 0; i < got; i++, n--) {
            each(ctx, &out[i]);
            free(out[i].text);
        }
        if (clock_ms() > deadline_ms) fail_msg("%d calls never came back", n);
        if (n > 0) wait_turn(r);
    }
}

static void count_ok(void *ctx, const tool_result *t) { *(int *)ctx += t->ok && t->failed == FAIL_NONE; }

/* Twenty calls of 0.2 s through two places: each has its second for itself. */
static void calls_beyond_the_places_wait_with_their_clock_stopped(void **state)
{
    (void)state;
    enum { CALLS = 20 };
    router *r = new_router(&LIMITS, 2);
    int ok = 0;
    char *arguments = arguments_of("import time\ntime.sleep(0.2)\nprint(1)");
    for (int i = 0; i < CALLS; i++) assert_true(router_begin(r, "python", arguments, NULL, clock_ms()) > 0);
    collect(r, CALLS, count_ok, &ok);
    assert_int_equal(ok, CALLS);
    free(arguments);
    router_free(r);
}

static void a_cancelled_call_never_comes_back_and_frees_its_place(void **state)
{
    (void)state;
    int ok = 0;
    router *r = new_router(&LIMITS, 1);
    char *slow = arguments_of("import time\ntime.sleep(60)"), *quick = arguments_of("print(1)");
    const uint64_t first = router_begin(r, "python", slow, NULL, clock_ms());
    const uint64_t second = router_begin(r, "python", slow, NULL, clock_ms()); /* waits its turn */
    router_begin(r, "python", quick, NULL, clock_ms());
    router_cancel(r, first);
    router_cancel(r, second);
    collect(r, 1, count_ok, &ok);
    assert_int_equal(ok, 1);
    free(slow);
    free(quick);
    router_free(r);
}

static void a_killed_sandbox_is_replaced(void **state)
{
    (void)state;
    error err = { 0 };
    box *b = box_new(&LIMITS, &err);
    if (!b && err.code == ERR_UNSUPPORTED) {
        print_message("no sandbox on this machine: %s\n", err.text);
        skip();
    }
    assert_non_null(b);
    for (int round = 0; round < 2; round++) {
        box_result result = { 0 };
        const char *code = round ? "print(5)" : "import time\ntime.sleep(0.9)";
        test_ok(box_begin(b, 7, 1, code, strlen(code), clock_ms(), &err), &err);
        if (round == 0) kill(box_zygote_pid(b), SIGKILL);
        const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
        while (box_poll(b, clock_ms(), &result, 1) == 0) {
            struct pollfd fds[8];
            const int n = box_fds(b, fds, 8);
            poll(fds, (nfds_t)n, 100);
            if (clock_ms() > deadline_ms) fail_msg("the call never came back");
        }
        assert_int_equal(result.outcome, round ? BOX_OK : BOX_LOST);
        if (round) assert_string_equal(result.output, "5\n");
        free(result.output);
    }
    box_free(b);
}

static void nobody_is_left_when_the_router_is_gone(void **state)
{
    (void)state;
    error err = { 0 };
    box *b = box_new(&LIMITS, &err);
    if (!b) skip();
    const int pid = box_zygote_pid(b);
    box_free(b);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void bad_calls_are_the_policys_fault(void **state)
{
    (void)state;
    error err = { 0 };
    tool_result t = { 0 };
    router *r = new_router(&LIMITS, 0);
    static const char *const BAD[] = { "{}", "{\"code\": 3}", "[]", "{", "" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        test_ok(router_call(r, "python", BAD[i], &t, &err), &err);
        assert_false(t.ok);
        assert_int_equal(t.failed, FAIL_NONE);
        assert_non_null(strstr(t.text, "error"));
        free(t.text);
    }
    test_ok(router_call(r, "pithon", "{}", &t, &err), &err);
    assert_false(t.ok);
    assert_non_null(strstr(t.text, "there is no tool 'pithon'"));
    free(t.text);
    router_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_says_what_it_prints),
        cmocka_unit_test(asyncio_runs),
        cmocka_unit_test(faults_are_shown_to_the_policy),
        cmocka_unit_test(attacks_get_nowhere),
        cmocka_unit_test(the_layers_are_told),
        cmocka_unit_test(scratch_files_are_where_they_can_be_bounded),
        cmocka_unit_test(long_code_arrives_whole),
        cmocka_unit_test(nothing_survives_a_call),
        cmocka_unit_test(calls_beyond_the_places_wait_with_their_clock_stopped),
        cmocka_unit_test(a_cancelled_call_never_comes_back_and_frees_its_place),
        cmocka_unit_test(a_killed_sandbox_is_replaced),
        cmocka_unit_test(nobody_is_left_when_the_router_is_gone),
        cmocka_unit_test(bad_calls_are_the_policys_fault),
    };
    int failed = 0;
    for (int mode = BOX_AUTO; mode <= BOX_LANDLOCK; mode++) {
        LIMITS.mode = (box_mode)mode;
        failed += cmocka_run_group_tests_name(mode == BOX_AUTO ? "auto" : "landlock", tests, NULL, NULL);
    }
    return failed;
}
