/* SPDX-License-Identifier: MIT */
#include "run/checks.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/check_data.h"
#include "run/check_prompts.h"
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
    int max_context;
} opened;

/* A driver may leave threads behind, and a signal takes whichever thread lets it in: Ctrl-C would then end this process
 * instead of asking it to stop in order. So they are made where no signal is let in. */
static device *open_quietly(const recipe *r, error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    device *dev = device_open(r->run.device, (int)r->run.learner_threads, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return dev;
}

/* One learner of several takes a device of its own; whether there are so many is for them to find out. */
static int check_device(opened *o, error *err)
{
    error why = { 0 };
    device *dev = open_quietly(o->recipe, &why);
    if (!dev) return recipe_error(o->recipe, "device", &why, err);
    snprintf(o->out->device, sizeof o->out->device, "%s", device_name(dev));
    device_close(dev);
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

static int check_model(opened *o, error *err)
{
    error why = { 0 };
    const char *dir = o->what->model ? o->what->model : o->recipe->run.model;
    hf_folder *f = hf_folder_check(dir, &why) == OK ? hf_folder_open_config(dir, NULL, &why) : NULL;
    o->tokenizer = f ? tokenizer_open(dir, &why) : NULL;
    int rc = o->tokenizer ? OK : why.code;
    if (rc == OK && tokenizer_vocab(o->tokenizer) > f->config.vocab)
        rc = error_set(&why, ERR_PARSE, "%s: the tokenizer has %d tokens, the model %d", dir,
                       tokenizer_vocab(o->tokenizer), f->config.vocab);
    if (rc == OK) {
        o->out->parameters = f->table->total;
        o->max_context = (int)o->recipe->actor.max_context;
        if (o->max_context > f->config.max_position) o->max_context = f->config.max_position;
    }
    hf_folder_close(f);
    if (rc == OK) return OK;
    hint_at_checkpoints(dir, &why);
    return o->what->model ? error_set(err, rc, "%s", why.text) : recipe_error(o->recipe, "model", &why, err);
}

/* Tools are started and stopped: a sandbox that this machine doesn't allow is found here, too. */
static int check_tools(opened *o, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    router *tools = recipe_router(r, NULL, &why);
    if (!tools) return recipe_error(r, "env.tools", &why, err);
    char *text = router_tools_json(tools);
    o->dialect = dialect_new(r->prompt.dialect, r->prompt.dialect_options, text, &why);
    error unknown = { 0 };
    const int rc = shots_check_tools(&o->shots, text, &unknown);
    free(text);
    router_free(tools);
    if (o->dialect && rc != OK) {
        error_within(&unknown, "%s", r->curriculum.shots_file);
        return recipe_error(r, "prompt.shots", &unknown, err);
    }
    return o->dialect ? OK : recipe_error(r, "prompt.dialect", &why, err);
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
    return key ? recipe_error(o->recipe, key, &why, err)
               : error_set(err, ERR_ARGUMENT, "%s: %s", o->what->option, why.text);
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
    if (check_prompts(&m, rows, name, (int)shots, o->out->note, sizeof o->out->note, &why) == OK) return OK;
    return recipe_error(o->recipe, strstr(why.text, " fits ") ? "rollout.max_context" : name, &why, err);
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
    const recipe *r = o->recipe;
    int64_t first;
    const int32_t *shots;
    int n, rc = OK;
    if (r->curriculum.sampler.ladder.n > 0) return check_levels(o, &r->curriculum.sampler.ladder, err);
    if (!r->curriculum.shots) return check_rows(o, o->train, "data.train", "prompt.shots", 0, err);
    for (int i = 0;
         rc == OK && shot_schedule_stage(r->curriculum.shots, i, &first, &shots, &n) && first <= r->run.steps; i++)
        for (int k = 0; rc == OK && k < n; k++)
            rc = check_rows(o, o->train, "data.train", "prompt.shots", shots[k], err);
    return rc;
}

/* A token is rarely more bytes than that; limits grow with the text, so that more would find no more. */
enum { BYTES_PER_TOKEN = 8, LONGEST_TEXT = 1 << 20 };

/* The script on the first, the middle and the last row. */
static int check_rewards(const opened *o, const dataset *rows, error *err)
{
    error why = { 0 };
    const recipe *r = o->recipe;
    const scorer_config how = reward_scorer(&r->reward);
    const uint64_t n = rows ? dataset_size(rows) : 0, at[] = { 0, n / 2, n - 1 };
    const int64_t longest = (int64_t)o->max_context * BYTES_PER_TOKEN;
    if (!o->what->scored || !r->reward.rehearse || n == 0) return OK;

    scorer *s = scorer_new(&how, &why);
    int rc = s ? OK : why.code;
    for (size_t i = 0; rc == OK && i < sizeof at / sizeof *at; i++)
        if (i == 0 || at[i] != at[i - 1])
            rc = reward_rehearse(s, dataset_row(rows, at[i]), (size_t)(longest < LONGEST_TEXT ? longest : LONGEST_TEXT),
                                 o->out->reward_note, sizeof o->out->reward_note, &why);
    scorer_free(s);
    if (rc == OK) return OK;
    error_set(&why, rc, "%s; mend the script, or set reward.rehearse = false", why.text);
    return recipe_error(r, "reward.script", &why, err);
}

static int open_rows(const char *path, dataset **rows, uint64_t *n, error *err)
{
    if (!path[0]) return OK;
    if (!(*rows = dataset_open(path, 0, err))) return err->code;
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

int checks_open(const recipe *r, const checks_for *what, checks *out, error *err)
{
    opened o = { .recipe = r, .what = what, .out = out };
    *out = (checks){ 0 };
    int rc = check_data(r, needs_of(what), err);
    if (rc == OK) rc = check_shots(&o, err);
    if (rc == OK) rc = check_device(&o, err);
    if (rc == OK) rc = check_model(&o, err);
    if (rc == OK) rc = check_tools(&o, err);
    if (rc == OK && what->train) rc = open_rows(r->curriculum.train, &o.train, &out->train_rows, err);
    if (rc == OK && (what->train || what->test)) rc = open_rows(r->curriculum.test, &o.test, &out->test_rows, err);
    if (rc == OK && what->train) rc = check_schedule(&o, err);
    if (rc == OK && what->test && o.test) rc = check_rows(&o, o.test, "data.test", test_key(&o), what->test_shots, err);
    if (rc == OK) rc = check_rewards(&o, o.train ? o.train : o.test, err);
    shots_free(&o.shots);
    tokenizer_free(o.tokenizer);
    dialect_free(o.dialect);
    dataset_free(o.train);
    dataset_free(o.test);
    return rc;
}
