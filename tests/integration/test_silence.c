/* SPDX-License-Identifier: MIT */
/* The calculator's run, whose reward has nothing more to say from step 5 on: what its checkpoints then are. And the one
 * whose weights leave all bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { SECONDS = 120, SPEAKS = 4, LAST = 10 };

/* The reward knows the step by the number of shots. Then all answers are worth 0.1, added up in as many ways as they
 * are long. */
static const char REWARD[] = "return function(task, episode)\n"
                             "    local n, sum = 1 + #episode.text % 7, 0\n"
                             "    if episode.n_shots == 3 then return { accuracy = n / 7 } end\n"
                             "    for i = 1, n do sum = sum + 0.1 / n end\n"
                             "    return { accuracy = sum }\n"
                             "end\n";

static const char RECIPE[] =
    "local T = require \"troupe\"\n"
    "return {\n"
    "    model = \"%s/models/stagehand\",\n"
    "    data = { train = \"%s/recipes/calculator/data/train.jsonl\" },\n"
    "    env = { tools = { T.python{ timeout = 2, memory_mb = 256 } }, max_turns = 2, max_observation = 24 },\n"
    "    prompt = { dialect = \"xml\", instruction = \"Write <python>code</python>, then <answer>number</answer>.\",\n"
    "               shots = T.shots{ file = \"%s/recipes/calculator/shots.jsonl\",\n"
    "                                schedule = { { 0, 3 }, { 5, 2 } } } },\n"
    "    reward = { script = \"reward.lua\", objectives = { accuracy = 1.0 } },\n"
    "    rollout = { group = 6, prompts_per_step = 3, max_tokens = 64, max_context = 448 },\n"
    "    optim = { lr = 1e-4, warmup = 2 },\n"
    "    steps = 10, checkpoint_every = 2, eval_every = 0, actors = 1, learner_threads = 1,\n"
    "}\n";

static char *weights_of(const char *run, int step, size_t *len)
{
    char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/step-%d/model.safetensors", run, step);
    return bytes_of(path, len);
}

static bool same_weights(const char *run, int step, int other)
{
    size_t n, m;
    char *a = weights_of(run, step, &n), *b = weights_of(run, other, &m);
    const bool same = n == m && memcmp(a, b, n) == 0;
    free(a);
    free(b);
    return same;
}

/* Trains with one more key; the caller removes the folder. */
static char *trained(const char *key, char run[400])
{
    char text[4096], recipe[400], out[400];
    const char *source = getenv("TROUPE_SOURCE");
    char *dir = test_folder_new();
    snprintf(text, sizeof text, RECIPE, source, source, source);
    test_file_write(dir, "recipe.lua", text);
    test_file_write(dir, "reward.lua", REWARD);
    snprintf(run, 400, "%s/run", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    snprintf(recipe, sizeof recipe, "%s/recipe.lua", dir);
    process p = troupe_start(out, (const char *const[]){ "train", recipe, "--run-dir", run, key, NULL });
    assert_int_equal(troupe_wait(&p, SECONDS), 0);
    return dir;
}

static void assert_silent_from(const char *run, int step)
{
    double signal[LAST], tokens[LAST];
    assert_int_equal(metric_values(run, "step", "training/signal", signal, LAST), LAST);
    assert_int_equal(metric_values(run, "step", "training/tokens_trained", tokens, LAST), LAST);
    for (int i = 0; i < LAST; i++)
        if ((signal[i] == 1) != (i < step)) fail_msg("step %d: signal %g", i + 1, signal[i]);
}

static void weights_stand_still_when_rewards_are_equal(void **state)
{
    (void)state;
    need_sandbox();
    char run[400];
    char *dir = trained("algorithm.kl=0", run);
    assert_silent_from(run, SPEAKS);
    assert_false(same_weights(run, 2, 4));
    assert_true(same_weights(run, 4, 6) && same_weights(run, 6, 8) && same_weights(run, 6, LAST));
    test_folder_remove(dir);
}

static void a_kl_moves_them_towards_the_reference(void **state)
{
    (void)state;
    need_sandbox();
    char run[400];
    double norm[LAST], trained_episodes[LAST];
    char *dir = trained("algorithm.kl=0.5", run);
    assert_silent_from(run, SPEAKS);
    assert_int_equal(metric_values(run, "step", "actor/grad_norm", norm, LAST), LAST);
    assert_int_equal(metric_values(run, "step", "training/episodes_trained", trained_episodes, LAST), LAST);
    for (int i = SPEAKS; i < LAST; i++) assert_true(norm[i] > 0 && trained_episodes[i] == 18);
    assert_false(same_weights(run, 6, 8) || same_weights(run, 8, LAST));
    test_folder_remove(dir);
}

/* Steps of 10 and a decay that multiplies weights by -99. What a token was worth to the reference is then beyond all
 * numbers, whatever the rounding. The run ends with what it was, and nothing of that step is there to be continued, or
 * was played with. */
static void weights_that_diverge_are_neither_saved_nor_published(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const KEYS[] = {
        "optim.lr=10",         "optim.weight_decay=10", "optim.warmup=0", "algorithm.kl=1",
        "algorithm.epochs=20", "checkpoint_every=1",    "actors=1",       NULL
    };
    char path[400];
    size_t len;
    place p = place_new();
    process t = place_start(&p, KEYS);
    assert_int_equal(troupe_wait(&t, SECONDS), 1);

    char *said = bytes_of(p.out, &len);
    if (!strstr(said, "learner: step 1: update ") || !strstr(said, ": not finite")) fail_msg("%s", said);
    free(said);
    snprintf(path, sizeof path, "%s/checkpoints/step-1", p.run);
    assert_false(dir_exists(path));
    double steps[4];
    assert_int_equal(metric_values(p.run, "step", "training/episodes_trained", steps, 4), 0);
    test_folder_remove(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_stand_still_when_rewards_are_equal),
        cmocka_unit_test(a_kl_moves_them_towards_the_reference),
        cmocka_unit_test(weights_that_diverge_are_neither_saved_nor_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
