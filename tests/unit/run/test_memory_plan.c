/* SPDX-License-Identifier: MIT */
/* What a run would take, of a model that is not there: only its shapes are. */
#include "run/memory_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

/* SmolLM2-135M's. */
static const char CONFIG[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\","
    " \"vocab_size\": 49152, \"hidden_size\": 576, \"intermediate_size\": 1536, \"num_hidden_layers\": 30,"
    " \"num_attention_heads\": 9, \"num_key_value_heads\": 3, \"max_position_embeddings\": 8192,"
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 100000.0, \"tie_word_embeddings\": true, \"eos_token_id\": 2}";

enum { LEARNER, ACTOR, WORKER, SHARED };

typedef struct planned {
    device *dev;
    param_table *shapes;
    recipe *recipe;
    memory_plan plan;
} planned;

static planned plan_with(const char *const *words, int n)
{
    char path[1100];
    error err = { 0 };
    model_config config;
    planned p = { .dev = device_open("cpu", 1, &err) };
    test_ok(model_config_parse(&config, CONFIG, strlen(CONFIG), "small", &err), &err);
    p.shapes = param_table_new(&config, &err);
    snprintf(path, sizeof path, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    p.recipe = recipe_open(path, words, n, &err);
    if (!p.recipe) fail_msg("%s", err.text);
    p.plan = memory_plan_of(p.recipe, p.dev, p.shapes);
    return p;
}

static void planned_free(planned *p)
{
    recipe_free(p->recipe);
    param_table_free(p->shapes);
    device_close(p->dev);
}

#define PLAN(...)                                                                                                      \
    plan_with((const char *const[]){ __VA_ARGS__ },                                                                    \
              (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)))

static uint64_t part(const planned *p, int column, memory_part of) { return p->plan.columns[column].each.bytes[of]; }

/* The promise: what is known of each part, in bytes a parameter, a token and an episode. */
static void each_part_is_what_its_sizes_make_of_it(void **state)
{
    (void)state;
    planned p = PLAN("learner.micro_tokens=1024", "actors=3", "actor_slots=8", "rollout.max_context=256");
    const uint64_t model = 4 * (uint64_t)p.shapes->total;
    assert_int_equal(part(&p, LEARNER, MEMORY_GRADIENTS), model);
    assert_int_equal(part(&p, LEARNER, MEMORY_MOMENTS), 2 * model);
    const uint64_t embedding = (uint64_t)49152 * 576 * 4, little = model / 50;
    assert_in_range(part(&p, LEARNER, MEMORY_WEIGHTS), 2 * model - little, 2 * model + little);
    assert_in_range(part(&p, ACTOR, MEMORY_WEIGHTS), model + embedding - little, model + embedding + little);
    assert_int_equal(part(&p, LEARNER, MEMORY_PUBLISHING), 0); /* files hold them, and no copy beside */
    assert_int_equal(part(&p, ACTOR, MEMORY_PAGES), 8 * 256 * (uint64_t)(2 * 30 * 3 * 64 * 4));
    assert_int_equal(part(&p, SHARED, MEMORY_PUBLISHING), 3 * model);
    assert_int_equal(part(&p, WORKER, MEMORY_WEIGHTS), 0);
    assert_int_equal(p.plan.columns[ACTOR].count, 3);

    uint64_t total = 0;
    for (int i = 0; i < p.plan.n; i++)
        total += (uint64_t)p.plan.columns[i].count * memory_need_total(&p.plan.columns[i].each);
    assert_int_equal(memory_plan_total(&p.plan), total);
    planned_free(&p);
}

static void keys_move_their_part_alone(void **state)
{
    (void)state;
    planned base = PLAN("learner.micro_tokens=1024"), more = PLAN("learner.micro_tokens=2048"),
            reference = PLAN("learner.micro_tokens=1024", "algorithm.kl=0.1"),
            adapter = PLAN("learner.micro_tokens=1024", "lora.rank=4"),
            longer = PLAN("learner.micro_tokens=1024", "rollout.max_context=896");
    assert_true(part(&more, LEARNER, MEMORY_ACTIVATIONS) > 3 * part(&base, LEARNER, MEMORY_ACTIVATIONS) / 2);
    assert_int_equal(part(&more, LEARNER, MEMORY_MOMENTS), part(&base, LEARNER, MEMORY_MOMENTS));
    assert_int_equal(part(&reference, LEARNER, MEMORY_WEIGHTS), 2 * part(&base, LEARNER, MEMORY_WEIGHTS));
    assert_true(part(&reference, LEARNER, MEMORY_ACTIVATIONS) > part(&base, LEARNER, MEMORY_ACTIVATIONS));
    assert_true(part(&adapter, LEARNER, MEMORY_MOMENTS) < part(&base, LEARNER, MEMORY_MOMENTS) / 50);
    assert_int_equal(part(&longer, ACTOR, MEMORY_PAGES), 2 * part(&base, ACTOR, MEMORY_PAGES));

    planned *const all[] = { &base, &more, &reference, &adapter, &longer };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) planned_free(all[i]);
}

static void expect_refusal(const planned *p, uint64_t bytes, const char *const *says)
{
    error err = { 0 };
    const memory_room room = { bytes, 2 * bytes, "the control group's limit" };
    assert_int_equal(memory_plan_check(&p->plan, &room, &err), ERR_MEMORY);
    for (; *says; says++)
        if (!strstr(err.text, *says)) fail_msg("expected '%s' in: %s", *says, err.text);
}

/* The promise: the sentence names what takes the most, and the key that makes it less, with its value. */
static void what_does_not_fit_is_refused_with_the_key_to_turn(void **state)
{
    (void)state;
    static const char *const PASSES[] = { "the control group's limit leaves 4.0 GB of 8.0 GB",
                                          "the learner's activations (", "lower learner.micro_tokens (8192 now)",
                                          NULL };
    static const char *const PAGES[] = { "the actor's keys and values (",
                                         "lower actor_slots (300 now), rollout.max_context (448 now)", NULL };
    static const char *const MOMENTS[] = { "the learner's moments (", "lora.rank makes them small (0 now)", NULL };
    static const char *const COPIES[] = { "the actor's weights (", "lower actors (4 now)", NULL };
    planned passes = PLAN("learner.micro_tokens=8192", "rollout.prompts_per_step=32"),
            pages = PLAN("learner.micro_tokens=512", "actor_slots=300"),
            adapters = PLAN("learner.micro_tokens=64", "actor_slots=1", "actors=1", "rollout.max_context=64"),
            copies = PLAN("learner.micro_tokens=64", "actor_slots=1", "actors=4", "rollout.max_context=64");
    expect_refusal(&passes, (uint64_t)4 << 30, PASSES);
    expect_refusal(&pages, (uint64_t)4 << 30, PAGES);
    expect_refusal(&adapters, (uint64_t)1 << 30, MOMENTS);
    expect_refusal(&copies, (uint64_t)1 << 30, COPIES);

    error err = { 0 };
    const uint64_t total = memory_plan_total(&passes.plan);
    const memory_room exact = { total, total, "" }, less = { total - 1, total, "" };
    assert_int_equal(memory_plan_check(&passes.plan, &exact, &err), OK);
    assert_int_equal(memory_plan_check(&passes.plan, &less, &err), ERR_MEMORY);

    planned *const all[] = { &passes, &pages, &adapters, &copies };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) planned_free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_is_what_its_sizes_make_of_it),
        cmocka_unit_test(keys_move_their_part_alone),
        cmocka_unit_test(what_does_not_fit_is_refused_with_the_key_to_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
