/* SPDX-License-Identifier: MIT */
/* What stands around the results of calls and around an environment's words, and how a result is written there. How the
 * files share a dialect: dialect_inner.h. */
#include "lua/dialect_inner.h"

#include <lauxlib.h>
#include <stdlib.h>

typedef struct observing {
    dialect *d;
    const char *const *tools;
    const bool *ok;
    size_t n_calls;
    const char *written;
    dialect_frame *out;
} observing;

static void push_calls(lua_State *L, const observing *o)
{
    lua_createtable(L, (int)o->n_calls, 0);
    for (size_t i = 0; i < o->n_calls; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, o->tools[i]);
        lua_setfield(L, -2, "name");
        lua_pushboolean(L, o->ok[i]);
        lua_setfield(L, -2, "ok");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* The list of texts on top of the stack. */
static void take_frame(lua_State *L, const observing *o)
{
    for (size_t i = 0; i < o->out->n; i++) {
        size_t len;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        const char *text = luaL_checklstring(L, -1, &len);
        str_add(&o->out->parts[i], text, len);
        lua_pop(L, 1);
    }
}

static int make_observation(lua_State *L)
{
    observing *o = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    lua_getfield(L, -1, "observation");
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->options);
    push_calls(L, o);
    lua_pushstring(L, o->written);
    dialect_push_spec(L, o->d);
    lua_call(L, 4, 1);

    if (!lua_istable(L, -1) || luaL_len(L, -1) != (lua_Integer)o->out->n)
        return luaL_error(L, "observation: expected a list of %d texts: before, between and after %d results",
                          (int)o->out->n, (int)o->n_calls);
    take_frame(L, o);
    return 0;
}

static int make_reply(lua_State *L)
{
    observing *o = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    if (lua_getfield(L, -1, "reply") == LUA_TNIL) {
        lua_settop(L, 1);
        return make_observation(L);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->options);
    lua_pushstring(L, o->written);
    dialect_push_spec(L, o->d);
    lua_call(L, 3, 1);

    if (!lua_istable(L, -1) || luaL_len(L, -1) != 2)
        return luaL_error(L, "reply: expected a list of 2 texts: before and after the environment's words");
    o->out->plain = true;
    take_frame(L, o);
    return 0;
}

int dialect_observation(dialect *d, const char *const *tools, const bool *ok, size_t n_calls, const char *written,
                        dialect_frame *out, error *err)
{
    *out = (dialect_frame){ .parts = xcalloc(n_calls + 1, sizeof *out->parts), .n = n_calls + 1 };
    observing o = { d, tools, ok, n_calls, written, out };
    return vm_protect(d->vm, make_observation, &o, err) == OK ? OK : error_within(err, "dialect %s", d->name);
}

int dialect_reply(dialect *d, const char *written, dialect_frame *out, error *err)
{
    *out = (dialect_frame){ .parts = xcalloc(2, sizeof *out->parts), .n = 2 };
    observing o = { d, &(const char *){ "" }, &(bool){ true }, 1, written, out };
    return vm_protect(d->vm, make_reply, &o, err) == OK ? OK : error_within(err, "dialect %s", d->name);
}

void dialect_frame_reset(dialect_frame *f)
{
    for (size_t i = 0; i < f->n; i++) str_free(&f->parts[i]);
    free(f->parts);
    *f = (dialect_frame){ 0 };
}

typedef struct paying {
    dialect *d;
    const char *text;
    size_t len;
    str *out;
} paying;

static int make_payload(lua_State *L)
{
    paying *p = lua_touserdata(L, 1);
    size_t len = p->len;
    const char *text = p->text;

    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->table);
    if (lua_getfield(L, -1, "payload") != LUA_TNIL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->options);
        lua_pushlstring(L, p->text, p->len);
        lua_call(L, 2, 1);
        text = luaL_checklstring(L, -1, &len);
    }

    str_add(p->out, text, len);
    return 0;
}

int dialect_payload(dialect *d, const char *text, size_t len, str *out, error *err)
{
    paying p = { d, text, len, out };
    return vm_protect(d->vm, make_payload, &p, err) == OK ? OK : error_within(err, "dialect %s", d->name);
}
