/* SPDX-License-Identifier: MIT */
#include "run/check_data.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "env/search/passages.h"
#include "env/tools/sql.h"
#include "learner/methods/preference.h"
#include "lua/dialect.h"
#include "reward/rehearsal.h"
#include "rollout/dataset.h"

/* A sentence about a key, with its line in the recipe. */
__attribute__((format(printf, 4, 5))) static int of_key(const recipe *r, const char *key, error *err, const char *fmt,
                                                        ...)
{
    error why = { .code = ERR_ARGUMENT };
    va_list args;
    va_start(args, fmt);
    vsnprintf(why.text, sizeof why.text, fmt, args);
    va_end(args);
    return recipe_error(r, key, &why, err);
}

/* ---- what the rows must have ---- */

/* Rows that are looked at before a start, as each is parsed: a mistake in a data set is rarely in one row of many. One
 * that is after them ends the step that it comes to. */
enum { MAX_ROWS = 10000 };

static bool has_field(const char *text, const char *field)
{
    json_t *row = json_parse(text, strlen(text), "row", NULL);
    const bool has = json_object_get(row, field);
    json_decref(row);
    return has;
}

static int check_preferences(const recipe *r, const dataset *d, error *err)
{
    error why = { 0 };
    const char *field = r->trainer.preference;
    if (!field[0]) return OK;

    /* Rows without weights of their own use the recipe's. That none has them is a misspelt field, not a choice. */
    bool has = false;
    for (uint64_t i = 0; i < dataset_size(d) && !has; i++) has = has_field(dataset_row(d, i), field);
    if (!has) return of_key(r, "reward.preference", err, "no row of data.train has a \"%s\"", field);
    if (preference_check(d, MAX_ROWS, field, &r->trainer.objectives, &why) == OK) return OK;
    return of_key(r, "reward.preference", err, "%s", why.text);
}

static bool has_demonstration(const char *text)
{
    const char *shown = NULL;
    json_t *row = json_parse(text, strlen(text), "row", NULL);
    if (row) json_opt_string(row, "demonstration", "row", NULL, &shown, NULL);
    const bool has = shown && *shown;
    json_decref(row);
    return has;
}

/* Stages that no row is in, and help that no row offers. */
static int check_sampling(const recipe *r, const dataset *d, error *err)
{
    error why = { 0 };
    sampler *s = sampler_new(&r->curriculum.sampler, d, &why); /* it reads all rows, and knows what stages they need */
    sampler_free(s);
    if (!s) return of_key(r, "data.stages", err, "%s", why.text);

    bool shown = r->curriculum.hinted + r->curriculum.demonstrations == 0;
    for (uint64_t i = 0; !shown && i < dataset_size(d); i++) shown = has_demonstration(dataset_row(d, i));
    if (shown) return OK;

    /* A hint is the beginning of the row's demonstration: both keys need the same field. */
    const char *key = r->curriculum.hinted > 0 ? "rollout.hinted" : "rollout.demonstrations";
    return of_key(r, key, err, "no row of data.train has a \"demonstration\"");
}

static bool names_group(const moo_plan *m, const char *name)
{
    for (int k = 0; k < m->n_groups; k++)
        if (strcmp(m->groups[k], name) == 0) return true;
    return false;
}

static int check_group(const recipe *r, const dataset *d, uint64_t i, error *err)
{
    const char *text = dataset_row(d, i), *name = "";
    json_t *row = json_parse(text, strlen(text), "row", err);
    if (!row) return err->code;
    json_opt_string(row, "group", "row", "", &name, NULL);

    int rc = OK;
    if (!names_group(&r->trainer.moo, name))
        rc = of_key(r, "moo.groups", err, "row %" PRIu64 " of data.train is of group '%.40s', which it does not name",
                    i + 1, name);
    json_decref(row);
    return rc;
}

/* Groups of rows that moo.groups doesn't name: better found now than at the first step. */
static int check_groups(const recipe *r, const dataset *d, error *err)
{
    const uint64_t n = dataset_size(d) < MAX_ROWS ? dataset_size(d) : MAX_ROWS;
    int rc = OK;
    if (r->trainer.moo.n_groups == 0) return OK;
    for (uint64_t i = 0; rc == OK && i < n; i++) rc = check_group(r, d, i, err);
    return rc;
}

static int check_train(const recipe *r, error *err)
{
    error why = { 0 };
    if (recipe_file(r, "data.train", r->curriculum.train, err) != OK) return ERR_ARGUMENT;

    dataset *d = recipe_rows(r, r->curriculum.train, &why);
    if (!d) return recipe_error(r, "data.train", &why, err);
    int rc = check_groups(r, d, err);
    if (rc == OK) rc = check_preferences(r, d, err);
    if (rc == OK) rc = check_sampling(r, d, err);
    dataset_free(d);
    return rc;
}

static int check_test(const recipe *r, error *err)
{
    error why = { 0 };
    if (!r->curriculum.test[0]) return OK;
    if (recipe_file(r, "data.test", r->curriculum.test, err) != OK) return ERR_ARGUMENT;

    dataset *d = recipe_rows(r, r->curriculum.test, &why);
    if (!d) return recipe_error(r, "data.test", &why, err);
    dataset_free(d);
    return OK;
}

/* ---- what each role needs ---- */

/* A recipe may say how to get the model that it names; a model that is named elsewhere is another. */
static int check_model(const recipe *r, error *err)
{
    error why = { 0 };
    const bool other = recipe_argument(r, "model") != NULL;
    if (recipe_file(r, "model", r->run.model, &why) == OK) return OK;
    if (!r->run.model_from[0] || other) return error_set(err, why.code, "%s", why.text);
    return error_set(err, why.code, "%s (to get it: %s)", why.text, r->run.model_from);
}

static int check_script(const recipe *r, error *err)
{
    error why = { 0 };
    scorer_config how = reward_scorer(&r->reward);
    how.print_bytes = REHEARSAL_PRINTS;
    if (!r->reward.script[0])
        return of_key(r, "reward.script", err, "this key is required (only troupe sft does without a reward)");
    if (recipe_file(r, "reward.script", r->reward.script, err) != OK) return ERR_ARGUMENT;
    return scorer_check_script(&how, &why) == OK ? OK : recipe_error(r, "reward.script", &why, err);
}

static int check_words(const recipe *r, error *err)
{
    error why = { 0 };
    if (recipe_file(r, "prompt.shots", r->curriculum.shots_file, err) != OK) return ERR_ARGUMENT;

    dialect *d = recipe_dialect(r, "[]", &why);
    if (!d) return recipe_error(r, recipe_dialect_key(&why), &why, err);
    dialect_free(d);
    return OK;
}

static int check_index(const recipe *r, error *err)
{
    error why = { 0 };
    if (r->sent && !env_plugin_is_lua(&r->env)) return OK; /* recipe/tools.c says what is to be done */
    if (recipe_file(r, "env.plugin", r->env.plugin, err) != OK) return ERR_ARGUMENT;
    if (!r->env.index[0] || r->sent) return OK; /* one that was sent opens none: recipe/tools.c says so */
    if (recipe_file(r, "env.index", r->env.index, err) != OK) return ERR_ARGUMENT;
    passages *p = passages_open(r->env.index, &why);
    passages_free(p);
    return p ? OK : recipe_error(r, "env.index", &why, err);
}

static int check_database(const recipe *r, error *err)
{
    error why = { 0 };
    if (!r->env.database[0]) return OK;
    if (recipe_file(r, "env.database", r->env.database, err) != OK) return ERR_ARGUMENT;
    return sql_check(r->env.database, &why) == OK ? OK : recipe_error(r, "env.database", &why, err);
}

int check_data(const recipe *r, unsigned needs, error *err)
{
    int rc = OK;
    if (needs & NEEDS_MODEL) rc = check_model(r, err);
    if (rc == OK && needs & NEEDS_TRAIN) rc = check_train(r, err);
    if (rc == OK && needs & NEEDS_TEST) rc = check_test(r, err);
    if (rc == OK && needs & NEEDS_WORDS) rc = check_words(r, err);
    if (rc == OK && needs & NEEDS_WORDS) rc = check_index(r, err);
    if (rc == OK && needs & NEEDS_WORDS) rc = check_database(r, err);
    if (rc == OK && needs & NEEDS_SCRIPT) rc = check_script(r, err);
    return rc;
}
