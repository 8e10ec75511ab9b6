/* bind - the C functions behind the Lua names. Internal to this room, but for values that C hands to scripts. */
#pragma once

#include <jansson.h>
#include <lua.h>

/* Registers the C modules in the table on top of the stack: troupe.json, troupe.regex, troupe.math. */
void bind_modules(lua_State *L);
int bind_json_open(lua_State *L);
int bind_regex_open(lua_State *L);
int bind_math_open(lua_State *L);

/* Pushes a JSON value as Lua tables, strings, numbers (null becomes nil; depth is bounded by the parser). */
void bind_push_json(lua_State *L, const json_t *value);
/* The value at `index` as JSON; raises for functions, cycles (by depth) and mixed tables. The caller owns it. */
json_t *bind_to_json(lua_State *L, int index);
