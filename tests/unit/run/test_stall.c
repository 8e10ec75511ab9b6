/* SPDX-License-Identifier: MIT */
/* A thread that stands still is told from one that computes, however long, and from one that has nothing to do. */
#include <stdatomic.h>

#include "base/clock.h"
#include "run/stall.h"
#include "tests/support/support.h"

static void only_time_without_cpu_counts(void **state)
{
    (void)state;
    stall s = { 0 };
    assert_int_equal(stall_look(&s, 500, 1000), 0);
    assert_int_equal(stall_look(&s, 500, 4000), 3000);
    assert_int_equal(stall_look(&s, 515, 9000), 8000); /* it woke up, and sleeps again */
    assert_int_equal(stall_look(&s, 600, 10000), 0);
    for (int64_t ms = 0; ms < 10000000; ms += 1000) assert_int_equal(stall_look(&s, 700 + ms, 11000 + ms), 0);
    assert_int_equal(stall_look(&s, 700 + 9999000, 20000000), 20000000 - 11000 - 9999000);
    assert_int_equal(stall_look(&s, -1, 21000000), 0); /* it rests */
    assert_int_equal(stall_look(&s, 700 + 9999000, 22000000), 0);
}

typedef struct worker {
    pthread_t thread;
    pthread_mutex_t held;
    atomic_bool over;
} worker;

static void *hang(void *ctx)
{
    worker *w = ctx;
    pthread_mutex_lock(&w->held); /* the test's */
    pthread_mutex_unlock(&w->held);
    return NULL;
}

static void *compute(void *ctx)
{
    worker *w = ctx;
    while (!w->over) continue;
    return NULL;
}

/* For how long it stands still at the most, looked at for `ms`. */
static int64_t watched(pthread_t thread, int64_t ms)
{
    stall s = { 0 };
    int64_t longest = 0;
    for (const int64_t until_ms = clock_ms() + ms; clock_ms() < until_ms;) {
        const int64_t still = stall_look(&s, stall_cpu_ms(thread), clock_ms());
        longest = still > longest ? still : longest;
    }
    return longest;
}

static void threads_are_told_apart(void **state)
{
    (void)state;
    enum { WATCH_MS = 600 };
    worker w = { .held = PTHREAD_MUTEX_INITIALIZER };
    pthread_mutex_lock(&w.held);
    assert_int_equal(pthread_create(&w.thread, NULL, hang, &w), 0);
    assert_true(watched(w.thread, WATCH_MS) > WATCH_MS / 2);
    pthread_mutex_unlock(&w.held);
    pthread_join(w.thread, NULL);

    assert_int_equal(pthread_create(&w.thread, NULL, compute, &w), 0);
    assert_true(watched(w.thread, WATCH_MS) < WATCH_MS); /* on a busy machine it waits for its turn, too */
    assert_true(stall_cpu_ms(w.thread) > 0);
    w.over = true;
    pthread_join(w.thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_time_without_cpu_counts),
        cmocka_unit_test(threads_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
