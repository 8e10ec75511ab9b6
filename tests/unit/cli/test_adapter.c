/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/adapter.h"
#include "cli/env_import.h"
#include "tests/support/support.h"

/* KINDS of troupe_env.py: a name in quotes, a colon and what pip calls it. */
static void the_kinds_are_those_that_troupe_env_knows(void **state)
{
    (void)state;
    char *text = test_file_read(getenv("TROUPE_SOURCE"), "plugins/python/troupe_env.py");
    char *from = strstr(text, "\nKINDS = {"), *to = strstr(from, "\n}");
    int theirs = 0, ours = 0;
    *to = 0;
    for (const char *c = from; (c = strstr(c, "\": \"")); c++) theirs++;
    for (; ADAPTER_KINDS[ours]; ours++) {
        char quoted[80];
        snprintf(quoted, sizeof quoted, "\"%s\": ", ADAPTER_KINDS[ours]);
        if (strcmp(ADAPTER_KINDS[ours], "file") != 0 && !strstr(from, quoted)) fail_msg("%s is not in KINDS", quoted);
    }
    assert_int_equal(ours, theirs + 1); /* file */
    free(text);
}

static void a_folder_is_named_after_the_environment(void **state)
{
    (void)state;
    static const char *const NAMES[][2] = {
        { "reasoning_gym:leg_counting", "leg_counting" },
        { "gymnasium:FrozenLake-v1", "FrozenLake-v1" },
        { "gymnasium:ale_py:ALE/Pong-v5", "Pong-v5" },
        { "textworld:games/tw.one.z8", "tw.one" },
        { "textworld:games/", "games" },
        { "file:/home/a b/guess.py:Guess", "Guess" },
        { "verifiers:math env.py", "math_env" },
        { "openenv:http://127.0.0.1:8000/x", "127.0.0.1" },
        { "openenv:..", "_." },
        { "openenv:/", "openenv" },
        { "openenv:--into", "_-into" },
        { "openenv:\xc3\xa4", "__" },
    };
    char name[64];
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        env_import_folder(NAMES[i][0], name, sizeof name);
        assert_string_equal(name, NAMES[i][1]);
    }
    env_import_folder("file:abcdef", name, 4);
    assert_string_equal(name, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kinds_are_those_that_troupe_env_knows),
        cmocka_unit_test(a_folder_is_named_after_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
