/* SPDX-License-Identifier: MIT */
#include "run/checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/file.h"
#include "run/check_data.h"
#include "run/check_prompts.h"
#include "run/quiet_device.h"
#include "run/workers.h"
#include "model/hf_folder.h"
#include "reward/rehearsal.h"

typedef struct opened {
    const recipe *recipe;
    const checks_for *what;
    checks *out;
    shot_pool shots;
    tokenizer *tokenizer;
    dialect *dialect;
    dataset *train, *test;
    device *device;
    int max_context;
} opened;

/* One learner of several takes a device of its own; whether there are so many is for them to find out. */
static int check_device(opened *o, error *err)
{
    error why = { 0 };
    device *dev = o->device = quiet_device(o->recipe, &why);
    if (!dev) return recipe_error(o->recipe, "device", &why, err);
    snprintf(o->out->device, sizeof o->out->device, "%s", device_name(dev));
    return OK;
}

/* A run where a model is asked for: its models are its checkpoints. */
static void hint_at_checkpoints(const char *dir, error *why)
{
    char path[1100];
    path_join(path, sizeof path, dir, "config.json");
    if (file_exists(path)) return;
    path_join(path, sizeof path, dir, "checkpoints");
    if (dir_exists(path)) error_set(why, why->code, "%s is a run; its models are in %s/step-N", dir, path);
}

static int measure_model(opened *o, const char *dir, const hf_folder *f, error *err)
{
    /* More rows than tokens is usual (padding for the hardware); fewer would be read after the end of the table. */
    const int have = f->config.vocab, need = tokenizer_vocab(o->tokenizer);
    if (need > have) return error_set(err, ERR_PARSE, "%s: the tokenizer has %d tokens, the model %d", dir, need, have);

    o->out->parameters = f->table->total;
    if (o->what->train) o->out->memory = memory_plan_of(o->recipe, o->device, f->table);
    o->max_context = (int)o->recipe->actor.max_context;
    if (o->max_context > f->config.max_position) o->max_context = f->config.max_position;
    return OK;
}

/* Its tokenizer stays, to make prompts with. */
static int open_model(opened *o, const char *dir, error *err)
{
    if (hf_folder_check(dir, err) != OK) return err->code;
    hf_folder *f = hf_folder_open_config(dir, NULL, err);
    if (!f) return err->code;

    o->tokenizer = tokenizer_open(dir, err);
    const int rc = o->tokenizer ? measure_model(o, dir, f, err) : err->code;
    hf_folder_close(f);
    return rc;
}

static int check_model(opened *o, error *err)
{
    error why = { 0 };
    const char *by_option = o->what->model; /* --model wins, and then no line of the recipe is at fault */
    const char *dir = by_option ? by_option : o->recipe->run.model;
    const int rc = open_model(o, dir, &why);
    if (rc == OK) return OK;

    hint_at_checkpoints(dir, &why);
    if (by_option) return error_set(err, rc, "%s", why.text);
    return recipe_error(o->recipe, "model", &why, err);
}

/* Whether the dialect can tell of these tools, and the shots call no others. tools: as JSON. */
static int check_told_tools(opened *o, const char *tools, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    o->dialect = recipe_dialect(r, tools, &why);
    if (!o->dialect) return recipe_error(r, recipe_dialect_key(&why), &why, err);

    if (shots_check_tools(&o->shots, tools, &why) == OK) return OK;
    error_within(&why, "%s", r->curriculum.shots_file);
    return recipe_error(r, "prompt.shots", &why, err);
}

/* An environment that can't begin with the first row would fail every episode. */
static int check_reset(const opened *o, router *tools, error *err)
{
    const dataset *rows = o->train ? o->train : o->test;
    tool_result begun = { 0 };
    if (!rows || !router_has_environment(tools)) return OK;
    const tool_context context = { .row = dataset_row(rows, 0) };
    int rc = router_await(tools, router_reset(tools, &context, clock_ms()), &begun, err);
    if (rc == OK && begun.failed != FAIL_NONE)
        rc = error_set(err, ERR_PEER, "the first row can't be played: %s", begun.text);
    tool_result_reset(&begun);
    return rc;
}

/* Tools are started and stopped: a sandbox that this machine doesn't allow is found here, too. */
static int check_tools(opened *o, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    router *tools = recipe_router(r, NULL, &why);
    if (!tools) return recipe_error(r, "env.tools", &why, err);
    if (check_reset(o, tools, &why) != OK) {
        router_free(tools);
        return recipe_error(r, "env.tools", &why, err);
    }

    /* Tools are processes: they have shown that they start, and what follows needs their words alone. */
    char *text = router_tools_json(tools);
    router_free(tools);
    const int rc = check_told_tools(o, text, err);
    free(text);
    return rc;
}

/* A prompt with more shots than there are would silently show fewer. */
static int enough_shots(const opened *o, const char *key, int64_t shots, error *err)
{
    error why = { 0 };
    if (shots <= 0 || (size_t)shots <= o->shots.len) return OK;

    if (o->shots.len == 0)
        error_set(&why, ERR_ARGUMENT, "%" PRId64 " shots in a prompt, but the recipe has no prompt.shots", shots);
    else
        error_set(&why, ERR_ARGUMENT, "%" PRId64 " shots in a prompt, but %s holds %zu", shots,
                  o->recipe->curriculum.shots_file, o->shots.len);
    if (key) return recipe_error(o->recipe, key, &why, err);
    return error_set(err, ERR_ARGUMENT, "%s: %s", o->what->option, why.text);
}

/* The key that says how many shots an evaluation shows; NULL: an option did. */
static const char *test_key(const opened *o) { return o->what->option ? NULL : "eval_shots"; }

static int check_shots(opened *o, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    if (r->curriculum.shots_file[0] && shots_read(&o->shots, r->curriculum.shots_file, &why) != OK)
        return recipe_error(r, "prompt.shots", &why, err);
    return enough_shots(o, test_key(o), o->what->test_shots, err);
}

static int check_rows(opened *o, const dataset *rows, const char *name, const char *key, int64_t shots, error *err)
{
    error why = { 0 };
    const prompt_maker m = { .recipe = o->recipe,
                             .tokenizer = o->tokenizer,
                             .dialect = o->dialect,
                             .shots = &o->shots,
                             .max_context = o->max_context };

    if (enough_shots(o, key, shots, err) != OK) return err->code;
    if (recipe_has_environment(o->recipe)) return OK; /* it makes the prompts */
    if (check_prompts(&m, rows, name, (int)shots, o->out->note, sizeof o->out->note, &why) == OK) return OK;

    /* "no prompt ... fits": the rows are fine, and the key to change is the one that gives them room. */
    const char *at_fault = name;
    if (strstr(why.text, " fits ")) at_fault = "rollout.max_context";
    return recipe_error(o->recipe, at_fault, &why, err);
}

static int check_levels(opened *o, const ladder_config *l, error *err)
{
    int rc = OK;
    for (int i = 0; rc == OK && i < l->n; i++)
        rc = check_rows(o, o->train, "data.train", "prompt.shots", l->levels[i], err);
    return rc;
}

/* Each number of shots that the run will come to. */
static int check_schedule(opened *o, error *err)
{
    const shot_schedule *schedule = o->recipe->curriculum.shots;
    const ladder_config *ladder = &o->recipe->curriculum.sampler.ladder;
    int64_t first;
    const int32_t *shots;
    int n, rc = OK;
    if (ladder->n > 0) return check_levels(o, ladder, err);
    if (!schedule) return check_rows(o, o->train, "data.train", "prompt.shots", 0, err);

    for (int i = 0; rc == OK && shot_schedule_stage(schedule, i, &first, &shots, &n); i++) {
        if (first > o->recipe->run.steps) break; /* stages are in order: no later one is reached either */
        for (int k = 0; rc == OK && k < n; k++)
            rc = check_rows(o, o->train, "data.train", "prompt.shots", shots[k], err);
    }
    return rc;
}

/* A token is rarely more bytes than that; limits grow with the text, so that more would find no more. */
enum { BYTES_PER_TOKEN = 8, LONGEST_TEXT = 1 << 20 };

/* Runs the reward script on the first, the middle and the last row. */
static int rehearse(const opened *o, const dataset *rows, error *err)
{
    scorer_config how = reward_scorer(&o->recipe->reward);
    how.print_bytes = REHEARSAL_PRINTS;
    const uint64_t n = dataset_size(rows), at[] = { 0, n / 2, n - 1 };
    const int64_t longest = (int64_t)o->max_context * BYTES_PER_TOKEN;
    const size_t text_bytes = (size_t)(longest < LONGEST_TEXT ? longest : LONGEST_TEXT);
    scorer *s = scorer_new(&how, err);
    if (!s) return err->code;

    int rc = OK;
    for (size_t i = 0; rc == OK && i < sizeof at / sizeof *at; i++) {
        if (i > 0 && at[i] == at[i - 1]) continue;
        rc = reward_rehearse(s, dataset_row(rows, at[i]), text_bytes, o->out->reward_note, sizeof o->out->reward_note,
                             err);
    }
    scorer_free(s);
    return rc;
}

static int check_rewards(const opened *o, const dataset *rows, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    if (!o->what->scored || !r->reward.rehearse || !rows || dataset_size(rows) == 0) return OK;

    const int rc = rehearse(o, rows, &why);
    if (rc == OK) return OK;
    error_set(&why, rc, "%s; fix the script, or set reward.rehearse = false", why.text);
    return recipe_error(r, "reward.script", &why, err);
}

static int open_rows(const recipe *r, const char *path, dataset **rows, uint64_t *n, error *err)
{
    if (!path[0]) return OK;
    if (!(*rows = recipe_rows(r, path, err))) return err->code;
    *n = dataset_size(*rows);
    return OK;
}

static unsigned needs_of(const checks_for *what)
{
    unsigned needs = NEEDS_WORDS;
    if (!what->model) needs |= NEEDS_MODEL;
    if (what->train) needs |= NEEDS_TRAIN;
    if (what->train || what->test) needs |= NEEDS_TEST;
    if (what->scored) needs |= NEEDS_SCRIPT;
    return needs;
}

static int open_all_rows(opened *o, error *err)
{
    const checks_for *what = o->what;
    const curriculum_options *c = &o->recipe->curriculum;
    int rc = OK;
    if (what->train) rc = open_rows(o->recipe, c->train, &o->train, &o->out->train_rows, err);
    if (rc == OK && (what->train || what->test)) rc = open_rows(o->recipe, c->test, &o->test, &o->out->test_rows, err);
    return rc;
}

static int check_prompts_of_rows(opened *o, error *err)
{
    const checks_for *what = o->what;
    int rc = OK;
    if (what->train) rc = check_schedule(o, err);
    if (rc == OK && what->test && o->test) rc = check_rows(o, o->test, "data.test", test_key(o), what->test_shots, err);
    return rc;
}

static void close_all(opened *o)
{
    shots_free(&o->shots);
    tokenizer_free(o->tokenizer);
    dialect_free(o->dialect);
    dataset_free(o->train);
    dataset_free(o->test);
    device_close(o->device);
}

/* All of a run's processes together: one that the kernel kills says nothing. */
static int check_memory(const opened *o, error *err)
{
    const memory_room room = memory_machine_now("");
    return o->what->train ? memory_plan_check(&o->out->memory, &room, err) : OK;
}

/* Descriptors for libraries, logs and the database, and for each process that is started. Those of an actor's calls
 * under way come on top. */
enum { OWN_FILES = 48, FILES_A_PROCESS = 8 };

/* ZeroMQ ends a process that has no descriptor left for it, and a tool's call without one is lost: so not then. What
 * the shell allows is raised as far as this user may. */
static int check_files(const opened *o, error *err)
{
    const run_options *run = &o->recipe->run;
    int64_t processes = 1;
    if (o->what->train) processes = run->actors + run->reward_workers + run->learners;

    const rlim_t need = (rlim_t)(OWN_FILES + FILES_A_PROCESS * processes + actor_slots(o->recipe));
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= need) return OK;

    files.rlim_cur = files.rlim_max < need ? files.rlim_max : need;
    if (files.rlim_cur >= need && setrlimit(RLIMIT_NOFILE, &files) == 0) return OK;
    return error_set(err, ERR_LIMIT, "%llu files may be open at once here, and this needs %llu (raise ulimit -n)",
                     (unsigned long long)files.rlim_cur, (unsigned long long)need);
}

/* The cheap things first: a missing file is said before a sandbox starts. */
int checks_open(const recipe *r, const checks_for *what, checks *out, error *err)
{
    opened o = { .recipe = r, .what = what, .out = out };
    *out = (checks){ 0 };

    int rc = check_files(&o, err);
    if (rc == OK) rc = check_data(r, needs_of(what), err);
    if (rc == OK) rc = check_shots(&o, err);
    if (rc == OK) rc = check_device(&o, err);
    if (rc == OK) rc = check_model(&o, err);
    if (rc == OK) rc = check_memory(&o, err);

    /* From here on processes start: a sandbox, and one that plays the reward script. */
    if (rc == OK) rc = open_all_rows(&o, err);
    if (rc == OK) rc = check_tools(&o, err);
    if (rc == OK) rc = check_prompts_of_rows(&o, err);
    if (rc == OK) rc = check_rewards(&o, o.train ? o.train : o.test, err);

    close_all(&o);
    return rc;
}
