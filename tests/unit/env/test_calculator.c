/* SPDX-License-Identifier: MIT */
/* T.calculator: exact values, what can't be read, and what no expression may take. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "env/calculate.h"
#include "env/tools/calculator.h"
#include "tests/support/support.h"

static void gives(const char *text, const char *expected)
{
    error err = { 0 };
    str out = { 0 };
    const int rc = calculate(text, strlen(text), &out, &err);
    if (rc != OK) str_printf(&out, "error: %s", err.text);
    if (strcmp(str_text(&out), expected) != 0) fail_msg("%s: expected '%s', found '%s'", text, expected, out.data);
    str_free(&out);
}

static void values_are_exact(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        { "2+2", "4" },
        { "12*(3+4)", "84" },
        { "0.1+0.2", "0.3" },
        { "0.5", "0.5" },
        { "-0.05*-2", "0.1" },
        { "7-7", "0" },
        { "-(3)-4", "-7" },
        { "2--3", "5" },
        { "1/4", "0.25" },
        { "1/3", "0.333333333333333" },
        { "1/3*3", "1" },
        { "2^10", "1024" },
        { "2**10", "1024" },
        { "-2^2", "-4" },
        { "2^-2", "0.25" },
        { "2^3^2", "512" },
        { "2^100", "1267650600228229401496703205376" },
        { "10^40/10^40", "1" },
        { "7//2", "3" },
        { "-7//2", "-4" },
        { "-7%3", "2" },
        { "7%-3", "-2" },
        { "7.5%2", "1.5" },
        { "10 % 3 * 2", "2" },
        { "1.5e3", "1500" },
        { "1e-3", "0.001" },
        { ".5 + 1.", "1.5" },
        { "2+3=", "5" },
        { "  6 \xc3\x97 7 ", "42" },
        { "abs(-3.5)", "3.5" },
        { "min(3, 1, 2)", "1" },
        { "max(1/2, 1/3)", "0.5" },
        { "sqrt(2.25)", "1.5" },
        { "sqrt(1000000)", "1000" },
        { "sqrt(2)", "1.4142135623731" },
        { "sqrt(20000000000)", "141421.35623731" },
        { "floor(-1.2)", "-2" },
        { "ceil(1.2)", "2" },
        { "ceil(-1.2)", "-1" },
        { "round(2.5)", "3" },
        { "round(-2.5)", "-3" },
        { "round(2.4)", "2" },
        { "floor(900719925474099.5)", "900719925474099" },
        { "0^0", "1" },
        { "1^123456789", "1" },
        { "123456789*987654321", "121932631112635269" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) gives(CASES[i][0], CASES[i][1]);
}

static void what_has_no_value_is_said(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        { "", "error: a number is expected where the expression ends" },
        { "2+", "error: a number is expected where the expression ends" },
        { "2 3", "error: an operator is expected at '3'" },
        { "(2+3", "error: ) is expected where the expression ends" },
        { "2+)", "error: a number is expected at ')'" },
        { "1,234+1", "error: an operator is expected at ',234+1'" },
        { "x+1", "error: a number or one of abs, min, max, sqrt, floor, ceil, round is expected at 'x+1'" },
        { "abs 3", "error: ( is expected at '3'" },
        { "abs(1,2)", "error: ) is expected at ',2)'" },
        { "1/0", "error: division by zero" },
        { "5%(1-1)", "error: division by zero" },
        { "0^-1", "error: division by zero" },
        { "2^0.5", "error: an exponent should be a whole number" },
        { "sqrt(-1)", "error: the square root of a negative number is none" },
        { "2^99999", "error: the number is too large" },
        { "9^9^9", "error: the number is too large" },
        { "(2^2000)*(2^2000)", "error: the number is too large" },
        { "1e999999", "error: the number is too large" },
        { "1e 5", "error: an operator is expected at 'e 5'" },
        { "__import__('os')", "error: a number is expected at '__import__('os')'" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) gives(CASES[i][0], CASES[i][1]);
}

/* Deep, long and large: each ends soon, with a sentence. */
static void no_expression_takes_long(void **state)
{
    (void)state;
    static const char *const UNITS[] = { "(", "-", "2^", "9*", "1/7+", "99999999", "abs(", "1//3%" };
    const int64_t began_ms = clock_ms();
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
        error err = { 0 };
        str text = { 0 }, out = { 0 };
        while (text.len < 100000) str_puts(&text, UNITS[i]);
        assert_int_equal(calculate(text.data, text.len, &out, &err), ERR_ARGUMENT);
        str_free(&text);
        str_free(&out);
    }
    assert_true(clock_ms() - began_ms < 20000);
}

/* Sums and products of small decimals against double arithmetic. */
static void values_are_those_of_doubles(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(14);
    for (int i = 0; i < 2000; i++) {
        char text[100];
        error err = { 0 };
        str out = { 0 };
        const double a = (double)test_random_below(&rnd, 20001) / 100 - 100;
        const double b = (double)test_random_below(&rnd, 20001) / 100 - 100;
        snprintf(text, sizeof text, "(%.2f)*(%.2f)+(%.2f)-(%.2f)", a, b, a, b);
        test_ok(calculate(text, strlen(text), &out, &err), &err);
        test_near(atof(out.data), a * b + a - b, 1e-9, text);
        str_free(&out);
    }
}

static void it_is_a_tool(void **state)
{
    (void)state;
    error err = { 0 };
    router *r = router_new(NULL);
    const tool made = calculator_tool();
    test_ok(router_add(r, &made, &err), &err);
    tool_result t = { 0 };
    test_ok(router_call(r, "calculator", "{\"expression\": \"3*4\"}", &t, &err), &err);
    assert_true(t.ok && strcmp(t.text, "12") == 0);
    tool_result_reset(&t);
    test_ok(router_call(r, "calculator", "{\"expression\": \"3*\"}", &t, &err), &err);
    assert_true(!t.ok && t.failed == FAIL_NONE && strncmp(t.text, "error: a number", 15) == 0);
    tool_result_reset(&t);
    router_begin(r, "calculator", "{\"expression\": \"1\"}", NULL, clock_ms()); /* never asked for */
    router_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_exact),
        cmocka_unit_test(what_has_no_value_is_said),
        cmocka_unit_test(no_expression_takes_long),
        cmocka_unit_test(values_are_those_of_doubles),
        cmocka_unit_test(it_is_a_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
