/* SPDX-License-Identifier: MIT */
/* tostring and string.format without addresses. Lua writes where a table lies in memory, which is another place in each
 * process: a reward that sorts by it, or measures it, would be another reward. An object is numbered instead when its
 * text is first asked for, and keeps its number until bind_forget_names. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "lua/bind.h"

static const char NAMES[] = "troupe.names"; /* in the registry: an object to its number, and how many there are at 0 */

void bind_forget_names(lua_State *L)
{
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, NAMES);
}

static void push_names(lua_State *L)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, NAMES)) return;
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

/* "0x00000001" for the object at `index`. */
static void push_number(lua_State *L, int index)
{
    char text[32];
    push_names(L);
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_rawgeti(L, -2, 0);
        lua_pushinteger(L, lua_tointeger(L, -1) + 1);
        lua_replace(L, -3);
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, 0);
        lua_pushvalue(L, index);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }

    snprintf(text, sizeof text, "0x%08llx", (unsigned long long)lua_tointeger(L, -1));
    lua_pop(L, 2);
    lua_pushstring(L, text);
}

static bool is_object(int type)
{
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
}

const char *bind_tolstring(lua_State *L, int index, size_t *len)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "tostring");
    if (!is_object(lua_type(L, index))) return luaL_tolstring(L, index, len);

    const int field = luaL_getmetafield(L, index, "__tostring");
    if (field != LUA_TNIL) lua_pop(L, 1);
    if (field != LUA_TNIL) return luaL_tolstring(L, index, len);

    const int named = luaL_getmetafield(L, index, "__name");
    if (named == LUA_TNIL) lua_pushnil(L);
    const char *kind = named == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, index);
    push_number(L, index);
    lua_pushfstring(L, "%s: %s", kind, lua_tostring(L, -1));
    lua_insert(L, -3);
    lua_pop(L, 2);
    return lua_tolstring(L, -1, len);
}

int bind_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    bind_tolstring(L, 1, NULL);
    return 1;
}

/* ---- string.format ---- */

/* Where the letter of the conversion stands that begins after the % before `p`. */
static const char *letter_of(const char *p) { return p + strspn(p, "-+ #0123456789."); }

/* The argument of %p becomes what %s writes in its place. */
static void name_pointer(lua_State *L, int arg)
{
    if (is_object(lua_type(L, arg)) || lua_type(L, arg) == LUA_TSTRING)
        push_number(L, arg);
    else
        lua_pushliteral(L, "(null)");
    lua_replace(L, arg);
}

/* Objects among the arguments become their texts, and %p becomes %s. */
static void name_arguments(lua_State *L, int n)
{
    size_t len;
    const char *format = lua_tolstring(L, 1, &len);
    char *copy = lua_newuserdatauv(L, len + 1, 0);
    memcpy(copy, format, len + 1);

    int arg = 1;
    for (const char *p = strchr(copy, '%'); p; p = strchr(p, '%')) {
        const char *letter = letter_of(p + 1);
        p = *letter ? letter + 1 : letter;
        if (*letter == '%') continue;
        if (++arg > n) break;

        if (*letter == 's') {
            bind_tolstring(L, arg, NULL);
            lua_replace(L, arg);
        } else if (*letter == 'p') {
            name_pointer(L, arg);
            copy[letter - copy] = 's';
        }
    }

    lua_pushlstring(L, copy, len);
    lua_replace(L, 1);
    lua_settop(L, n);
}

/* Upvalue: Lua's own. Called from here it doesn't know its name. */
static int format(lua_State *L)
{
    const int n = lua_gettop(L);
    bool objects = strchr(luaL_checkstring(L, 1), 'p') != NULL;
    for (int i = 2; i <= n; i++) objects = objects || is_object(lua_type(L, i));
    if (objects) name_arguments(L, n);

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (lua_pcall(L, n, 1, 0) == LUA_OK) return 1;
    if (lua_type(L, -1) == LUA_TSTRING) luaL_gsub(L, lua_tostring(L, -1), "'?'", "'format'");
    return lua_error(L);
}

void bind_format_replace(lua_State *L)
{
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, format, 1);
    lua_setfield(L, -2, "format");
}
