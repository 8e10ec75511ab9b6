/* SPDX-License-Identifier: MIT */
#include "base/queue.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/support/support.h"

enum { ITEMS = 20000, PATIENCE_MS = 20000 };

static void *item_of(uintptr_t n) { return (void *)(n + 1); }

static int readable(queue *q)
{
    struct pollfd p = { .fd = queue_fd(q), .events = POLLIN };
    return poll(&p, 1, 0);
}

static void items_come_out_in_order_and_the_descriptor_tells(void **state)
{
    (void)state;
    queue *q = queue_new(3);
    void *item;
    for (uintptr_t round = 0; round < 10; round++) {
        assert_int_equal(readable(q), 0);
        assert_int_equal(queue_pop(q, &item, 0), ERR_TIMEOUT);
        for (uintptr_t i = 0; i < 3; i++) assert_int_equal(queue_push(q, item_of(round + i), 0), OK);
        assert_int_equal(queue_push(q, NULL, 0), ERR_TIMEOUT);
        for (uintptr_t i = 0; i < 3; i++) {
            assert_int_equal(readable(q), 1);
            assert_int_equal(queue_pop(q, &item, 0), OK);
            assert_ptr_equal(item, item_of(round + i));
        }
    }
    queue_free(q);
    queue_free(NULL);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    queue *q = queue_new(1);
    void *item;
    int64_t begin_ms = clock_ms();
    assert_int_equal(queue_pop(q, &item, 50), ERR_TIMEOUT);
    assert_in_range(clock_ms() - begin_ms, 49, PATIENCE_MS);
    assert_int_equal(queue_push(q, item_of(1), 50), OK);
    begin_ms = clock_ms();
    assert_int_equal(queue_push(q, item_of(2), 50), ERR_TIMEOUT);
    assert_in_range(clock_ms() - begin_ms, 49, PATIENCE_MS);
    queue_free(q);
}

static void a_closed_queue_takes_nothing_and_drains(void **state)
{
    (void)state;
    queue *q = queue_new(4);
    void *item;
    queue_push(q, item_of(1), 0);
    queue_push(q, item_of(2), 0);
    queue_close(q);
    assert_int_equal(queue_push(q, item_of(3), PATIENCE_MS), ERR_STATE);
    assert_int_equal(queue_pop(q, &item, 0), OK);
    assert_ptr_equal(item, item_of(1));
    assert_int_equal(queue_pop(q, &item, 0), OK);
    assert_int_equal(queue_pop(q, &item, PATIENCE_MS), ERR_STATE);
    assert_int_equal(readable(q), 1); /* a loop must learn that it is over */
    queue_free(q);
}

static void *produce(void *q)
{
    uintptr_t failures = 0;
    for (uintptr_t i = 0; i < ITEMS; i++) failures += queue_push(q, item_of(i), PATIENCE_MS) != OK;
    queue_close(q);
    return (void *)failures;
}

/* The promise: between two threads nothing is lost, doubled or reordered, and the close is seen after the last item. */
static void everything_crosses_between_two_threads_once(void **state)
{
    (void)state;
    queue *q = queue_new(7);
    pthread_t producer;
    void *item, *failures;
    assert_int_equal(pthread_create(&producer, NULL, produce, q), 0);
    for (uintptr_t i = 0; i < ITEMS; i++) {
        assert_int_equal(queue_pop(q, &item, PATIENCE_MS), OK);
        assert_ptr_equal(item, item_of(i));
    }
    assert_int_equal(queue_pop(q, &item, PATIENCE_MS), ERR_STATE);
    pthread_join(producer, &failures);
    assert_null(failures);
    queue_free(q);
}

static void *pop_one(void *q)
{
    void *item;
    return (void *)(uintptr_t)queue_pop(q, &item, PATIENCE_MS);
}

static void closing_wakes_who_waits(void **state)
{
    (void)state;
    queue *q = queue_new(1);
    pthread_t waiter;
    void *code;
    int64_t begin_ms = clock_ms();
    assert_int_equal(pthread_create(&waiter, NULL, pop_one, q), 0);
    queue_close(q);
    pthread_join(waiter, &code);
    assert_int_equal((uintptr_t)code, ERR_STATE);
    assert_true(clock_ms() - begin_ms < PATIENCE_MS);
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_order_and_the_descriptor_tells),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(a_closed_queue_takes_nothing_and_drains),
        cmocka_unit_test(everything_crosses_between_two_threads_once),
        cmocka_unit_test(closing_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
