/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/check_data.h"
#include "cli/verbs.h"
#include "learner/methods/era.h"
#include "learner/methods/isolation.h"
#include "learner/methods/moa.h"
#include "recipe/recipe.h"
#include "base/file.h"
#include "env/search/passages.h"
#include "http/client.h"
#include "tests/support/support.h"

static char calculator[1100];

static int find_recipe(void **state)
{
    (void)state;
    snprintf(calculator, sizeof calculator, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    return 0;
}

/* As `troupe train` does: the keys, then every file that they name. */
static recipe *open_checked(const char *path, const char *const *overrides, int n, error *err)
{
    recipe *r = recipe_open(path, overrides, n, err);
    if (!r || check_data(r, NEEDS_ALL, err) == OK) return r;
    recipe_free(r);
    return NULL;
}

static recipe *open_with(const char *override, error *err)
{
    return open_checked(calculator, &override, override ? 1 : 0, err);
}

static void refused(const char *override, const char *sentence)
{
    error err = { 0 };
    recipe *r = open_with(override, &err);
    if (r) fail_msg("%s was accepted", override);
    if (!strstr(err.text, sentence)) fail_msg("%s: expected '%s' in: %s", override, sentence, err.text);
}

static void each_room_gets_what_is_its_own(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with(NULL, &err);
    if (!r) fail_msg("%s", err.text);
    assert_string_equal(r->run.name, "calculator");
    assert_int_equal(r->exchange.group, 8);
    assert_int_equal(r->trainer.objectives.n, 1);
    assert_string_equal(r->trainer.objectives.items[0].name, "accuracy");
    test_near(r->trainer.loss.clip_high, 0.28, 1e-12, "clip");
    test_near(r->trainer.optim.lr, 1e-4, 1e-12, "lr");
    test_near(r->trainer.optim.beta2, 0.95, 1e-12, "beta2");
    assert_true(r->trainer.optim.total_steps == r->run.steps && r->trainer.optim.schedule == LR_CONSTANT);
    assert_int_equal(shot_schedule_at(r->curriculum.shots, 1, 0, 0), 3);
    assert_int_equal(shot_schedule_at(r->curriculum.shots, 200, 0, 0), 0);
    assert_non_null(strstr(r->prompt.instruction, "<python>"));
    recipe_free(r);
}

static void a_name_stands_for_its_papers_choices(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with("algorithm.name=gspo", &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->trainer.loss.kind == LOSS_GSPO && r->trainer.loss.aggregation == AGGREGATE_SEQUENCE);
    test_near(r->trainer.loss.clip_high, 0.28, 0, "the recipe's own clip wins");
    recipe_free(r);
    r = open_with("algorithm.name=rloo", &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->trainer.advantage.mean == MEAN_LOO && r->trainer.advantage.std == STD_NONE);
    recipe_free(r);
    r = open_with("algorithm.name=dapo", &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->trainer.advantage.drop_dead && r->trainer.epochs == 1);
    test_near(r->trainer.advantage.length_shaping.overlong_max, (double)r->exchange.max_tokens, 0, "overlong answers");
    recipe_free(r);
    r = open_with("algorithm.name=raft", &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->trainer.advantage.mean == MEAN_BEST && r->trainer.loss.kind == LOSS_REINFORCE);
    recipe_free(r);
    refused("algorithm.name=grop", "did you mean 'grpo'?");
    refused("algorithm.mixture=0.5", "given = \"sft\" or \"dft\"");
    refused("algorithm.credit=token", "expected one of span, return, whole, found 'token'");
    refused("learners=0", "expected 1 to 64");
    refused("algorithm.loss=gsop", "did you mean 'gspo'?");
    refused("algorithm.filter_groups=3", "expected true or false");
}

/* As a newcomer types it: reward.script=my_reward.lua, which lies where they are and not where the recipe is. */
static void micro_batches_are_a_number_or_left_open(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        int tokens;
    } GOOD[] = { { NULL, 0 }, { "learner.micro_tokens=auto", 0 }, { "learner.micro_tokens=4096", 4096 } };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        error err = { 0 };
        recipe *r = open_with(GOOD[i].word, &err);
        if (!r) fail_msg("%s", err.text);
        assert_int_equal(r->trainer.micro_tokens, GOOD[i].tokens);
        recipe_free(r);
    }
    refused("learner.micro_tokens=0", "whole number of tokens");
    refused("learner.micro_tokens=1.5", "whole number of tokens");
    refused("learner.micro_tokens=atuo", "whole number of tokens");
    refused("learner.micro_token=4096", "did you mean 'learner.micro_tokens'?");
}

static void a_path_on_the_command_line_is_where_one_is(void **state)
{
    (void)state;
    char before[1024], expected[1100];
    error err = { 0 };
    char *dir = test_folder_new();
    assert_non_null(getcwd(before, sizeof before));
    test_file_write(dir, "my_reward.lua", "return function() return 1 end");
    assert_int_equal(chdir(dir), 0);
    assert_non_null(getcwd(expected, sizeof expected - 20));
    strcat(expected, "/my_reward.lua");
    recipe *r = open_with("reward.script=my_reward.lua", &err);
    if (!r) fail_msg("%s", err.text);
    assert_string_equal(r->reward.script, expected);
    recipe_free(r);
    char *kept = recipe_override("reward.script=my_reward.lua"), *other = recipe_override("name=my_reward.lua");
    assert_string_equal(kept + strlen("reward.script="), expected);
    assert_string_equal(other, "name=my_reward.lua");
    free(kept), free(other);
    r = open_with("reward.script=reward.lua", &err); /* not here: the recipe's own */
    if (!r) fail_msg("%s", err.text);
    recipe_free(r);
    refused("reward.script=your_reward.lua", "there is no ");
    assert_int_equal(chdir(before), 0);
    test_folder_remove(dir);
}

static recipe *open_with_all(const char *const *overrides, int n, error *err)
{
    return open_checked(calculator, overrides, n, err);
}

/* Never so few that a resume from the last checkpoint would miss any. */
static void episodes_are_kept_as_long_as_a_resume_needs_them(void **state)
{
    (void)state;
    static const struct {
        const char *keep, *every;
        int64_t kept;
    } ROWS[] = { { "keep_episodes=0", "checkpoint_every=10", 0 },
                 { "keep_episodes=5", "checkpoint_every=0", 0 },
                 { "keep_episodes=5", "checkpoint_every=10", 26 },
                 { "keep_episodes=100", "checkpoint_every=10", 100 } };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        error err = { 0 };
        recipe *r = open_with_all((const char *const[]){ ROWS[i].keep, ROWS[i].every }, 2, &err);
        if (!r) fail_msg("%s", err.text);
        assert_int_equal(recipe_keep_episodes(r), ROWS[i].kept);
        recipe_free(r);
    }
}

static void many_objectives_are_read_and_checked(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with_all((const char *const[]){ "reward.objectives.brevity=0.5", "moo.method=cagrad", "moo.c=0.4",
                                                     "moo.bucket=bytes:4096", "moo.refresh=3" },
                              5, &err);
    if (!r) fail_msg("%s", err.text);
    const moo_plan *m = &r->trainer.moo;
    assert_true(m->over == MOO_OVER_REWARDS && !m->by_token && m->bucket.moo.method == MOO_CAGRAD);
    assert_true(m->bucket.scope == BUCKET_BYTES && m->bucket.bytes == 4096 && m->bucket.refresh == 3);
    test_near(m->bucket.gate, 0.1, 0, "the gate is on");
    test_near(m->bucket.moo.c, 0.4, 0, "c");
    recipe_free(r);
    refused("reward.objectives.accuracy=high", "{ weight = 1.0, least = 0.95 }");
    refused("reward.objectives.accuracy=-1", "weight -1 (a number from 0 to 1e+09");
    refused("reward.objectives.accuracy=1e308", "weight 1e+308 (a number from 0 to 1e+09"); /* twice that is infinite */
    refused("reward.objectives.accuracy=0", "at least one objective with a weight above 0");
    refused("moo.method=cagard", "did you mean 'cagrad'?");
    refused("moo.method=mgda", "expected two objectives or more in reward.objectives");
    r = open_with_all((const char *const[]){ "moo.method=pcgrad", "moo.over=groups" }, 2, &err);
    if (r || !strstr(err.text, "moo.groups: expected a list of 2 to 16 names")) fail_msg("%s", err.text);
    r = open_with_all((const char *const[]){ "moo.method=pcgrad", "moo.bucket=bytes:x" }, 2, &err);
    if (r || !strstr(err.text, "bytes:N with N > 0")) fail_msg("%s", err.text);
    char path[1200], *dir = test_folder_new();
    test_file_write(dir, "recipe.lua",
                    "return { model = '.', data = { train = 'd.jsonl' }, env = { tools = {} }, "
                    "reward = { script = 'r.lua', objectives = { a = 1 } }, "
                    "moo = { method = 'pcgrad', over = 'groups', groups = { 'de', 'en' } } }");
    test_file_write(dir, "d.jsonl", "{\"prompt\":\"x\",\"group\":\"de\"}\n{\"prompt\":\"y\",\"group\":\"fr\"}\n");
    test_file_write(dir, "r.lua", "return function() return { a = 1 } end");
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    r = open_checked(path, NULL, 0, &err);
    if (r || !strstr(err.text, "row 2 of data.train is of group 'fr', which it does not name"))
        fail_msg("%s", err.text);
    test_folder_remove(dir);
}

/* Keys of a method that need others, or can't stand beside them: the one to change is named. */
static void keys_of_methods_are_checked_together(void **state)
{
    (void)state;
    static const struct {
        const char *keys[3], *sentence;
    } CASES[] = {
        { { "algorithm.carry=true" }, "algorithm.carry: expected algorithm.given beside it" },
        { { "algorithm.carry=true", "algorithm.given=asft" }, NULL },
        { { "algorithm.mixture=0.3" }, "algorithm.mixture: expected given = \"sft\" or \"dft\"" },
        { { "algorithm.mixture=0.3", "algorithm.given=asft" }, "algorithm.mixture: expected given" },
        { { "algorithm.mixture=0.3", "algorithm.given=sft" }, NULL },
        { { "algorithm.mixture=0.3", "algorithm.given=dft" }, NULL },
        { { "algorithm.pivot_steps=4", "reward.preference=want" },
          "algorithm.pivot_steps: expected 0 with reward.preference: each would set the weights" },
        { { "algorithm.pivot_steps=0", "reward.preference=want" }, NULL },
        { { "algorithm.pivot_steps=1" }, "algorithm.pivot_steps: expected 0, or two steps or more" },
        { { "algorithm.pivot_steps=2" }, NULL },
        { { "algorithm.loss=nft", "algorithm.mean=none" },
          "algorithm.mean: expected a baseline: nft tells right from wrong by the advantage's sign" },
        { { "algorithm.loss=nft", "algorithm.mean=loo" }, NULL },
        { { "moo.method=mgda", "reward.objectives.brevity=1", "algorithm.mean=best" },
          "moo.over: expected groups: what is best is so by all rewards together" },
        { { "moo.method=mgda", "reward.objectives.brevity=1", "moo.bucket=token" }, NULL },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        error err = { 0 };
        int n = 0;
        while (n < 3 && CASES[i].keys[n]) n++;
        recipe *r = recipe_open(calculator, CASES[i].keys, n, &err);
        if (CASES[i].sentence ? r || !strstr(err.text, CASES[i].sentence) : !r)
            fail_msg("case %zu: expected '%s', found '%s'", i, CASES[i].sentence ? CASES[i].sentence : "", err.text);
        recipe_free(r);
    }
}

/* Of one objective a group's normalised rewards are what trains (GRPO); sums of several are normalised once more
 * (GDPO). One of weight 0 adds nothing to a sum. */
static void advantages_of_several_objectives_are_whitened(void **state)
{
    (void)state;
    static const char *const OVERRIDES[] = { "steps=1", "reward.objectives.brevity=0",
                                             "reward.objectives.brevity=0.1" };
    for (int i = 0; i < 3; i++) {
        error err = { 0 };
        recipe *r = open_with(OVERRIDES[i], &err);
        if (!r) fail_msg("%s", err.text);
        assert_int_equal(r->trainer.advantage.whiten, i == 2);
        recipe_free(r);
    }
}

/* One gradient a group, or one a group and reward: there is room for 16, and a token has no group of its own. */
static void gradients_of_groups_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *moo, *sentence;
    } CASES[] = {
        { "over = 'both', groups = { 'a','b','c','d','e','f','g','h','i' }",
          "moo.groups: expected at most 16 gradients: objectives times groups" },
        { "over = 'both', groups = { 'a','b','c','d','e','f','g','h' }", NULL },
        { "over = 'groups', groups = { 'a','b','c','d','e','f','g','h','i' }", NULL },
        { "over = 'groups', groups = { 'a', 'b' }, bucket = 'token'",
          "moo.bucket: expected another bucket than token for groups" },
    };
    char path[1200], text[800], *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        error err = { 0 };
        snprintf(text, sizeof text,
                 "return { model = '.', data = { train = 'd.jsonl' }, env = { tools = {} }, reward = { script = "
                 "'r.lua', objectives = { a = 1, b = 1 } }, moo = { method = 'pcgrad', %s } }",
                 CASES[i].moo);
        test_file_write(dir, "recipe.lua", text);
        recipe *r = recipe_open(path, NULL, 0, &err);
        if (CASES[i].sentence ? r || !strstr(err.text, CASES[i].sentence) : !r)
            fail_msg("%s: expected '%s', found '%s'", CASES[i].moo, CASES[i].sentence ? CASES[i].sentence : "",
                     err.text);
        recipe_free(r);
    }
    test_folder_remove(dir);
}

/* What sampling, hints, templates and the smaller methods need of the data is found before a run starts. */
static void rows_and_methods_are_read_and_checked(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with_all((const char *const[]){ "data.sampling=failure", "rollout.lag=3", "algorithm.era_k=2",
                                                     "algorithm.pivot_steps=4", "optim.protect=0.2",
                                                     "algorithm.credit=stretch" },
                              6, &err);
    if (!r) fail_msg("%s", err.text);
    assert_true(r->curriculum.sampler.kind == SAMPLE_BY_FAILURE && r->exchange.max_staleness == 3 &&
                SETTINGS(&r->trainer, MOA, moa_config).window == 4 &&
                r->trainer.advantage.credit == CREDIT_SPAN); /* "stretch": its older word */
    test_near(SETTINGS(&r->trainer, ERA, era_config).low, 0.45, 0, "ERA's default");
    test_near(SETTINGS(&r->trainer, ISOLATION, isolation_config).protect, 0.2, 0, "share");
    recipe_free(r);
    refused("reward.preference=nothing", "no row of data.train has a \"nothing\"");
    refused("model=", "expected a path, found ''");
    refused("algorithm.clip=0.2", "two numbers { a, b } from 0");
    refused("data.sampling=failur", "did you mean 'failure'?");
    refused("rollout.demonstrations=1", "no row of data.train has a \"demonstration\"");
    refused("rollout.templated=2", "prompt.templates names none");
    refused("algorithm.pivot_steps=1", "a line goes through two points");
    refused("reward.preference=answer", "row 1 of data.train: answer: expected objectives with numbers");
    char path[1200], *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    test_file_write(dir, "d.jsonl", "{\"prompt\":\"x\",\"group\":\"de\",\"demonstration\":\"y\"}\n");
    test_file_write(dir, "r.lua", "return function() return { a = 1 } end");
    static const struct {
        const char *data, *sentence;
    } CASES[] = {
        { "stages = { { groups = { 'de' } }, {} }", "a gate or a number of steps in every stage but the last" },
        { "stages = { { groups = { 'fr' }, gate = 0.5 }, {} }", "stage 1 has no rows" },
        { "stages = { { groups = { 'de' }, gate = 'x' }, {} }", "numbers for gate and steps" },
        { "stages = { { groups = { 'de' }, steps = 2.5 }, {} }", "a whole number of steps" },
        { "stages = { { groups = { 'de' }, steps = -2, gate = 0.5 }, {} }", "a whole number of steps" },
        { "stages = { { groups = { 'de' }, gate = 0/0, steps = 3 }, {} }",
          "data.stages: there is a number that is not finite" },
        { "}, optim = { betas = { 2, 3 }", "optim.betas: expected two numbers { a, b } from 0 to below 1" },
        { "}, algorithm = { clip = { -1, 0/0 }", "algorithm.clip: expected two numbers" },
        { "}, algorithm = { clip = { 0.2 }", "algorithm.clip: expected two numbers" },
        { "stages = 3", "a list of 1 to 16 stages" },
        { "stages = { { groups = { 'de' }, gate = 0.5 }, {} }", NULL },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[800];
        snprintf(text, sizeof text,
                 "return { model = '.', data = { train = 'd.jsonl', %s }, env = { tools = {} }, prompt = { templates = "
                 "{ 'first', { text = 'second', complexity = 2 } } }, rollout = { hinted = 1, templated = 1 }, "
                 "reward = { script = 'r.lua', objectives = { a = 1 } } }",
                 CASES[i].data);
        test_file_write(dir, "recipe.lua", text);
        r = open_checked(path, NULL, 0, &err);
        if (CASES[i].sentence && (r || !strstr(err.text, CASES[i].sentence))) fail_msg("%s", err.text);
        if (!CASES[i].sentence && !r) fail_msg("%s", err.text);
    }
    assert_int_equal(r->curriculum.sampler.n_stages, 2);
    assert_int_equal(r->curriculum.sampler.n_templates, 2);
    test_near(r->prompt.complexity[1], 2, 0, "complexity");
    recipe_free(r);
    test_folder_remove(dir);
}

static void the_command_line_wins(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with("optim.lr=0.5", &err);
    if (!r) fail_msg("%s", err.text);
    test_near(r->trainer.optim.lr, 0.5, 1e-12, "lr");
    recipe_free(r);
    r = open_with("reward.objectives.brevity=2", &err);
    if (!r) fail_msg("%s", err.text);
    assert_int_equal(r->trainer.objectives.n, 2);
    assert_string_equal(r->trainer.objectives.items[0].name, "brevity"); /* the heaviest comes first */
    recipe_free(r);
}

static void what_can_not_be_is_refused_with_its_key(void **state)
{
    (void)state;
    refused("rollout.grup=3", "did you mean 'rollout.group'?");
    refused("rollout.group=1", "rollout.group");
    refused("rollout.group=2.5", "rollout.group");
    refused("rollout.temperature=-1", "rollout.temperature");
    refused("algorithm.name=ppoo", "algorithm.name");
    refused("algorithm.aggregation=tokens", "did you mean 'token'?");
    refused("model=/nowhere", "/nowhere");
    refused("reward.script=/nowhere.lua", "/nowhere.lua");
    refused("data.train=recipe.lua", "data.train");
    refused("reward.objectives=accuracy", "reward.objectives");
    refused("eval_prompts=-1", "eval_prompts");
}

/* A suggestion is close or it isn't made; what may be said is listed; the spellings of other trainers are known. */
static void hints_are_near_or_complete(void **state)
{
    (void)state;
    static const char *const SAYS[][2] = {
        { "precision=fp8", "expected one of f32, bf16, found 'fp8'" },
        { "algorithm.name=ppo", "expected one of grpo, dapo, dr_grpo, rloo" },
        { "algorithm.kl_kind=3", "expected one of k3, k1, k2, k3+, found 3" },
        { "data.sampling=true", "expected one of in_turn, failure, signal, found true" },
        { "rollout.num_generations=4", "did you mean 'rollout.group'?" },
        { "actor_rollout_ref.rollout.n=4", "rollout.n: there is no such key (value 4" },
        { "rollout.n=4", "did you mean 'rollout.group'?" },
        { "max_completion_length=4", "did you mean 'rollout.max_tokens'?" },
        { "learning_rate=1e-4", "did you mean 'optim.lr'?" },
        { "lr_scheduler_type=cosine", "did you mean 'optim.schedule'?" },
        { "optim.lr_scheduler_type=cosine", "did you mean 'optim.schedule'?" },
        { "optim.min_lr_rate=0.1", "did you mean 'optim.min_lr_ratio'?" },
        { "optim.schedule=cosine_with_min_lr", "did you mean 'cosine'?" },
        { "optim.schedule=step", "expected one of constant, linear, cosine, found 'step'" },
        { "optim.min_lr_ratio=0.2", "optim.schedule" },
        { "optim.warmup_ratio=0.1", "a number of steps" },
        { "optimizer.lr=1e-4", "did you mean 'optim.lr'?" },
        { "beta=0.1", "did you mean 'algorithm.kl'?" },
        { "rollout.groups=4", "did you mean 'rollout.group'?" },
        { "rolout.temperature=1", "did you mean 'rollout.temperature'?" },
        { "rollout.max_turns=4", "did you mean 'env.max_turns'?" },
        { "optim.wd=4", "troupe train --keys lists them" },
        { "algorithm.gamma=4", "there is no critic" },
        { "optm.weight_decay=4", "did you mean 'optim.weight_decay'?" },
        { "warp.drive=1", "troupe train --keys lists them" },
        { "env.tools=x", "expected a list of T.python{...}, T.calculator{}, "
                         "T.search{...}, T.sql{...}, T.mcp{...}, T.env{...}, T.submit{} and T.tool{...}, found 'x'" },
        { "reward.objectives.accuracy=high", "argument 'reward.objectives.accuracy=high': reward.objectives.accuracy" },
        { "steps=many", "argument 'steps=many': steps: expected a number, found 'many'" },
        { "steps.x=3", "expected a number, found a table" },
    };
    for (size_t i = 0; i < sizeof SAYS / sizeof *SAYS; i++) refused(SAYS[i][0], SAYS[i][1]);
    error err = { 0 };
    recipe *r = open_with("precision=fp8", &err);
    assert_null(r);
    assert_null(strstr(err.text, "did you mean"));
}

/* Each number and switch of the table that --keys prints, with what is none, on the command line: a sentence with the
 * key and what was found, never a value. */
static void no_key_takes_what_is_no_number(void **state)
{
    (void)state;
    static const char *const VALUES[] = {
        "-1", "1e30", "99999999999999999999", "nan", "inf", "-inf", "1e999", "abc", "{}", "", "1,5", "nil", "true"
    };
    char line[400], key[100], kind[20], word[200];
    int tried = 0;
    FILE *keys = tmpfile();
    assert_non_null(keys);
    recipe_print_keys(keys);
    rewind(keys);
    while (fgets(line, sizeof line, keys)) {
        assert_int_equal(sscanf(line, "%99s %19s", key, kind), 2);
        const bool number = strcmp(kind, "int") == 0 || strcmp(kind, "number") == 0, yes = strcmp(kind, "bool") == 0;
        for (size_t i = 0; (number || yes) && i < sizeof VALUES / sizeof *VALUES; i++) {
            if (yes && strcmp(VALUES[i], "true") == 0) continue;
            snprintf(word, sizeof word, "%s=%s", key, VALUES[i]);
            refused(word, yes ? "expected true or false, found" : "expected ");
            tried++;
        }
    }
    fclose(keys);
    assert_true(tried > 800);
}

static void its_tools_are_started(void **state)
{
    (void)state;
    error err = { 0 };
    recipe *r = open_with(NULL, &err);
    router *tools = r ? recipe_router(r, NULL, &err) : NULL;
    if (!tools && r && strstr(err.text, "sandbox")) {
        print_message("no sandbox on this machine: %s\n", err.text);
        recipe_free(r);
        skip();
    }
    if (!tools) fail_msg("%s", err.text);
    char *names = router_tools_json(tools);
    assert_non_null(strstr(names, "\"python\""));
    free(names);
    router_free(tools);
    recipe_free(r);
}

/* Who only reads what policies wrote is told of the very tools that actors are told of, and starts none. */
static void tools_are_described_without_being_started(void **state)
{
    (void)state;
    error err = { 0 };
    char path[500];
    char *dir = test_folder_new();
    str text = { 0 };
    const char *source = getenv("TROUPE_SOURCE");
    str_printf(&text,
               "local T = require 'troupe'\n"
               "return { name = 'x', model = '%s/models/stagehand', data = { train = "
               "'%s/recipes/calculator/data/train.jsonl' },\n"
               "  env = { tools = { T.python{ timeout = 1 }, T.tool{ name = 'bare', call = function() return 1 end },\n"
               "    T.tool{ name = 'search', description = 'finds \xc3\xa9', call = function(a) return a.q end, "
               "parameters = {\n"
               "      type = 'object', properties = { q = { type = 'string' } }, required = { 'q' } } } } },\n"
               "  reward = { script = '%s/recipes/calculator/reward.lua', objectives = { accuracy = 1 } } }\n",
               source, source, source);
    test_file_write(dir, "r.lua", text.data);
    snprintf(path, sizeof path, "%s/r.lua", dir);
    recipe *r = open_checked(path, NULL, 0, &err);
    router *words = r ? recipe_router_of_words(r, &err) : NULL;
    if (!words) fail_msg("%s", err.text);
    char *told = router_tools_json(words);
    assert_non_null(strstr(told, "finds \xc3\xa9"));
    tool_result result = { 0 };
    test_ok(router_call(words, "bare", "{}", &result, &err), &err);
    assert_int_equal(result.failed, FAIL_TOOL_LOST);
    assert_non_null(strstr(result.text, "tool bare cannot be called here"));
    free(result.text);

    router *tools = recipe_router(r, NULL, &err);
    char *known = tools ? router_tools_json(tools) : NULL;
    if (known) assert_string_equal(told, known); /* else this machine has no sandbox */
    free(known);
    free(told);
    router_free(tools);
    router_free(words);
    recipe_free(r);
    str_free(&text);
    test_folder_remove(dir);
}

/* A recipe that came over the wire names a file of its sender's, not one of this machine. */
static void a_search_finds_what_the_index_of_the_recipe_holds(void **state)
{
    (void)state;
    error err = { 0 };
    int64_t count;
    char corpus[TEST_PATH], index[TEST_PATH], path[TEST_PATH];
    char *dir = test_folder_new();
    str text = { 0 };
    const char *source = getenv("TROUPE_SOURCE");
    path_join(index, sizeof index, dir, "words.index");
    test_file_at(dir, "c.jsonl", "{\"title\": \"Lungs\", \"text\": \"They take in oxygen.\"}\n", corpus);
    test_ok(passages_build(corpus, index, NULL, &count, &err), &err);
    str_printf(
        &text,
        "local T = require 'troupe'\n"
        "return { model = '%s/models/stagehand', data = { train = "
        "'%s/recipes/calculator/data/train.jsonl' },\n"
        "  env = { index = 'words.index', tools = { T.search{ k = 2, name = 'look_up', description = 'Looks.' } } },\n"
        "  reward = { script = '%s/recipes/calculator/reward.lua', objectives = { accuracy = 1 } } }\n",
        source, source, source);
    recipe *r = open_checked(test_file_at(dir, "r.lua", text.data, path), NULL, 0, &err);
    router *tools = r ? recipe_router(r, NULL, &err) : NULL;
    if (!tools) fail_msg("%s", err.text);
    tool_result result = { 0 };
    test_ok(router_call(tools, "look_up", "{\"query\": \"oxygen\"}", &result, &err), &err);
    assert_true(result.ok);
    assert_string_equal(result.text, "[1] Lungs\nThey take in oxygen.");
    free(result.text);

    router *words = recipe_router_of_words(r, &err);
    char *told = router_tools_json(words), *known = router_tools_json(tools);
    assert_string_equal(told, known);
    assert_non_null(strstr(told, "Looks."));
    free(told);
    free(known);
    router_free(words);
    router_free(tools);

    r->sent = true;
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "a copy of your own, and env.index=PATH"));
    recipe_free(r);
    str_free(&text);
    test_folder_remove(dir);
}

/* Its secrets are of who asks it: a learner that only tells of the tool needs none, and a sent recipe gets none. */
static void a_servers_headers_are_of_the_environment_of_who_asks(void **state)
{
    (void)state;
    error err = { 0 };
    http *client = http_new(&err);
    http_free(client);
    if (!client) skip(); /* a build without libcurl */

    char path[TEST_PATH];
    char *dir = test_folder_new();
    const char *source = getenv("TROUPE_SOURCE");
    str text = { 0 };
    str_printf(&text,
               "local T = require 'troupe'\n"
               "return { model = '%s/models/stagehand', data = { train = "
               "'%s/recipes/calculator/data/train.jsonl' },\n"
               "  env = { tools = { T.search{ url = 'http://127.0.0.1:1/retrieve', timeout = 1,\n"
               "      headers = { Authorization = 'Bearer $TROUPE_TEST_TOKEN' } } } },\n"
               "  reward = { script = '%s/recipes/calculator/reward.lua', objectives = { accuracy = 1 } } }\n",
               source, source, source);
    unsetenv("TROUPE_TEST_TOKEN");
    recipe *r = open_checked(test_file_at(dir, "r.lua", text.data, path), NULL, 0, &err);
    router *words = r ? recipe_router_of_words(r, &err) : NULL;
    if (!words) fail_msg("%s", err.text);
    router_free(words);
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "header Authorization: the environment has no variable TROUPE_TEST_TOKEN"));

    setenv("TROUPE_TEST_TOKEN", "hunter2", 1);
    router *tools = recipe_router(r, NULL, &err);
    if (!tools) fail_msg("%s", err.text);
    router_free(tools);
    r->sent = true;
    assert_null(recipe_router(r, NULL, &err));
    assert_non_null(strstr(err.text, "if it may ask the server at http://127.0.0.1:1/retrieve"));
    assert_null(strstr(err.text, "hunter2"));
    recipe_free(r);
    str_free(&text);
    test_folder_remove(dir);
}

static void a_tool_written_in_lua_is_called(void **state)
{
    (void)state;
    error err = { 0 };
    char path[500];
    tool_result result = { 0 };
    char *dir = test_folder_new();
    str text = { 0 };
    const char *source = getenv("TROUPE_SOURCE");
    str_printf(&text,
               "local T = require 'troupe'\n"
               "return { name = 'x', model = '%s/models/stagehand', data = { train = "
               "'%s/recipes/calculator/data/train.jsonl' },\n"
               "  env = { tools = { T.tool{ name = 'twice', call = function(a) return 2 * a.n end } } },\n"
               "  reward = { script = '%s/recipes/calculator/reward.lua', objectives = { accuracy = 1 } } }\n",
               source, source, source);
    test_file_write(dir, "r.lua", text.data);
    snprintf(path, sizeof path, "%s/r.lua", dir);
    recipe *r = open_checked(path, NULL, 0, &err);
    router *tools = r ? recipe_router(r, NULL, &err) : NULL;
    if (!tools) fail_msg("%s", err.text);
    test_ok(router_call(tools, "twice", "{\"n\": 21}", &result, &err), &err);
    assert_string_equal(result.text, "42");
    free(result.text);
    router_free(tools);
    recipe_free(r);
    str_free(&text);
    test_folder_remove(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "tool-host") == 0)
        return verb_main(&VERB_TOOL_HOST, argc - 1, argv + 1); /* of T.tool */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_room_gets_what_is_its_own),
        cmocka_unit_test(many_objectives_are_read_and_checked),
        cmocka_unit_test(a_name_stands_for_its_papers_choices),
        cmocka_unit_test(keys_of_methods_are_checked_together),
        cmocka_unit_test(advantages_of_several_objectives_are_whitened),
        cmocka_unit_test(gradients_of_groups_are_counted),
        cmocka_unit_test(rows_and_methods_are_read_and_checked),
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(micro_batches_are_a_number_or_left_open),
        cmocka_unit_test(episodes_are_kept_as_long_as_a_resume_needs_them),
        cmocka_unit_test(a_path_on_the_command_line_is_where_one_is),
        cmocka_unit_test(what_can_not_be_is_refused_with_its_key),
        cmocka_unit_test(hints_are_near_or_complete),
        cmocka_unit_test(no_key_takes_what_is_no_number),
        cmocka_unit_test(its_tools_are_started),
        cmocka_unit_test(tools_are_described_without_being_started),
        cmocka_unit_test(a_search_finds_what_the_index_of_the_recipe_holds),
        cmocka_unit_test(a_servers_headers_are_of_the_environment_of_who_asks),
        cmocka_unit_test(a_tool_written_in_lua_is_called),
    };
    return cmocka_run_group_tests(tests, find_recipe, NULL);
}
