/* SPDX-License-Identifier: MIT */
#include "recipe/tools.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "base/vec.h"
#include "env/tools/calculator.h"
#include "env/tools/environment.h"
#include "env/tools/lua.h"
#include "env/tools/mcp.h"
#include "env/tools/python.h"
#include "env/tools/retriever.h"
#include "env/tools/search.h"
#include "env/tools/sql.h"
#include "env/tools/submit.h"
#include "http/client.h"
#include "http/secrets.h"
#include "lua/bind.h"
#include "lua/config.h"

typedef struct tooling {
    const recipe *r;
    router *router;
    bool words; /* nothing is started */
    error *err;
    int rc; /* a C function that Lua calls returns numbers of results, so errors of ours come back here */
} tooling;

/* T.python and T.tool have checked the types (lua/lib/troupe.lua). What a recipe leaves out is nil, and 0 here: the
 * tool's own default. */

static double number_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const double v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

/* "numpy,sympy" of the list on top of the stack. */
static void package_names(lua_State *L, str *out)
{
    lua_getfield(L, -1, "packages");
    for (lua_Integer i = 1; lua_istable(L, -1) && i <= luaL_len(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        str_printf(out, "%s%s", i > 1 ? "," : "", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int wrong_sandbox(const char *found, error *err)
{
    str known = { 0 };
    words_list(BOX_MODE_WORDS, &known);
    const int rc = error_set(err, ERR_ARGUMENT, "T.python: sandbox is one of %s, not \"%.40s\"", known.data, found);
    str_free(&known);
    return rc;
}

/* Who connects to a learner trusts it with what a sandbox lets through, and no more. */
static int check_sandbox(const recipe *r, const word_row *mode, error *err)
{
    if (!r->sent || mode->value != BOX_NONE) return OK;
    return error_set(
        err, ERR_ARGUMENT,
        "T.python: sandbox = \"none\" in a recipe that was sent: start this worker with RECIPE.lua, a copy of "
        "your own, if its code may do what you may");
}

/* T.python has checked the values. */
static int add_python(tooling *t, lua_State *L)
{
    tool made;
    str packages = { 0 };
    lua_getfield(L, -1, "session");
    const bool session = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (t->words)
        return router_add_words(t->router, PYTHON_NAME, session ? PYTHON_SESSION_DESCRIPTION : PYTHON_DESCRIPTION,
                                PYTHON_PARAMETERS, t->err);

    lua_getfield(L, -1, "sandbox");
    const char *sandbox = luaL_optstring(L, -1, "auto");
    const word_row *mode = words_named(BOX_MODE_WORDS, sandbox);
    if (!mode) return wrong_sandbox(sandbox, t->err);
    if (check_sandbox(t->r, mode, t->err) != OK) return t->err->code;
    lua_pop(L, 1); /* the fields below are of the top of the stack: T.python's table again */

    package_names(L, &packages);
    const box_config limits = { .timeout_ms = (int)(number_field(L, "timeout") * 1000),
                                .memory_mb = (int)number_field(L, "memory_mb"),
                                .output_bytes = (int)(number_field(L, "output_kb") * 1024),
                                .tmp_mb = (int)number_field(L, "tmp_mb"),
                                .mode = (box_mode)mode->value,
                                .packages = packages.data };
    const int at_once = (int)number_field(L, "at_once");
    const int rc = (session ? python_session_tool : python_tool)(&limits, at_once, &made, t->err);
    str_free(&packages);
    return rc == OK ? router_add(t->router, &made, t->err) : rc;
}

static int add_calculator(tooling *t)
{
    if (t->words)
        return router_add_words(t->router, CALCULATOR_NAME, CALCULATOR_DESCRIPTION, CALCULATOR_PARAMETERS, t->err);
    const tool made = calculator_tool();
    return router_add(t->router, &made, t->err);
}

/* T.sql has checked the values. The file of a recipe that was sent came with it (run/pack.c). */
static int add_sql(tooling *t, lua_State *L)
{
    const int top = lua_gettop(L);
    char self[RECIPE_PATH];
    tool made;
    sql_config asked = { .timeout_ms = (int)(number_field(L, "timeout") * 1000),
                         .memory_mb = (int)number_field(L, "memory_mb"),
                         .rows = (int)number_field(L, "rows"),
                         .output_bytes = (int)(number_field(L, "output_kb") * 1024),
                         .at_once = (int)number_field(L, "at_once"),
                         .database = t->r->env.database,
                         .self = self };
    lua_getfield(L, top, "name"); /* the strings stay on the stack until they have been copied */
    lua_getfield(L, top, "description");
    asked.name = luaL_optstring(L, top + 1, SQL_NAME);
    asked.description = luaL_optstring(L, top + 2, SQL_DESCRIPTION);
    int rc;
    if (t->words) {
        rc = router_add_words(t->router, asked.name, asked.description, SQL_PARAMETERS, t->err);
    } else {
        rc = process_self_path(self, sizeof self, t->err);
        if (rc == OK) rc = sql_tool(&asked, &made, t->err);
        if (rc == OK) rc = router_add(t->router, &made, t->err);
    }
    lua_settop(L, top);
    return rc;
}

static int add_submit(tooling *t)
{
    if (t->words) return router_add_words(t->router, SUBMIT_NAME, SUBMIT_DESCRIPTION, SUBMIT_PARAMETERS, t->err);
    const tool made = submit_tool();
    return router_add(t->router, &made, t->err);
}

/* argv of the process in which the calls of tool `name` run: this program, as a host of the recipe's tools. */
static int host_words(const recipe *r, const char *self, const char *name, const char **words, int max, error *err)
{
    enum { OURS = 5 }; /* the four below and the NULL */
    int n = 0;
    if (r->n_words + OURS > max) return error_set(err, ERR_LIMIT, "at most %d arguments are allowed", max - OURS);

    words[n++] = self;
    words[n++] = "tool-host";
    words[n++] = r->path;
    words[n++] = name;
    for (int i = 0; i < r->n_words; i++) words[n++] = r->words[i];
    words[n] = NULL;
    return OK;
}

/* The tool itself, or for who makes no calls its words alone. */
static int add_hosted(tooling *t, lua_tool_config *written)
{
    enum { MAX_WORDS = 256 };
    const char *words[MAX_WORDS];
    char self[RECIPE_PATH];
    tool made;
    if (t->words) return router_add_words(t->router, written->name, written->description, written->parameters, t->err);

    written->host = words;
    int rc = process_self_path(self, sizeof self, t->err);
    if (rc == OK) rc = host_words(t->r, self, written->name, words, MAX_WORDS, t->err);
    if (rc == OK) rc = lua_tool(written, &made, t->err);
    return rc == OK ? router_add(t->router, &made, t->err) : rc;
}

static int add_written(tooling *t, lua_State *L)
{
    /* The strings stay on the stack until the tool has copied them: Lua frees what nothing refers to. */
    const int top = lua_gettop(L);
    const int timeout_ms = (int)(number_field(L, "timeout") * 1000);
    lua_getfield(L, top, "name");
    lua_getfield(L, top, "description");
    lua_getfield(L, top, "parameters");

    json_t *parameters;
    if (lua_isnil(L, -1)) /* not written down: an object with anything in it */
        parameters = json_pack("{s:s, s:{}}", "type", "object", "properties");
    else
        parameters = bind_to_json(L, -1);
    char *text = json_text(parameters, true);
    json_decref(parameters);

    lua_tool_config written = { .name = lua_tostring(L, top + 1),
                                .description = luaL_optstring(L, top + 2, ""),
                                .parameters = text,
                                .timeout_ms = timeout_ms };
    const int rc = add_hosted(t, &written);
    free(text);
    lua_settop(L, top);
    return rc;
}

/* Of a recipe that was sent, the index would be a file of this machine that another one chose. */
static int check_index(const recipe *r, error *err)
{
    if (!r->sent) return OK;
    return error_set(err, ERR_ARGUMENT,
                     "T.search in a recipe that was sent: start this worker with RECIPE.lua, a copy "
                     "of your own, and env.index=PATH");
}

static int add_indexed(tooling *t, const search_config *searched)
{
    tool made;
    int rc = check_index(t->r, t->err);
    if (rc == OK) rc = search_tool(searched, &made, t->err);
    return rc == OK ? router_add(t->router, &made, t->err) : rc;
}

/* ---- servers: of T.search, T.mcp ---- */

/* Whoever sends a recipe could have a server of this machine's network asked, and read its environment. */
static int check_server(const recipe *r, const char *kind, const char *url, error *err)
{
    if (!r->sent) return OK;
    char *shown = http_shown(url);
    error_set(err, ERR_ARGUMENT,
              "T.%s in a recipe that was sent: start this worker with RECIPE.lua, a copy "
              "of your own, if it may ask the server at %.200s",
              kind, shown);
    free(shown);
    return ERR_ARGUMENT;
}

typedef vec(char *) header_lines;

static void free_headers(header_lines *lines)
{
    for (size_t i = 0; i < lines->len; i++) free(lines->data[i]);
    vec_free(lines);
}

/* The field `headers` of the table on top of the stack, with the values of the variables that it names,
 * NULL-terminated; free_headers, also after an error. */
static int read_headers(lua_State *L, header_lines *lines, error *err)
{
    int rc = OK;
    const int top = lua_gettop(L);
    lua_getfield(L, -1, "headers");
    for (lua_pushnil(L); lua_istable(L, top + 1) && rc == OK && lua_next(L, top + 1); lua_pop(L, 1)) {
        char *line = secrets_header(lua_tostring(L, -2), lua_tostring(L, -1), err);
        if (line) vec_push(lines, line);
        if (!line) rc = ERR_ARGUMENT;
    }
    lua_settop(L, top);
    vec_push(lines, NULL);
    return rc;
}

static int add_retriever(tooling *t, lua_State *L, retriever_config *asked)
{
    tool made;
    header_lines headers = { 0 };
    int rc = check_server(t->r, "search", asked->url, t->err);
    if (rc == OK) rc = read_headers(L, &headers, t->err);
    if (rc == OK) {
        asked->headers = (const char *const *)headers.data;
        asked->timeout_ms = (int)(number_field(L, "timeout") * 1000);
        rc = retriever_tool(asked, &made, t->err);
    }
    if (rc == OK) rc = router_add(t->router, &made, t->err);
    free_headers(&headers);
    return rc;
}

/* T.search has checked the values. */
static int add_search(tooling *t, lua_State *L)
{
    const int top = lua_gettop(L), k = (int)number_field(L, "k");
    int rc;
    lua_getfield(L, top, "name"); /* the strings stay on the stack until they have been copied */
    lua_getfield(L, top, "description");
    lua_getfield(L, top, "url");
    const char *name = luaL_optstring(L, top + 1, SEARCH_NAME);
    const char *description = luaL_optstring(L, top + 2, SEARCH_DESCRIPTION), *url = lua_tostring(L, top + 3);
    lua_pushvalue(L, top);
    if (t->words)
        rc = router_add_words(t->router, name, description, SEARCH_PARAMETERS, t->err);
    else if (url)
        rc = add_retriever(t, L, &(retriever_config){ .url = url, .k = k, .name = name, .description = description });
    else
        rc = add_indexed(
            t, &(search_config){ .index = t->r->env.index, .k = k, .name = name, .description = description });
    lua_settop(L, top);
    return rc;
}

/* ---- programs of the user's: T.mcp, T.env ---- */

enum { MAX_TEXTS = 64, IN_FRONT = 3, MAX_WORDS_OF_PROGRAM = MAX_TEXTS + IN_FRONT + 1 };

/* The list `key` of the table on top of the stack, NULL-terminated; the texts live as long as the table. */
static int texts_at(lua_State *L, const char *key, const char *texts[MAX_TEXTS + 1], error *err)
{
    int n = 0;
    lua_getfield(L, -1, key);
    const lua_Integer len = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    for (; n < len && n < MAX_TEXTS; n++) {
        lua_rawgeti(L, -1, n + 1);
        texts[n] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    texts[n] = NULL;
    return n == len ? OK : error_set(err, ERR_LIMIT, "env.tools: a %s has more than %d entries", key, MAX_TEXTS);
}

static int check_program(const recipe *r, const char *kind, const char *program, error *err)
{
    if (!r->sent) return OK;
    return error_set(err, ERR_ARGUMENT,
                     "T.%s in a recipe that was sent: start this worker with RECIPE.lua, a copy "
                     "of your own, if it may run %s",
                     kind, program);
}

static bool flag_at(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

/* What is started for `command` of the table on top of the stack: this program, in whose sandbox it runs, where the
 * table asks for that. self: [RECIPE_PATH]. */
static int command_in_sandbox(lua_State *L, const char *const *command, char *self, const char **words, error *err)
{
    int n = 0;
    if (flag_at(L, "sandbox") && command[0]) {
        const int rc = process_self_path(self, RECIPE_PATH, err);
        if (rc != OK) return rc;
        words[n++] = self;
        words[n++] = "enclosed";
        words[n++] = flag_at(L, "network") ? "network" : "alone";
    }
    for (; *command; command++) words[n++] = *command;
    words[n] = NULL;
    return OK;
}

/* The field `url` of the table on top of the stack, which keeps it alive; NULL: it has none. */
static const char *url_at(lua_State *L)
{
    lua_getfield(L, -1, "url");
    const char *url = lua_tostring(L, -1);
    lua_pop(L, 1);
    return url;
}

/* T.mcp has checked the values. Who knows only a server's command or address asks it itself for its tools' words. */
static int add_mcp(tooling *t, lua_State *L)
{
    const char *command[MAX_TEXTS + 1], *words[MAX_WORDS_OF_PROGRAM], *only[MAX_TEXTS + 1], *url = url_at(L);
    char self[RECIPE_PATH];
    header_lines headers = { 0 };
    int rc = texts_at(L, "command", command, t->err);
    if (rc == OK) rc = texts_at(L, "tools", only, t->err);
    if (rc == OK) rc = url ? check_server(t->r, "mcp", url, t->err) : check_program(t->r, "mcp", command[0], t->err);
    if (rc == OK) rc = command_in_sandbox(L, command, self, words, t->err);
    if (rc == OK) rc = read_headers(L, &headers, t->err);
    if (rc == OK) {
        const mcp_tools_config served = { .server = { .command = words,
                                                      .name = command[0],
                                                      .url = url,
                                                      .headers = (const char *const *)headers.data,
                                                      .timeout_ms = (int)(number_field(L, "timeout") * 1000),
                                                      .start_ms = (int)(number_field(L, "start") * 1000) },
                                          .only = only[0] ? only : NULL,
                                          .words = t->words };
        rc = mcp_add_tools(t->router, &served, t->err);
    }
    free_headers(&headers);
    return rc;
}

enum { AT_ONCE_LUA = 16 }; /* it plays each in a VM of its own, and waits for nothing */

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum { MEMORY_TEXT = 16 };

/* The command of the process in which env.plugin is played: this program. self: [RECIPE_PATH]. */
static int host_plugin(const recipe *r, char *self, char memory[MEMORY_TEXT], const char **words, error *err)
{
    const int rc = process_self_path(self, RECIPE_PATH, err);
    if (r->sent && r->env.plugin_sandbox == PLUGIN_NONE)
        return error_set(err, ERR_ARGUMENT,
                         "env.plugin_sandbox = \"none\" in a recipe that was sent: start this worker with RECIPE.lua, "
                         "a copy of your own, if its plugin may do what you may");
    snprintf(memory, MEMORY_TEXT, "%d", r->env.plugin_memory_mb);
    words[0] = self;
    words[1] = "env-host";
    words[2] = r->env.plugin;
    words[3] = words_of(PLUGIN_SANDBOX_WORDS, (int)r->env.plugin_sandbox);
    words[4] = memory;
    words[5] = NULL;
    return rc;
}

/* T.env has checked the values. */
static int add_environment(tooling *t, lua_State *L)
{
    const char *command[MAX_TEXTS + 1], *words[MAX_WORDS_OF_PROGRAM];
    char self[RECIPE_PATH], memory[MEMORY_TEXT];
    int rc = texts_at(L, "command", command, t->err);
    if (rc == OK) rc = command_in_sandbox(L, command, self, words, t->err);
    if (rc == OK && !command[0]) rc = host_plugin(t->r, self, memory, words, t->err);
    const bool is_file = !command[0];
    if (rc == OK && !(is_file && env_plugin_is_lua(&t->r->env)))
        rc = check_program(t->r, "env", is_file ? t->r->env.plugin : command[0], t->err);
    if (rc != OK) return rc;

    lua_getfield(L, -1, "config");
    json_t *given = lua_isnil(L, -1) ? json_object() : bind_to_json(L, -1);
    lua_pop(L, 1);
    char *options = json_is_object(given) ? json_text(given, true) : xstrdup("{}"); /* an empty table is a list, too */
    json_decref(given);

    const int at_once = (int)number_field(L, "at_once");
    const world_config played = { .command = words,
                                  .name = is_file ? name_in(t->r->env.plugin) : command[0],
                                  .options = options,
                                  .instances = (int)number_field(L, "instances"),
                                  .at_once =
                                      at_once || !is_file || !env_plugin_is_lua(&t->r->env) ? at_once : AT_ONCE_LUA,
                                  .timeout_ms = (int)(number_field(L, "timeout") * 1000),
                                  .start_ms = (int)(number_field(L, "start") * 1000) };
    rc = environment_add(t->router, &played, t->words, t->err);
    free(options);
    return rc;
}

/* The tool on top of the stack, which is env.tools[i]. */
static int add_tool(tooling *t, lua_State *L, lua_Integer i)
{
    const char *kind = "";

    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "kind");
        if (!lua_isnil(L, -1)) kind = lua_tostring(L, -1); /* the table keeps it alive */
        lua_pop(L, 1);
    }
    if (strcmp(kind, "python") == 0) return add_python(t, L);
    if (strcmp(kind, "calculator") == 0) return add_calculator(t);
    if (strcmp(kind, "sql") == 0) return add_sql(t, L);
    if (strcmp(kind, "submit") == 0) return add_submit(t);
    if (strcmp(kind, "search") == 0) return add_search(t, L);
    if (strcmp(kind, "mcp") == 0) return add_mcp(t, L);
    if (strcmp(kind, "env") == 0) return add_environment(t, L);
    if (strcmp(kind, "tool") == 0) return add_written(t, L);
    return error_set(t->err, ERR_ARGUMENT, "env.tools[%d] is none of " TOOL_KINDS, (int)i);
}

static int add_tools(lua_State *L)
{
    tooling *t = lua_touserdata(L, 1);

    config_push(L, "env.tools");
    for (lua_Integer i = 1; lua_istable(L, 2) && i <= luaL_len(L, 2) && t->rc == OK; i++) {
        lua_rawgeti(L, 2, i);
        t->rc = add_tool(t, L, i);
        lua_settop(L, 2);
    }
    return 0;
}

static router *open_router(const recipe *r, logger *lg, bool words, error *err)
{
    tooling t = { .r = r, .router = router_new(lg), .words = words, .err = err };
    int rc = vm_protect(r->vm, add_tools, &t, err);
    if (rc == OK) rc = t.rc;
    if (rc == OK) return t.router;
    error_within(err, "%s", r->path);
    router_free(t.router); /* with the tools that were started before the one that failed */
    return NULL;
}

router *recipe_router(const recipe *r, logger *lg, error *err) { return open_router(r, lg, false, err); }

router *recipe_router_of_words(const recipe *r, error *err) { return open_router(r, NULL, true, err); }
