/* SPDX-License-Identifier: MIT */
#include "run/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/support/support.h"

static const char RECIPE[] =
    "local T, more = require 'troupe', require 'more'\n"
    "return {\n"
    "    name = 'packed', model = 'm',\n"
    "    data = { train = 'train.jsonl', test = 'test.jsonl' },\n"
    "    prompt = { dialect = './words.lua', shots = T.shots{ file = 'shots.jsonl', schedule = { { 0, 2 } } } },\n"
    "    env = { plugin = 'game.lua', tools = { T.env{}, T.sql{} } },\n"
    "    reward = { script = 'reward.lua', objectives = more },\n"
    "}\n";

typedef struct scene {
    char *dir;
    recipe *recipe;
} scene;

static recipe *open_with(const char *dir, const char *const *words, int n)
{
    char path[400];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    recipe *r = recipe_open(path, words, n, &err);
    if (!r) fail_msg("%s", err.text);
    return r;
}

/* What is in the files is of no matter here: recipe_open reads none of them. */
static scene make_scene(const char *text)
{
    char path[400];
    error err = { 0 };
    scene s = { .dir = test_folder_new() };
    static const char *const NAMES[] = { "train.jsonl",        "words.lua",        "shots.jsonl",
                                         "reward.lua",         "game.lua",         "game.so",
                                         "m/config.json",      "m/tokenizer.json", "m/vocab.json",
                                         "m/model.safetensors" };
    snprintf(path, sizeof path, "%s/m", s.dir);
    test_ok(dir_make_all(path, &err), &err);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) test_file_write(s.dir, NAMES[i], NAMES[i]);
    test_file_write(s.dir, "more.lua", "return { accuracy = 1 }");
    test_file_write(s.dir, "recipe.lua", text);
    return s;
}

static scene open_scene(const char *word)
{
    scene s = make_scene(RECIPE);
    s.recipe = open_with(s.dir, &word, word ? 1 : 0);
    return s;
}

static void close_scene(scene *s)
{
    recipe_free(s->recipe);
    test_folder_remove(s->dir);
}

static void names_of(const parcel_list *list, str *out)
{
    str_puts(out, "");
    for (uint32_t i = 0; i < list->n_files; i++) str_printf(out, "%s%s", i ? " " : "", list->files[i].name);
}

static void must_pack(const scene *s, pack_for role, const char *names)
{
    error err = { 0 };
    str got = { 0 };
    parcel *p = pack_recipe(s->recipe, role, &err);
    if (!p) fail_msg("%s", err.text);
    test_ok(parcel_check_list(&p->list, &err), &err);
    names_of(&p->list, &got);
    assert_string_equal(got.data, names);
    str_free(&got);
    parcel_free(p);
}

static void each_role_gets_its_own_files_and_no_others(void **state)
{
    (void)state;
    scene s = open_scene(NULL);
    must_pack(&s, PACK_FOR_ACTOR,
              "recipe.lua more.lua prompt/dialect.lua prompt/shots.jsonl model/config.json "
              "model/tokenizer.json env/plugin.lua");
    must_pack(&s, PACK_FOR_REWARD, "recipe.lua more.lua reward/script.lua");
    close_scene(&s);
}

/* What T.sql begins with, whatever its name. */
static void a_database_goes_with_the_actors(void **state)
{
    (void)state;
    scene s = open_scene("env.database=train.jsonl");
    must_pack(&s, PACK_FOR_ACTOR,
              "recipe.lua more.lua prompt/dialect.lua prompt/shots.jsonl model/config.json "
              "model/tokenizer.json env/plugin.lua env/database");
    must_pack(&s, PACK_FOR_REWARD, "recipe.lua more.lua reward/script.lua");
    close_scene(&s);
}

/* Machine code stays where it is: who receives the recipe is told to bring a copy (recipe/tools.c). */
static void a_plugin_goes_where_it_is_lua(void **state)
{
    (void)state;
    scene s = open_scene("env.plugin=game.so");
    must_pack(&s, PACK_FOR_ACTOR,
              "recipe.lua more.lua prompt/dialect.lua prompt/shots.jsonl model/config.json model/tokenizer.json");
    close_scene(&s);
}

static void a_tokenizer_of_the_older_kind_goes_whole(void **state)
{
    (void)state;
    char path[400];
    scene s = open_scene("prompt.dialect=xml");
    snprintf(path, sizeof path, "%s/m/tokenizer.json", s.dir);
    assert_int_equal(remove(path), 0);
    must_pack(&s, PACK_FOR_ACTOR,
              "recipe.lua more.lua prompt/shots.jsonl model/config.json model/vocab.json env/plugin.lua");
    close_scene(&s);
}

/* A recipe that a learner of this machine was told the files of, unpacked where none of them is. */
static void words_lead_to_the_files_that_came_and_to_no_others(void **state)
{
    (void)state;
    static const char BARE[] =
        "local T = require 'troupe'\n"
        "return { env = { tools = { T.env{}, T.sql{} } }, reward = { objectives = { accuracy = 1 } } }\n";
    static const char *const KEYS[] = { "model",          "data.train", "reward.script",
                                        "prompt.dialect", "env.plugin", "env.database" };
    static const char *const FILES[] = { "m", "train.jsonl", "reward.lua", "words.lua", "game.lua", "shots.jsonl" };
    enum { N = 6 };
    char where[N][500], *words[40];
    const char *given[N + 2] = { [N] = "rollout.group=3", [N + 1] = "name=packed" };
    error err = { 0 };
    char *there = test_folder_new();
    scene s = make_scene(BARE);
    for (int i = 0; i < N; i++) {
        snprintf(where[i], sizeof where[i], "%s=%s/%s", KEYS[i], s.dir, FILES[i]);
        given[i] = where[i];
    }
    s.recipe = open_with(s.dir, given, N + 2);
    test_file_write(there, "recipe.lua", BARE);

    parcel *p = pack_recipe(s.recipe, PACK_FOR_ACTOR, &err);
    if (!p) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < p->list.n_words; i++) assert_null(strstr(p->list.words[i].text, s.dir));
    const int n = pack_words(&p->list, there, words, 40);
    recipe *r = open_with(there, (const char *const *)words, n);
    assert_int_equal(r->exchange.group, 3);
    assert_string_equal(r->run.name, "packed");
    assert_true(strncmp(r->run.model, there, strlen(there)) == 0);
    assert_true(strncmp(r->prompt.dialect, there, strlen(there)) == 0);
    assert_true(strncmp(r->env.plugin, there, strlen(there)) == 0);
    assert_true(strncmp(r->env.database, there, strlen(there)) == 0);
    test_ok(pack_check_paths(r, PACK_FOR_ACTOR, there, &err), &err);
    assert_int_equal(pack_check_paths(r, PACK_FOR_REWARD, there, &err), ERR_ARGUMENT); /* that was not packed */
    for (int i = 0; i < n; i++) free(words[i]);
    recipe_free(r);
    parcel_free(p);
    test_folder_remove(there);
    close_scene(&s);
}

static void a_recipe_that_names_files_of_this_machine_is_refused_by_the_key(void **state)
{
    (void)state;
    error err = { 0 };
    scene s = open_scene(NULL);
    assert_int_equal(pack_check_paths(s.recipe, PACK_FOR_ACTOR, "/nowhere", &err), ERR_ARGUMENT);
    if (!strstr(err.text, "prompt.dialect") || !strstr(err.text, "recipe.lua:5")) fail_msg("%s", err.text);
    close_scene(&s);

    s = make_scene(RECIPE);
    s.recipe = open_with(s.dir, (const char *const[]){ "prompt.dialect=xml", "prompt.shots.file=/etc/passwd" }, 2);
    assert_int_equal(pack_check_paths(s.recipe, PACK_FOR_ACTOR, s.dir, &err), ERR_ARGUMENT);
    if (!strstr(err.text, "prompt.shots.file")) fail_msg("%s", err.text);
    close_scene(&s);

    s = open_scene("reward.script=reward/../../reward.lua");
    assert_int_equal(pack_check_paths(s.recipe, PACK_FOR_REWARD, s.dir, &err), ERR_ARGUMENT);
    close_scene(&s);
}

static void what_can_not_be_packed_is_named(void **state)
{
    (void)state;
    char path[400];
    error err = { 0 };
    scene s = open_scene(NULL);
    snprintf(path, sizeof path, "%s/shots.jsonl", s.dir);
    assert_int_equal(remove(path), 0);
    assert_null(pack_recipe(s.recipe, PACK_FOR_ACTOR, &err));
    if (!strstr(err.text, "prompt.shots.file") || !strstr(err.text, path)) fail_msg("%s", err.text);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_gets_its_own_files_and_no_others),
        cmocka_unit_test(a_database_goes_with_the_actors),
        cmocka_unit_test(a_plugin_goes_where_it_is_lua),
        cmocka_unit_test(a_tokenizer_of_the_older_kind_goes_whole),
        cmocka_unit_test(words_lead_to_the_files_that_came_and_to_no_others),
        cmocka_unit_test(a_recipe_that_names_files_of_this_machine_is_refused_by_the_key),
        cmocka_unit_test(what_can_not_be_packed_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
