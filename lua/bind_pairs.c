/* SPDX-License-Identifier: MIT */
/* pairs() and next() in an order that is always the same: whole numbers, then other numbers, strings by their bytes,
 * false and true, and objects (tables, functions, coroutines) by their age. Lua's own order depends on a random seed of
 * the process and on addresses, and a reward that adds fractions in another order is another reward. What is added to
 * the table on the way is not visited; what is taken out is left out. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lua/bind.h"

static const char WALKS[] = "troupe.walks"; /* in the registry: a table to its keys in order, while next() walks it */

typedef enum key_kind { WHOLE_NUMBER, NUMBER, STRING, BOOLEAN, OBJECT, REST } key_kind;

typedef struct key {
    key_kind kind;
    lua_Integer whole; /* of OBJECT its age, of REST an address: those of C functions have one order */
    lua_Number number;
    const char *text;
    size_t len;
    lua_Integer place; /* in the list as Lua had it */
} key;

static int compare(const key *x, const key *y)
{
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->kind == NUMBER) return (x->number > y->number) - (x->number < y->number);
    if (x->kind != STRING) return (x->whole > y->whole) - (x->whole < y->whole);

    const int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    if (order != 0) return order;
    return (x->len > y->len) - (x->len < y->len);
}

static int in_order(const void *a, const void *b) { return compare(a, b); }

/* The key at `index`, which something keeps. */
static key read_key(lua_State *L, int index, lua_Integer place)
{
    key k = { .kind = REST, .place = place };
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        k.kind = STRING;
        k.text = lua_tolstring(L, index, &k.len);
        return k;
    case LUA_TNUMBER:
        k.kind = lua_isinteger(L, index) ? WHOLE_NUMBER : NUMBER;
        k.whole = lua_tointeger(L, index);
        k.number = lua_tonumber(L, index);
        return k;
    case LUA_TBOOLEAN:
        k.kind = BOOLEAN;
        k.whole = lua_toboolean(L, index);
        return k;
    default:
        k.whole = (lua_Integer)bind_born(L, index);
        if (k.whole)
            k.kind = OBJECT;
        else
            k.whole = (lua_Integer)(uintptr_t)lua_topointer(L, index);
        return k;
    }
}

/* Replaces the list of keys on top by one in order. */
static void sort_keys(lua_State *L, lua_Integer n)
{
    const int list = lua_gettop(L);
    key *keys = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *keys, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        keys[i] = read_key(L, -1, i + 1);
        lua_pop(L, 1);
    }

    bind_worked(L, (size_t)n * sizeof *keys);
    qsort(keys, (size_t)n, sizeof *keys, in_order);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, list, keys[i].place);
        lua_rawseti(L, -2, i + 1);
    }
    lua_replace(L, list);
    lua_settop(L, list);
}

void bind_push_keys(lua_State *L, int index)
{
    lua_Integer n = 0;
    luaL_checkstack(L, 6, "keys");
    index = lua_absindex(L, index);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -4, ++n);
    }
    sort_keys(L, n);
}

/* ---- pairs ---- */

/* Upvalues: the keys, how many were visited. */
static int next_in_order(lua_State *L)
{
    lua_Integer at = lua_tointeger(L, lua_upvalueindex(2));
    luaL_checktype(L, 1, LUA_TTABLE); /* a script may call it by itself */

    for (;;) {
        lua_settop(L, 1);
        if (lua_rawgeti(L, lua_upvalueindex(1), ++at) == LUA_TNIL) return 1;
        lua_pushvalue(L, 2);
        if (lua_rawget(L, 1) != LUA_TNIL) break;
    }

    lua_pushinteger(L, at);
    lua_replace(L, lua_upvalueindex(2));
    return 2;
}

int bind_pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);

    bind_push_keys(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_in_order, 2);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* ---- next: the table is at 1, the key before at 2 ---- */

/* The first key of all, and its value; the keys are not sorted for one that only asks whether there are any. */
static int push_first(lua_State *L)
{
    key first = { 0 };
    lua_Integer n = 0;
    lua_settop(L, 1);
    lua_pushnil(L); /* 2: the first so far */
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        const key k = read_key(L, 3, ++n);
        if (n > 1 && compare(&k, &first) > 0) continue;
        first = k;
        lua_pushvalue(L, 3);
        lua_replace(L, 2);
    }

    bind_worked(L, (size_t)n * sizeof first);
    if (n == 0) return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 2;
}

static void push_walks(lua_State *L)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, WALKS)) return;
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k"); /* a walk that was broken off goes with its table */
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

/* Walks at 3: the walk of this table becomes the value on top, or none. */
static void set_walk(lua_State *L)
{
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    lua_rawset(L, 3);
}

/* Pushes the keys in order, the place of the last visited at 0; false: the walk under way is not after this key. */
static bool take_walk(lua_State *L)
{
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) != LUA_TTABLE) return false;
    lua_rawgeti(L, 4, 0);
    lua_rawgeti(L, 4, lua_tointeger(L, -1));
    const bool behind = lua_rawequal(L, -1, 2);
    lua_settop(L, 4);
    return behind;
}

/* The keys, and the place of the last that does not come after the key at 2, which may be gone by now. */
static void begin_walk(lua_State *L)
{
    const key before = read_key(L, 2, 0);
    lua_settop(L, 3);
    bind_push_keys(L, 1);

    lua_Integer low = 0, high = (lua_Integer)lua_rawlen(L, 4);
    while (low < high) {
        const lua_Integer middle = low + (high - low + 1) / 2;
        lua_rawgeti(L, 4, middle);
        const key k = read_key(L, -1, 0);
        lua_pop(L, 1);
        if (compare(&k, &before) <= 0)
            low = middle;
        else
            high = middle - 1;
    }

    lua_pushinteger(L, low);
    lua_rawseti(L, 4, 0);
    lua_pushvalue(L, 4);
    set_walk(L);
}

int bind_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    push_walks(L);
    if (lua_isnil(L, 2)) {
        lua_pushnil(L);
        set_walk(L);
        return push_first(L);
    }
    if (!take_walk(L)) begin_walk(L);

    lua_rawgeti(L, 4, 0);
    for (lua_Integer at = lua_tointeger(L, -1) + 1;; at++) {
        lua_settop(L, 4);
        if (lua_rawgeti(L, 4, at) == LUA_TNIL) break;
        lua_pushvalue(L, 5);
        if (lua_rawget(L, 1) == LUA_TNIL) continue;

        lua_pushinteger(L, at);
        lua_rawseti(L, 4, 0);
        return 2;
    }

    lua_pushnil(L);
    set_walk(L);
    lua_pushnil(L);
    return 1;
}
