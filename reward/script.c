/* SPDX-License-Identifier: MIT */
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

enum {
    MEMORY_PER_BYTE = 32, /* of the longest text: what JSON of nothing but brackets takes as tables */
    BYTES_PER_MS = 1024,
    INSTRUCTIONS_PER_BYTE = 100,
    COLLECT_BYTES = 8 << 20,
};

struct script {
    vm *vm;
    vm_limits limits;
    char *path;
    int chunk;    /* the script as a function: each call makes all its locals anew */
    int function; /* of a script that keeps its state: what it returned once */
    bool keeps_state;
};

/* What the chunk returned is on top: leaves the function alone. */
static bool take_function(lua_State *L)
{
    bool keeps_state = false;
    if (lua_isfunction(L, -1)) return false;
    if (!lua_istable(L, -1))
        luaL_error(L, "the script returns a %s, not a function(task, episode)", luaL_typename(L, -1));

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
        if (strcmp(key, "keeps_state") == 0 && lua_isboolean(L, -1))
            keeps_state = lua_toboolean(L, -1);
        else if (strcmp(key, "score") != 0 || !lua_isfunction(L, -1))
            luaL_error(L,
                       "the script returns a table with '%s' (a %s): score = function and keeps_state = true are known",
                       key, luaL_typename(L, -1));
    }

    if (lua_getfield(L, -1, "score") != LUA_TFUNCTION)
        luaL_error(L, "the script returns a table without a function score");
    lua_remove(L, -2);
    return keeps_state;
}

static void push_function(lua_State *L, const script *s)
{
    if (s->keeps_state) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->function);
        return;
    }
    vm_push_chunk(s->vm, s->chunk);
    lua_call(L, 0, 1);
    take_function(L);
}

/* The first run: whether it is a reward script at all. */
static int open_script(lua_State *L)
{
    script *s = lua_touserdata(L, 1);
    vm_push_chunk(s->vm, s->chunk);
    lua_call(L, 0, 1);
    s->keeps_state = take_function(L);
    if (s->keeps_state) s->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int check_order(const script *s, const scorer_config *c, error *err)
{
    if (!s->keeps_state || c->fixed_order) return OK;
    return error_set(err, ERR_ARGUMENT,
                     "%s: keeps_state = true: in a run episodes are scored in the order in which they arrive, so its "
                     "rewards could not be repeated; take it out (troupe score can use it)",
                     c->script);
}

script *script_new(const scorer_config *c, error *err)
{
    script *s = xcalloc(1, sizeof *s);
    s->path = xstrdup(c->script);
    s->limits = (vm_limits){ .memory_bytes = (size_t)(c->memory_mb > 0 ? c->memory_mb : 64) << 20,
                             .instructions = c->instructions > 0 ? c->instructions : 100000000,
                             .cpu_ms = c->cpu_ms > 0 ? c->cpu_ms : 1000,
                             .print_bytes = c->print_bytes > 0 ? (size_t)c->print_bytes : 0 };

    s->vm = vm_new(VM_REWARD, &s->limits, NULL, err);
    if (s->vm && vm_load_file(s->vm, c->script, err) == OK) {
        s->chunk = vm_keep(s->vm);
        int rc = vm_protect(s->vm, open_script, s, err);
        if (rc != OK && err && !strstr(err->text, c->script)) error_within(err, "%s", c->script);
        if (rc == OK) rc = check_order(s, c, err);
        if (rc == OK) return s;
    }
    script_free(s);
    return NULL;
}

void script_free(script *s)
{
    if (!s) return;
    vm_free(s->vm);
    free(s->path);
    free(s);
}

const vm *script_vm(const script *s) { return s->vm; }

bool script_keeps_state(const script *s) { return s->keeps_state; }

bool script_is_full(const script *s) { return vm_memory(s->vm) > s->limits.memory_bytes / 2; }

typedef struct scoring {
    script *s;
    const task *t;
    const episode *e;
    score *out;
    int line; /* of the function, for what is wrong with what it returned; 0: not known yet */
} scoring;

/* The objective is missing, and no other: the first reason is said. */
static void miss(score *out, const char *name, double value)
{
    str why = { 0 };
    score_set(out, name, NAN, NULL);
    if (isfinite(value))
        str_printf(&why, "objective '%s' is %g: a score lies between %g and %g", name, value, -MAX_SCORE, MAX_SCORE);
    else
        str_printf(&why, "objective '%s' is not a number", name);

    if (!out->error) out->error = str_take(&why);
    str_free(&why);
}

static void take_value(lua_State *L, score *out, const char *name, double value)
{
    error err = { 0 };
    if (score_set(out, name, value, &err) != OK) luaL_error(L, "%s", err.text);
    if (!(fabs(value) <= MAX_SCORE)) miss(out, name, value);
}

/* { position, value } on top: a span that ends at that byte of episode.text. Returns the value. */
static double take_span(lua_State *L, scoring *c, const char *name)
{
    error err = { 0 };
    int fine = 0, number = 0;
    const bool pair = lua_istable(L, -1);
    if (pair) {
        lua_geti(L, -1, 1);
        lua_geti(L, -2, 2);
    }

    const lua_Integer end = pair ? lua_tointegerx(L, -2, &fine) : 0;
    const double value = pair ? lua_tonumberx(L, -1, &number) : 0;
    if (!fine || !number || end < 1 || (uint64_t)end > strlen(c->e->text))
        luaL_error(L, "objective '%s': expected { position, value } with a position in episode.text", name);
    lua_pop(L, 2);

    if (!(fabs(value) <= MAX_SCORE)) return value;
    if (score_add_span(c->out, name, (uint32_t)end, value, &err) != OK) luaL_error(L, "%s", err.text);
    return value;
}

/* A list of them on top: the objective's value is their mean. */
static void take_spans(lua_State *L, scoring *c, const char *name)
{
    const lua_Integer n = luaL_len(L, -1);
    double sum = 0;
    if (n == 0) { /* nothing in it to judge: missing, and no fault */
        score_set(c->out, name, NAN, NULL);
        return;
    }

    const uint32_t before = c->out->n_spans;
    take_value(L, c->out, name, 0); /* spans belong to an objective that is there already */
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, -1, i);
        const double value = take_span(L, c, name);
        lua_pop(L, 1);
        if (!(fabs(value) <= MAX_SCORE)) { /* one that can't be: then none of them counts */
            c->out->n_spans = before;
            miss(c->out, name, value);
            return;
        }
        sum += value;
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

    bind_push_keys(L, -1); /* in one order, so that the first fault is the same one each time */
    const int returned = lua_gettop(L) - 1;
    for (lua_Integer i = 1; lua_rawgeti(L, returned + 1, i) != LUA_TNIL; i++, lua_settop(L, returned + 1)) {
        size_t len = 0;
        lua_pushvalue(L, -1);
        lua_rawget(L, returned);
        if (lua_type(L, -2) != LUA_TSTRING || strlen(lua_tolstring(L, -2, &len)) != len)
            luaL_error(L, "an objective's name should be text");
        if (lua_isboolean(L, -1))
            take_value(L, out, lua_tostring(L, -2), lua_toboolean(L, -1));
        else if (lua_type(L, -1) == LUA_TNUMBER)
            take_value(L, out, lua_tostring(L, -2), lua_tonumber(L, -1));
        else if (lua_istable(L, -1))
            take_spans(L, c, lua_tostring(L, -2));
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
    const reward_span *x = a, *y = b;
    const int names = strcmp(x->name, y->name);
    if (names != 0) return names;
    return (x->end > y->end) - (x->end < y->end);
}

static int run(lua_State *L)
{
    scoring *c = lua_touserdata(L, 1);
    lua_Debug function;
    push_function(L, c->s);
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &function); /* takes the copy from the stack */
    c->line = function.linedefined;

    bind_push_task(L, c->t);
    bind_push_episode(L, c->e);
    lua_call(L, 2, 2);

    if (!lua_isnil(L, -1)) {
        json_t *info = bind_to_json(L, -1); /* raises before it gives one */
        c->out->info = json_text(info, true);
        json_decref(info);
    }

    lua_pop(L, 1);
    take_objectives(L, c);
    qsort(c->out->values, (size_t)c->out->n_values, sizeof c->out->values[0], by_name);
    if (c->out->n_spans > 0) qsort(c->out->spans, c->out->n_spans, sizeof *c->out->spans, by_place);
    return 0;
}

static size_t longest_text(const task *t, const episode *e)
{
    const size_t row = t->row ? strlen(t->row) : 0, text = e->text ? strlen(e->text) : 0;
    const size_t transcript = e->transcript ? strlen(e->transcript) : 0;
    const size_t texts = text > transcript ? text : transcript;
    return row > texts ? row : texts;
}

int64_t script_cpu_ms(int64_t cpu_ms, const task *t, const episode *e)
{
    return cpu_ms + (int64_t)(longest_text(t, e) / BYTES_PER_MS);
}

/* The caps grow with the text: a policy that writes much must not reach with that what the
 * author's script never would. */
static vm_limits limits_for(const script *s, const task *t, const episode *e)
{
    const size_t longest = longest_text(t, e);
    vm_limits limits = s->limits;
    limits.memory_bytes += MEMORY_PER_BYTE * longest;
    limits.instructions += (int64_t)(INSTRUCTIONS_PER_BYTE * longest);
    limits.cpu_ms = script_cpu_ms(limits.cpu_ms, t, e);
    return limits;
}

void script_score(script *s, const task *t, const episode *e, score *out)
{
    error err = { 0 };
    scoring c = { s, t, e, out, 0 };
    const int64_t began_us = clock_us();
    const vm_limits limits = limits_for(s, t, e);

    *out = (score){ .task = e->id };
    vm_set_limits(s->vm, &limits);
    if (vm_protect(s->vm, run, &c, &err) != OK) {
        if (!strstr(err.text, s->path) && c.line > 0) error_within(&err, "%s:%d", s->path, c.line);
        if (!strstr(err.text, s->path)) error_within(&err, "%s", s->path);
        if (!e->answer && strstr(err.text, "boolean")) /* the commonest mistake, in whatever way it was made */
            error_set(&err, err.code, "%s; episode.answer is false when there is none: use (episode.answer or '')",
                      err.text);
        score_reset(out);
        *out = (score){ .task = e->id, .status = SCORE_SCRIPT, .error = xstrdup(err.text) };
    }

    lua_settop(vm_state(s->vm), 0);
    if (vm_memory(s->vm) > COLLECT_BYTES) vm_collect(s->vm); /* the next row finds as much room as this one did */

    out->ms = (double)(clock_us() - began_us) * 1e-3;
}
