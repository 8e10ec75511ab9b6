/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/recipe_read.h"
#include "learner/methods/preference.h"
#include "rollout/dataset.h"

static double stage_number(opening *o, lua_State *L, int stage, const char *field, double otherwise)
{
    const int kind = lua_getfield(L, stage, field);
    const double v = kind == LUA_TNUMBER ? lua_tonumber(L, -1) : otherwise;
    if (kind != LUA_TNUMBER && kind != LUA_TNIL) recipe_bad(o, "data.stages", "numbers for gate and steps");
    lua_pop(L, 1);
    return v;
}

/* { groups = {...}, gate = 0.8, steps = 100 }, on top of the stack. */
static void read_stage(opening *o, lua_State *L, sampler_stage *stage, bool last)
{
    const int at = lua_gettop(L);
    if (!lua_istable(L, at)) {
        recipe_bad(o, "data.stages", "stages like { groups = { \"easy\" }, gate = 0.8 }");
        return;
    }
    lua_getfield(L, at, "groups");
    if (!lua_isnil(L, -1))
        stage->n_groups = recipe_names(o, L, "data.stages", 1, SAMPLER_GROUPS, stage->groups[0], SAMPLER_NAME);
    const double steps = stage_number(o, L, at, "steps", 0);
    stage->gate = stage_number(o, L, at, "gate", INFINITY);
    stage->steps = steps >= 0 && steps <= 1e9 ? (int64_t)steps : 0;
    if (o->rc == OK && (!(steps >= 0 && steps <= 1e9) || steps != floor(steps) || isnan(stage->gate)))
        recipe_bad(o, "data.stages", "a whole number of steps from 0 to 1e9, and a gate that is a number");
    if (o->rc == OK && !last && !isfinite(stage->gate) && stage->steps < 1)
        recipe_bad(o, "data.stages", "a gate or a number of steps in every stage but the last");
    lua_settop(L, at);
}

static void read_stages(opening *o, lua_State *L)
{
    sampler_config *s = &o->r->sampler;
    config_push(L, "data.stages");
    if (lua_isnil(L, -1)) return;
    const lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    if (n < 1 || n > SAMPLER_STAGES) recipe_bad(o, "data.stages", "a list of 1 to 16 stages");
    for (lua_Integer i = 1; i <= n && o->rc == OK; i++) {
        lua_rawgeti(L, -1, i);
        read_stage(o, L, &s->stages[s->n_stages++], i == n);
        lua_pop(L, 1);
    }
}

/* A text, or { text = ..., complexity = number }, on top of the stack. */
static void read_template(opening *o, lua_State *L)
{
    recipe *r = o->r;
    const int at = lua_gettop(L);
    const char *text = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : NULL;
    r->complexity[r->n_templates] = NAN;
    if (lua_istable(L, at)) {
        if (lua_getfield(L, at, "complexity") == LUA_TNUMBER) r->complexity[r->n_templates] = lua_tonumber(L, -1);
        text = lua_getfield(L, at, "text") == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    }
    if (text && *text)
        r->templates[r->n_templates++] = xstrdup(text);
    else
        recipe_bad(o, "prompt.templates", "texts, or { text = ..., complexity = number }");
    lua_settop(L, at);
}

static void read_templates(opening *o, lua_State *L)
{
    config_push(L, "prompt.templates");
    if (lua_isnil(L, -1)) return;
    const lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    if (n < 1 || n > SAMPLER_TEMPLATES) recipe_bad(o, "prompt.templates", "a list of 1 to 64 templates");
    for (lua_Integer i = 1; i <= n && o->rc == OK; i++) {
        lua_rawgeti(L, -1, i);
        read_template(o, L);
        lua_pop(L, 1);
    }
    o->r->sampler.complexity = o->r->complexity;
    o->r->sampler.n_templates = o->r->templated > 0 ? o->r->n_templates : 0;
}

void recipe_read_sampling(opening *o, lua_State *L)
{
    static const char *const KINDS[] = { "in_turn", "failure", "signal", NULL };
    sampler_config *s = &o->r->sampler;
    s->kind = (sampling)recipe_choice(o, L, "data.sampling", KINDS, SAMPLE_IN_TURN);
    s->seed = (uint64_t)o->r->seed;
    s->group = (uint32_t)o->r->group;
    s->drop_failed = (uint32_t)o->r->drop_failed;
    s->drop_solved = (uint32_t)o->r->drop_solved;
    if (o->r->hinted == 0) s->most_hint = 0;
    if (o->r->templated + o->r->hinted + o->r->demonstrations > o->r->group - 2)
        recipe_bad(o, "rollout.hinted", "two samples of a group at least without template, hint or demonstration");
    if (o->rc == OK) read_stages(o, L);
    if (o->rc == OK) read_templates(o, L);
    if (o->r->max_staleness < o->r->lag) o->r->max_staleness = o->r->lag;
}

/* ---- what the rows must have ---- */

enum { MOST_ROWS = 10000 };

static int check_preferences(const recipe *r, const dataset *d, const config *c, error *err)
{
    error why = { 0 };
    const char *field = r->trainer.preference;
    if (!field[0]) return OK;
    bool has = false;
    for (uint64_t i = 0; i < dataset_size(d) && !has; i++) {
        json_t *row = json_parse(dataset_row(d, i), strlen(dataset_row(d, i)), "row", NULL);
        has = json_object_get(row, field);
        json_decref(row);
    }
    if (!has) return config_error(c, "reward.preference", err, "no row of data.train has a \"%s\"", field);
    if (preference_check(d, MOST_ROWS, field, &r->trainer.objectives, &why) == OK) return OK;
    return config_error(c, "reward.preference", err, "%s", why.text);
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
static int check_sampling(const recipe *r, const dataset *d, const config *c, error *err)
{
    error why = { 0 };
    bool shown = r->hinted + r->demonstrations == 0;
    sampler *s = sampler_new(&r->sampler, d, &why);
    sampler_free(s);
    if (!s) return config_error(c, "data.stages", err, "%s", why.text);
    for (uint64_t i = 0; !shown && i < dataset_size(d); i++) shown = has_demonstration(dataset_row(d, i));
    if (!shown)
        return config_error(c, r->hinted > 0 ? "rollout.hinted" : "rollout.demonstrations", err,
                            "no row of data.train has a \"demonstration\"");
    if (r->templated > 0 && r->n_templates == 0)
        return config_error(c, "rollout.templated", err, "prompt.templates names none");
    return OK;
}

/* Groups of rows that moo.groups doesn't name: better found now than at the first step. */
static int check_groups(const recipe *r, dataset *d, const config *c, error *err)
{
    const moo_plan *m = &r->trainer.moo;
    const uint64_t n = dataset_size(d) < MOST_ROWS ? dataset_size(d) : MOST_ROWS;
    int rc = OK;
    for (uint64_t i = 0; rc == OK && m->n_groups > 0 && i < n; i++) {
        const char *text = dataset_row(d, i), *name = "";
        json_t *row = json_parse(text, strlen(text), "row", err);
        if (!row) return err->code;
        json_opt_string(row, "group", "row", "", &name, NULL);
        int k = 0;
        while (k < m->n_groups && strcmp(m->groups[k], name) != 0) k++;
        if (k == m->n_groups)
            rc = config_error(c, "moo.groups", err,
                              "row %" PRIu64 " of data.train is of group '%.40s', which it does not name", i + 1, name);
        json_decref(row);
    }
    return rc;
}

int recipe_check_data(const recipe *r, const config *c, error *err)
{
    error why = { 0 };
    const char *const data[] = { r->train, r->test };
    for (int i = 0; i < 2; i++) {
        if (!data[i][0]) continue;
        dataset *d = dataset_open(data[i], 0, &why);
        if (!d) return config_error(c, i ? "data.test" : "data.train", err, "%s", why.text);
        int rc = i == 0 ? check_groups(r, d, c, err) : OK;
        if (rc == OK && i == 0) rc = check_preferences(r, d, c, err);
        if (rc == OK && i == 0) rc = check_sampling(r, d, c, err);
        dataset_free(d);
        if (rc != OK) return rc;
    }
    if (r->eval_every > 0 && !r->test[0]) return config_error(c, "eval_every", err, "an evaluation needs data.test");
    return OK;
}
