/* SPDX-License-Identifier: MIT */
/* What a worker hands on of its role, without a learner and without a process. */
#include "run/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static char calculator[1100];

static int find_recipe(void **state)
{
    (void)state;
    snprintf(calculator, sizeof calculator, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    return 0;
}

static role_options options_of(const char *verb)
{
    return (role_options){
        .verb = verb, .recipe = calculator, .address = "ipc:///tmp/troupe-none", .name = "eve", .wait_s = 7
    };
}

static bool lists(const parcel_list *files, const char *name)
{
    for (uint32_t i = 0; i < files->n_files; i++)
        if (strcmp(files->files[i].name, name) == 0) return true;
    return false;
}

/* Without its files a learner can't tell that a worker scores with another script. */
static void a_reward_worker_says_what_it_scores_with(void **state)
{
    (void)state;
    const role_options o = options_of("reward");
    bool again = false;
    error err = { 0 };
    role r;
    test_ok(role_open_worker(&r, &o, PACK_FOR_REWARD, &again, &err), &err);

    const worker_config config = reward_settings(&r, NULL);
    assert_non_null(config.recipe);
    assert_true(lists(config.recipe, "recipe.lua"));
    assert_true(lists(config.recipe, "reward/script.lua"));
    assert_string_equal(config.name, "eve");
    assert_string_equal(config.address, o.address);
    assert_int_equal(config.patience_ms, 7000);
    assert_true(config.slots > 0);
    role_close(&r, OK, &err);
}

static void an_actor_says_what_it_plays_with(void **state)
{
    (void)state;
    const role_options o = options_of("actor");
    bool again = false;
    error err = { 0 };
    role r;
    test_ok(role_open_worker(&r, &o, PACK_FOR_ACTOR, &again, &err), &err);
    episode_runner *p = episode_runner_new_shapes(r.recipe, 1, 4, r.log, &err);
    if (!p) fail_msg("%s", err.text);

    const actor_config config = actor_settings(&r, p);
    assert_non_null(config.recipe);
    assert_true(lists(config.recipe, "recipe.lua"));
    assert_ptr_equal(config.device, p->device);
    assert_ptr_equal(config.shapes, p->model->table);
    assert_ptr_equal(config.rollouts.tokenizer, p->tokenizer);
    assert_string_equal(config.name, "eve");
    assert_int_equal(config.patience_ms, 7000);
    assert_true(config.slots > 0);
    episode_runner_free(p);
    role_close(&r, OK, &err);
}

/* The learner waits while they play, so that a core that no actor has would be idle. */
static void actors_share_the_cores(void **state)
{
    (void)state;
    recipe r = { .run.actors = 2 };
    assert_int_equal(actor_threads(&r, 8), 4);
    assert_int_equal(actor_threads(&r, 1), 1);

    r.exchange.max_staleness = 1; /* it trains while they play */
    assert_int_equal(actor_threads(&r, 8), 2);

    r.run.actor_threads = 3;
    assert_int_equal(actor_threads(&r, 8), 3);
}

/* Two actors of one machine must not be each other's namesakes. */
static void a_worker_without_a_name_gets_its_own(void **state)
{
    (void)state;
    role_options o = options_of("actor");
    bool again = false;
    error err = { 0 };
    role a, b;
    o.name = NULL;
    test_ok(role_open_worker(&a, &o, PACK_FOR_ACTOR, &again, &err), &err);
    test_ok(role_open_worker(&b, &o, PACK_FOR_ACTOR, &again, &err), &err);
    assert_true(strncmp(a.name, "actor-", 6) == 0);
    assert_string_not_equal(a.name, b.name);
    role_close(&a, OK, &err);
    role_close(&b, OK, &err);
}

static void a_worker_needs_an_address_of_this_machine(void **state)
{
    (void)state;
    role_options o = options_of("actor");
    bool again = false;
    error err = { 0 };
    role r;
    o.address = NULL;
    assert_int_equal(role_open_worker(&r, &o, PACK_FOR_ACTOR, &again, &err), ERR_ARGUMENT);
    assert_string_equal(err.text, "needs --connect ADDRESS");
    o.address = "nonsense";
    assert_int_not_equal(role_open_worker(&r, &o, PACK_FOR_ACTOR, &again, &err), OK);
    assert_non_null(strstr(err.text, "nonsense"));
    assert_false(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reward_worker_says_what_it_scores_with),  cmocka_unit_test(an_actor_says_what_it_plays_with),
        cmocka_unit_test(a_worker_without_a_name_gets_its_own),      cmocka_unit_test(actors_share_the_cores),
        cmocka_unit_test(a_worker_needs_an_address_of_this_machine),
    };
    return cmocka_run_group_tests(tests, find_recipe, NULL);
}
