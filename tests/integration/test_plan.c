/* SPDX-License-Identifier: MIT */
/* The memory map of a run, against what its processes take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/hf_folder.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { SECONDS = 300 };

/* A model that outweighs the program: 26 M parameters, with the tokenizer of models/stagehand. */
static const char CONFIG[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\","
    " \"vocab_size\": 701, \"hidden_size\": 512, \"intermediate_size\": 1408, \"num_hidden_layers\": 8,"
    " \"num_attention_heads\": 8, \"num_key_value_heads\": 8, \"max_position_embeddings\": 256,"
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"tie_word_embeddings\": true, \"eos_token_id\": 0}";

static int seal(void *w, error *err)
{
    (void)err;
    weights_seal(w, 0);
    return OK;
}

static void make_model(const char *dir)
{
    static const char *const FILES[] = { "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json" };
    char shapes[500], model[500], from[1100], to[600];
    error err = { 0 };
    snprintf(shapes, sizeof shapes, "%s/shapes", dir);
    snprintf(model, sizeof model, "%s/model", dir);
    test_ok(dir_make_all(shapes, &err), &err);
    test_file_write(shapes, "config.json", CONFIG);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        snprintf(from, sizeof from, "%s/models/stagehand/%s", getenv("TROUPE_SOURCE"), FILES[i]);
        snprintf(to, sizeof to, "%s/%s", shapes, FILES[i]);
        test_ok(file_copy(from, to, &err), &err);
    }

    device *dev = device_open("cpu", 1, &err);
    hf_folder *f = hf_folder_open_config(shapes, dev, &err);
    if (!f || !(f->weights = weights_new(dev, f->table, &err))) fail_msg("%s", err.text);
    weights_init(f->weights, 1, 0.02f);
    test_ok(device_guard(dev, seal, f->weights, &err), &err);
    test_ok(hf_folder_write(model, shapes, f->weights, DTYPE_F32, &err), &err);
    hf_folder_close(f);
    device_close(dev);
}

/* Rewards differ within a group, so that each step has a backward pass; passes are full. */
static void write_recipe(const char *dir)
{
    test_file_write(dir, "recipe.lua",
                    "return { name = 'plan', model = 'model', data = { train = 'd.jsonl' },\n"
                    "prompt = { instruction = 'Say it.' },\n"
                    "reward = { script = 'r.lua', objectives = { length = 1 } },\n"
                    "rollout = { group = 8, prompts_per_step = 2, max_tokens = 72, max_context = 96 },\n"
                    "learner = { micro_tokens = 768, shared_prompts = false },\n"
                    "steps = 2, actors = 1, checkpoint_every = 2 }\n");
    test_file_write(dir, "r.lua", "return function(task, episode) return { length = #episode.text % 13 } end\n");
    test_file_write(dir, "d.jsonl",
                    "{\"prompt\": \"1+1\", \"answer\": \"2\"}\n{\"prompt\": \"2+1\", \"answer\": \"3\"}\n");
}

/* VmHWM of a process, in MB; what was known before when it is gone. */
static double peak_mb(const char *word, const char *second, double before)
{
    char path[64], line[200];
    int pid;
    double kb = 0;
    if (find_processes(word, second, &pid, 1) != 1) return before;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kb) == 1) break;
    if (f) fclose(f);
    return kb > 0 ? kb / 1024 : before;
}

/* Of the row "each" of the map: the learner's and the actor's figure. */
static void read_map(const char *text, double *learner, double *actor)
{
    char unit[2][8];
    const char *row = strstr(text, "\neach ");
    if (!row || sscanf(row, " each %lf %7s %lf %7s", learner, unit[0], actor, unit[1]) != 4) fail_msg("%s", text);
    if (strcmp(unit[0], "GB") == 0) *learner *= 1024;
    if (strcmp(unit[1], "GB") == 0) *actor *= 1024;
}

/* A copy of the weights would be seen in either, and a third of a pass. `most`: how much more may be planned. */
static void expect_near(const char *what, double planned, double taken, double most)
{
    if (planned < most * taken && planned > 0.9 * taken) return;
    fail_msg("%s: planned %.0f MB, taken %.0f MB", what, planned, taken);
}

static void a_learner_and_an_actor_take_what_is_planned(void **state)
{
    (void)state;
    need_sandbox();
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* they take more */
#endif
    char path[500], run[500], out[500];
    char *dir = test_folder_new();
    snprintf(path, sizeof path, "%s/recipe.lua", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    make_model(dir);
    write_recipe(dir);

    double learner = 0, actor = 0, planned_learner, planned_actor;
    outcome map = TROUPE("plan", path);
    assert_int_equal(map.status, 0);
    read_map(map.text, &planned_learner, &planned_actor);

    char sockets[256] = "", file[600];
    int status = -1;
    snprintf(file, sizeof file, "%s/run.json", run);
    process t = troupe_start(out, (const char *const[]){ "train", path, "--run-dir", run, NULL });
    while (process_wait(&t, 5, &status) == 0) {
        learner = peak_mb("troupe learner", run, learner);
        if (!sockets[0] && file_exists(file)) sockets_of(run, sockets);
        if (sockets[0]) actor = peak_mb("troupe actor", sockets, actor);
    }
    if (status != 0) fail_msg("status %d, see %s", status, out);

    size_t len;
    char *said = file_read(out, 1 << 20, &len, NULL);
    if (!strstr(said, "  needs learner ")) fail_msg("%s", said);
    expect_near("learner", planned_learner, learner, 1.1);
    expect_near("actor", planned_actor, actor, 1.2); /* a prefill is never as large as it may be */
    free(said);
    outcome_free(&map);
    test_folder_remove(dir);
}

/* No machine has room for a quarter of a million episodes in flight: nothing is started, and no run is left behind. */
static void what_can_not_fit_is_refused_before_anything_starts(void **state)
{
    (void)state;
    static const char *const SAYS[] = {
        "the run needs up to ", "the actor's keys and values (",
        "lower actor_slots (4096 now), rollout.max_context (1024 now) or actors (64 now)"
    };
    char recipe[1100], run[500];
    char *dir = test_folder_new();
    snprintf(recipe, sizeof recipe, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    snprintf(run, sizeof run, "%s/run", dir);

    outcome all[] = { TROUPE("plan", recipe, "actors=64", "actor_slots=4096", "rollout.max_context=1024"),
                      TROUPE("train", recipe, "actors=64", "actor_slots=4096", "rollout.max_context=1024", "--run-dir",
                             run) };
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof SAYS / sizeof *SAYS; k++)
            if (!strstr(all[i].text, SAYS[k])) fail_msg("expected '%s' in: %s", SAYS[k], all[i].text);
        assert_int_equal(all[i].status, 1);
        outcome_free(&all[i]);
    }
    assert_false(dir_exists(run));
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_learner_and_an_actor_take_what_is_planned),
        cmocka_unit_test(what_can_not_fit_is_refused_before_anything_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
