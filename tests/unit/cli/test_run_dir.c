#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/run_dir.h"
#include "tests/support/support.h"

typedef struct desk {
    char *dir, recipe[400], run[400];
} desk;

static desk open_desk(void)
{
    desk d = { .dir = test_folder_new() };
    test_file_write(d.dir, "r.lua", "return {}\n");
    snprintf(d.recipe, sizeof d.recipe, "%s/r.lua", d.dir);
    snprintf(d.run, sizeof d.run, "%s/runs/a", d.dir);
    return d;
}

static const char *const OVERRIDES[] = { "steps=3", "optim.lr=0.5" };

static void a_run_remembers_recipe_and_overrides(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir a, b;
    test_ok(run_dir_begin(&a, d.run, d.recipe, OVERRIDES, 2, false, &err), &err);
    assert_true(dir_exists(a.sockets));
    run_dir_end(&a);
    assert_false(dir_exists(a.sockets));
    test_ok(run_dir_resume(&b, d.run, &err), &err);
    assert_string_equal(b.recipe, a.recipe);
    assert_int_equal(b.n_overrides, 2);
    assert_string_equal(b.overrides[1], "optim.lr=0.5");
    run_dir_end(&b);
    test_folder_remove(d.dir);
}

static void one_run_has_one_supervisor(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir a, b;
    test_ok(run_dir_begin(&a, d.run, d.recipe, NULL, 0, false, &err), &err);
    assert_int_equal(run_dir_resume(&b, d.run, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "is running"));
    run_dir_end(&b);
    run_dir_end(&a);
    test_folder_remove(d.dir);
}

static void a_run_is_not_overwritten_unless_asked(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir a;
    test_ok(run_dir_begin(&a, d.run, d.recipe, NULL, 0, false, &err), &err);
    test_file_write(a.path, "metrics.jsonl", "{}\n");
    test_file_write(a.path, "rollouts.db", "x");
    run_dir_end(&a);
    assert_int_equal(run_dir_begin(&a, d.run, d.recipe, NULL, 0, false, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "--resume"));
    run_dir_end(&a);
    test_ok(run_dir_begin(&a, d.run, d.recipe, NULL, 0, true, &err), &err);
    char path[1100];
    assert_false(file_exists(path_join(path, sizeof path, a.path, "metrics.jsonl")));
    assert_false(file_exists(path_join(path, sizeof path, a.path, "rollouts.db")));
    run_dir_end(&a);
    test_folder_remove(d.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_remembers_recipe_and_overrides),
        cmocka_unit_test(one_run_has_one_supervisor),
        cmocka_unit_test(a_run_is_not_overwritten_unless_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
