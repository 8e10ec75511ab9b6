/* SPDX-License-Identifier: MIT */
/* Who caused the end of a call decides what it is; and nothing is left, whoever was killed. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "env/sandbox/box.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 20000, MAX_CALLS = 64, MAX_PIDS = 64 };

static box_config LIMITS = { .timeout_ms = 1000, .memory_mb = 64, .output_bytes = 1000 };
static const char SLEEP[] = "import time\nprint('before')\ntime.sleep(0.8)";

static box *new_box(const box_config *limits)
{
    error err = { 0 };
    box *b = box_new(limits, &err);
    if (!b && err.code == ERR_UNSUPPORTED) {
        print_message("no sandbox on this machine: %s\n", err.text);
        skip();
    }
    if (!b) fail_msg("%s", err.text);
    return b;
}

static void begin(box *b, uint64_t call, uint64_t seed, const char *code)
{
    error err = { 0 };
    test_ok(box_begin(b, call, seed, code, strlen(code), clock_ms(), &err), &err);
}

static box_result next_result(box *b)
{
    box_result result = { 0 };
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (box_poll(b, clock_ms(), &result, 1) == 0) {
        struct pollfd fds[MAX_CALLS + 1];
        const int n = box_fds(b, fds, MAX_CALLS + 1);
        const int64_t left = box_deadline_ms(b) - clock_ms();
        poll(fds, (nfds_t)n, left < 0 ? 0 : left > 200 ? 200 : (int)left);
        if (clock_ms() > deadline_ms) fail_msg("a call never came back");
    }
    return result;
}

static box_result run(box *b, uint64_t seed, const char *code)
{
    begin(b, 1, seed, code);
    return next_result(b);
}

static void expect(box *b, const char *code, box_outcome outcome, int number, const char *output)
{
    box_result r = run(b, 1, code);
    if (r.outcome != outcome || r.number != number || !strstr(r.output, output))
        fail_msg("%s: expected outcome %d (%d) and '%s', found %d (%d): %s", code, (int)outcome, number, output,
                 (int)r.outcome, r.number, r.output);
    free(r.output);
}

/* ---- what the code does to itself ---- */

static void every_exit_status_is_the_codes_own(void **state)
{
    (void)state;
    static const char *const WAYS[] = { "import os\nos._exit(%d)", "import sys\nsys.exit(%d)", "exit(%d)",
                                        "import ctypes\nctypes.CDLL(None)._exit(%d)" };
    box *b = new_box(&LIMITS);
    for (int status = 0; status < 256; status += MAX_CALLS) {
        for (int i = 0; i < MAX_CALLS; i++) {
            char code[100];
            snprintf(code, sizeof code, WAYS[i % 4], status + i); /* 256 statuses, each in one of four ways */
            begin(b, (uint64_t)(status + i), 1, code);
        }
        for (int i = 0; i < MAX_CALLS; i++) {
            box_result r = next_result(b);
            const int want = (int)r.call;
            if (r.outcome != (want ? BOX_EXITED : BOX_OK) || r.number != want)
                fail_msg("exit %d: outcome %d (%d): %s", want, (int)r.outcome, r.number, r.output);
            free(r.output);
        }
    }
    box_free(b);
}

static void every_fault_is_the_codes_own(void **state)
{
    (void)state;
    box_config limits = LIMITS;
    limits.timeout_ms = 400;
    box *b = new_box(&limits);
    expect(b, "import os\nos.abort()", BOX_CRASHED, SIGABRT, "");
    expect(b, "print('before')\nimport ctypes\nctypes.string_at(8)", BOX_CRASHED, SIGSEGV, "before\n");
    expect(b, "import signal\nsignal.alarm(0)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()", BOX_CRASHED,
           SIGALRM, "");
    expect(b, "import os, signal\nos.kill(os.getpid(), signal.SIGFPE)", BOX_CRASHED, SIGFPE, "");
    expect(b, "import os, signal\nsignal.signal(13, signal.SIG_DFL)\nos.kill(os.getpid(), 13)", BOX_CRASHED, SIGPIPE,
           "");
    expect(b, "import os, signal\nsignal.raise_signal(signal.SIGXCPU)", BOX_TIME, SIGXCPU, "");
    expect(b, "import sys\nsys.exit('bad luck')", BOX_EXITED, 1, "bad luck");
    expect(b, "1/0", BOX_RAISED, 64, "ZeroDivisionError: division by zero\n  line 1");
    expect(b, "x = 1\ndef f(y):\n    return y.z\nf(x)", BOX_RAISED, 64, "\n  line 4\n  line 3, in f");
    expect(b, "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')", BOX_OK, 0, "a\nb\nc\n");
    expect(b, "print('before', end='')\nwhile True: pass", BOX_TIME, 0, "before");
    expect(b, "import time\nprint('before')\ntime.sleep(9)", BOX_TIME, 0, "before");
    expect(b,
           "import signal\nfor n in range(1, 65):\n try: signal.signal(n, signal.SIG_IGN)\n except Exception: pass\n"
           "while True: pass",
           BOX_TIME, 0, "");
    expect(b, "import threading\nthreading.Lock().acquire()\nl = threading.Lock()\nl.acquire()\nl.acquire()", BOX_TIME,
           0, "");
    /* None of these can be sent by a child to itself: that they were is never its doing. */
    for (int n = 1; n < 64; n++) {
        char code[160];
        if (n != SIGKILL && n != SIGSTOP && n != SIGTERM && n != SIGTSTP && n != SIGTTIN && n != SIGINT) continue;
        snprintf(code, sizeof code,
                 "import os, ctypes\nctypes.CDLL(None).kill(os.getpid(), %d)\nos.kill(os.getpid(), %d)", n, n);
        expect(b, code, BOX_RAISED, 64, "PermissionError");
    }
    box_free(b);
}

/* ---- what is done to it ---- */

static int parent_of(int pid)
{
    char path[64], text[512] = "", state;
    int parent = -1;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *end = strrchr(text, ')');
    if (!end || sscanf(end + 1, " %c %d", &state, &parent) != 2 || state == 'Z') return -1;
    return parent;
}

static bool descends(int pid, int from)
{
    for (int hops = 0; pid > 1 && hops < 8; hops++)
        if ((pid = parent_of(pid)) == from) return true;
    return false;
}

/* All processes below `from`, the latest last. */
static int descendants(int from, int *pids)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d)) && n < MAX_PIDS;) {
        const int pid = atoi(e->d_name);
        if (pid > 1 && descends(pid, from)) pids[n++] = pid;
    }
    closedir(d);
    return n;
}

/* The only call's process: the one without descendants. Waits until it is there. */
static int child_of(const box *b, int depth)
{
    for (const int64_t deadline_ms = clock_ms() + PATIENCE_MS; clock_ms() < deadline_ms;) {
        int pids[MAX_PIDS];
        const int n = descendants(box_zygote_pid(b), pids);
        for (int i = 0; n == depth && i < n; i++) {
            bool last = true;
            for (int k = 0; k < n; k++) last &= parent_of(pids[k]) != pids[i];
            if (last) return pids[i];
        }
        struct pollfd fds[2];
        poll(fds, (nfds_t)box_fds(b, fds, 2), 10);
    }
    fail_msg("the call's process never appeared");
    return -1;
}

static int depth_of(const box *b) { return strcmp(box_layers(b), "namespaces") == 0 ? 3 : 1; }

/* The first line is there: the code runs. */
static void wait_for_output(const box *b)
{
    struct pollfd fds[4];
    const int n = box_fds(b, fds, 4);
    if (poll(fds + 1, (nfds_t)n - 1, PATIENCE_MS) <= 0) fail_msg("the code printed nothing");
}

static void a_kill_from_outside_is_the_machinerys(void **state)
{
    (void)state;
    static const int SIGNALS[] = { SIGKILL, SIGTERM, SIGSTOP, SIGINT, SIGHUP };
    box *b = new_box(&LIMITS);
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        begin(b, 1, 1, SLEEP);
        wait_for_output(b);
        kill(child_of(b, depth_of(b)), SIGNALS[i]);
        box_result r = next_result(b);
        if (r.outcome != BOX_LOST) fail_msg("signal %d: outcome %d: %s", SIGNALS[i], (int)r.outcome, r.output);
        assert_non_null(strstr(r.output, SIGNALS[i] == SIGSTOP ? "stopped" : "killed from outside"));
        free(r.output);
        expect(b, "print(5)", BOX_OK, 0, "5\n");
    }
    box_free(b);
}

/* Killed or frozen: the calls are lost, and the next call has another zygote. */
static void a_zygote_that_is_gone_or_frozen_is_replaced(void **state)
{
    (void)state;
    box_config limits = LIMITS;
    limits.timeout_ms = 200;
    box *b = new_box(&limits);
    for (int round = 0; round < 2; round++) {
        int pids[MAX_PIDS], n = descendants(box_zygote_pid(b), pids);
        begin(b, 1, 1, SLEEP);
        for (int i = 0; i < n; i++) kill(pids[i], round ? SIGSTOP : SIGKILL);
        kill(box_zygote_pid(b), round ? SIGSTOP : SIGKILL);
        box_result r = next_result(b);
        assert_int_equal(r.outcome, BOX_LOST);
        free(r.output);
        expect(b, "print(5)", BOX_OK, 0, "5\n");
    }
    box_free(b);
}

/* The zygote may start no more processes: the call that needs one is lost, with the reason; the other is not. */
static void a_call_that_cannot_be_started_takes_no_other_with_it(void **state)
{
    (void)state;
    const struct rlimit none = { 0, 0 };
    box *b = new_box(&LIMITS);
    if (strstr(box_report(b), "\nuid 0")) print_message("root's processes have no limit\n"), box_free(b), skip();

    begin(b, 1, 1, SLEEP);
    wait_for_output(b);
    if (prlimit(parent_of(child_of(b, depth_of(b))), RLIMIT_NPROC, &none, NULL) != 0 && errno == EPERM) {
        print_message("this user may not limit another's processes\n");
        box_free(b);
        skip();
    }
    begin(b, 2, 1, "print(5)");

    box_result refused = next_result(b), other = next_result(b);
    assert_int_equal(refused.call, 2);
    assert_int_equal(refused.outcome, BOX_LOST);
    assert_non_null(strstr(refused.output, "cannot start a process"));
    assert_int_equal(other.call, 1);
    assert_int_equal(other.outcome, BOX_OK);

    free(refused.output);
    free(other.output);
    box_free(b);
}

/* Its memory belongs to the kernel (a crash starts no program for core files, whatever core_pattern says), and a
 * machine without memory takes a call before it takes the training. */
static void a_call_is_never_dumped_and_is_the_first_to_go(void **state)
{
    (void)state;
    char path[64], text[16] = "";
    struct stat st;
    box *b = new_box(&LIMITS);
    begin(b, 1, 1, SLEEP);
    wait_for_output(b);
    const int child = child_of(b, depth_of(b));

    snprintf(path, sizeof path, "/proc/%d/environ", child);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", child);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "1000\n");

    box_free(b);
}

/* A process that holds a box with a call under way and ends by `number`.
 * Its descendants must all be gone soon after. */
static void nothing_is_left_when_the_owner_is_killed(void **state)
{
    (void)state;
    static const int SIGNALS[] = { SIGKILL, SIGTERM, SIGINT, SIGHUP };
    static const char CODE[] = "import ctypes, os, time\nl = ctypes.CDLL(None)\nl.prctl(1, 0, 0, 0, 0)\nl.setsid()\n"
                               "l.setpgid(0, 0)\nprint('ready', flush=True)\ntime.sleep(30)";
    box_free(new_box(&LIMITS)); /* skips where there is none */
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        int told[2], pids[MAX_PIDS];
        char byte;
        assert_int_equal(pipe(told), 0);
        const int owner = fork();
        if (owner == 0) {
            box_config limits = LIMITS;
            error err = { 0 };
            limits.timeout_ms = 60000;
            box *b = box_new(&limits, &err);
            if (!b || box_begin(b, 1, 1, CODE, strlen(CODE), clock_ms(), &err) != OK) _exit(1);
            wait_for_output(b);
            if (write(told[1], "r", 1) == 1)
                for (;;) pause();
            _exit(1);
        }
        close(told[1]);
        assert_int_equal(read(told[0], &byte, 1), 1);
        const int n = descendants(owner, pids);
        assert_true(n >= 2);
        kill(owner, SIGNALS[i]);
        waitpid(owner, NULL, 0);
        int left = n;
        for (const int64_t deadline_ms = clock_ms() + 3000; left > 0 && clock_ms() < deadline_ms; usleep(5000)) {
            left = 0;
            for (int k = 0; k < n; k++) left += parent_of(pids[k]) >= 0;
        }
        if (left) fail_msg("signal %d: %d of %d processes are left", SIGNALS[i], left, n);
        close(told[0]);
    }
}

/* ---- the same again ---- */

static void what_is_random_follows_from_the_seed(void **state)
{
    (void)state;
    static const char CODE[] =
        "import random, uuid, os, secrets, tempfile\n"
        "print(random.random(), random.Random().random(), uuid.uuid4(), os.urandom(4).hex(),\n"
        "      secrets.token_hex(4), hash('word'), {'a', 'b', 'c', 'd'}, random.sample(range(99), 5))";
    box *first = new_box(&LIMITS), *second = new_box(&LIMITS);
    expect(second, "import random\nrandom.seed(5)\nprint(1)", BOX_OK, 0, "1"); /* another history */
    box_result a = run(first, 77, CODE), c = run(second, 77, CODE), other = run(first, 78, CODE);
    assert_int_equal(a.outcome, BOX_OK);
    assert_string_equal(a.output, c.output);
    assert_string_not_equal(a.output, other.output);
    free(a.output);
    free(c.output);
    free(other.output);
    box_free(first);
    box_free(second);
}

/* 64 calls that sleep take as long as one: places are for waiting as well as for computing. */
static void calls_that_sleep_do_not_wait_for_one_another(void **state)
{
    (void)state;
    box_config limits = LIMITS;
    limits.timeout_ms = 2000;
    box *b = new_box(&limits);
    const int64_t began_ms = clock_ms();
    for (int i = 0; i < MAX_CALLS; i++) begin(b, (uint64_t)i, 1, "import time\ntime.sleep(1)\nprint(1)");
    for (int i = 0; i < MAX_CALLS; i++) {
        box_result r = next_result(b);
        if (r.outcome != BOX_OK) fail_msg("outcome %d: %s", (int)r.outcome, r.output);
        free(r.output);
    }
    const int64_t ms = clock_ms() - began_ms;
    print_message("%d calls that sleep 1 s: %lld ms\n", MAX_CALLS, (long long)ms);
    if (ms > 8000)
        fail_msg("%lld ms", (long long)ms); /* 64 s one by one, 32 s by the cores; a laden machine has some */
    box_free(b);
}

/* Eight that compute for half of the limit on however few cores: each has its time, though it takes longer. */
static void waiting_for_a_processor_is_not_the_codes_time(void **state)
{
    (void)state;
    static const char CODE[] = "import time\nwhile time.process_time() < 0.2: pass\nprint(1)";
    enum { CALLS = 8 };
    box_config limits = LIMITS;
    limits.timeout_ms = 400;
    box *b = new_box(&limits);
    for (int i = 0; i < CALLS; i++) begin(b, (uint64_t)i, 1, CODE);
    for (int i = 0; i < CALLS; i++) {
        box_result r = next_result(b);
        if (r.outcome != BOX_OK) fail_msg("outcome %d after %g ms: %s", (int)r.outcome, r.ms, r.output);
        free(r.output);
    }
    box_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exit_status_is_the_codes_own),
        cmocka_unit_test(every_fault_is_the_codes_own),
        cmocka_unit_test(a_kill_from_outside_is_the_machinerys),
        cmocka_unit_test(a_zygote_that_is_gone_or_frozen_is_replaced),
        cmocka_unit_test(a_call_that_cannot_be_started_takes_no_other_with_it),
        cmocka_unit_test(a_call_is_never_dumped_and_is_the_first_to_go),
        cmocka_unit_test(nothing_is_left_when_the_owner_is_killed),
        cmocka_unit_test(what_is_random_follows_from_the_seed),
        cmocka_unit_test(calls_that_sleep_do_not_wait_for_one_another),
        cmocka_unit_test(waiting_for_a_processor_is_not_the_codes_time),
    };
    int failed = 0;
    for (int mode = BOX_AUTO; mode <= BOX_LANDLOCK; mode++) {
        LIMITS.mode = (box_mode)mode;
        failed += cmocka_run_group_tests_name(mode == BOX_AUTO ? "auto" : "landlock", tests, NULL, NULL);
    }
    return failed;
}
