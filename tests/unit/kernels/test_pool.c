/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support/support.h"

enum { THREADS = 4, ITEMS = 1000, LOOPS = 3000 };

typedef struct count {
    _Atomic int seen[ITEMS];
    _Atomic bool busy[THREADS];
} count;

/* Each item once; no two at a time under one thread's number. */
static void count_items(void *ctx, int64_t begin, int64_t end, int thread)
{
    count *c = ctx;
    assert_true(thread >= 0 && thread < THREADS && begin < end && end <= ITEMS);
    assert_false(atomic_exchange(&c->busy[thread], true));
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&c->seen[i], 1);
    atomic_store(&c->busy[thread], false);
}

static void every_item_is_done_once_before_a_loop_returns(void **state)
{
    (void)state;
    pool *p = pool_new(THREADS);
    count *c = calloc(1, sizeof *c);
    test_random rnd = test_random_seed(3);
    for (int loop = 0; loop < LOOPS; loop++) {
        const int n = (int)test_random_below(&rnd, ITEMS + 1);
        memset(c->seen, 0, sizeof c->seen);
        pool_run(p, n, (int64_t)test_random_below(&rnd, 40), count_items, c);
        for (int i = 0; i < ITEMS; i++) assert_int_equal(atomic_load(&c->seen[i]), i < n);
    }
    free(c);
    pool_free(p);
}

/* Pauses longer than the threads spin: some loops find them awake, some asleep, some on their way. */
static void threads_that_fell_asleep_come_back(void **state)
{
    (void)state;
    pool *p = pool_new(2);
    count *c = calloc(1, sizeof *c);
    for (int loop = 0; loop < 60; loop++) {
        pool_run(p, ITEMS, 1, count_items, c);
        nanosleep(&(struct timespec){ .tv_nsec = loop % 3 * 40000 }, NULL);
    }
    for (int i = 0; i < ITEMS; i++) assert_int_equal(atomic_load(&c->seen[i]), 60);
    free(c);
    pool_free(p);
}

static void note_signals(void *ctx, int64_t begin, int64_t end, int thread)
{
    sigset_t set;
    (void)begin, (void)end;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (thread > 0 && !sigismember(&set, SIGTERM)) atomic_fetch_add((_Atomic int *)ctx, 1);
}

/* A signal that a worker took would interrupt no wait: the process would never hear of it. */
static void workers_leave_signals_to_the_threads_of_the_process(void **state)
{
    (void)state;
    pool *p = pool_new(THREADS);
    _Atomic int open = 0;
    for (int i = 0; i < 200; i++) pool_run(p, 64, 1, note_signals, &open);
    assert_int_equal(atomic_load(&open), 0);
    pool_free(p);
}

typedef struct heart {
    pthread_t owner;
    int beats, strangers;
} heart;

static void beat(void *ctx)
{
    heart *h = ctx;
    h->beats++;
    h->strangers += !pthread_equal(pthread_self(), h->owner);
}

/* Who computes for long can say that it lives: the owner's thread is called between pieces, whatever the threads. */
static void the_owner_is_called_while_a_loop_goes_on(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        count *c = calloc(1, sizeof *c);
        heart h = { pthread_self(), 0, 0 };
        pool *p = pool_new(threads);
        pool_set_tick(p, beat, &h);
        const int64_t until_ms = clock_ms() + 600;
        while (clock_ms() < until_ms) pool_run(p, ITEMS, 10, count_items, c);
        assert_in_range(h.beats, 3, 7);
        assert_int_equal(h.strangers, 0);
        pool_set_tick(p, NULL, NULL);
        const int before = h.beats;
        const int64_t silent_ms = clock_ms() + 200;
        while (clock_ms() < silent_ms) pool_run(p, ITEMS, 10, count_items, c);
        assert_int_equal(h.beats, before);
        free(c);
        pool_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once_before_a_loop_returns),
        cmocka_unit_test(threads_that_fell_asleep_come_back),
        cmocka_unit_test(the_owner_is_called_while_a_loop_goes_on),
        cmocka_unit_test(workers_leave_signals_to_the_threads_of_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
