/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "lua/source.h"
#include "tests/support/support.h"

typedef struct expectation {
    const char *text, *key;
    int line;
    source_fit fit;
} expectation;

static void keys_are_found_however_a_file_writes_them(void **state)
{
    (void)state;
    static const expectation ALL[] = {
        { "return {\n rollout = {\n  group = 8,\n }\n}", "rollout.group", 3, SOURCE_KEY },
        { "return { rollout = { group = 8 },\n optim = { group = 3 } }", "optim.group", 2, SOURCE_KEY },
        { "return {\n [\"rollout\"] = {\n  ['group'] = 8 } }", "rollout.group", 3, SOURCE_KEY },
        { "local r = {\n rollout = { } }\nr.rollout.group = 8\nreturn r", "rollout.group", 3, SOURCE_KEY },
        { "local r = require 'base'\nr['rollout']['group'] = 8\nreturn r", "rollout.group", 2, SOURCE_KEY },
        { "local rollout = {\n group = 8 }\nreturn { rollout = rollout }", "rollout.group", 2, SOURCE_KEY },
        { "local mine = {\n group = 8 }\nreturn {\n rollout = mine }", "rollout.group", 4, SOURCE_ABOVE },
        { "local mine = {\n group = 8 }\nreturn setmetatable({}, mine)", "rollout.group", 2, SOURCE_TAIL },
        { "return {\n prompt = {\n  shots = T.shots{\n   file = 'x' } } }", "prompt.shots.file", 4, SOURCE_KEY },
        { "return {\n prompt = {\n  shots = T.shots({\n   file = 'x' }) } }", "prompt.shots.file", 4, SOURCE_KEY },
        { "return {\n env = {\n  tools = { T.python{ timeout = 2 } } },\n timeout = 3 }", "timeout", 4, SOURCE_KEY },
        { "-- rollout = { group = 1 }\n--[[ rollout = {\n group = 2 } ]]\nreturn { rollout = {\n group = 8 } }",
          "rollout.group", 5, SOURCE_KEY },
        { "local s = 'rollout = { group = 1'\nlocal t = [==[\n]] group = {\n]==]\nreturn { group = 8 }", "group", 5,
          SOURCE_KEY },
        { "return {\n group = 1,\n group = 2 }", "group", 3, SOURCE_KEY }, /* the last is what counts */
        { "local r = { group = 1 }\nif r.group == 1 then\n print(r.group <= 3)\nend\nreturn r", "group", 1,
          SOURCE_KEY },
        { "return { reward = {\n script = 'x' },\n}", "reward.objectives", 1, SOURCE_ABOVE },
        { "local a = 1\nlocal b = 2\nreturn { a }", "model", 3, SOURCE_NOWHERE },
        { "return { x = function() return 1 end,\n y = 1.5e3, group = 3 }", "group", 2, SOURCE_KEY },
        { "return { name = \"a\\\nb\",\n group = 3 }", "group", 3, SOURCE_KEY },
        { "", "model", 1, SOURCE_NOWHERE },
        { "return { group", "group", 1, SOURCE_NOWHERE },
        { "return { [1] = {}, [\"a", "a", 1, SOURCE_NOWHERE },
        { "--[[", "a", 1, SOURCE_NOWHERE },
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        source_fit fit;
        const int line = source_line_of(ALL[i].text, ALL[i].key, &fit);
        if (line != ALL[i].line || fit != ALL[i].fit)
            fail_msg("case %zu: line %d, fit %d for %s in:\n%s", i, line, (int)fit, ALL[i].key, ALL[i].text);
    }
}

/* Whatever stands there: it ends, and stays inside the text. */
static void any_bytes_are_read_to_their_end(void **state)
{
    (void)state;
    static const char SIGNS[] = "{}[]()=.,;\"'\\-\n ab1return";
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        test_random rnd = test_random_seed(seed);
        char text[200] = { 0 };
        const size_t n = test_random_below(&rnd, sizeof text - 1);
        for (size_t i = 0; i < n; i++) text[i] = SIGNS[test_random_below(&rnd, sizeof SIGNS - 1)];
        int lines = 1;
        for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
        const int line = source_line_of(text, "a.b", NULL);
        if (line < 1 || line > lines) fail_msg("seed %ju: line %d of %d", (uintmax_t)seed, line, lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_however_a_file_writes_them),
        cmocka_unit_test(any_bytes_are_read_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
