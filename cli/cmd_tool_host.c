/* SPDX-License-Identifier: MIT */
/* tool-host RECIPE NAME [key=value ...] SOCKET: the process in which the calls of a recipe's own tool run. Only
 * env/tools/lua starts it. It runs the recipe for its tools alone: no data and no model are looked at. */
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/verbs.h"
#include "env/sandbox/host.h"
#include "env/tools/lua.h"
#include "lua/config.h"
#include "recipe/recipe.h"

typedef struct search {
    const char *name;
    int function; /* reference; LUA_NOREF: not found */
} search;

static int find_tool(lua_State *L)
{
    search *s = lua_touserdata(L, 1);
    config_push(L, "env.tools");
    for (lua_Integer i = 1; lua_istable(L, 2) && i <= luaL_len(L, 2) && s->function == LUA_NOREF; i++) {
        lua_settop(L, 2);
        lua_rawgeti(L, 2, i);
        if (!lua_istable(L, 3) || lua_getfield(L, 3, "name") != LUA_TSTRING) continue;
        if (strcmp(lua_tostring(L, 4), s->name) != 0) continue;
        lua_getfield(L, 3, "call");
        s->function = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 0;
}

static int serve(vm *v, const char *path, const char *name, const char *const *words, int n, int sock, error *err)
{
    config c = { 0 };
    search s = { .name = name, .function = LUA_NOREF };
    int rc = config_open(&c, v, path, words, n, err);
    if (rc == OK) rc = vm_protect(v, find_tool, &s, err);
    if (rc == OK && s.function == LUA_NOREF)
        rc = error_set(err, ERR_NOT_FOUND, "%s: there is no tool '%s'", path, name);
    if (rc == OK) lua_tool_serve(v, s.function, sock);
    config_close(&c);
    return rc;
}

static int run_verb(call *c, error *err)
{
    const vm_limits limits = { .memory_bytes = (size_t)256 << 20, .instructions = 100000000 };
    char dir[RECIPE_PATH];
    int64_t sock = -1;
    if (c->argc < 4 || value_whole("socket", c->argv[c->argc - 1], 0, INT_MAX, &sock, err) != OK)
        return call_wrong(c, err, "a run starts it for the tools of its recipe");

    const char *path = c->argv[1], *name = c->argv[2], *const *words = (const char *const *)c->argv + 3;
    vm *v = vm_new(VM_RECIPE, &limits, path_dirname(dir, sizeof dir, path), err);
    const int rc = v ? serve(v, path, name, words, c->argc - 4, (int)sock, err) : ERR_MEMORY;
    vm_free(v);
    if (rc != OK) c->status = box_host_refuse(err->text, (int)sock);
    return rc == OK ? OK : CALL_OVER;
}

const verb VERB_TOOL_HOST = { .name = "tool-host", .reports = true, .run = run_verb };
