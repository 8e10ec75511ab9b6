/* SPDX-License-Identifier: MIT */
/* bind - the C functions behind the Lua names. Internal to this room, but for values that C hands to scripts. */
#pragma once

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* Registers the C modules in the table on top of the stack: troupe.json, troupe.regex, troupe.math. */
void bind_modules(lua_State *L);
int bind_json_open(lua_State *L);
int bind_json_quote(lua_State *L); /* troupe.json's quote(text) */
int bind_regex_open(lua_State *L);
int bind_math_open(lua_State *L);
/* Into the string library on top: find, match, gmatch, gsub, rep. */
void bind_string_replace(lua_State *L);

/* What would tell one process from another, made the same in all: pairs and next in one order, tostring and
 * string.format without addresses, table.sort without a clock. */
int bind_pairs(lua_State *L);
int bind_next(lua_State *L);
int bind_tostring(lua_State *L);
void bind_format_replace(lua_State *L); /* in the string library on top */
int bind_sort(lua_State *L);
/* Pushes the keys of the table at `index` as a list in that order. */
void bind_push_keys(lua_State *L, int index);
/* As luaL_tolstring, but an object without a __tostring reads "table: 0x00000001", its number being the order in which
 * objects were asked for: an address would be another one in each process. */
const char *bind_tolstring(lua_State *L, int index, size_t *len);
void bind_forget_names(lua_State *L); /* the numbers begin anew */
/* A number for the age of the table, function or coroutine at `index`: the older of two has the smaller one. 0: it is
 * none of these, or a function of C's alone. */
uint64_t bind_born(lua_State *L, int index);

/* What keeps weak tables from working; bind_weak.c says why and how. The thread returned lives as long as the state. */
lua_State *bind_weak_open(lua_State *L);
void bind_weak_note(lua_State *L, int index); /* a script sets the table at `index` as a metatable */
void bind_weak_hide(lua_State *aside);        /* the collector is to run: nothing has a __mode */
void bind_weak_show(lua_State *aside);        /* it has run */

/* Builds the environment that every chunk gets and leaves it in the registry as "troupe.env". */
int bind_libraries(lua_State *L);

/* What a VM knows (vm.c): whether so much more memory fits its cap; where a recipe's modules are ("" for nowhere); how
 * much of `bytes` print may still say, which is then taken. bind_worked: a function in C has looked at so many bytes:
 * few instructions of a script can take long, so its time is looked at again after each megabyte. */
bool bind_fits(lua_State *L, size_t bytes); /* once what is unreachable is collected */
void bind_collect(lua_State *L);
const char *bind_module_dir(lua_State *L);
size_t bind_print_room(lua_State *L, size_t bytes);
void bind_worked(lua_State *L, size_t bytes);
/* Memory that is not Lua's but counts in the same cap: NULL beyond it. `owner` is bind_owner's. */
void *bind_owner(lua_State *L);
void *bind_outside(size_t bytes, void *owner);
void bind_outside_free(void *p, void *owner);

/* Pushes a JSON value as Lua tables, strings, numbers (null becomes nil; depth is bounded by the parser). */
void bind_push_json(lua_State *L, const json_t *value);
/* The same, nothing lost: null is json.null, an empty list is written as one again. */
void bind_push_json_whole(lua_State *L, const json_t *value);
/* Pushes a keeper for memory of C's while Lua may raise: put the pointer where the result points; it is released by
 * bind_let_go, or by the collector. */
void *bind_hold(lua_State *L, void (*release)(void *p));
void bind_let_go(lua_State *L, int index);
/* The value at `index` as JSON; raises for functions, cycles (by depth) and mixed tables. The caller owns it. */
json_t *bind_to_json(lua_State *L, int index);
/* The same without raising: NULL, and in *why what JSON can't say: "a function or a coroutine". */
json_t *bind_try_json(lua_State *L, int index, const char **why);
