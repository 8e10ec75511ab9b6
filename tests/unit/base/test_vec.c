/* SPDX-License-Identifier: MIT */
#include "base/vec.h"

#include "tests/support/support.h"

static void everything_pushed_is_there_in_order(void **state)
{
    (void)state;
    vec(int) v = { 0 };
    for (int i = 0; i < 1000; i++) vec_push(&v, i * i);
    assert_int_equal(v.len, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(v.data[i], i * i);
    vec_free(&v);
    assert_null(v.data);
    assert_int_equal(v.len + v.capacity, 0);
}

typedef struct pair {
    int a, b;
} pair;

static void reserved_room_keeps_its_place(void **state)
{
    (void)state;
    vec(pair) v = { 0 };
    vec_reserve(&v, 100);
    const pair *data = v.data;
    for (int i = 0; i < 100; i++) vec_push(&v, (pair){ i, -i });
    assert_ptr_equal(v.data, data);
    assert_int_equal(v.data[99].b, -99);
    vec_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_pushed_is_there_in_order),
        cmocka_unit_test(reserved_room_keeps_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
