/* SPDX-License-Identifier: MIT */
#include "run/deaths.h"

#include <signal.h>
#include <string.h>

#include "learner/comm.h"
#include "tests/support/support.h"

/* A status as waitpid has it. */
static int exited(int code) { return code << 8; }
static int killed(int signal) { return signal; }

static death_verdict die(deaths *d, death_kind kind, const char *reason, uint64_t steps)
{
    int64_t delay_ms;
    return deaths_add(d, kind, reason, steps, &delay_ms);
}

static void the_second_death_for_one_reason_is_the_last(void **state)
{
    (void)state;
    deaths d = { 0 };
    assert_int_equal(die(&d, DEATH_FAILED, "no such dialect", 0), DEATH_RESTART);
    assert_int_equal(die(&d, DEATH_FAILED, "no such dialect", 0), DEATH_SAME_AGAIN);
    deaths e = { 0 }; /* numbers aside */
    assert_int_equal(die(&e, DEATH_FAILED, "scratch needs 64 MB more (3.5 GB in use)", 7), DEATH_RESTART);
    assert_int_equal(die(&e, DEATH_FAILED, "scratch needs 128 MB more (12 GB in use)", 7), DEATH_SAME_AGAIN);
    deaths f = { 0 };
    assert_int_equal(die(&f, DEATH_CRASHED, "killed by signal 11", 7), DEATH_RESTART);
    assert_int_equal(die(&f, DEATH_MEMORY, "the out-of-memory killer", 7), DEATH_RESTART);
    assert_int_equal(die(&f, DEATH_MEMORY, "the out-of-memory killer", 7), DEATH_SAME_AGAIN);
}

static void a_step_in_between_wipes_the_slate_clean(void **state)
{
    (void)state;
    deaths d = { 0 };
    for (uint64_t step = 0; step < 1000; step++)
        assert_int_equal(die(&d, step % 2 ? DEATH_FAILED : DEATH_MEMORY, "again", step), DEATH_RESTART);
    assert_int_equal(die(&d, DEATH_FAILED, "again", 999), DEATH_SAME_AGAIN);
}

static void other_reasons_are_other_deaths_up_to_a_limit(void **state)
{
    (void)state;
    static const char *const WHY[] = { "one", "two", "three", "four", "five", "six" };
    deaths d = { 0 };
    for (int i = 0; i < DEATHS_FAILED - 1; i++) assert_int_equal(die(&d, DEATH_FAILED, WHY[i], 3), DEATH_RESTART);
    assert_int_equal(die(&d, DEATH_FAILED, WHY[DEATHS_FAILED - 1], 3), DEATH_TOO_MANY);
}

/* kill -9 costs nothing: it says nothing of the process. */
static void who_is_killed_from_outside_is_started_again_and_again(void **state)
{
    (void)state;
    static const death_kind KINDS[] = { DEATH_KILLED, DEATH_LEFT, DEATH_AGAIN };
    for (int k = 0; k < 3; k++) {
        deaths d = { 0 };
        int64_t delay_ms = 0, before_ms = 0;
        for (int i = 1; i < DEATHS_KILLED; i++, before_ms = delay_ms) {
            assert_int_equal(deaths_add(&d, KINDS[k], "killed by signal 9", 3, &delay_ms), DEATH_RESTART);
            assert_true(delay_ms >= before_ms && delay_ms <= 10000); /* more and more slowly, never very */
            if (i == 1 && KINDS[k] == DEATH_KILLED) assert_int_equal(delay_ms, 0);
        }
        assert_true(before_ms >= 5000);
        assert_int_equal(deaths_add(&d, KINDS[k], "killed by signal 9", 3, &delay_ms), DEATH_TOO_MANY);
    }
}

static void kills_in_between_don_t_hide_a_reason(void **state)
{
    (void)state;
    deaths d = { 0 };
    assert_int_equal(die(&d, DEATH_FAILED, "no such dialect", 2), DEATH_RESTART);
    assert_int_equal(die(&d, DEATH_KILLED, "killed by signal 9", 2), DEATH_RESTART);
    assert_int_equal(die(&d, DEATH_FAILED, "no such dialect", 2), DEATH_SAME_AGAIN);
}

static void the_status_tells_whose_doing_it_was(void **state)
{
    (void)state;
    assert_int_equal(death_of_status(exited(0), 0), DEATH_LEFT);
    assert_int_equal(death_of_status(exited(1), 5), DEATH_FAILED);
    assert_int_equal(death_of_status(exited(71), 0), DEATH_FAILED);
    assert_int_equal(death_of_status(exited(STATUS_INTERRUPTED), 0), DEATH_STOPPED);
    assert_int_equal(death_of_status(exited(RANK_AGAIN), 0), DEATH_AGAIN);
    assert_int_equal(death_of_status(killed(SIGKILL), 0), DEATH_KILLED);
    assert_int_equal(death_of_status(killed(SIGKILL), 1), DEATH_MEMORY);
    assert_int_equal(death_of_status(killed(SIGTERM), 1), DEATH_KILLED);
    assert_int_equal(death_of_status(killed(SIGSEGV), 0), DEATH_CRASHED);
    assert_int_equal(death_of_status(killed(SIGABRT), 1), DEATH_CRASHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_death_for_one_reason_is_the_last),
        cmocka_unit_test(a_step_in_between_wipes_the_slate_clean),
        cmocka_unit_test(other_reasons_are_other_deaths_up_to_a_limit),
        cmocka_unit_test(who_is_killed_from_outside_is_started_again_and_again),
        cmocka_unit_test(kills_in_between_don_t_hide_a_reason),
        cmocka_unit_test(the_status_tells_whose_doing_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
