/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/config.h"
#include "tests/support/support.h"

typedef struct settings {
    char name[16], file[200];
    double clip[2];
    int64_t group;
    double lr;
    bool loud;
} settings;

#define AT(m) OPTION_AT(settings, m)
static const option ROWS[] = {
    { "name", OPTION_TEXT, AT(name), 0, 0, "run", .help = "" },
    { "data.file", OPTION_PATH, AT(file), 0, 0, "", .help = "" },
    { "rollout.group", OPTION_WHOLE, AT(group), 2, 64, "8", .help = "" },
    { "optim.lr", OPTION_NUMBER, AT(lr), 0, 10, NULL, .help = "" },
    { "loud", OPTION_BOOL, AT(loud), 0, 0, "false", .help = "" },
    { "clip", OPTION_PAIR, AT(clip), 0, 1, "0.1,0.1", .help = "" },
    { "extra", OPTION_VALUE, 0, 0, 0, 0, "", .help = "" },
    { 0 },
};
static const option_table TABLE = { .rows = ROWS };

static bool others;

static int read_text(const char *text, const char *override, settings *out, error *err)
{
    const vm_limits limits = { .memory_bytes = 16 << 20, .instructions = 10000000, .cpu_ms = 2000 };
    char *dir = test_folder_new(), path[400];
    config c = { 0 };
    snprintf(path, sizeof path, "%s/r.lua", dir);
    test_file_write(dir, "r.lua", text);
    test_file_write(dir, "data.jsonl", "{}\n");
    vm *v = vm_new(VM_RECIPE, &limits, dir, err);
    int rc = config_open(&c, v, path, &override, override ? 1 : 0, err);
    *out = (settings){ 0 };
    c.others = others;
    const config_part parts[] = { { &TABLE, out }, { 0 } };
    if (rc == OK) rc = config_read(&c, parts, err);
    if (rc == OK) rc = config_file(&c, "data.file", out->file, err);
    config_close(&c);
    vm_free(v);
    test_folder_remove(dir);
    return rc;
}

static void refused(const char *text, const char *override, const char *words)
{
    error err = { 0 };
    settings s;
    if (read_text(text, override, &s, &err) == OK) fail_msg("accepted: %s", text);
    if (!strstr(err.text, words)) fail_msg("expected '%s' in: %s", words, err.text);
}

static void values_and_defaults_reach_their_places(void **state)
{
    (void)state;
    error err = { 0 };
    settings s;
    test_ok(read_text("return { optim = { lr = 0.5 }, data = { file = 'data.jsonl' }, loud = true, extra = { 1 } }",
                      NULL, &s, &err),
            &err);
    assert_string_equal(s.name, "run");
    assert_int_equal(s.group, 8);
    assert_true(s.lr == 0.5);
    assert_true(s.loud);
    assert_true(s.file[0] == '/'); /* relative to the file's own folder */
}

static void overrides_win_and_keep_their_types(void **state)
{
    (void)state;
    error err = { 0 };
    settings s;
    const char *text = "return { optim = { lr = 0.5 } }";
    test_ok(read_text(text, "optim.lr=0.25", &s, &err), &err);
    assert_true(s.lr == 0.25);
    test_ok(read_text(text, "rollout.group=16", &s, &err), &err);
    assert_int_equal(s.group, 16);
    test_ok(read_text(text, "name=my run", &s, &err), &err);
    assert_string_equal(s.name, "my run");
    test_ok(read_text(text, "loud=true", &s, &err), &err);
    assert_true(s.loud);
}

/* 2026 is a name where a name is asked for, and "{ 1 }" a table where a table is. */
static void an_override_is_what_its_key_takes(void **state)
{
    (void)state;
    static const struct {
        const char *override, *name;
    } NAMES[] = {
        { "name=2026", "2026" }, { "name=true", "true" }, { "name='1e3'", "1e3" }, { "name={ 1 }", "{ 1 }" }
    };
    error err = { 0 };
    settings s;
    const char *text = "return { optim = { lr = 0.5 } }";
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        test_ok(read_text(text, NAMES[i].override, &s, &err), &err);
        assert_string_equal(s.name, NAMES[i].name);
    }
    test_ok(read_text(text, "clip={ 0.25, 0.5 }", &s, &err), &err);
    assert_true(s.clip[0] == 0.25 && s.clip[1] == 0.5);
    test_ok(read_text(text, "extra={ a = { 1 } }", &s, &err), &err);
    test_ok(read_text(text, "extra.b={ 1 }", &s, &err), &err);
    refused(text, "clip={ 0.25, 0.5", "argument 'clip={ 0.25, 0.5': clip: not a table as Lua writes it");
    refused(text, "clip={ print(1) }", "clip: not a table as Lua writes it");
    refused(text, "clip={ (function() while true do end end)() }", "instructions");
    refused("return { optim = { lr = 1 }, name = 'a\\0b' }", NULL, "name: there is a NUL byte in it (after 'a')");
}

static void mistakes_name_line_key_value_and_what_was_meant(void **state)
{
    (void)state;
    refused("return {\n optim = {\n  lrr = 1 } }", NULL, "r.lua:3: optim.lrr");
    refused("return {\n optim = {\n  lrr = 1 } }", NULL, "did you mean 'optim.lr'?");
    refused("return {\n optim = { lr = 1 },\n rollout = {\n  group = 1 } }", NULL, "r.lua:4: rollout.group");
    refused("return { optim = { lr = 'fast' } }", NULL, "fast");
    refused("return { optim = { lr = 1 }, rollout = { group = 2.5 } }", NULL, "2.5");
    refused("return { optim = 3 }", NULL, "optim");
    refused("return { rollout = { group = 4 } }", NULL, "optim.lr");
    refused("return { optim = { lr = 1 }, name = 'a name that is much too long' }", NULL, "name");
    refused("return { optim = { lr = 1 }, data = { file = 'nothere' } }", NULL, "nothere");
    refused("return { optim = { lr = 1 } }", "optim.lr=fast", "optim.lr");
    refused("return { optim = { lr = 1 } }", "optm.lr=2", "did you mean 'optim.lr'?");
    refused("return 3", NULL, "r.lua");
    refused("return {", NULL, "r.lua:1");
    refused("while true do end", NULL, "r.lua");
    refused("return { optim = { lr = 0/0 } }", NULL, "optim.lr");
    refused("return { [1] = 2, optim = { lr = 1 } }", NULL, "a list is not expected");
}

/* A file that other programs read, too, may have more in it, but nothing that looks like a key mistyped. */
static void other_programs_may_have_keys_in_the_file(void **state)
{
    (void)state;
    error err = { 0 };
    settings s;
    others = true;
    test_ok(
        read_text("return { optim = { lr = 1 }, words = { 'a' }, say = function() end, note = 'x' }", NULL, &s, &err),
        &err);
    refused("return { optim = { lr = 1 }, lood = true }", NULL, "did you mean 'loud'?");
    refused("return { optim = { lr = 1, lrr = 2 } }", NULL, "did you mean 'optim.lr'?");
    others = false;
    refused("return { optim = { lr = 1 }, words = { 'a' } }", NULL, "words");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_defaults_reach_their_places),
        cmocka_unit_test(overrides_win_and_keep_their_types),
        cmocka_unit_test(an_override_is_what_its_key_takes),
        cmocka_unit_test(other_programs_may_have_keys_in_the_file),
        cmocka_unit_test(mistakes_name_line_key_value_and_what_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
