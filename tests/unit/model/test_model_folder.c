/* SPDX-License-Identifier: MIT */
#include "model/model_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/safetensors.h"
#include "tests/support/support.h"

/* A folder of ours, or with `metadata` of others, in the folder of the test. */
static void write_model(const char *dir, const char *const *metadata)
{
    static const float DATA[2] = { 1, 2 };
    const tensor_source t = { .name = "a", .rank = 1, .shape = { 2 }, .data = DATA };
    error err = { 0 };
    char path[400];
    test_ok(dir_make_all(dir, &err), &err);
    test_file_write(dir, "config.json", "{}");
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    test_ok(safetensors_write(path, &t, 1, DTYPE_F32, metadata, &err), &err);
}

static char *root;

static int enter(void **state)
{
    (void)state;
    root = test_folder_new();
    return chdir(root);
}

static int leave(void **state)
{
    (void)state;
    if (chdir("/") != 0) return 1;
    test_folder_remove(root);
    return 0;
}

static int replace(const char *dir, const char *from, error *err)
{
    model_folder f;
    int rc = model_folder_begin(&f, dir, from, err);
    if (rc == OK) test_file_write(f.part, "config.json", "{\"new\": 1}");
    return rc == OK ? model_folder_end(&f, true, err) : rc;
}

static bool is_new(const char *dir)
{
    char *text = test_file_read(dir, "config.json");
    const bool is = strcmp(text, "{\"new\": 1}") == 0;
    free(text);
    return is;
}

static void what_troupe_wrote_is_replaced(void **state)
{
    (void)state;
    error err = { 0 };
    struct stat st;
    test_ok(replace("deep/new", NULL, &err), &err); /* nothing there */
    assert_true(is_new("deep/new"));
    assert_int_equal(mkdir("empty", 0755), 0);
    test_ok(replace("empty///", NULL, &err), &err);
    assert_true(is_new("empty"));
    write_model("ours", MODEL_METADATA);
    test_ok(replace("ours", NULL, &err), &err);
    assert_true(is_new("ours") && stat("ours/model.safetensors", &st) != 0);
    assert_int_equal(mkdir("seed", 0755), 0);
    test_file_write("seed", "config.json", "{}"); /* a config that is to get its first weights */
    test_ok(replace("seed", "seed", &err), &err);
    assert_true(is_new("seed"));
}

typedef struct way {
    const char *dir, *says;
} way;

/* A wrong OUT must not cost the user any files. Each case is left as it was, with nothing new beside it. */
static void what_is_a_users_is_never_replaced(void **state)
{
    (void)state;
    static const char *const THEIRS[] = { "format", "pt", NULL };
    static const way WAYS[] = {
        { "thesis", "thesis.txt" },
        { "project", "package.json" }, /* a config.json alone makes no model */
        { "theirs", "did not write" },
        { "extra", "README.md" }, /* ours, with something of the user's in it */
        { "checkpoint", "state.json" },
        { "inner", "model.safetensors" }, /* a folder where a file should be */
        { "hidden", ".git" },
        { "link", "symbolic link" },
        { "link/", "symbolic link" },
        { "dangling", "symbolic link" },
        { "note.txt", "not a folder" },
        { "config", "no model of Troupe's" },
        { "note.txt/under", "Not a directory" },
    };
    error err = { 0 };
    assert_int_equal(mkdir("thesis", 0755) | mkdir("project", 0755) | mkdir("inner", 0755) | mkdir("config", 0755), 0);
    test_file_write("thesis", "thesis.txt", "three years");
    test_file_write("project", "config.json", "{}");
    test_file_write("project", "package.json", "{}");
    test_file_write("config", "config.json", "{}");
    assert_int_equal(mkdir("inner/model.safetensors", 0755), 0);
    write_model("theirs", THEIRS);
    write_model("extra", MODEL_METADATA);
    test_file_write("extra", "README.md", "mine");
    write_model("checkpoint", MODEL_METADATA);
    test_file_write("checkpoint", "state.json", "{}");
    write_model("hidden", MODEL_METADATA);
    assert_int_equal(mkdir("hidden/.git", 0755), 0);
    write_model("ours", MODEL_METADATA);
    assert_int_equal(symlink("ours", "link") | symlink("nowhere", "dangling"), 0);
    test_file_write(".", "note.txt", "mine");
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++) {
        struct stat st;
        char part[100];
        err = (error){ 0 };
        assert_int_not_equal(replace(WAYS[i].dir, NULL, &err), OK);
        if (!strstr(err.text, WAYS[i].says)) fail_msg("%s: expected '%s' in: %s", WAYS[i].dir, WAYS[i].says, err.text);
        snprintf(part, sizeof part, "%s.part-1", WAYS[i].dir);
        assert_int_not_equal(lstat(part, &st), 0);
    }
    char *text = test_file_read("thesis", "thesis.txt");
    assert_string_equal(text, "three years");
    free(text);
    assert_false(is_new("ours") || is_new("theirs") || is_new("extra") || is_new("project") || is_new("checkpoint"));
}

/* Of a folder in the making nothing is left, and one of the same name that another process made stays. */
static void what_is_not_kept_leaves_nothing(void **state)
{
    (void)state;
    error err = { 0 };
    model_folder f;
    struct stat st;
    write_model("ours", MODEL_METADATA);
    assert_int_equal(mkdir("ours.part-1", 0755), 0);
    test_file_write("ours.part-1", "thesis.txt", "three years");
    test_ok(model_folder_begin(&f, "ours", NULL, &err), &err);
    assert_string_equal(f.part, "ours.part-2");
    test_file_write(f.part, "config.json", "{\"new\": 1}");
    test_ok(model_folder_end(&f, false, &err), &err);
    assert_true(!is_new("ours") && stat("ours.part-2", &st) != 0 && stat("ours.part-1/thesis.txt", &st) == 0);
    test_ok(model_folder_begin(&f, "ours", NULL, &err), &err);
    test_file_write(f.part, "config.json", "{\"new\": 1}");
    test_file_write("ours", "notes.txt", "mine, meanwhile");
    assert_int_equal(model_folder_end(&f, true, &err), ERR_ARGUMENT);
    assert_true(!is_new("ours") && stat("ours/notes.txt", &st) == 0 && stat("ours.part-2", &st) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_troupe_wrote_is_replaced, enter, leave),
        cmocka_unit_test_setup_teardown(what_is_a_users_is_never_replaced, enter, leave),
        cmocka_unit_test_setup_teardown(what_is_not_kept_leaves_nothing, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
