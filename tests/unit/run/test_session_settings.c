/* SPDX-License-Identifier: MIT */
/* What a learner takes of its recipe, and which checkpoint it continues from; nothing of it is started. */
#include "run/session_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/session.h"
#include "tests/support/support.h"

static recipe *open_with(const char *const *overrides, int n)
{
    char path[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    recipe *r = recipe_open(path, overrides, n, &err);
    if (!r) fail_msg("%s", err.text);
    return r;
}

static const model_config MODEL = { .vocab = 99, .max_position = 300, .n_eos = 1, .eos = { 7 } };

static void the_server_gets_what_the_recipe_says(void **state)
{
    (void)state;
    const char *const words[] = { "steps=17",        "seed=5",       "lease_seconds=2.5",
                                  "eval_prompts=11", "eval_shots=2", "rollout.group=6" };
    recipe *r = open_with(words, 6);
    const server_parts parts = { .address = "ipc:///a", .model = &MODEL };
    const server_config c = session_server(r, &parts);
    assert_int_equal(c.core.steps, 17);
    assert_int_equal(c.core.task_lease_ms, 2500);
    assert_true(c.core.score_lease_ms > r->reward.timeout_ms);
    assert_string_equal(c.core.signal, "accuracy");
    assert_non_null(c.core.witness.check);
    assert_string_equal(c.address, "ipc:///a");
    assert_string_equal(c.run, "calculator");

    const scheduler_config *s = &c.core.schedule;
    assert_int_equal(s->seed, 5);
    assert_int_equal(s->group, 6);
    assert_int_equal(s->eval_prompts, 11);
    assert_int_equal(s->eval_shots, 2);
    assert_non_null(s->shots); /* the recipe's curriculum: three examples at first, none in the end */
    assert_int_equal(s->shots(s->shots_ctx, 1, 0, 0), 3);
    assert_int_equal(s->shots(s->shots_ctx, 200, 0, 0), 0);
    recipe_free(r);
}

static void an_episode_is_no_longer_than_the_model_allows(void **state)
{
    (void)state;
    const char *const shorter[] = { "rollout.max_context=128" }, *const longer[] = { "rollout.max_context=4096" };
    recipe *r = open_with(shorter, 1);
    assert_int_equal(session_limits(r, &MODEL).max_context, 128);
    assert_int_equal(session_limits(r, &MODEL).vocab, 99);
    assert_int_equal(session_limits(r, &MODEL).eos[0], 7);
    recipe_free(r);

    r = open_with(longer, 1);
    assert_int_equal(session_limits(r, &MODEL).max_context, 300);
    recipe_free(r);
}

/* A dialect of the user's own is a file: the exchange knows no rules of it. */
static void only_a_dialect_of_ours_has_rules(void **state)
{
    (void)state;
    recipe *r = open_with(NULL, 0);
    snprintf(r->prompt.dialect, sizeof r->prompt.dialect, "chatml");
    assert_string_equal(session_limits(r, &MODEL).dialect, "chatml");
    snprintf(r->prompt.dialect, sizeof r->prompt.dialect, "/home/a/own.lua");
    assert_null(session_limits(r, &MODEL).dialect);
    recipe_free(r);
}

static void commit(const char *run, int64_t step)
{
    char dir[1100];
    error err = { 0 };
    test_ok(checkpoint_begin(run, step, dir, sizeof dir, &err), &err);
    test_file_write(dir, "model.safetensors", "weights");
    test_ok(checkpoint_commit(run, dir, &(checkpoint_state){ .step = step }, &err), &err);
}

static void it_goes_on_from_the_newest_whole_checkpoint(void **state)
{
    (void)state;
    char *run = test_folder_new(), dir[1100] = "x", path[1200];
    int64_t step = -1;
    error err = { 0 };
    test_ok(session_checkpoint(run, NULL, NULL, dir, sizeof dir, &step, &err), &err); /* killed before the first */
    assert_string_equal(dir, "");
    assert_int_equal(step, 0);
    assert_int_equal(err.code, OK);

    commit(run, 5), commit(run, 10);
    test_ok(session_checkpoint(run, NULL, NULL, dir, sizeof dir, &step, &err), &err);
    assert_int_equal(step, 10);
    assert_non_null(strstr(dir, "step-10"));

    path_join(path, sizeof path, run, "checkpoints/step-10");
    test_file_write(path, "model.safetensors", "damaged");
    test_ok(session_checkpoint(run, NULL, NULL, dir, sizeof dir, &step, &err), &err);
    assert_int_equal(step, 5);

    path_join(path, sizeof path, run, "checkpoints/step-5");
    test_file_write(path, "model.safetensors", "damaged");
    assert_int_equal(session_checkpoint(run, NULL, NULL, dir, sizeof dir, &step, &err), ERR_PARSE);
    test_folder_remove(run);
}

/* Refused with a sentence, before anything is opened or written. */
static void a_learner_needs_a_folder_and_an_address(void **state)
{
    (void)state;
    char path[1100];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    const role_options as = { .verb = "learner", .recipe = path };
    session_options o = { .report_fd = -1, .rank = -1, .of = -1 };
    assert_int_equal(run_learner(&as, &o, &err), ERR_ARGUMENT);
    assert_string_equal(err.text, "needs --run DIR and --bind ADDRESS");

    char *run = test_folder_new();
    o.run = run, o.address = "ipc:///tmp/troupe-none", o.rank = 2, o.of = 2;
    assert_int_equal(run_learner(&as, &o, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "--rank R (from 0), --of N and --meet DIR"));
    test_folder_remove(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_gets_what_the_recipe_says),
        cmocka_unit_test(an_episode_is_no_longer_than_the_model_allows),
        cmocka_unit_test(only_a_dialect_of_ours_has_rules),
        cmocka_unit_test(it_goes_on_from_the_newest_whole_checkpoint),
        cmocka_unit_test(a_learner_needs_a_folder_and_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
