/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include <stdio.h>

#include "tests/support/support.h"

static void values_are_set_and_found(void **state)
{
    (void)state;
    metrics *m = metrics_new();
    metrics_set(m, "actor/pg_loss", 0.5);
    metrics_set(m, "episodes", 5);
    metrics_set(m, "actor/pg_loss", -1);
    assert_true(metrics_get(m, "actor/pg_loss", 9) == -1);
    assert_true(metrics_get(m, "episodes", 9) == 5);
    assert_true(metrics_get(m, "never", 9) == 9);
    metrics_free(m);
    metrics_free(NULL);
}

static void a_snapshot_is_in_order_of_first_use(void **state)
{
    (void)state;
    metrics *m = metrics_new();
    for (int round = 0; round < 2; round++) {
        char name[32];
        size_t n;
        for (int i = 99; i >= 0; i--) {
            snprintf(name, sizeof name, "m%d", i); /* the registry keeps its own copy */
            metrics_set(m, name, i);
        }
        metrics_set(m, "m50", 1050);
        const metric *all = metrics_all(m, &n);
        assert_int_equal(n, 100);
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof name, "m%d", 99 - i);
            assert_string_equal(all[i].name, name);
            assert_true(all[i].value == (i == 49 ? 1050 : 99 - i));
        }
        metrics_clear(m);
        metrics_all(m, &n);
        assert_int_equal(n, 0);
        assert_true(metrics_get(m, "m50", -1) == -1);
    }
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_set_and_found),
        cmocka_unit_test(a_snapshot_is_in_order_of_first_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
