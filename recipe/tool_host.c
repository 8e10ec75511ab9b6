/* SPDX-License-Identifier: MIT */
#include "recipe/tool_host.h"

#include <lauxlib.h>
#include <string.h>

#include "base/file.h"
#include "env/sandbox/host.h"
#include "env/tools/lua.h"
#include "lua/config.h"

/* Of loading the recipe, and of each call. Less than recipe_open allows: an actor has one such process for each
 * tool. */
enum { MEMORY_BYTES = 256 << 20, INSTRUCTIONS = 100000000 };

typedef struct search {
    const char *name;
    int function; /* reference; LUA_NOREF: not found */
} search;

/* The tool's `call` at index `i` of env.tools, if it is the one. Stack: 1 the search, 2 env.tools, 3 the tool, 4 its
 * name. */
static void try_tool(lua_State *L, search *s, lua_Integer i)
{
    lua_settop(L, 2); /* what the last try left */
    lua_rawgeti(L, 2, i);
    if (!lua_istable(L, 3) || lua_getfield(L, 3, "name") != LUA_TSTRING) return;
    if (strcmp(lua_tostring(L, 4), s->name) != 0) return;
    lua_getfield(L, 3, "call");
    s->function = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int find_tool(lua_State *L)
{
    search *s = lua_touserdata(L, 1);
    config_push(L, "env.tools");
    if (!lua_istable(L, 2)) return 0;
    const lua_Integer n = luaL_len(L, 2);
    for (lua_Integer i = 1; i <= n && s->function == LUA_NOREF; i++) try_tool(L, s, i);
    return 0;
}

static int serve(const tool_host *h, vm *v, error *err)
{
    config c = { 0 };
    search s = { .name = h->tool, .function = LUA_NOREF };
    /* With the run's words: env.tools may be made by what they set. Keys are not read: the learner has judged them. */
    int rc = config_open(&c, v, h->recipe, h->words, h->n_words, err);
    if (rc == OK) rc = vm_protect(v, find_tool, &s, err);
    if (rc == OK && s.function == LUA_NOREF)
        rc = error_set(err, ERR_NOT_FOUND, "%s: there is no tool '%s'", h->recipe, h->tool);
    if (rc == OK) lua_tool_serve(v, s.function, h->sock);
    config_close(&c);
    return rc;
}

int tool_host_serve(const tool_host *h, error *err)
{
    const vm_limits limits = { .memory_bytes = MEMORY_BYTES, .instructions = INSTRUCTIONS };
    char dir[OPTION_PATH_BYTES];
    vm *v = vm_new(VM_RECIPE, &limits, path_dirname(dir, sizeof dir, h->recipe), err);
    const int rc = v ? serve(h, v, err) : ERR_MEMORY;
    vm_free(v);
    if (rc != OK) box_host_refuse(err->text, h->sock);
    return rc;
}
