/* SPDX-License-Identifier: MIT */
/* pairs() in an order that is always the same: whole numbers, then other numbers, strings by their bytes, the rest as
 * it comes. Lua's own order depends on a random seed of the process, and a reward that adds fractions in another order
 * is another reward. What is added to the table on the way is not visited; what is taken out is left out. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lua/bind.h"

typedef struct key {
    int kind; /* 0 a whole number, 1 another, 2 a string, 3 the rest */
    lua_Integer whole;
    lua_Number number;
    const char *text;
    size_t len;
    lua_Integer place; /* in the list, and as Lua had it */
} key;

static int in_order(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->kind != y->kind) return x->kind - y->kind;
    if (x->kind == 0) return (x->whole > y->whole) - (x->whole < y->whole);
    if (x->kind == 1) return (x->number > y->number) - (x->number < y->number);
    if (x->kind == 3) return (x->place > y->place) - (x->place < y->place);

    const int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    if (order != 0) return order;
    return (x->len > y->len) - (x->len < y->len);
}

/* The key on top, which `list` keeps. */
static key read_key(lua_State *L, lua_Integer place)
{
    key k = { .kind = 3, .place = place };

    if (lua_type(L, -1) == LUA_TSTRING) {
        k.kind = 2;
        k.text = lua_tolstring(L, -1, &k.len);
    } else if (lua_isinteger(L, -1)) {
        k.kind = 0;
        k.whole = lua_tointeger(L, -1);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        k.kind = 1;
        k.number = lua_tonumber(L, -1);
    }

    return k;
}

/* Replaces the list of keys on top by one in order. */
static void sort_keys(lua_State *L, lua_Integer n)
{
    const int list = lua_gettop(L);
    key *keys = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *keys, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        keys[i] = read_key(L, i + 1);
        lua_pop(L, 1);
    }

    qsort(keys, (size_t)n, sizeof *keys, in_order);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, list, keys[i].place);
        lua_rawseti(L, -2, i + 1);
    }
    lua_replace(L, list);
    lua_settop(L, list);
}

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

    lua_Integer n = 0;
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, ++n);
    }

    sort_keys(L, n);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_in_order, 2);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}
