/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "tests/support/support.h"

static void monotonic_time_never_goes_back_and_its_units_agree(void **state)
{
    (void)state;
    int64_t before = clock_us();
    for (int i = 0; i < 10000; i++) {
        int64_t ms = clock_ms(), us = clock_us();
        assert_true(us >= before);
        assert_true(ms * 1000 <= us && us - ms * 1000 < 10 * 1000 * 1000);
        before = us;
    }
}

static void the_wall_clock_is_the_systems(void **state)
{
    (void)state;
    int64_t off_ms = clock_unix_ms() - (int64_t)time(NULL) * 1000;
    assert_true(off_ms >= -1000 && off_ms <= 2000);
}

static void iso8601_is_utc_to_the_second(void **state)
{
    (void)state;
    char out[32];
    clock_iso8601(0, out, sizeof out);
    assert_string_equal(out, "1970-01-01T00:00:00Z");
    clock_iso8601(1769860800999, out, sizeof out);
    assert_string_equal(out, "2026-01-31T12:00:00Z");
    memset(out, 'x', sizeof out);
    clock_iso8601(0, out, 5); /* too small: empty, never half a date */
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back_and_its_units_agree),
        cmocka_unit_test(the_wall_clock_is_the_systems),
        cmocka_unit_test(iso8601_is_utc_to_the_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
