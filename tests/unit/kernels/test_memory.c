/* SPDX-License-Identifier: MIT */
/* A device that runs out of memory says so and continues; its scratch grows as far as the machine. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/unit/kernels/bench.h"

static const size_t MB = 1 << 20;

static bool emulated(void)
{
    const char *name = getenv("TROUPE_TEST_DEVICE");
    return name && strncmp(name, "cuda", 4) == 0;
}

/* 100 requests of a little more than half a chunk: a chunk each. Only their ends are touched, so they cost nothing. */
static void scratch_grows_past_64_chunks_and_is_used_again(void **state)
{
    (void)state;
    enum { N = 100 };
    const size_t bytes = 33 * MB;
    char *got[N];
    bench b = bench_open(1);
    if (emulated()) { /* its memory is malloc's: fewer, larger chunks, touched */
        bench_close(&b);
        return;
    }
    for (int i = 0; i < N; i++) {
        got[i] = device_scratch(b.dev, bytes);
        got[i][0] = got[i][bytes - 1] = (char)i;
    }
    for (int i = 0; i < N; i++) assert_true(got[i][0] == (char)i && got[i][bytes - 1] == (char)i);
    assert_true(device_scratch_peak(b.dev) >= N * bytes);
    device_scratch_reset(b.dev);
    for (int i = 0; i < N; i++) assert_ptr_equal(device_scratch(b.dev, bytes), got[i]);
    device_scratch_drop(b.dev);
    assert_non_null(device_scratch(b.dev, bytes)); /* it continues */
    bench_close(&b);
}

typedef struct asking {
    device *dev;
    size_t bytes;
    int reached;
} asking;

static int ask_for_scratch(void *ctx, error *err)
{
    asking *a = ctx;
    (void)err;
    a->reached = 1;
    memset(device_scratch(a->dev, a->bytes), 1, 64);
    a->reached = 2;
    return OK;
}

static int ask_for_array(void *ctx, error *err)
{
    asking *a = ctx;
    (void)err;
    a->reached = 1;
    device_free(a->dev, device_alloc(a->dev, a->bytes));
    a->reached = 2;
    return OK;
}

static void check_refusal(int (*fn)(void *ctx, error *err), const char *what)
{
    error err = { 0 };
    bench b = bench_open(2);
    asking a = { b.dev, (size_t)1 << 50, 0 };
    assert_int_equal(device_guard(b.dev, fn, &a, &err), ERR_MEMORY);
    assert_int_equal(a.reached, 1);
    if (!strstr(err.text, what) || !strstr(err.text, "1.0 PB more")) fail_msg("%s", err.text);
    a.bytes = SIZE_MAX - 10;
    assert_int_equal(device_guard(b.dev, fn, &a, &err), ERR_MEMORY);
    a.bytes = 1000;
    test_ok(device_guard(b.dev, fn, &a, &err), &err);
    assert_int_equal(a.reached, 2);
    bench_close(&b);
}

static void what_no_machine_has_is_refused_before_it_is_touched(void **state)
{
    (void)state;
    if (emulated()) return;
    check_refusal(ask_for_scratch, "out of memory: scratch needs 1.0 PB");
    check_refusal(ask_for_array, "out of memory: an array needs 1.0 PB");
    error err = { 0 };
    bench b = bench_open(1);
    assert_null(device_try(b.dev, (size_t)1 << 50, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    bench_close(&b);
}

/* The kernel would grant it: nothing is touched yet. */
static void more_than_is_available_is_refused_though_the_kernel_would_grant_it(void **state)
{
    (void)state;
    if (emulated()) return;
    const memory_room room = memory_room_now("", 0);
    if (room.bytes > (uint64_t)1 << 46) return; /* nothing is known of this machine */
    error err = { 0 };
    bench b = bench_open(1);
    assert_null(device_try(b.dev, (size_t)room.of + 64 * MB, &err));
    assert_non_null(strstr(err.text, room.limit));
    bench_close(&b);
}

static int ask_inside(void *ctx, error *err)
{
    asking *a = ctx;
    error inner = { 0 };
    assert_int_equal(device_guard(a->dev, ask_for_scratch, a, &inner), ERR_MEMORY);
    a->reached = 3;
    device_starve(a->dev, 0);
    device_scratch(a->dev, 10);
    a->reached = 4;
    return error_set(err, ERR_STATE, "never here");
}

static void guards_nest(void **state)
{
    (void)state;
    error err = { 0 };
    bench b = bench_open(1);
    asking a = { b.dev, 100, 0 };
    device_starve(b.dev, 0);
    assert_int_equal(device_guard(b.dev, ask_inside, &a, &err), ERR_MEMORY);
    assert_int_equal(a.reached, 3);
    device_starve(b.dev, -1);
    device_scratch(b.dev, 10);
    bench_close(&b);
}

/* Without a guard there is nothing to go back to: the sentence and EXIT_MEMORY, no core. */
static void without_a_guard_the_process_ends_with_the_sentence(void **state)
{
    (void)state;
    int ends[2], status;
    char said[600] = "";
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        error err = { 0 };
        dup2(ends[1], 2);
        device *dev = device_open("cpu", 1, &err);
        device_starve(dev, 3);
        for (;;) device_scratch(dev, 1);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_MEMORY);
    if (strncmp(said, "troupe: out of memory: 1 bytes more", 35) != 0) fail_msg("%s", said);
}

static void a_ulimit_is_named(void **state)
{
    (void)state;
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    int ends[2], status;
    char said[600] = "";
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        error err = { 0 };
        const struct rlimit few = { 700 * MB, 700 * MB };
        setrlimit(RLIMIT_AS, &few);
        device *dev = device_open("cpu", 1, &err);
        for (int i = 0; i < 100 && device_try(dev, 32 * MB, &err); i++) continue;
        _exit(write(ends[1], err.text, strlen(err.text)) > 0 ? 0 : 1);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    waitpid(pid, &status, 0);
    if (!strstr(said, "ulimit -v leaves") || !strstr(said, "of 700 MB")) fail_msg("%s", said);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scratch_grows_past_64_chunks_and_is_used_again),
        cmocka_unit_test(what_no_machine_has_is_refused_before_it_is_touched),
        cmocka_unit_test(more_than_is_available_is_refused_though_the_kernel_would_grant_it),
        cmocka_unit_test(guards_nest),
        cmocka_unit_test(without_a_guard_the_process_ends_with_the_sentence),
        cmocka_unit_test(a_ulimit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
