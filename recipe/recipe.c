/* SPDX-License-Identifier: MIT */
#include "recipe/recipe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "lua/config.h"
#include "recipe/foreign.h"
#include "recipe/parts.h"
#include "recipe/tools.h"

_Static_assert((int)PROMPT_TEMPLATES <= (int)SAMPLER_TEMPLATES, "a template's number is one of the sampler's");

/* ---- what keys of different rooms mean together ---- */

/* Numbers that several rooms share go from the room whose key it is to the others. */
static int join(recipe *r, error *err)
{
    const curriculum_options *help = &r->curriculum;
    const uint64_t seed = (uint64_t)r->run.seed;
    curriculum_options_join(&r->curriculum, seed, r->exchange.group, r->prompt.complexity, r->prompt.n_templates);
    trainer_config_join(&r->trainer, seed, r->run.steps, r->exchange.max_tokens, r->exchange.temperature);

    /* Success without help is what hints and templates are chosen by, and what a helped answer is compared with
     * (learner/estimator.h): of one sample there is no mean and no deviation. */
    if (help->templated + help->hinted + help->demonstrations > r->exchange.group - 2)
        return config_error(r->config, "rollout.hinted", err,
                            "expected at least two samples of a group without template, hint or demonstration");
    if (help->templated > 0 && r->prompt.n_templates == 0)
        return config_error(r->config, "rollout.templated", err, "prompt.templates names none");
    if (r->run.eval_shots > 0 && !help->shots)
        return config_error(r->config, "eval_shots", err, "%" PRId64 " shots need prompt.shots", r->run.eval_shots);
    if (r->run.eval_every > 0 && !help->test[0])
        return config_error(r->config, "eval_every", err, "an evaluation needs data.test");
    return OK;
}

/* A hint is the beginning of what the policy should write; that of an environment answers what only a reset asks. */
static int check_help(const recipe *r, error *err)
{
    if (r->curriculum.hinted + r->curriculum.demonstrations == 0 || !recipe_has_environment(r)) return OK;
    return config_error(r->config, r->curriculum.hinted > 0 ? "rollout.hinted" : "rollout.demonstrations", err,
                        "rows of a T.env have no demonstrations: what is asked is known once it was reset");
}

dataset *recipe_rows(const recipe *r, const char *path, error *err)
{
    return recipe_has_environment(r) || r->sft.given ? dataset_open_bare(path, 0, err) : dataset_open(path, 0, err);
}

int64_t recipe_keep_episodes(const recipe *r)
{
    enum { AHEAD = 16 }; /* steps: rollout.max_staleness is at most that, so none is played further ahead */
    if (r->run.keep_episodes == 0 || r->run.checkpoint_every == 0) return 0;

    /* A resumed run begins at its last checkpoint, and trains again on what the store has of the steps since. */
    const int64_t needed = r->run.checkpoint_every + AHEAD;
    return r->run.keep_episodes > needed ? r->run.keep_episodes : needed;
}

/* ---- opening ---- */

/* A path inside the value of prompt.shots, which T.shots makes and no row describes. */
static const char SHOTS_FILE[] = "prompt.shots.file";

static bool is_path_key(const char *key, size_t len)
{
    config_part parts[RECIPE_PARTS + 1];
    recipe_parts(NULL, parts);

    for (const config_part *p = parts; p->table; p++)
        for (const option *o = p->table->rows; o->key; o++) {
            const bool is_path = o->kind == OPTION_PATH || o->kind == OPTION_NAMED;
            if (is_path && strlen(o->key) == len && memcmp(o->key, key, len) == 0) return true;
        }
    return false;
}

bool recipe_is_path(const char *word)
{
    const size_t len = strcspn(word, "=");
    return is_path_key(word, len) || (len == strlen(SHOTS_FILE) && strncmp(word, SHOTS_FILE, len) == 0);
}

char *recipe_override(const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || !recipe_is_path(word)) return xstrdup(word);

    /* What is not here may be beside the recipe, so it stays relative: the reader of OPTION_PATH looks there. */
    const char *path = equals + 1;
    const bool is_here = path[0] != '/' && (file_exists(path) || dir_exists(path));
    char here[1024];
    if (!is_here || !getcwd(here, sizeof here)) return xstrdup(word);

    str out = { 0 };
    str_printf(&out, "%.*s=%s/%s", (int)(equals - word), word, here, path);
    return str_take(&out);
}

/* Nothing of it is read yet. */
static recipe *recipe_new(const char *path, const char *const *overrides, int n_overrides)
{
    recipe *r = xcalloc(1, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s", path);
    path_dirname(r->dir, sizeof r->dir, path);

    r->config = xcalloc(1, sizeof *r->config);
    r->parts = xcalloc(RECIPE_PARTS + 1, sizeof *r->parts);
    recipe_parts(r, r->parts);

    r->words = xcalloc((size_t)n_overrides + 1, sizeof *r->words);
    for (int i = 0; i < n_overrides; i++) r->words[i] = recipe_override(overrides[i]);
    r->n_words = n_overrides;
    return r;
}

static int read_all(recipe *r, error *err)
{
    /* Far above what a recipe needs: a loop that never ends stops with its line, before the machine is full. */
    const vm_limits limits = { .memory_bytes = (size_t)1 << 30, .instructions = 1000000000, .cpu_ms = 10000 };
    if (!(r->vm = vm_new(VM_RECIPE, &limits, r->dir, err))) return ERR_MEMORY;

    int rc = config_open(r->config, r->vm, r->path, (const char *const *)r->words, r->n_words, err);
    r->config->aliases = recipe_foreign_keys(); /* after config_open, which begins with an empty config */
    r->config->hint = recipe_foreign_hint;
    if (rc == OK) rc = config_read(r->config, r->parts, err);

    /* The rest sees whole structs: env.tools holds functions, which no row can take, and `join` is about two rooms. */
    if (rc == OK) rc = recipe_check_tools(r, err);
    if (rc == OK) rc = check_help(r, err);
    if (rc == OK) rc = join(r, err);
    return rc;
}

recipe *recipe_open(const char *path, const char *const *overrides, int n_overrides, error *err)
{
    recipe *r = recipe_new(path, overrides, n_overrides);
    if (read_all(r, err) == OK) return r;
    recipe_free(r);
    return NULL;
}

void recipe_free(recipe *r)
{
    if (!r) return;

    curriculum_options_reset(&r->curriculum); /* also after a failed reading: rows that were read own memory */
    prompt_options_reset(&r->prompt);
    config_close(r->config);
    free(r->config);
    free(r->parts);
    vm_free(r->vm);

    for (int i = 0; i < r->n_words; i++) free(r->words[i]);
    free(r->words);
    free(r);
}

/* ---- for who uses it ---- */

void recipe_use_model(recipe *r, const char *dir)
{
    if (dir) snprintf(r->run.model, sizeof r->run.model, "%s", dir);
}

int recipe_error(const recipe *r, const char *key, const error *why, error *err)
{
    return config_error(r->config, key, err, "%s", why->text);
}

const char *recipe_argument(const recipe *r, const char *key) { return config_argument(r->config, key); }

int recipe_file(const recipe *r, const char *key, const char *path, error *err)
{
    return config_file(r->config, key, path, err);
}

/* "env.tools=..." is used by who uses "env.tools", or the section "env"; not by who uses "en". */
static bool is_used(const char *word, const char *const *used)
{
    const size_t n = strcspn(word, "=");
    for (; *used; used++) {
        const size_t k = strlen(*used);
        if (k <= n && strncmp(*used, word, k) == 0 && (word[k] == '.' || word[k] == '=')) return true;
    }
    return false;
}

int recipe_uses(const recipe *r, const char *verb, const char *const *used, error *err)
{
    str known = { 0 };
    int rc = OK;

    for (int i = 0; used[i]; i++) str_item(&known, ", ", used[i]);
    for (int i = 0; i < r->n_words && rc == OK; i++)
        if (!is_used(r->words[i], used))
            rc = error_set(err, ERR_ARGUMENT, "argument '%.80s': %s does not use this key (it uses %s)", r->words[i],
                           verb, known.data);
    str_free(&known);
    return rc;
}
