#include "lua/vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "lua/bind.h"
#include "lua/embedded.h"

static const char REQUIRED[] = "troupe.required"; /* in the registry: the paths of the modules beside the recipe */

enum { HOOK_EVERY = 1000, MAX_SCRIPT_BYTES = 16 << 20, MODULE_NAME = 128 };

struct vm {
    lua_State *L;
    vm_kind kind;
    vm_limits limits;
    size_t used;
    int64_t left, deadline_ms; /* of the call under way */
    bool expired;
    char module_dir[1024];
};

static vm *vm_of(lua_State *L) { return *(vm **)lua_getextraspace(L); }

/* ---- caps ---- */

static void *allocate(void *ud, void *p, size_t old, size_t new)
{
    vm *v = ud;
    if (!p) old = 0; /* then it is a type, not a size */
    if (new == 0) {
        free(p);
        v->used -= old;
        return NULL;
    }
    if (new > old && v->limits.memory_bytes && v->used + (new - old) > v->limits.memory_bytes) return NULL;
    void *to = realloc(p, new);
    if (to) v->used += new - old;
    return to;
}

static void expire(lua_State *L, lua_Debug *ar);

/* Raises with the line that was running: luaL_error would name the caller's. */
static void stop(lua_State *L, lua_Debug *ar, const char *why)
{
    lua_getinfo(L, "Sl", ar);
    lua_pushfstring(L, "%s:%d: %s", ar->short_src, ar->currentline, why);
    lua_error(L);
}

static void watch(lua_State *L, lua_Debug *ar)
{
    vm *v = vm_of(L);
    char why[64];
    v->left -= HOOK_EVERY;
    const bool steps = v->limits.instructions && v->left <= 0;
    const bool time = v->limits.wall_ms && clock_ms() > v->deadline_ms;
    if (!steps && !time) return;
    v->expired = true;
    lua_sethook(L, expire, LUA_MASKCOUNT, 1);
    if (steps)
        snprintf(why, sizeof why, "stopped after %d million instructions", (int)(v->limits.instructions / 1000000));
    else
        snprintf(why, sizeof why, "stopped after %d ms", (int)v->limits.wall_ms);
    stop(L, ar, why);
}

/* From now on every instruction raises: pcall in a loop only wins one instruction a turn. */
static void expire(lua_State *L, lua_Debug *ar) { stop(L, ar, "stopped: a cap of this script was reached"); }

static void arm(vm *v)
{
    v->left = v->limits.instructions;
    v->deadline_ms = clock_ms() + v->limits.wall_ms;
    v->expired = false;
    const bool capped = v->limits.instructions || v->limits.wall_ms;
    lua_sethook(v->L, capped ? watch : NULL, capped ? LUA_MASKCOUNT : 0, HOOK_EVERY);
}

/* ---- what a script finds ---- */

static int read_only(lua_State *L)
{
    return luaL_error(L, "global '%s' is read-only (say: local %s = ...)", luaL_tolstring(L, 2, NULL),
                      luaL_tolstring(L, 2, NULL));
}

/* Replaces the table on top by an empty one that reads through to it and refuses writing. */
static void seal(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, read_only);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static int guarded_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_istable(L, 2) && lua_getfield(L, 2, "__gc") != LUA_TNIL)
        return luaL_error(L, "metatables can't have __gc here");
    lua_settop(L, 2);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
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

static int guarded_print(lua_State *L)
{
    str line = { 0 };
    const int n = lua_gettop(L);
    for (int i = 1; i <= n && line.len < 1000; i++) {
        size_t len;
        const char *s = luaL_tolstring(L, i, &len);
        if (i > 1) str_putc(&line, '\t');
        str_add(&line, s, len < 1000 ? len : 1000);
        lua_pop(L, 1);
    }
    fprintf(stderr, "%.*s\n", (int)line.len, line.data ? line.data : "");
    str_free(&line);
    return 0;
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
    const vm *v = vm_of(L);
    if (!v->module_dir[0] || strpbrk(module, "/\\") || strstr(module, "..") || strlen(module) >= MODULE_NAME)
        return luaL_error(L, "no module '%s' (there are troupe, troupe.verify and troupe.shaping)", module);
    snprintf(name, sizeof name, "%s.lua", module);
    char *text = file_read(path_join(path, sizeof path, v->module_dir, name), MAX_SCRIPT_BYTES, &len, &err);
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
    if (f) {
        lua_pushfstring(L, "=%s", f->name);
        load_module(L, (const char *)f->data, f->len, lua_tostring(L, -1));
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
    drop_fields(L, "_G", (const char *const[]){ "dofile", "loadfile", "load", "collectgarbage", "rawset", "_G", NULL });
    drop_fields(L, "string", (const char *const[]){ "dump", NULL });
    drop_fields(L, "coroutine", (const char *const[]){ "close", NULL });
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, guarded_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
    drop_fields(L, "math", (const char *const[]){ "random", "randomseed", NULL }); /* nothing here depends on luck */
}

/* Builds the environment every chunk gets: sealed libraries in a sealed table. */
static int prepare(lua_State *L)
{
    static const char *const SEALED[] = { "string", "table", "math", "utf8", "coroutine" };
    static const luaL_Reg OURS[] = { { "setmetatable", guarded_setmetatable },
                                     { "xpcall", guarded_xpcall },
                                     { "print", guarded_print },
                                     { "require", bind_require } };
    open_libraries(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* of all strings */
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    for (size_t i = 0; i < sizeof SEALED / sizeof *SEALED; i++) {
        lua_getglobal(L, SEALED[i]);
        seal(L);
        lua_setglobal(L, SEALED[i]);
    }
    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++) lua_register(L, OURS[i].name, OURS[i].func);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "troupe.modules");
    bind_modules(L);
    lua_pop(L, 1);
    lua_pushglobaltable(L);
    seal(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "troupe.env");
    return 0;
}

/* ---- life ---- */

vm *vm_new(vm_kind kind, const vm_limits *limits, const char *module_dir, error *err)
{
    vm *v = xcalloc(1, sizeof *v);
    v->kind = kind;
    if (limits) v->limits = *limits;
    if (module_dir) snprintf(v->module_dir, sizeof v->module_dir, "%s", module_dir);
    v->L = lua_newstate(allocate, v);
    if (!v->L) {
        free(v);
        error_set(err, ERR_MEMORY, "a Lua state does not fit its memory cap");
        return NULL;
    }
    *(vm **)lua_getextraspace(v->L) = v;
    if (vm_protect(v, prepare, NULL, err) == OK) return v;
    vm_free(v);
    return NULL;
}

void vm_free(vm *v)
{
    if (!v) return;
    lua_sethook(v->L, NULL, 0, 0);
    lua_close(v->L);
    free(v);
}

lua_State *vm_state(vm *v) { return v->L; }
void vm_set_limits(vm *v, const vm_limits *limits) { v->limits = *limits; }
size_t vm_memory(const vm *v) { return v->used; }

/* ---- calls ---- */

static int take_error(vm *v, int status, error *err)
{
    const char *text = lua_tostring(v->L, -1);
    const int code = status == LUA_ERRMEM ? ERR_LIMIT : v->expired ? ERR_TIMEOUT : ERR_SCRIPT;
    if (status == LUA_ERRMEM)
        error_set(err, code, "not enough memory (cap %zu MB)", v->limits.memory_bytes >> 20);
    else
        error_set(err, code, "%s", text ? text : "the script raised an error that is no text");
    lua_pop(v->L, 1);
    return code;
}

int vm_call(vm *v, int n_args, int n_results, error *err)
{
    arm(v);
    const int status = lua_pcall(v->L, n_args, n_results, 0);
    lua_sethook(v->L, NULL, 0, 0);
    return status == LUA_OK ? OK : take_error(v, status, err);
}

int vm_protect(vm *v, int (*body)(lua_State *L), void *arg, error *err)
{
    lua_pushcfunction(v->L, body);
    lua_pushlightuserdata(v->L, arg);
    arm(v);
    const int status = lua_pcall(v->L, 1, 0, 0);
    lua_sethook(v->L, NULL, 0, 0);
    return status == LUA_OK ? OK : take_error(v, status, err);
}

int vm_run_text(vm *v, const char *text, size_t len, const char *name, int n_results, error *err)
{
    char chunk[1200];
    const size_t mark = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* what some editors put first */
    snprintf(chunk, sizeof chunk, "@%s", name);
    const int status = luaL_loadbufferx(v->L, text + mark, len - mark, chunk, "t");
    if (status != LUA_OK) return take_error(v, status, err);
    lua_getfield(v->L, LUA_REGISTRYINDEX, "troupe.env");
    lua_setupvalue(v->L, -2, 1);
    return vm_call(v, 0, n_results, err);
}

int vm_run_file(vm *v, const char *path, int n_results, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_SCRIPT_BYTES, &len, err);
    if (!text) return err ? err->code : ERR_IO;
    const int rc = vm_run_text(v, text, len, path, n_results, err);
    free(text);
    return rc;
}

char *vm_required(vm *v, int i)
{
    char *path = NULL;
    lua_State *L = v->L;
    const int top = lua_gettop(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, REQUIRED) == LUA_TTABLE && lua_rawgeti(L, -1, i + 1) == LUA_TSTRING)
        path = xstrdup(lua_tostring(L, -1));
    lua_settop(L, top);
    return path;
}

int vm_keep(vm *v) { return luaL_ref(v->L, LUA_REGISTRYINDEX); }
void vm_push(vm *v, int ref) { lua_rawgeti(v->L, LUA_REGISTRYINDEX, ref); }
void vm_drop(vm *v, int ref) { luaL_unref(v->L, LUA_REGISTRYINDEX, ref); }
