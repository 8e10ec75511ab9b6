/* SPDX-License-Identifier: MIT */
/* Workers that are started with an address and nothing else, in empty folders, while the learner's files are out of
 * reach: the run is the run that 'troupe train' makes, byte for byte. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { SECONDS = 120, STEPS = 6 };

static const char *const KEYS[] = { "steps=6", "actors=1", NULL };

/* A learner's machine and a worker's, as far as folders make machines. */
typedef struct fleet {
    place place;
    char origin[300], hidden[300], model[300], empty[300], tmp[300], address[300], log[300];
    process learner;
} fleet;

static void copy_files(const char *from, const char *to, const char *const *names)
{
    char a[700], b[700];
    error err = { 0 };
    for (; *names; names++) {
        path_join(a, sizeof a, from, *names);
        path_join(b, sizeof b, to, *names);
        test_ok(file_copy(a, b, &err), &err);
    }
}

static void make_folder(char out[300], const fleet *f, const char *name)
{
    error err = { 0 };
    snprintf(out, 300, "%s/%s", f->place.dir, name);
    test_ok(dir_make_all(out, &err), &err);
}

/* A recipe with all that can be a file: its dialect, and a module that it requires. */
static void write_recipe(const fleet *f, const char *text)
{
    static const char DIALECT[] = "dialect = \"xml\"";
    const char *at = strstr(text, DIALECT);
    str recipe = { 0 };
    assert_non_null(at);
    str_puts(&recipe, "local objectives = require \"objectives\"\n");
    str_printf(&recipe, "%.*sdialect = \"./words.lua\"%s", (int)(at - text), text, at + sizeof DIALECT - 1);
    char *rest = strstr(recipe.data, "{ accuracy = 1.0 }");
    assert_non_null(rest);
    memcpy(rest, "objectives        ", strlen("{ accuracy = 1.0 }"));
    test_file_write(f->origin, "recipe.lua", recipe.data);
    test_file_write(f->origin, "objectives.lua", "return { accuracy = 1.0 }\n");
    str_free(&recipe);
}

static fleet fleet_new(void)
{
    fleet f = { .place = place_new() };
    char source[600], data[400];
    error err = { 0 };
    make_folder(f.origin, &f, "origin");
    make_folder(f.model, &f, "model");
    make_folder(f.empty, &f, "empty");
    make_folder(f.tmp, &f, "tmp");
    snprintf(f.hidden, sizeof f.hidden, "%s/hidden", f.place.dir);
    snprintf(f.address, sizeof f.address, "ipc://%s/exchange", f.place.dir);
    snprintf(f.log, sizeof f.log, "%s/learner.log", f.place.dir);

    path_join(data, sizeof data, f.origin, "data");
    test_ok(dir_make_all(data, &err), &err);
    snprintf(source, sizeof source, "%s/recipes/calculator", getenv("TROUPE_SOURCE"));
    copy_files(source, f.origin,
               (const char *const[]){ "recipe.lua", "reward.lua", "shots.jsonl", "data/train.jsonl", "data/test.jsonl",
                                      NULL });
    char *text = test_file_read(f.origin, "recipe.lua");
    write_recipe(&f, text);
    free(text);
    snprintf(source, sizeof source, "%s/lua/dialects", getenv("TROUPE_SOURCE"));
    text = test_file_read(source, "xml.lua");
    test_file_write(f.origin, "words.lua", text);
    free(text);
    snprintf(source, sizeof source, "%s/models/stagehand", getenv("TROUPE_SOURCE"));
    copy_files(source, f.model, (const char *const[]){ "config.json", "tokenizer.json", "model.safetensors", NULL });
    return f;
}

/* What the learner was started with and has read is taken away: its recipe, script, shots and data, and the weights. */
static void hide(const fleet *f, bool away)
{
    char weights[400], elsewhere[400];
    snprintf(weights, sizeof weights, "%s/model.safetensors", f->model);
    snprintf(elsewhere, sizeof elsewhere, "%s/weights", f->place.dir);
    assert_int_equal(away ? rename(f->origin, f->hidden) : rename(f->hidden, f->origin), 0);
    assert_int_equal(away ? rename(weights, elsewhere) : rename(elsewhere, weights), 0);
}

static bool says(const char *path, const char *text, int times)
{
    size_t len;
    char *all = file_read(path, 1 << 24, &len, NULL);
    for (const char *at = all; at && (at = strstr(at, text)); at++) times--;
    free(all);
    return times <= 0;
}

static void wait_for(const char *path, const char *text, int times)
{
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; !says(path, text, times);) {
        if (clock_ms() > until_ms) fail_msg("%s never says '%s'", path, text);
        poll(NULL, 0, 20); /* another process writes the file; there is nothing to wait on */
    }
}

/* `lives`: how often it was started, this time included. */
static void start_learner(fleet *f, int lives)
{
    char recipe[400], model[400];
    const char *words[40];
    snprintf(recipe, sizeof recipe, "%s/recipe.lua", f->origin);
    snprintf(model, sizeof model, "model=%s", f->model);
    train_words(words, recipe, f->place.run, KEYS); /* train RECIPE --run-dir RUN key=value ... */
    const char *argv[48] = { "learner", recipe, "--run", f->place.run, "--bind", f->address, model };
    int n = 7;
    if (lives > 1) argv[n++] = "--resume";
    for (int i = 4; words[i]; i++) argv[n++] = words[i];
    f->learner = troupe_start(f->log, argv);
    wait_for(f->log, "listening at", lives);
}

/* In an empty folder, and with a place for temporary files that is the fleet's. */
static process start_worker(const fleet *f, const char *role, const char *log)
{
    char here[1024], path[400];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->empty), 0);
    setenv("TMPDIR", f->tmp, 1);
    snprintf(path, sizeof path, "%s/%s", f->place.dir, log);
    process p = troupe_start(path, (const char *const[]){ role, "--connect", f->address, NULL });
    unsetenv("TMPDIR");
    assert_int_equal(chdir(here), 0);
    return p;
}

static int entries_of(const char *folder)
{
    int n = -2; /* "." and ".." */
    DIR *d = opendir(folder);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void wait_for_entries(const char *folder, int n)
{
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; entries_of(folder) != n; poll(NULL, 0, 20))
        if (clock_ms() > until_ms) fail_msg("%s has %d entries, not %d", folder, entries_of(folder), n);
}

static void fleet_free(fleet *f) { test_folder_remove(f->place.dir); }

static place reference(const fleet *f)
{
    place p = place_new();
    char model[400];
    snprintf(p.recipe, sizeof p.recipe, "%s/recipe.lua", f->origin);
    snprintf(model, sizeof model, "model=%s", f->model);
    process run = place_start(&p, (const char *const[]){ KEYS[0], KEYS[1], model, NULL });
    assert_int_equal(troupe_wait(&run, SECONDS), 0);
    return p;
}

/* ---- promises ---- */

/* An actor is killed and another comes; the learner is killed and continues from its checkpoint: the reward worker
 * finds it again. */
static void workers_with_an_address_alone_make_the_same_run(void **state)
{
    (void)state;
    need_sandbox();
    fleet f = fleet_new();
    place calm = reference(&f);
    start_learner(&f, 1);
    hide(&f, true);
    process reward = start_worker(&f, "reward", "reward.log");
    process actor = start_worker(&f, "actor", "actor.log"), other = start_worker(&f, "actor", "actor.log");
    wait_for(f.log, " has connected (pid", 3); /* of one kind, and neither was given a name */
    wait_for_step(f.place.run, 3, SECONDS);
    process_signal(&actor, SIGKILL);
    assert_int_equal(troupe_wait(&actor, SECONDS), 128 + SIGKILL);
    process_signal(&f.learner, SIGKILL);
    assert_int_equal(troupe_wait(&f.learner, SECONDS), 128 + SIGKILL);

    hide(&f, false);
    start_learner(&f, 2);
    hide(&f, true);
    actor = start_worker(&f, "actor", "actor.log");
    assert_int_equal(troupe_wait(&f.learner, SECONDS), 0);
    assert_int_equal(troupe_wait(&actor, SECONDS), 0);
    assert_int_equal(troupe_wait(&other, SECONDS), 0);
    assert_int_equal(troupe_wait(&reward, SECONDS), 0);
    assert_same_model(&calm, &f.place, STEPS);
    wait_for_entries(f.tmp, 0);
    assert_int_equal(entries_of(f.empty), 0);

    char log[400];
    snprintf(log, sizeof log, "%s/actor.log", f.place.dir);
    assert_true(says(log, "took the recipe of run 'calculator' from ipc://", 3));
    assert_true(says(log,
                     "recipe.lua, objectives.lua, prompt/dialect.lua, prompt/shots.jsonl, model/config.json, "
                     "model/tokenizer.json (",
                     3));
    assert_false(says(log, "reward", 1)); /* neither script nor data */
    snprintf(log, sizeof log, "%s/reward.log", f.place.dir);
    assert_true(says(log, ": recipe.lua, objectives.lua, reward/script.lua (", 1));
    assert_false(says(log, "model/", 1));
    test_folder_remove(calm.dir);
    fleet_free(&f);
}

static void what_was_sent_goes_with_a_worker_that_is_killed(void **state)
{
    (void)state;
    fleet f = fleet_new();
    start_learner(&f, 1);
    process reward = start_worker(&f, "reward", "reward.log");
    char log[400];
    snprintf(log, sizeof log, "%s/reward.log", f.place.dir);
    wait_for(log, "took the recipe", 1);
    assert_int_equal(entries_of(f.tmp), 1);
    process_kill_group(&reward, SIGKILL);
    assert_int_equal(troupe_wait(&reward, SECONDS), 128 + SIGKILL);
    wait_for_entries(f.tmp, 0);
    process_signal(&f.learner, SIGTERM);
    troupe_wait(&f.learner, SECONDS);
    fleet_free(&f);
}

static void must_be_refused(const fleet *f, const char *role, const char *about)
{
    char recipe[400], model[400];
    snprintf(recipe, sizeof recipe, "%s/recipe.lua", f->origin);
    snprintf(model, sizeof model, "model=%s", f->model);
    outcome o = TROUPE(role, recipe, "--connect", f->address, "--name", "other", model);
    if (o.status != 1 || !strstr(o.text, about) || !strstr(o.text, f->address)) fail_msg("%d: %s", o.status, o.text);
    outcome_free(&o);
}

/* With a recipe of its own a worker has to play what the learner trains on. */
static void another_recipe_is_refused_by_the_file_that_differs(void **state)
{
    (void)state;
    need_sandbox();
    fleet f = fleet_new();
    start_learner(&f, 1);
    char *shots = test_file_read(f.origin, "shots.jsonl");
    test_file_write(f.origin, "reward.lua", "return function() return { accuracy = 1 } end");
    must_be_refused(&f, "reward", "reward/script.lua is not the learner's");
    *strchr(shots, '\n') = 0; /* one is left */
    test_file_write(f.origin, "shots.jsonl", shots);
    must_be_refused(&f, "actor", "prompt/shots.jsonl is not the learner's");
    free(shots);
    process_signal(&f.learner, SIGTERM);
    troupe_wait(&f.learner, SECONDS);
    fleet_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_with_an_address_alone_make_the_same_run),
        cmocka_unit_test(what_was_sent_goes_with_a_worker_that_is_killed),
        cmocka_unit_test(another_recipe_is_refused_by_the_file_that_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
