/* SPDX-License-Identifier: MIT */
#include "base/allowance.h"

#include "tests/support/support.h"

enum { BURST = 5, EVERY_MS = 1000 };

static bool take(allowance *a, int64_t now_ms)
{
    if (!allowance_has(a, now_ms, BURST, EVERY_MS)) return false;
    allowance_take(a);
    return true;
}

static void so_many_at_once_and_then_one_every_so_often(void **state)
{
    (void)state;
    allowance a = { 0 };
    int taken = 0;
    for (int64_t now_ms = 777; now_ms < 777 + 60 * EVERY_MS; now_ms += 10)
        for (int i = 0; i < 3; i++) taken += take(&a, now_ms);
    assert_int_equal(taken, BURST + 59);
}

static void what_is_not_taken_is_kept_up_to_the_most(void **state)
{
    (void)state;
    allowance a = { 0 };
    for (int i = 0; i < BURST; i++) assert_true(take(&a, 0));
    assert_false(take(&a, EVERY_MS - 1));
    for (int i = 0; i < 2; i++) assert_true(take(&a, 2 * EVERY_MS));
    assert_false(take(&a, 2 * EVERY_MS));
    for (int i = 0; i < BURST; i++) assert_true(take(&a, INT64_C(1) << 50));
    assert_false(take(&a, INT64_C(1) << 50));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(so_many_at_once_and_then_one_every_so_often),
                                        cmocka_unit_test(what_is_not_taken_is_kept_up_to_the_most) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
