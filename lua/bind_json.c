/* SPDX-License-Identifier: MIT */
/* json.encode and json.decode, and the bridge between jansson's values and Lua's. */
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/bind.h"
#include "lua/told.h"

enum { MAX_DEPTH = 64 };
enum { MAX_BYTES = 256 << 20, VALUE_BYTES = 64 }; /* of what is held as JSON: outside the cap on Lua's memory */
static const char ARRAY[] = "troupe.json.array", HELD[] = "troupe.held";

/* ---- what C holds while Lua may raise ---- */

typedef struct held {
    void *p;
    void (*release)(void *p);
} held;

static int held_gc(lua_State *L)
{
    held *h = lua_touserdata(L, 1);
    if (h->p) h->release(h->p);
    h->p = NULL;
    return 0;
}

void *bind_hold(lua_State *L, void (*release)(void *p))
{
    held *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (held){ NULL, release };
    if (luaL_newmetatable(L, HELD)) {
        lua_pushcfunction(L, held_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return &h->p;
}

void bind_let_go(lua_State *L, int index)
{
    held *h = lua_touserdata(L, index);
    if (h->p) h->release(h->p);
    h->p = NULL;
}

static void release_json(void *p) { json_decref(p); }

/* ---- JSON to Lua ---- */

/* An empty table that was an empty list: what is written again is one. */
static void mark_array(lua_State *L)
{
    if (luaL_newmetatable(L, ARRAY)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

static int null_text(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

/* null has a value of its own, true in a condition like any but nil and false. */
static void push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }

    lua_createtable(L, 0, 2); /* of all light userdata; there are no others in a script's hands */
    lua_pushcfunction(L, null_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static void push(lua_State *L, const json_t *v, bool whole)
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
            push(L, item, whole);
            lua_setfield(L, -2, key);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(v), 0);
        if (whole && json_array_size(v) == 0) mark_array(L);
        json_array_foreach(v, i, item)
        {
            push(L, item, whole);
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
        if (whole)
            push_null(L);
        else
            lua_pushnil(L);
        break;
    }
}

void bind_push_json(lua_State *L, const json_t *v) { push(L, v, false); }
void bind_push_json_whole(lua_State *L, const json_t *v) { push(L, v, true); }

/* ---- Lua to JSON ---- */

/* A table that is held in many places is written as often: a few hundred bytes of Lua may be gigabytes of JSON. */
typedef struct writing {
    size_t bytes;
    const char *why;
} writing;

static json_t *to_json(lua_State *L, int index, int depth, writing *w);

/* Nothing but 1 to n: else it is an object, so that no key is lost. */
static bool is_list(lua_State *L, int index, lua_Unsigned n)
{
    lua_Unsigned keys = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) keys++;
    return n > 0 && keys == n;
}

static json_t *array_of(lua_State *L, int index, lua_Unsigned n, int depth, writing *w)
{
    json_t *array = json_array();

    for (lua_Unsigned i = 1; i <= n && array; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        json_t *item = to_json(L, -1, depth + 1, w);
        lua_pop(L, 1);

        if (!item || json_array_append_new(array, item) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

/* The name of the key at -2 of a table that is no list: a whole number is written as one. NULL for what has no name. */
static const char *key_name(lua_State *L, char number[24])
{
    size_t len;
    if (lua_type(L, -2) == LUA_TSTRING) {
        const char *name = lua_tolstring(L, -2, &len);
        return strlen(name) == len ? name : NULL; /* jansson's names end at a NUL */
    }
    if (!lua_isinteger(L, -2)) return NULL;
    snprintf(number, 24, "%lld", (long long)lua_tointeger(L, -2));
    return number;
}

static json_t *object_of(lua_State *L, int index, int depth, writing *w)
{
    char number[24];
    json_t *object = json_object();
    lua_pushnil(L);
    while (object && lua_next(L, index)) {
        const char *name = key_name(L, number);
        const bool twice = name && json_object_get(object, name);
        json_t *item = name && !twice ? to_json(L, -1, depth + 1, w) : NULL;

        if (!name) w->why = "a key that is not a name";
        if (twice) w->why = "two keys that are one name, as 1 and \"1\"";
        if (!item || json_object_set_new(object, name, item) != 0) {
            if (!w->why) w->why = "a key that is not UTF-8";
            json_decref(object);
            object = NULL;
        }
        lua_pop(L, object ? 1 : 2);
    }
    return object;
}

static bool is_empty_array(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index)) return false;
    luaL_getmetatable(L, ARRAY);
    const bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    lua_pushnil(L);
    const bool empty = !lua_next(L, index);
    if (!empty) lua_pop(L, 2);
    return marked && empty;
}

static json_t *or_why(json_t *v, writing *w, const char *reason)
{
    if (!v && !w->why) w->why = reason;
    return v;
}

/* NULL for what JSON can't say, and why; never raises, so that half-built values are freed. */
static json_t *to_json(lua_State *L, int index, int depth, writing *w)
{
    size_t len;
    const char *s = NULL;
    index = lua_absindex(L, index);
    if (depth > MAX_DEPTH || !lua_checkstack(L, 6)) return or_why(NULL, w, "it is nested too deep, or in itself");
    if (lua_type(L, index) == LUA_TSTRING) s = lua_tolstring(L, index, &len);
    w->bytes += VALUE_BYTES + (s ? len : 0);
    if (w->bytes > MAX_BYTES) return or_why(NULL, w, "it has more than 256 MB");

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return json_null();
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(L, index));
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) return json_integer(lua_tointeger(L, index));
        if (isfinite(lua_tonumber(L, index))) return json_real(lua_tonumber(L, index));
        return or_why(NULL, w, "a number that is not finite");
    case LUA_TSTRING:
        return or_why(json_stringn(s, len), w, "a string that is not UTF-8");
    case LUA_TTABLE: {
        const lua_Unsigned n = lua_rawlen(L, index);
        if (is_empty_array(L, index)) return json_array();
        return is_list(L, index, n) ? array_of(L, index, n, depth, w) : object_of(L, index, depth, w);
    }
    case LUA_TLIGHTUSERDATA:
        return or_why(lua_touserdata(L, index) ? NULL : json_null(), w, "a userdata");
    default:
        return or_why(NULL, w, "a function or a coroutine");
    }
}

json_t *bind_to_json(lua_State *L, int index)
{
    writing w = { 0 };
    json_t *v = to_json(L, index, 0, &w);
    if (!v) luaL_error(L, "this value can't be written as JSON: %s", w.why ? w.why : "out of memory");
    return v;
}

json_t *bind_try_json(lua_State *L, int index, const char **why)
{
    writing w = { 0 };
    json_t *v = or_why(to_json(L, index, 0, &w), &w, "more than memory holds");
    *why = w.why;
    return v;
}

static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    json_t **v = (json_t **)bind_hold(L, release_json);
    char **text = (char **)bind_hold(L, free);
    *v = bind_to_json(L, 1);
    *text = json_text(*v, true);
    lua_pushstring(L, *text);
    bind_let_go(L, -2);
    bind_let_go(L, -3);
    return 1;
}

/* nil and why where the text is nil or false: an episode without an answer is no fault of the script's. */
static bool is_absent(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) > LUA_TBOOLEAN || lua_toboolean(L, 1)) return false;
    lua_pushnil(L);
    lua_pushliteral(L, "json: no text was given");
    return true;
}

/* The value, or nil and what is wrong. */
static int json_decode(lua_State *L)
{
    if (is_absent(L)) return 2;

    size_t len;
    error err = { 0 };
    const char *text = luaL_checklstring(L, 1, &len);

    json_t **v = (json_t **)bind_hold(L, release_json);
    *v = json_parse(text, len, "json", &err);
    if (!*v) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }

    bind_push_json_whole(L, *v);
    bind_let_go(L, -2);
    return 1;
}

/* json.kind(value): "object", "array", "null", "string", "number", "boolean"; nil for what JSON has not. */
static int json_kind(lua_State *L)
{
    static const char *const NAMES[] = {
        [LUA_TBOOLEAN] = "boolean", [LUA_TNUMBER] = "number", [LUA_TSTRING] = "string"
    };

    const int type = lua_type(L, 1);
    if (type == LUA_TTABLE)
        lua_pushstring(L, lua_rawlen(L, 1) > 0 || is_empty_array(L, 1) ? "array" : "object");
    else if (type == LUA_TNIL || (type == LUA_TLIGHTUSERDATA && !lua_touserdata(L, 1)))
        lua_pushliteral(L, "null");
    else
        lua_pushstring(L, type > 0 && type <= LUA_TSTRING ? NAMES[type] : NULL);
    return 1;
}

/* json.array(list): the same table, which is a list for json.encode even when it is empty. */
static int json_array_of(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) return luaL_error(L, "json.array: this table has a metatable already");
    mark_array(L);
    return 1;
}

/* The members of a JSON object as a table, name -> JSON text as json.dumps writes it; nil and why for anything else.
 * Lua's tables tell an empty array from an empty object as little as null from nothing; this does. */
static int json_members(lua_State *L)
{
    static const char *const KINDS[] = { "an object", "an array", "a string", "a number",
                                         "a number",  "true",     "false",    "null" };
    if (is_absent(L)) return 2;
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
int bind_json_quote(lua_State *L)
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
                                          { "quote", bind_json_quote },
                                          { "kind", json_kind },
                                          { "array", json_array_of },
                                          { 0 } };

    luaL_newlib(L, FUNCTIONS);
    push_null(L);
    lua_setfield(L, -2, "null");
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
