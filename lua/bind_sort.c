/* SPDX-License-Identifier: MIT */
/* table.sort, by merging: what is equal stays in its order. Lua's own picks its pivots by the clock where a list is
 * long and uneven, so equal elements would come out in another order in each process. What an order function says is
 * taken as it is; one that raises leaves the table as it was. */
#include <lauxlib.h>
#include <limits.h>

#include "lua/bind.h"

enum { TABLE = 1, ORDER, LIST, OTHER }; /* places on the stack; the elements go from LIST to OTHER and back */

/* Whether element j of LIST comes before element i. */
static bool comes_before(lua_State *L, lua_Integer j, lua_Integer i)
{
    const bool own = !lua_isnil(L, ORDER);
    if (own) lua_pushvalue(L, ORDER);
    lua_rawgeti(L, LIST, j);
    lua_rawgeti(L, LIST, i);
    if (own) lua_call(L, 2, 1);

    const bool before = own ? lua_toboolean(L, -1) : lua_compare(L, -2, -1, LUA_OPLT);
    lua_settop(L, OTHER);
    return before;
}

/* LIST from .. middle - 1 and middle .. end - 1, each in order, to OTHER. */
static void merge(lua_State *L, lua_Integer from, lua_Integer middle, lua_Integer end)
{
    lua_Integer i = from, j = middle;
    for (lua_Integer to = from; to < end; to++) {
        const bool second = j < end && (i == middle || comes_before(L, j, i));
        lua_rawgeti(L, LIST, second ? j++ : i++);
        lua_rawseti(L, OTHER, to);
    }
}

static void sort_list(lua_State *L, lua_Integer n)
{
    for (lua_Integer width = 1; width < n; width *= 2) {
        for (lua_Integer from = 1; from <= n; from += 2 * width) {
            const lua_Integer left = n + 1 - from;
            merge(L, from, from + (width < left ? width : left), from + (2 * width < left ? 2 * width : left));
        }
        bind_worked(L, (size_t)n * 16);
        lua_insert(L, LIST);
    }
}

int bind_sort(lua_State *L)
{
    const lua_Integer n = luaL_len(L, TABLE);
    if (n < 2) return 0;
    luaL_argcheck(L, n < INT_MAX, 1, "array too big");
    if (!lua_isnoneornil(L, ORDER)) luaL_checktype(L, ORDER, LUA_TFUNCTION);
    lua_settop(L, ORDER);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);

    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, TABLE, i);
        lua_rawseti(L, LIST, i);
    }
    sort_list(L, n);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, LIST, i);
        lua_seti(L, TABLE, i);
    }
    return 0;
}
