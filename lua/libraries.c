/* SPDX-License-Identifier: MIT */
/* What a script finds: Lua's libraries without their ways out, ours, `require`; all of it read-only, because what a
 * script changes here it would change for whatever runs in this VM later. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "lua/bind.h"
#include "lua/embedded.h"

static const char SEALED_TABLES[] = "troupe.sealed"; /* in the registry: a table to what stands for it */
static const char REQUIRED[] = "troupe.required";    /* in the registry: the paths of the modules beside the recipe */

enum { MAX_SCRIPT_BYTES = 16 << 20, MODULE_NAME = 128, MAX_PRINTED = 1000, MAX_RANGE = 10000000 };

static int read_only(lua_State *L)
{
    return luaL_error(L, "%s '%s' is read-only (say: local %s = ...)", lua_tostring(L, lua_upvalueindex(1)),
                      bind_tolstring(L, 2, NULL), bind_tolstring(L, 2, NULL));
}

/* pairs() of a sealed table goes through what is behind it; the iterator has no way back to it but its keys. */
static int pairs_behind(lua_State *L)
{
    lua_pushcfunction(L, bind_pairs);
    lua_newtable(L); /* a copy: what an iterator is given, a script can keep */
    for (lua_pushnil(L); lua_next(L, lua_upvalueindex(1));) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_call(L, 1, 3);
    return 3;
}

/* On top: the table to be sealed. Pushes what stands for it, an empty table that reads through to it. */
static void push_stand_in(lua_State *L, const char *what)
{
    lua_newtable(L);
    lua_newtable(L);

    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");

    lua_pushstring(L, what);
    lua_pushcclosure(L, read_only, 1);
    lua_setfield(L, -2, "__newindex");

    lua_pushvalue(L, -3);
    lua_pushcclosure(L, pairs_behind, 1);
    lua_setfield(L, -2, "__pairs");

    lua_pushboolean(L, 0); /* what getmetatable says: nothing to reach the real one by */
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

/* Replaces the table on top by an empty one that reads through to it and refuses writing, and so the tables in it.
 * Nothing leads a script to what is behind: one that could change a library would change it for
 * every row that comes. */
static void seal(lua_State *L, const char *what)
{
    luaL_checkstack(L, 10, "sealing");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, SEALED_TABLES);
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -2) == LUA_TTABLE) { /* met before, or it holds itself */
        lua_replace(L, -3);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);

    lua_insert(L, -2);
    push_stand_in(L, what); /* sealed tables, table, stand-in */
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
    lua_insert(L, -3);
    lua_remove(L, -2); /* stand-in, table */

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const bool plain = lua_istable(L, -1) && !lua_getmetatable(L, -1);
        if (lua_istable(L, -1) && !plain) lua_pop(L, 1); /* its metatable: sealed before */
        if (!plain) continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        seal(L, what);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
}

static int guarded_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_istable(L, 2) && lua_getfield(L, 2, "__gc") != LUA_TNIL)
        return luaL_error(L, "metatables can't have __gc here");
    if (lua_istable(L, 2) && lua_getfield(L, 2, "__mode") != LUA_TNIL)
        return luaL_error(L, "metatables can't have __mode here: what a weak table still holds depends on the process");
    lua_settop(L, 2);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2)) bind_weak_note(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* Lua calls a message handler, and what a dying coroutine still has to close, from inside the hook that raised, where
 * hooks don't count: an endless loop there would have no end. So the handler is called after the fact, and nothing is
 * closed. */
static int guarded_xpcall(lua_State *L)
{
    const int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    for (int i = 3; i <= n; i++) lua_pushvalue(L, i);
    const bool ok = lua_pcall(L, n - 2, LUA_MULTRET, 0) == LUA_OK;

    if (!ok) {
        lua_pushvalue(L, 2);
        lua_insert(L, -2);
        lua_call(L, 1, LUA_MULTRET);
    }
    lua_pushboolean(L, ok);
    lua_insert(L, n + 1);
    return lua_gettop(L) - n;
}

static int resume_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    const int n = lua_gettop(L);
    int results = 0;
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) return luaL_error(L, "cannot resume dead coroutine");
    if (!lua_checkstack(co, n)) return luaL_error(L, "too many arguments to resume");

    lua_xmove(L, co, n);
    const int status = lua_resume(co, L, n, &results);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return lua_error(L);
    }

    luaL_checkstack(L, results, "too many results");
    lua_xmove(co, L, results);
    return results;
}

static int guarded_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, resume_wrapped, 1);
    return 1;
}

/* With file and line, since it stands among what others say: on a terminal, in a worker's log. What it says in one call
 * is capped: a script in a loop would fill the disk that the log is on. */
static int guarded_print(lua_State *L)
{
    const int n = lua_gettop(L);
    luaL_checkstack(L, n, "print");
    for (int i = 1; i <= n; i++) bind_tolstring(L, i, NULL); /* may raise: nothing of ours is held yet */

    lua_Debug from;
    str line = { 0 };
    if (lua_getstack(L, 1, &from) && lua_getinfo(L, "Sl", &from) && from.source[0] == '@') {
        const char *slash = strrchr(from.source, '/');
        str_printf(&line, "%s:%d: ", slash ? slash + 1 : from.source + 1, from.currentline);
    }
    for (int i = 1; i <= n && line.len < MAX_PRINTED; i++) {
        size_t len;
        const char *s = lua_tolstring(L, n + i, &len);
        if (i > 1) str_putc(&line, '\t');
        str_visible(&line, s, len < MAX_PRINTED ? len : MAX_PRINTED);
    }

    const size_t room = bind_print_room(L, line.len + 1);
    if (room > line.len)
        fprintf(stderr, "%.*s\n", (int)line.len, str_text(&line));
    else if (room > 0)
        fprintf(stderr, "(print: the rest is left out)\n");
    str_free(&line);
    return 0;
}

/* table's functions run in C: a length or a range that says a billion would keep them there,
 * out of reach of any cap. */
static int guarded_range(lua_State *L)
{
    static const struct {
        const char *name;
        int from, to;
    } RANGES[] = { { "move", 2, 3 }, { "concat", 3, 4 }, { "unpack", 2, 3 } };
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++) {
        if (strcmp(RANGES[i].name, name) != 0) continue;
        const lua_Integer from = luaL_optinteger(L, RANGES[i].from, 1), to = luaL_optinteger(L, RANGES[i].to, 0);
        if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from > MAX_RANGE)
            return luaL_error(L, "table.%s: a range of more than %d", name, MAX_RANGE);
    }
    if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__len") != LUA_TNIL) {
        lua_pop(L, 1);
        if (luaL_len(L, 1) > MAX_RANGE) return luaL_error(L, "table.%s: a length of more than %d", name, MAX_RANGE);
    }

    const int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

static void guard_ranges(lua_State *L)
{
    static const char *const NAMES[] = { "move", "concat", "unpack", "insert", "remove", "sort" };
    lua_getglobal(L, "table");
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        lua_getfield(L, -1, NAMES[i]);
        lua_pushstring(L, NAMES[i]);
        lua_pushcclosure(L, guarded_range, 2);
        lua_setfield(L, -2, NAMES[i]);
    }
    lua_pop(L, 1);
}

static int load_module(lua_State *L, const char *text, size_t len, const char *chunk)
{
    if (luaL_loadbufferx(L, text, len, chunk, "t") != LUA_OK) return lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "troupe.env");
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
    return 1;
}

static const struct embedded_file *embedded(const char *module)
{
    char name[MODULE_NAME];
    const char *last = strrchr(module, '.');
    snprintf(name, sizeof name, "lib/%s.lua", last ? last + 1 : module);
    for (const struct embedded_file *f = EMBEDDED; f->name; f++)
        if (strncmp(module, "troupe", 6) == 0 && strcmp(f->name, name) == 0) return f;
    return NULL;
}

/* A recipe's own module: a plain name beside the recipe, never a path. */
static int require_file(lua_State *L, const char *module)
{
    char name[MODULE_NAME + 8], path[1200];
    size_t len;
    error err = { 0 };
    const char *dir = bind_module_dir(L);
    if (!*dir || strpbrk(module, "/\\") || strstr(module, "..") || strlen(module) >= MODULE_NAME)
        return luaL_error(L, "no module '%s' (there are troupe, troupe.verify and troupe.shaping)", module);

    snprintf(name, sizeof name, "%s.lua", module);
    char *text = file_read(path_join(path, sizeof path, dir, name), MAX_SCRIPT_BYTES, &len, &err);
    if (!text) return luaL_error(L, "no module '%s': %s", module, err.text);
    lua_pushlstring(L, text, len); /* Lua's own copy: an error below must not leak ours */
    free(text);

    luaL_getsubtable(L, LUA_REGISTRYINDEX, REQUIRED);
    lua_pushstring(L, path);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);

    lua_pushfstring(L, "@%s", path);
    load_module(L, lua_tostring(L, -2), len, lua_tostring(L, -1));
    return 1;
}

static int bind_require(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "troupe.modules");
    if (lua_getfield(L, 2, module) != LUA_TNIL) return 1;
    lua_pop(L, 1);

    const struct embedded_file *f = embedded(module);
    luaL_checkstack(L, 8, "require");
    if (f) {
        lua_pushfstring(L, "=%s", f->name);
        load_module(L, (const char *)f->data, f->len, lua_tostring(L, -1));
        if (lua_istable(L, -1)) seal(L, "library function");
    } else {
        require_file(L, module);
    }

    lua_pushvalue(L, -1);
    lua_setfield(L, 2, module);
    return 1;
}

static void drop_fields(lua_State *L, const char *table, const char *const *names)
{
    lua_getglobal(L, table);
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

static void open_libraries(lua_State *L)
{
    static const luaL_Reg LIBRARIES[] = { { LUA_GNAME, luaopen_base },        { LUA_TABLIBNAME, luaopen_table },
                                          { LUA_STRLIBNAME, luaopen_string }, { LUA_MATHLIBNAME, luaopen_math },
                                          { LUA_UTF8LIBNAME, luaopen_utf8 },  { LUA_COLIBNAME, luaopen_coroutine } };
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof *LIBRARIES; i++) {
        luaL_requiref(L, LIBRARIES[i].name, LIBRARIES[i].func, 1);
        lua_pop(L, 1);
    }

    /* Their ways out: files, code from text, other threads of control, chance. */
    drop_fields(L, "_G",
                (const char *const[]){ "dofile", "loadfile", "load", "collectgarbage", "rawset", "_G", "warn", NULL });
    drop_fields(L, "string", (const char *const[]){ "dump", NULL });
    drop_fields(L, "coroutine", (const char *const[]){ "close", NULL });

    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, guarded_wrap);
    lua_setfield(L, -2, "wrap");
    lua_getglobal(L, "string");
    bind_string_replace(L);
    bind_format_replace(L);
    lua_getglobal(L, "table");
    lua_pushcfunction(L, bind_sort);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 3);

    guard_ranges(L);
    drop_fields(L, "math", (const char *const[]){ "random", "randomseed", NULL }); /* nothing here depends on luck */
}

/* Our modules in C, sealed, where require looks first. */
static void open_modules(lua_State *L)
{
    static const char *const MODULES[] = { "troupe.json", "troupe.regex", "troupe.math" };
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "troupe.modules");
    bind_modules(L);
    for (size_t i = 0; i < sizeof MODULES / sizeof *MODULES; i++) {
        lua_getfield(L, -1, MODULES[i]);
        seal(L, "library function");
        lua_setfield(L, -2, MODULES[i]);
    }
    lua_pop(L, 1);
}
/* Builds the environment every chunk gets: sealed libraries in a sealed table. */
int bind_libraries(lua_State *L)
{
    static const char *const SEALED[] = { "string", "table", "math", "utf8", "coroutine" };
    static const luaL_Reg OURS[] = { { "setmetatable", guarded_setmetatable },
                                     { "xpcall", guarded_xpcall },
                                     { "print", guarded_print },
                                     { "pairs", bind_pairs },
                                     { "next", bind_next },
                                     { "tostring", bind_tostring },
                                     { "require", bind_require } };
    open_libraries(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* of all strings */
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);

    for (size_t i = 0; i < sizeof SEALED / sizeof *SEALED; i++) {
        lua_getglobal(L, SEALED[i]);
        seal(L, SEALED[i]);
        lua_setglobal(L, SEALED[i]);
    }
    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++) lua_register(L, OURS[i].name, OURS[i].func);
    open_modules(L);

    lua_pushglobaltable(L);
    seal(L, "global");
    lua_setfield(L, LUA_REGISTRYINDEX, "troupe.env");
    return 0;
}
