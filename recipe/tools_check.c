/* SPDX-License-Identifier: MIT */
/* Whether env.tools is what it should be, before anything of it is started. */
#include <lauxlib.h>
#include <string.h>

#include "base/str.h"
#include "http/client.h"
#include "lua/config.h"
#include "recipe/tools.h"

typedef struct checking {
    const recipe *r;
    const config *c;
    error *err;
    int rc;
    int environments, submits, databases;
} checking;

/* A list holds nothing but 1 to n, so that env.tools = T.python{} is no training without tools. */
static bool is_list(lua_State *L, int at)
{
    lua_Integer entries = 0;
    if (!lua_istable(L, at)) return false;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) entries++;
    return entries == luaL_len(L, at);
}

static void check_url(checking *k, const char *url, int i)
{
    error why = { 0 };
    if (http_check_url(url, &why) != OK) k->rc = config_error(k->c, "env.tools", k->err, "entry %d: %s", i, why.text);
}

/* A T.env at 3, entry i: it plays a program or the file, and not both. */
static void check_environment(lua_State *L, checking *k, int i)
{
    const bool program = lua_getfield(L, 3, "command") == LUA_TTABLE, file = k->r->env.plugin[0] != 0;
    k->environments++;
    if (!program && !file)
        k->rc = config_error(k->c, "env.tools", k->err,
                             "entry %d, T.env, needs command, such as { \"python3\", \"environment.py\" }, or the key "
                             "env.plugin",
                             i);
    if (program && file)
        k->rc =
            config_error(k->c, "env.plugin", k->err, "entry %d of env.tools, T.env, has a command: one of the two", i);
}

/* A file that no tool opens: its T.env or T.sql was forgotten. */
static int check_played(checking *k)
{
    if (k->rc == OK && k->environments == 0 && k->r->env.plugin[0])
        k->rc = config_error(k->c, "env.plugin", k->err, "it is played where env.tools has a T.env{}");
    if (k->rc == OK && k->databases == 0 && k->r->env.database[0])
        k->rc = config_error(k->c, "env.database", k->err, "it is asked where env.tools has a T.sql{}");
    return 0;
}

/* An environment says itself when an episode is over. */
static void check_submit(checking *k)
{
    if (k->rc == OK && k->submits > 1)
        k->rc = config_error(k->c, "env.tools", k->err, "%d T.submit{}: one hands in the answer", k->submits);
    if (k->rc == OK && k->submits > 0 && k->environments > 0)
        k->rc =
            config_error(k->c, "env.tools", k->err,
                         "T.submit{} beside a T.env{...}, which says itself when an episode is over: one of the two");
}

static int check_list(lua_State *L)
{
    checking *k = lua_touserdata(L, 1);
    char shown[CONFIG_SHOWN];

    config_push(L, "env.tools");
    if (lua_isnil(L, 2)) return check_played(k);
    if (!is_list(L, 2)) {
        str found = { 0 };
        if (!lua_istable(L, 2))
            str_printf(&found, ", found %s", config_shown(L, 2, shown)); /* "a table" says nothing */
        k->rc = config_error(k->c, "env.tools", k->err, "expected a list of " TOOL_KINDS "%s", str_text(&found));
        str_free(&found);
        return 0;
    }

    const lua_Integer n = luaL_len(L, 2);
    if (n > RECIPE_TOOLS)
        k->rc = config_error(k->c, "env.tools", k->err, "%d tools (at most %d are allowed)", (int)n, RECIPE_TOOLS);
    for (lua_Integer i = 1; i <= n && k->rc == OK; i++) {
        if (lua_rawgeti(L, 2, i) != LUA_TTABLE || lua_getfield(L, 3, "kind") != LUA_TSTRING)
            k->rc = config_error(k->c, "env.tools", k->err, "entry %d is none of " TOOL_KINDS ", but %s", (int)i,
                                 config_shown(L, 3, shown));
        else if (lua_getfield(L, 3, "url") == LUA_TSTRING)
            check_url(k, lua_tostring(L, -1), (int)i);
        else if (strcmp(lua_tostring(L, 4), "search") == 0 && !k->r->env.index[0])
            k->rc =
                config_error(k->c, "env.tools", k->err, "entry %d, T.search, needs the key env.index, or url", (int)i);
        else if (strcmp(lua_tostring(L, 4), "env") == 0)
            check_environment(L, k, (int)i);
        else if (strcmp(lua_tostring(L, 4), "submit") == 0)
            k->submits++;
        else if (strcmp(lua_tostring(L, 4), "sql") == 0)
            k->databases++;
        lua_settop(L, 2);
    }
    check_played(k);
    check_submit(k);
    if (k->rc == OK && k->environments > 1)
        k->rc = config_error(k->c, "env.tools", k->err, "%d T.env{...}: episodes are played in one", k->environments);
    return 0;
}

bool recipe_has_environment(const recipe *r)
{
    checking k = { .r = r, .c = r->config };
    return vm_protect(r->vm, check_list, &k, NULL) == OK && k.environments > 0;
}

bool recipe_has_submit(const recipe *r)
{
    checking k = { .r = r, .c = r->config };
    return vm_protect(r->vm, check_list, &k, NULL) == OK && k.submits > 0;
}

int recipe_check_tools(const recipe *r, error *err)
{
    checking k = { .r = r, .c = r->config, .err = err };
    const int rc = vm_protect(r->vm, check_list, &k, err);
    return rc == OK ? k.rc : rc;
}
