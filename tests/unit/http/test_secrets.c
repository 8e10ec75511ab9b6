/* SPDX-License-Identifier: MIT */
/* Headers that name variables of the environment. */
#include "http/secrets.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static void check(const char *value, const char *expected)
{
    error err = { 0 };
    char *line = secrets_header("X-Key", value, &err);
    if (!line) fail_msg("%s: %s", value, err.text);
    assert_string_equal(line, expected);
    free(line);
}

static void check_refused(const char *name, const char *value, const char *says)
{
    error err = { 0 };
    assert_null(secrets_header(name, value, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
    assert_null(strstr(err.text, "hunter"));
}

static void a_value_names_variables(void **state)
{
    (void)state;
    setenv("TROUPE_TEST_KEY", "hunter2", 1);
    check("plain", "X-Key: plain");
    check("Bearer $TROUPE_TEST_KEY", "X-Key: Bearer hunter2");
    check("a${TROUPE_TEST_KEY}b$$c", "X-Key: ahunter2b$c");
}

static void what_can_not_be_a_header_is_refused_without_its_value(void **state)
{
    (void)state;
    setenv("TROUPE_TEST_KEY", "hunter2\r\nX-Other: x", 1);
    setenv("TROUPE_TEST_EMPTY", "", 1);
    check_refused("X-Key", "$TROUPE_TEST_KEY", "control character");
    check_refused("X-Key", "$TROUPE_TEST_NONE", "no variable TROUPE_TEST_NONE");
    check_refused("X-Key", "$TROUPE_TEST_EMPTY", "no variable TROUPE_TEST_EMPTY");
    check_refused("X-Key", "hunter $", "'$'");
    check_refused("X-Key", "${TROUPE_TEST_KEY", "'$'");
    check_refused("X Key", "a", "'X Key'");
    check_refused("", "a", "header's name");
    check_refused("a:b", "hunter", "header's name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_names_variables),
        cmocka_unit_test(what_can_not_be_a_header_is_refused_without_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
