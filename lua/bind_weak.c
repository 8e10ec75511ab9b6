/* SPDX-License-Identifier: MIT */
/* Weak tables that don't work. What a weak table has lost tells when the collector ran, which depends on what the
 * process did before; so setmetatable refuses __mode. A metatable can be given it later, by an assignment that goes
 * unseen: that has no effect. The collector only runs when vm.c lets it, and for that long it finds each __mode taken
 * away.
 *
 * It may run because an allocation has failed, in the midst of any of Lua's doings. So nothing here allocates, raises
 * or touches the stack that runs: modes are hidden from a thread of their own, by writing to keys that are there. */
#include <lauxlib.h>

#include "lua/bind.h"

static const char ASIDE[] = "troupe.aside"; /* in the registry: that thread */

/* On the thread's stack. METATABLES is a table, a metatable that a script has set to true, or to its hidden mode. */
enum { METATABLES = 1, MODE, KEY, VALUE };

lua_State *bind_weak_open(lua_State *L)
{
    lua_State *aside = lua_newthread(L);
    lua_setfield(L, LUA_REGISTRYINDEX, ASIDE);

    lua_newtable(aside);
    lua_createtable(aside, 0, 1);
    lua_pushliteral(aside, "k"); /* this one is weak, and no script sees it */
    lua_setfield(aside, -2, "__mode");
    lua_setmetatable(aside, -2);
    lua_pushliteral(aside, "__mode");
    return aside;
}

void bind_weak_note(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, 4, "setmetatable");
    lua_getfield(L, LUA_REGISTRYINDEX, ASIDE);
    lua_State *aside = lua_tothread(L, -1);
    lua_pushvalue(aside, METATABLES);
    lua_xmove(aside, L, 1);
    lua_pushvalue(L, index);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

/* table[key] = value, all three by their places. */
static void set(lua_State *aside, int table, int key, int value)
{
    lua_pushvalue(aside, key);
    lua_pushvalue(aside, value);
    lua_rawset(aside, table);
}

void bind_weak_hide(lua_State *aside)
{
    for (lua_pushnil(aside); lua_next(aside, METATABLES); lua_settop(aside, KEY)) {
        lua_pushvalue(aside, MODE);
        if (lua_rawget(aside, KEY) != LUA_TSTRING) continue;
        set(aside, METATABLES, KEY, VALUE + 1);
        lua_pushboolean(aside, 0);
        set(aside, KEY, MODE, VALUE + 2);
    }
}

void bind_weak_show(lua_State *aside)
{
    for (lua_pushnil(aside); lua_next(aside, METATABLES); lua_settop(aside, KEY)) {
        if (lua_type(aside, VALUE) != LUA_TSTRING) continue;
        set(aside, KEY, MODE, VALUE);
        lua_pushboolean(aside, 1);
        set(aside, METATABLES, KEY, VALUE + 1);
    }
}
