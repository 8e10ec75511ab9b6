/* SPDX-License-Identifier: MIT */
/* What a run's folder promises: no other files are removed, and a run continues with what it was begun with. */
#include "run/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "run/run_files.h"
#include "tests/support/support.h"

/* A desk with a recipe of its own (of the calculator's parts), and a place for runs. */
typedef struct desk {
    char *dir, recipe[400], run[400];
    str told;
} desk;

static void copy_part(const char *dir, const char *part)
{
    char from[1100], to[1100];
    error err = { 0 };
    const char *name = strrchr(part, '/') ? strrchr(part, '/') + 1 : part;
    snprintf(from, sizeof from, "%s/recipes/calculator/%s", getenv("TROUPE_SOURCE"), part);
    test_ok(file_copy(from, path_join(to, sizeof to, dir, name), &err), &err);
}

static desk open_desk(void)
{
    char text[2048];
    desk d = { .dir = test_folder_new() };
    copy_part(d.dir, "reward.lua");
    copy_part(d.dir, "shots.jsonl");
    copy_part(d.dir, "data/test.jsonl");
    test_file_write(d.dir, "words.lua", "return { hello = 'Write <answer>number</answer>.' }\n");
    snprintf(text, sizeof text,
             "local T = require 'troupe'\nlocal words = require 'words'\n"
             "return { name = 'a', model = '%s/models/stagehand', data = { train = 'test.jsonl' },\n"
             "prompt = { dialect = 'xml', instruction = words.hello, shots = T.shots{ file = 'shots.jsonl', "
             "schedule = { { 0, 1 } } } },\n"
             "reward = { script = 'reward.lua', objectives = { accuracy = 1 } }, steps = 7 }\n",
             getenv("TROUPE_SOURCE"));
    test_file_write(d.dir, "r.lua", text);
    snprintf(d.recipe, sizeof d.recipe, "%s/r.lua", d.dir);
    snprintf(d.run, sizeof d.run, "%s/runs/a", d.dir);
    return d;
}

static void close_desk(desk *d)
{
    str_free(&d->told);
    test_folder_remove(d->dir);
}

static int begin(desk *d, run_dir *r, const char *path, const char *word, bool fresh, error *err)
{
    const char *const words[] = { word };
    recipe *of = recipe_open(d->recipe, words, word != NULL, err);
    if (!of) fail_msg("%s", err->text);
    const int rc = run_dir_begin(r, path, of, words, word != NULL, fresh, err);
    recipe_free(of);
    return rc;
}

static void begin_and_end(desk *d)
{
    error err = { 0 };
    run_dir r;
    test_ok(begin(d, &r, d->run, "optim.lr=0.5", false, &err), &err);
    run_dir_end(&r);
}

static void tell(void *ctx, const char *sentence) { str_printf(&((desk *)ctx)->told, "%s\n", sentence); }

static recipe *resume(desk *d, run_dir *r, const char *word, bool take_changes, error *err)
{
    const char *const words[] = { word };
    str_clear(&d->told);
    str_puts(&d->told, "");
    const resume_options o = {
        .words = words, .n_words = word != NULL, .take_changes = take_changes, .tell = tell, .ctx = d
    };
    return run_dir_resume(r, d->run, &o, err);
}

static void refused(desk *d, const char *word, bool take_changes, const char *why)
{
    error err = { 0 };
    run_dir r;
    recipe *of = resume(d, &r, word, take_changes, &err);
    run_dir_end(&r);
    if (of) fail_msg("expected a refusal: %s", why);
    if (!strstr(err.text, why)) fail_msg("expected '%s' in: %s", why, err.text);
}

static char *in_run(const desk *d, const char *name)
{
    static char path[1100];
    return path_join(path, sizeof path, d->run, name);
}

/* ---- whose files ---- */

/* A lock that leads out of the run would be made, or held, in another's folder. */
static void a_lock_that_is_a_link_is_not_taken(void **state)
{
    (void)state;
    desk d = open_desk();
    char target[1100];
    struct stat st;
    begin_and_end(&d);
    snprintf(target, sizeof target, "%s-elsewhere", d.run);
    assert_int_equal(unlink(in_run(&d, "lock")), 0);
    assert_int_equal(symlink(target, in_run(&d, "lock")), 0);
    refused(&d, NULL, false, "lock");
    assert_int_not_equal(stat(target, &st), 0);
    close_desk(&d);
}

static void a_folder_that_is_no_run_is_left_alone(void **state)
{
    (void)state;
    static const char *const THINGS[] = { "metrics.jsonl",     "rollouts.db", "run.json",
                                          "checkpoints/sub/x", "logs/x",      ".hidden" };
    for (size_t i = 0; i < sizeof THINGS / sizeof *THINGS; i++)
        for (int fresh = 0; fresh < 2; fresh++) {
            desk d = open_desk();
            error err = { 0 };
            run_dir r;
            char folder[1100];
            snprintf(folder, sizeof folder, "%s/%s", d.run, THINGS[i]);
            *strrchr(folder, '/') = 0;
            test_ok(dir_make_all(folder, &err), &err);
            test_file_write(d.run, THINGS[i], "{\"mine\": 1}");
            assert_int_equal(begin(&d, &r, d.run, NULL, fresh, &err), ERR_STATE);
            assert_non_null(strstr(err.text, "not a run"));
            run_dir_end(&r);
            char *text = test_file_read(d.run, THINGS[i]);
            assert_string_equal(text, "{\"mine\": 1}");
            free(text);
            close_desk(&d);
        }
}

/* --fresh takes what the run has made, and nothing that a person put there. */
static void starting_over_takes_only_what_the_run_has_made(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir r;
    begin_and_end(&d);
    static const char *const MADE[] = { "metrics.jsonl", "rollouts.db", "logs/learner.log", "logs/actor-12.log" };
    static const char *const MINE[] = { "notes.txt", "logs/mine.log", "logs/actor-x.log", "recipe/mine.lua",
                                        "checkpoints/step-3/model.bin" };
    test_ok(dir_make_all(in_run(&d, "checkpoints/step-3"), &err), &err);
    for (size_t i = 0; i < 4; i++) test_file_write(d.run, MADE[i], "x");
    for (size_t i = 0; i < 5; i++) test_file_write(d.run, MINE[i], "x");
    assert_int_equal(begin(&d, &r, d.run, NULL, false, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "--resume"));
    run_dir_end(&r);
    assert_true(file_exists(in_run(&d, "metrics.jsonl")));
    test_ok(begin(&d, &r, d.run, NULL, true, &err), &err);
    run_dir_end(&r);
    for (size_t i = 0; i < 4; i++)
        if (file_exists(in_run(&d, MADE[i]))) fail_msg("%s is still there", MADE[i]);
    for (size_t i = 0; i < 5; i++)
        if (!file_exists(in_run(&d, MINE[i]))) fail_msg("%s is gone", MINE[i]);
    close_desk(&d);
}

/* A run whose episodes were taken away still has its checkpoints: it is not begun anew without a word. */
static void a_run_without_its_database_is_still_a_run(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir r;
    begin_and_end(&d);
    test_ok(dir_make_all(in_run(&d, "checkpoints/step-3"), &err), &err);
    test_file_write(d.run, "checkpoints/step-3/state.json", "{}");
    assert_int_equal(begin(&d, &r, d.run, NULL, false, &err), ERR_STATE);
    run_dir_end(&r);
    assert_true(file_exists(in_run(&d, "checkpoints/step-3/state.json")));
    close_desk(&d);
}

static void links_are_not_followed(void **state)
{
    (void)state;
    static const char *const PLACES[] = { "checkpoints", "logs", "metrics.jsonl", "rollouts.db" };
    for (size_t i = 0; i < 4; i++) {
        desk d = open_desk();
        error err = { 0 };
        run_dir r;
        char outside[1100];
        begin_and_end(&d);
        snprintf(outside, sizeof outside, "%s/outside", d.dir);
        test_ok(dir_make_all(outside, &err), &err);
        test_file_write(outside, "learner.log", "mine");
        test_file_write(d.run, "summary.json", "{}");
        rmdir(in_run(&d, PLACES[i]));
        if (i >= 2) snprintf(outside, sizeof outside, "%s/outside/learner.log", d.dir);
        assert_int_equal(symlink(outside, in_run(&d, PLACES[i])), 0);
        assert_int_equal(begin(&d, &r, d.run, NULL, true, &err), ERR_STATE);
        assert_non_null(strstr(err.text, "a symbolic link"));
        run_dir_end(&r);
        snprintf(outside, sizeof outside, "%s/outside/learner.log", d.dir);
        assert_true(file_exists(outside));
        close_desk(&d);
    }
}

/* What can't be a run's folder is named with the reason, not found out by a process of the run. */
static void places_where_no_run_can_live_are_named(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir r;
    char path[1100], deep[600];
    test_file_write(d.dir, "file", "mine");
    assert_int_equal(begin(&d, &r, path_join(path, sizeof path, d.dir, "file/x"), NULL, false, &err), ERR_IO);
    run_dir_end(&r);
    assert_non_null(strstr(err.text, "file/x cannot be a run's folder: Not a directory"));
    assert_int_equal(symlink("nowhere", path_join(path, sizeof path, d.dir, "link")), 0);
    assert_int_equal(begin(&d, &r, path, NULL, false, &err), ERR_STATE);
    run_dir_end(&r);
    assert_non_null(strstr(err.text, "link is a symbolic link to a folder that is not there"));
    for (size_t i = 0; i < sizeof deep; i++) deep[i] = i % 100 == 99 ? '/' : 'd';
    deep[sizeof deep - 1] = 0;
    assert_int_equal(begin(&d, &r, path_join(path, sizeof path, d.dir, deep), NULL, false, &err), ERR_LIMIT);
    run_dir_end(&r);
    assert_non_null(strstr(err.text, "a run's may have 480"));
    close_desk(&d);
}

static void a_name_is_one_component(void **state)
{
    (void)state;
    static const char *const BAD[] = { "", ".", "..", "../x", "a/b", "/a", "a\n", "\x1b[31m", "a\xff" };
    error err = { 0 };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) assert_int_equal(run_name_check(BAD[i], &err), ERR_ARGUMENT);
    test_ok(run_name_check("first run, ümlaut", &err), &err);
}

static void a_run_is_its_owners(void **state)
{
    (void)state;
    desk d = open_desk();
    struct stat st;
    umask(077);
    begin_and_end(&d);
    static const char *const NAMES[] = { ".", "run.json", "lock", "logs", "recipe", "recipe/r.lua" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        assert_int_equal(stat(in_run(&d, NAMES[i]), &st), 0);
        if (st.st_mode & 077) fail_msg("%s is open to others: %o", NAMES[i], st.st_mode);
    }
    close_desk(&d);
}

static void one_run_has_one_supervisor(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir a, b;
    test_ok(begin(&d, &a, d.run, NULL, false, &err), &err);
    assert_true(dir_exists(a.sockets.path));
    recipe *of = resume(&d, &b, NULL, false, &err);
    assert_null(of);
    assert_non_null(strstr(err.text, "is running"));
    run_dir_end(&b);
    assert_true(dir_exists(a.sockets.path));
    char sockets[200];
    snprintf(sockets, sizeof sockets, "%s", a.sockets.path);
    run_dir_end(&a);
    assert_false(dir_exists(sockets));
    close_desk(&d);
}

/* A copy of a live run's folder is another run: its sockets are its own. */
static void a_copied_run_does_not_touch_the_first(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir a, b;
    char command[2500];
    test_ok(begin(&d, &a, d.run, NULL, false, &err), &err);
    snprintf(command, sizeof command, "cp -r %s %s-copy", d.run, d.run);
    assert_int_equal(system(command), 0);
    strcat(d.run, "-copy");
    recipe *of = resume(&d, &b, NULL, false, &err);
    if (!of) fail_msg("%s", err.text);
    assert_true(dir_exists(a.sockets.path));
    run_dir_end(&b);
    assert_true(dir_exists(a.sockets.path));
    recipe_free(of);
    run_dir_end(&a);
    close_desk(&d);
}

/* ---- what a run continues with ---- */

static void a_run_goes_on_with_what_it_was_begun_with(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir r;
    begin_and_end(&d);
    static const char *const PARTS[] = { "r.lua", "reward.lua", "shots.jsonl", "test.jsonl", "words.lua" };
    for (size_t i = 0; i < 5; i++) { /* all of it is edited, moved or gone */
        char path[1100];
        if (i % 2)
            assert_int_equal(unlink(path_join(path, sizeof path, d.dir, PARTS[i])), 0);
        else
            test_file_write(d.dir, PARTS[i], "error('edited')\n");
    }
    recipe *of = resume(&d, &r, NULL, false, &err);
    if (!of) fail_msg("%s", err.text);
    assert_int_equal(of->run.steps, 7);
    assert_string_equal(of->prompt.instruction, "Write <answer>number</answer>.");
    assert_int_equal(r.n_overrides, 1);
    assert_string_equal(r.overrides[0], "optim.lr=0.5");
    for (size_t i = 0; i < 5; i++)
        if (!strstr(d.told.data, PARTS[i])) fail_msg("%s: nothing is said of it in: %s", PARTS[i], d.told.data);
    assert_non_null(strstr(d.told.data, "has changed since the run began"));
    assert_non_null(strstr(d.told.data, "is gone since the run began"));
    recipe_free(of);
    run_dir_end(&r);
    close_desk(&d);
}

static void changes_are_taken_when_asked_and_recorded(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    run_dir r;
    begin_and_end(&d);
    recipe *of = resume(&d, &r, "steps=9", false, &err);
    if (!of) fail_msg("%s", err.text);
    assert_int_equal(of->run.steps, 9);
    recipe_free(of);
    run_dir_end(&r);
    test_file_write(d.dir, "words.lua", "return { hello = 'Say it.' }\n");
    of = resume(&d, &r, NULL, false, &err); /* not asked: the old words, the new steps */
    assert_int_equal(of->run.steps, 9);
    assert_string_equal(of->prompt.instruction, "Write <answer>number</answer>.");
    recipe_free(of);
    run_dir_end(&r);
    of = resume(&d, &r, NULL, true, &err);
    if (!of) fail_msg("%s", err.text);
    assert_string_equal(of->prompt.instruction, "Say it.");
    assert_non_null(strstr(d.told.data, "require: read again"));
    recipe_free(of);
    run_dir_end(&r);
    of = resume(&d, &r, NULL, false, &err);
    assert_string_equal(of->prompt.instruction, "Say it.");
    assert_string_equal(d.told.data, "");
    assert_int_equal(json_array_size(r.history), 2);
    recipe_free(of);
    run_dir_end(&r);
    close_desk(&d);
}

static void what_a_run_cannot_go_on_with_is_refused_by_name(void **state)
{
    (void)state;
    desk d = open_desk();
    error err = { 0 };
    begin_and_end(&d);
    refused(&d, "seed=9", false, "a run keeps its seed");
    refused(&d, "rollout.group=4", false, "a run keeps its rollout.group");
    refused(&d, "model=/tmp", false, "model");
    refused(&d, "stesp=9", false, "steps");
    test_file_write(d.run, "recipe/test.jsonl", "{\"prompt\": \"x\", \"answer\": \"y\"}\n");
    refused(&d, NULL, false, "data.train");
    refused(&d, NULL, false, "is not what the run was begun with");
    /* A run.json that leads elsewhere is not followed. */
    char *text = test_file_read(d.run, "run.json");
    static const char *const EDITS[][2] = { { "recipe/reward.lua", "../../../etc/passwd" },
                                            { "recipe/reward.lua", "recipe/../x" },
                                            { "troupe run 2", "troupe ran 2" },
                                            { "troupe run 2", "troupe run 1" } };
    static const char *const SAYS[] = { "is not a path inside the run", "is not a path inside the run", "is not a run",
                                        "'troupe run 1' is of another build" };
    for (size_t i = 0; i < 4; i++) {
        str edited = { 0 };
        const char *at = strstr(text, EDITS[i][0]);
        assert_non_null(at);
        str_printf(&edited, "%.*s%s%s", (int)(at - text), text, EDITS[i][1], at + strlen(EDITS[i][0]));
        json_t *json = json_loads(edited.data, 0, NULL);
        json_seal(json); /* by whoever knows how it is done */
        char *sealed = json_text(json, false);
        test_file_write(d.run, "run.json", sealed);
        json_decref(json);
        free(sealed);
        refused(&d, NULL, false, SAYS[i]);
        str_free(&edited);
    }
    test_file_write(d.run, "run.json", "{\"format\": \"troupe run 1\", ");
    refused(&d, NULL, false, "run.json:1"); /* damaged: it is not said to be none */
    for (size_t i = 0; text[i]; i++) {      /* nor is one in which anything was changed: it says what the run is */
        text[i] ^= 1;
        test_file_write(d.run, "run.json", text);
        refused(&d, NULL, false, "run");
        text[i] ^= 1;
    }
    free(text);
    (void)err;
    close_desk(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_that_is_no_run_is_left_alone),
        cmocka_unit_test(starting_over_takes_only_what_the_run_has_made),
        cmocka_unit_test(a_run_without_its_database_is_still_a_run),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(places_where_no_run_can_live_are_named),
        cmocka_unit_test(a_name_is_one_component),
        cmocka_unit_test(a_run_is_its_owners),
        cmocka_unit_test(a_lock_that_is_a_link_is_not_taken),
        cmocka_unit_test(one_run_has_one_supervisor),
        cmocka_unit_test(a_copied_run_does_not_touch_the_first),
        cmocka_unit_test(a_run_goes_on_with_what_it_was_begun_with),
        cmocka_unit_test(changes_are_taken_when_asked_and_recorded),
        cmocka_unit_test(what_a_run_cannot_go_on_with_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
