#include "reward/script.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "lua/bind.h"
#include "lua/bind_episode.h"
#include "lua/vm.h"

struct script {
    vm *vm;
    int function;
};

static int keep_function(lua_State *L)
{
    script *s = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "reward");
    if (!lua_isfunction(L, -1))
        return luaL_error(L, "the script returns a %s, not a function(task, episode)", luaL_typename(L, -1));
    s->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

script *script_new(const scorer_config *c, error *err)
{
    script *s = xcalloc(1, sizeof *s);
    const vm_limits limits = { .memory_bytes = (size_t)(c->memory_mb > 0 ? c->memory_mb : 64) << 20,
                               .instructions = c->instructions > 0 ? c->instructions : 100000000,
                               .wall_ms = c->wall_ms > 0 ? c->wall_ms : 1000 };
    s->vm = vm_new(VM_REWARD, &limits, NULL, err);
    if (s->vm && vm_run_file(s->vm, c->script, 1, err) == OK) {
        lua_setfield(vm_state(s->vm), LUA_REGISTRYINDEX, "reward");
        if (vm_protect(s->vm, keep_function, s, err) == OK) return s;
        error_within(err, "%s", c->script);
    }
    script_free(s);
    return NULL;
}

void script_free(script *s)
{
    if (!s) return;
    vm_free(s->vm);
    free(s);
}

typedef struct scoring {
    script *s;
    const task *t;
    const episode *e;
    score *out;
} scoring;

static void check_range(lua_State *L, const char *name, double value)
{
    if (isfinite(value) && (value < -1 || value > 1))
        luaL_error(L, "objective '%s' is %f: a reward lies in [-1, 1]", name, value);
}

static void take_value(lua_State *L, score *out, const char *name, double value)
{
    error err = { 0 };
    check_range(L, name, value);
    if (score_set(out, name, value, &err) != OK) luaL_error(L, "%s", err.text);
    if (!isfinite(value) && !out->error) {
        str why = { 0 };
        str_printf(&why, "objective '%s' is not a number", name);
        out->error = str_take(&why);
    }
}

/* { position, value } on top: a stretch that ends at that byte of episode.text. Returns the value. */
static double take_mark(lua_State *L, scoring *c, const char *name)
{
    error err = { 0 };
    int fine = 0, number = 0;
    const bool pair = lua_istable(L, -1);
    if (pair) lua_geti(L, -1, 1), lua_geti(L, -2, 2);
    const lua_Integer end = pair ? lua_tointegerx(L, -2, &fine) : 0;
    const double value = pair ? lua_tonumberx(L, -1, &number) : 0;
    if (!fine || !number || end < 1 || (uint64_t)end > strlen(c->e->text))
        luaL_error(L, "objective '%s': expected { position, value } with a position in episode.text", name);
    check_range(L, name, value);
    if (score_mark(c->out, name, (uint32_t)end, value, &err) != OK) luaL_error(L, "%s", err.text);
    lua_pop(L, 2);
    return value;
}

/* A list of them on top: the objective's value is their mean. */
static void take_marks(lua_State *L, scoring *c, const char *name)
{
    const lua_Integer n = luaL_len(L, -1);
    double sum = 0;
    if (n == 0) { /* nothing in it to judge: missing, and no fault */
        score_set(c->out, name, NAN, NULL);
        return;
    }
    take_value(L, c->out, name, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, -1, i);
        sum += take_mark(L, c, name);
        lua_pop(L, 1);
    }
    take_value(L, c->out, name, sum / (double)n);
}

static void take_objectives(lua_State *L, scoring *c)
{
    score *out = c->out;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        take_value(L, out, "reward", lua_tonumber(L, -1));
        return;
    }
    if (!lua_istable(L, -1))
        luaL_error(L, "the function returned a %s, not a table of objectives or a number", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "an objective's name should be text");
        if (lua_isboolean(L, -1))
            take_value(L, out, lua_tostring(L, -2), lua_toboolean(L, -1));
        else if (lua_type(L, -1) == LUA_TNUMBER)
            take_value(L, out, lua_tostring(L, -2), lua_tonumber(L, -1));
        else if (lua_istable(L, -1))
            take_marks(L, c, lua_tostring(L, -2));
        else
            luaL_error(L, "objective '%s' is a %s, not a number", lua_tostring(L, -2), luaL_typename(L, -1));
    }
}

/* Lua has no order of keys; a score that is read twice should read the same. */
static int by_name(const void *a, const void *b)
{
    return strcmp(((const objective_value *)a)->name, ((const objective_value *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const reward_mark *x = a, *y = b;
    const int names = strcmp(x->name, y->name);
    return names ? names : (x->end > y->end) - (x->end < y->end);
}

static int run(lua_State *L)
{
    scoring *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->s->function);
    bind_push_task(L, c->t);
    bind_push_episode(L, c->e);
    lua_call(L, 2, 2);
    if (!lua_isnil(L, -1)) {
        json_t *info = bind_to_json(L, -1);
        c->out->info = json_text(info, true);
        json_decref(info);
    }
    lua_pop(L, 1);
    take_objectives(L, c);
    qsort(c->out->values, (size_t)c->out->n_values, sizeof c->out->values[0], by_name);
    if (c->out->n_marks > 0) qsort(c->out->marks, c->out->n_marks, sizeof *c->out->marks, by_place);
    return 0;
}

void script_score(script *s, const task *t, const episode *e, score *out)
{
    error err = { 0 };
    scoring c = { s, t, e, out };
    const int64_t began_us = clock_us();
    *out = (score){ .task = e->id };
    if (vm_protect(s->vm, run, &c, &err) != OK) {
        score_reset(out);
        *out = (score){ .task = e->id, .status = SCORE_SCRIPT, .error = xstrdup(err.text) };
    }
    lua_settop(vm_state(s->vm), 0);
    lua_gc(vm_state(s->vm), LUA_GCSTEP, 10);
    out->ms = (double)(clock_us() - began_us) * 1e-3;
}
