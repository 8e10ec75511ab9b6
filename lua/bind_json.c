/* json.encode and json.decode, and the bridge between jansson's values and Lua's. */
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "lua/bind.h"
#include "lua/told.h"

enum { MAX_DEPTH = 64 };

void bind_push_json(lua_State *L, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    luaL_checkstack(L, 4, "JSON nested too deep");
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)json_object_size(v));
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            bind_push_json(L, item);
            lua_setfield(L, -2, key);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(v), 0);
        json_array_foreach(v, i, item)
        {
            bind_push_json(L, item);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(v));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        break;
    case JSON_TRUE:
        lua_pushboolean(L, 1);
        break;
    case JSON_FALSE:
        lua_pushboolean(L, 0);
        break;
    case JSON_NULL:
        lua_pushnil(L);
        break;
    }
}

static json_t *to_json(lua_State *L, int index, int depth);

static json_t *array_of(lua_State *L, int index, lua_Unsigned n, int depth)
{
    json_t *array = json_array();
    for (lua_Unsigned i = 1; i <= n && array; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        json_t *item = to_json(L, -1, depth + 1);
        lua_pop(L, 1);
        if (!item || json_array_append_new(array, item) != 0) json_decref(array), array = NULL;
    }
    return array;
}

/* The name of the key at -2 of a table that is no list: a whole number is written as one. NULL for what has no name. */
static const char *key_name(lua_State *L, char number[24])
{
    if (lua_type(L, -2) == LUA_TSTRING) return lua_tostring(L, -2);
    if (!lua_isinteger(L, -2)) return NULL;
    snprintf(number, 24, "%lld", (long long)lua_tointeger(L, -2));
    return number;
}

static json_t *object_of(lua_State *L, int index, int depth)
{
    char number[24];
    json_t *object = json_object();
    lua_pushnil(L);
    while (object && lua_next(L, index)) {
        const char *name = key_name(L, number);
        json_t *item = name ? to_json(L, -1, depth + 1) : NULL;
        if (!item || json_object_set_new(object, name, item) != 0) json_decref(object), object = NULL;
        lua_pop(L, object ? 1 : 2);
    }
    return object;
}

/* Nothing but 1 to n: else it is an object, so that no key is lost. */
static bool is_list(lua_State *L, int index, lua_Unsigned n)
{
    lua_Unsigned keys = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) keys++;
    return n > 0 && keys == n;
}

/* NULL for what JSON can't say; never raises, so that half-built values are freed. */
static json_t *to_json(lua_State *L, int index, int depth)
{
    size_t len;
    const char *s;
    index = lua_absindex(L, index);
    if (depth > MAX_DEPTH || !lua_checkstack(L, 6)) return NULL;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return json_null();
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, index));
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) return json_integer(lua_tointeger(L, index));
        return isfinite(lua_tonumber(L, index)) ? json_real(lua_tonumber(L, index)) : NULL;
    case LUA_TSTRING:
        s = lua_tolstring(L, index, &len);
        return json_stringn(s, len);
    case LUA_TTABLE: {
        const lua_Unsigned n = lua_rawlen(L, index);
        return is_list(L, index, n) ? array_of(L, index, n, depth) : object_of(L, index, depth);
    }
    default:
        return NULL;
    }
}

json_t *bind_to_json(lua_State *L, int index)
{
    json_t *v = to_json(L, index, 0);
    if (!v) luaL_error(L, "this value can't be written as JSON (functions, NaN, bad UTF-8, deep nesting, mixed keys)");
    return v;
}

static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    json_t *v = bind_to_json(L, 1);
    char *text = json_text(v, true);
    json_decref(v);
    lua_pushstring(L, text);
    free(text);
    return 1;
}

/* The value, or nil and what is wrong. */
static int json_decode(lua_State *L)
{
    size_t len;
    error err = { 0 };
    const char *text = luaL_checklstring(L, 1, &len);
    json_t *v = json_parse(text, len, "json", &err);
    if (!v) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    bind_push_json(L, v);
    json_decref(v);
    return 1;
}

/* The members of a JSON object as a table, name -> JSON text as json.dumps writes it; nil and why for anything else.
 * Lua's tables tell an empty array from an empty object as little as null from nothing; this does. */
static int json_members(lua_State *L)
{
    static const char *const KINDS[] = { "an object", "an array", "a string", "a number",
                                         "a number",  "true",     "false",    "null" };
    size_t len;
    error err = { 0 };
    const char *text = luaL_checklstring(L, 1, &len), *key;
    json_t *v = json_parse(text, len, "json", &err), *item;
    if (!v || !json_is_object(v)) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s", v ? KINDS[json_typeof(v)] : err.text);
        json_decref(v);
        return 2;
    }
    lua_createtable(L, 0, (int)json_object_size(v));
    json_object_foreach(v, key, item)
    {
        str member = { 0 };
        told_text(item, &member);
        lua_pushlstring(L, member.data, member.len);
        str_free(&member);
        lua_setfield(L, -2, key);
    }
    json_decref(v);
    return 1;
}

/* A string, whatever its bytes, as a JSON string. */
static int json_quote(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    str out = { 0 };
    str_json(&out, text, len);
    lua_pushlstring(L, out.data, out.len);
    str_free(&out);
    return 1;
}

int bind_json_open(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = { { "encode", json_encode },
                                          { "decode", json_decode },
                                          { "members", json_members },
                                          { "quote", json_quote },
                                          { 0 } };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}

void bind_modules(lua_State *L)
{
    bind_json_open(L);
    lua_setfield(L, -2, "troupe.json");
    bind_regex_open(L);
    lua_setfield(L, -2, "troupe.regex");
    bind_math_open(L);
    lua_setfield(L, -2, "troupe.math");
}
