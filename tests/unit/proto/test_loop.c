/* SPDX-License-Identifier: MIT */
#include "proto/loop.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 5000 };

static loop *new_loop(void)
{
    error err = { 0 };
    loop *lp = loop_new(&err);
    if (!lp) fail_msg("%s", err.text);
    return lp;
}

static void turn(loop *lp, int wait_ms)
{
    error err = { 0 };
    test_ok(loop_once(lp, wait_ms, &err), &err);
}

/* Something a loop watches: counts its calls, and does to `lp` what a callback may do. */
typedef struct watched {
    loop *lp;
    int fd, calls;
    bool drain, remove_itself;
    struct watched *remove_other, *add;
} watched;

static void on_watched(void *ctx)
{
    watched *w = ctx;
    uint64_t count;
    w->calls++;
    if (w->drain) assert_int_equal(read(w->fd, &count, sizeof count), sizeof count);
    if (w->remove_other) loop_remove(w->lp, w->remove_other);
    if (w->add) loop_add_fd(w->lp, w->add->fd, on_watched, w->add);
    w->add = NULL;
    if (w->remove_itself) loop_remove(w->lp, w);
}

static watched watch(loop *lp, unsigned value) { return (watched){ .lp = lp, .fd = eventfd(value, EFD_CLOEXEC) }; }

static void a_descriptor_is_called_while_it_is_readable_and_not_after_its_removal(void **state)
{
    (void)state;
    loop *lp = new_loop();
    watched w = watch(lp, 0);
    loop_add_fd(lp, w.fd, on_watched, &w);
    turn(lp, 0);
    assert_int_equal(w.calls, 0);
    assert_int_equal(eventfd_write(w.fd, 1), 0);
    for (int i = 0; i < 3; i++) turn(lp, PATIENCE_MS);
    assert_int_equal(w.calls, 3); /* it was not read */
    w.drain = true;
    turn(lp, PATIENCE_MS);
    turn(lp, 0);
    assert_int_equal(w.calls, 4);
    assert_int_equal(eventfd_write(w.fd, 1), 0);
    loop_remove(lp, &w);
    turn(lp, 0);
    assert_int_equal(w.calls, 4);
    loop_free(lp);
    close(w.fd);
}

static void callbacks_may_remove_themselves_and_each_other(void **state)
{
    (void)state;
    loop *lp = new_loop();
    watched a = watch(lp, 1), b = watch(lp, 1), c = watch(lp, 1);
    a.remove_itself = true, a.remove_other = &b;
    loop_add_fd(lp, a.fd, on_watched, &a);
    loop_add_fd(lp, b.fd, on_watched, &b);
    loop_add_fd(lp, c.fd, on_watched, &c);
    for (int i = 0; i < 3; i++) turn(lp, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 0); /* a removed one may be freed already */
    assert_int_equal(c.calls, 2); /* the change ended the first turn; what it postponed came in the next */
    loop_free(lp);
    close(a.fd), close(b.fd), close(c.fd);
}

static void callbacks_may_add_others(void **state)
{
    (void)state;
    loop *lp = new_loop();
    watched many[40], first = watch(lp, 1);
    first.drain = true;
    loop_add_fd(lp, first.fd, on_watched, &first);
    for (int i = 0; i < 40; i++) {
        many[i] = watch(lp, 1);
        many[i].drain = true;
        if (i > 0) many[i - 1].add = &many[i];
    }
    first.add = &many[0];
    for (int i = 0; i < 50; i++) turn(lp, 0);
    assert_int_equal(first.calls, 1);
    for (int i = 0; i < 40; i++) assert_int_equal(many[i].calls, 1);
    loop_free(lp);
    close(first.fd);
    for (int i = 0; i < 40; i++) close(many[i].fd);
}

static void a_zmq_socket_is_called_when_a_message_is_there(void **state)
{
    (void)state;
    loop *lp = new_loop();
    void *in = zmq_socket(loop_context(lp), ZMQ_PAIR), *out = zmq_socket(loop_context(lp), ZMQ_PAIR);
    watched w = { .lp = lp };
    assert_int_equal(zmq_bind(in, "inproc://pair"), 0);
    assert_int_equal(zmq_connect(out, "inproc://pair"), 0);
    loop_add_socket(lp, in, on_watched, &w);
    turn(lp, 0);
    assert_int_equal(w.calls, 0);
    assert_int_equal(zmq_send(out, "x", 1, 0), 1);
    turn(lp, PATIENCE_MS);
    assert_int_equal(w.calls, 1);
    loop_remove(lp, &w);
    zmq_close(in), zmq_close(out);
    loop_free(lp);
}

/* ---- time ---- */

static void count(void *ctx) { ++*(int *)ctx; }

static void a_timer_comes_every_period_and_not_sooner(void **state)
{
    (void)state;
    loop *lp = new_loop();
    int calls = 0;
    const int64_t begin_ms = clock_ms();
    loop_add_timer(lp, 5, count, &calls);
    while (calls < 10 && clock_ms() < begin_ms + PATIENCE_MS) turn(lp, PATIENCE_MS); /* the timer ends the wait */
    assert_int_equal(calls, 10);
    assert_in_range(loop_now_ms(lp) - begin_ms, 50, PATIENCE_MS - 1);
    loop_remove(lp, &calls);
    turn(lp, 20);
    assert_int_equal(calls, 10);
    loop_free(lp);
}

static void a_late_turn_is_not_made_up_for(void **state)
{
    (void)state;
    loop *lp = new_loop();
    int calls = 0;
    loop_add_timer(lp, 50, count, &calls);
    poll(NULL, 0, 300); /* the process is held up for six periods */
    turn(lp, 0);
    turn(lp, 0);
    assert_int_equal(calls, 1);
    loop_free(lp);
}

typedef struct fleeting {
    loop *lp;
    int calls;
} fleeting;

static void once(void *ctx)
{
    fleeting *f = ctx;
    f->calls++;
    loop_remove(f->lp, f);
}

static void timers_may_remove_themselves(void **state)
{
    (void)state;
    loop *lp = new_loop();
    fleeting few[3] = { { lp, 0 }, { lp, 0 }, { lp, 0 } };
    for (int i = 0; i < 3; i++) loop_add_timer(lp, 1, once, &few[i]);
    const int64_t until_ms = clock_ms() + PATIENCE_MS;
    while (few[0].calls + few[1].calls + few[2].calls < 3 && clock_ms() < until_ms) turn(lp, 10);
    turn(lp, 5);
    for (int i = 0; i < 3; i++) assert_int_equal(few[i].calls, 1);
    loop_free(lp);
}

static void a_turn_waits_no_longer_than_it_may(void **state)
{
    (void)state;
    loop *lp = new_loop();
    int calls = 0;
    loop_add_timer(lp, 3600000, count, &calls);
    int64_t begin_ms = clock_ms();
    turn(lp, 30);
    assert_in_range(clock_ms() - begin_ms, 29, PATIENCE_MS);
    begin_ms = clock_ms();
    for (int i = 0; i < 100; i++) turn(lp, 0);
    assert_true(clock_ms() - begin_ms < PATIENCE_MS);
    assert_int_equal(calls, 0);
    loop_free(lp);
}

static void anothers_descriptor_ends_the_wait_and_is_not_called(void **state)
{
    (void)state;
    loop *lp = new_loop();
    error err = { 0 };
    watched own = watch(lp, 0), other = watch(lp, 1);
    const struct pollfd fds[] = { { .fd = other.fd, .events = POLLIN } };
    loop_add_fd(lp, own.fd, on_watched, &own);
    const int64_t begin_ms = clock_ms();
    test_ok(loop_wait(lp, fds, 1, 60000, &err), &err);
    assert_true(clock_ms() - begin_ms < 30000);
    assert_int_equal(own.calls, 0);
    loop_free(lp);
    close(own.fd), close(other.fd);
}

/* ---- signals ---- */

static void int_and_term_are_events_and_interrupt_nothing(void **state)
{
    (void)state;
    static const int signals[] = { SIGINT, SIGTERM };
    sigset_t before;
    error err = { 0 };
    loop *lp = new_loop();
    int stops = 0;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    test_ok(loop_on_stop(lp, count, &stops, &err), &err);
    turn(lp, 0);
    assert_int_equal(stops, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(raise(signals[i]), 0); /* with the default action this would end the test */
        turn(lp, PATIENCE_MS);
        assert_int_equal(stops, i + 1);
    }
    turn(lp, 0);
    assert_int_equal(stops, 2);
    loop_free(lp);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_is_called_while_it_is_readable_and_not_after_its_removal),
        cmocka_unit_test(callbacks_may_remove_themselves_and_each_other),
        cmocka_unit_test(callbacks_may_add_others),
        cmocka_unit_test(a_zmq_socket_is_called_when_a_message_is_there),
        cmocka_unit_test(a_timer_comes_every_period_and_not_sooner),
        cmocka_unit_test(a_late_turn_is_not_made_up_for),
        cmocka_unit_test(timers_may_remove_themselves),
        cmocka_unit_test(a_turn_waits_no_longer_than_it_may),
        cmocka_unit_test(anothers_descriptor_ends_the_wait_and_is_not_called),
        cmocka_unit_test(int_and_term_are_events_and_interrupt_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
