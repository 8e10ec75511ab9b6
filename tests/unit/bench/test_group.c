/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench/bench.h"
#include "tests/support/support.h"

/* What is compared is the same update: of four samples, of which each predicts its reply alone. */
static void a_shared_prompt_is_computed_once_and_an_unshared_one_for_each_sample(void **state)
{
    (void)state;
    const bench_request r = { .size = "small", .threads = 1, .group = 4, .prompt = 40, .reply = 8, .seconds = 0.001 };
    bench_group_result g;
    error err = { 0 };
    test_ok(bench_group(&r, &g, &err), &err);

    /* The prompt but its last token, then that and the reply but its last: a last token is only a target. */
    assert_int_equal(g.shared.tokens, 39 + 4 * 8);
    assert_int_equal(g.unshared.tokens, 4 * (39 + 8));
    assert_int_equal(g.shared.micro_batches, 1);
    assert_int_equal(g.unshared.micro_batches, 1);
    assert_true(g.shared.seconds > 0 && g.shared.seconds < 60 && g.unshared.seconds > 0 && g.unshared.seconds < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_prompt_is_computed_once_and_an_unshared_one_for_each_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
