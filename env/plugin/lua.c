/* SPDX-License-Identifier: MIT */
/* An environment in Lua: a file that returns { open, reset, step, close }. Each episode has a VM of its own, in which
 * the file is run from its first line, so that its locals are the episode's and gone after it, and one that fills its
 * memory or computes for ever fails alone. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/plugin/plugin.h"
#include "lua/bind.h"
#include "lua/vm.h"

enum { MAX_FILE_BYTES = 16 << 20, MAX_ARGUMENTS = 3 };

static const vm_limits LIMITS = {
    .memory_bytes = 64 << 20, .instructions = 100000000, .cpu_ms = 5000, .print_bytes = 1 << 16
};

/* An episode, or what is asked for its tools. */
typedef struct seat {
    char *episode;
    vm *vm;
    int functions; /* reference to the table that the file returned */
} seat;

typedef struct lua_plugin {
    char *path, *text; /* the file as it was at the start: all episodes play the same */
    size_t len;
    json_t *config;
    vec(seat) seats;
} lua_plugin;

/* ---- one call ---- */

typedef struct asking {
    const seat *seat;
    const char *function;
    const json_t *arguments[MAX_ARGUMENTS];      /* NULL: nil */
    void (*take)(lua_State *L, json_t **answer); /* what the function returned is on top */
    json_t *answer;
} asking;

static int ask_in_vm(lua_State *L)
{
    asking *a = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->seat->functions);
    if (lua_getfield(L, -1, a->function) == LUA_TNIL) { /* open and close may be left out */
        a->take(L, &a->answer);
        return 0;
    }
    for (int i = 0; i < MAX_ARGUMENTS; i++) {
        if (a->arguments[i])
            bind_push_json(L, a->arguments[i]);
        else
            lua_pushnil(L);
    }
    lua_call(L, MAX_ARGUMENTS, 1);
    a->take(L, &a->answer);
    return 0;
}

static int ask(const lua_plugin *p, asking *a, error *err)
{
    const int rc = vm_protect(a->seat->vm, ask_in_vm, a, err);
    if (rc != OK && err && !strstr(err->text, p->path)) error_within(err, "%s: %s", p->path, a->function);
    return rc;
}

/* ---- what a function returns ---- */

static void take_nothing(lua_State *L, json_t **answer)
{
    (void)L;
    (void)answer;
}

static bool is_known(const char *const *fields, const char *name)
{
    for (; *fields; fields++)
        if (strcmp(*fields, name) == 0) return true;
    return false;
}

/* The text, or the number, on top: bytes that are no UTF-8, and NULs, become U+FFFD. A text that was cut somewhere, or
 * holds what the policy wrote, is no fault of the environment's. */
static json_t *text_on_top(lua_State *L)
{
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    char *copy = xstrndup(text, len);
    for (size_t i = 0; i < len; i++)
        if (!copy[i]) copy[i] = (char)0xff; /* no UTF-8, either */
    json_t *clean = json_bytes(copy);
    free(copy);
    return clean;
}

static json_t *value_on_top(lua_State *L, const char *name, const char **why)
{
    const bool is_text = strcmp(name, "observation") == 0 && lua_isstring(L, -1);
    return is_text ? text_on_top(L) : bind_try_json(L, -1, why);
}

static void check_names(lua_State *L, const char *function, const char *const *fields)
{
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        const char *name = lua_tostring(L, -1);
        if (!name || !is_known(fields, name))
            luaL_error(L, "%s returned a table with '%s', which says nothing here", function, name ? name : "?");
        lua_pop(L, 1);
    }
}

/* A table on top whose fields are all known. */
static json_t *take_fields(lua_State *L, const char *function, const char *const *fields)
{
    const char *why = NULL;
    char wrong[40] = "";
    check_names(L, function, fields);
    json_t *taken = json_object();
    for (lua_pushnil(L); !*wrong && lua_next(L, -2); lua_pop(L, 1)) { /* nothing in it raises */
        const char *name = lua_tostring(L, -2);
        json_t *value = value_on_top(L, name, &why);
        if (value)
            json_object_set_new(taken, name, value);
        else
            snprintf(wrong, sizeof wrong, "%s", name);
    }
    if (!*wrong) return taken;
    json_decref(taken);
    luaL_error(L, "%s of a %s can't be written as JSON: %s", wrong, function, why);
    return NULL;
}

static json_t *take_text(lua_State *L) { return json_pack("{s:o}", "observation", text_on_top(L)); }

static void take_step(lua_State *L, json_t **answer)
{
    static const char *const FIELDS[] = { "observation", "done", "reward", "rewards", "info", "ok", NULL };
    if (lua_isstring(L, -1))
        *answer = take_text(L);
    else if (lua_istable(L, -1))
        *answer = take_fields(L, "step", FIELDS);
    else
        luaL_error(L, "step returned a %s (text, or a table with observation, done, reward, rewards, info, ok)",
                   luaL_typename(L, -1));
}

static void take_opening(lua_State *L, json_t **answer)
{
    static const char *const FIELDS[] = { "observation", "messages", NULL };
    if (lua_isnil(L, -1))
        *answer = json_object();
    else if (lua_isstring(L, -1))
        *answer = take_text(L);
    else if (lua_istable(L, -1) && lua_rawlen(L, -1) > 0)
        *answer = json_pack("{s:o}", "messages", bind_to_json(L, -1));
    else if (lua_istable(L, -1))
        *answer = take_fields(L, "reset", FIELDS);
    else
        luaL_error(L, "reset returned a %s (text, a list of messages, or nil for the row's own prompt)",
                   luaL_typename(L, -1));
}

static void take_tools(lua_State *L, json_t **answer)
{
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        luaL_error(L, "open returned a %s (a list of tools, or nil)", luaL_typename(L, -1));
    const bool some = lua_istable(L, -1) && lua_rawlen(L, -1) > 0;
    *answer = json_pack("{s:o}", "tools", some ? bind_to_json(L, -1) : json_array());
}

/* ---- seats ---- */

/* What the file returned is argument 2's reference: whether it is an environment. */
static int check_functions(lua_State *L)
{
    static const char *const KNOWN[] = { "open", "reset", "step", "close", NULL };
    const seat *s = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->functions);
    if (!lua_istable(L, -1))
        return luaL_error(L, "the file returns a %s, not a table of functions reset and step", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (!is_known(KNOWN, name) || !lua_isfunction(L, -1))
            return luaL_error(
                L, "the file returns a table with '%s', a %s (functions open, reset, step and close are known)", name,
                luaL_typename(L, -1));
    }
    for (int i = 1; i <= 2; i++)
        if (lua_getfield(L, -i, KNOWN[i]) != LUA_TFUNCTION)
            return luaL_error(L, "the file returns a table without a function %s", KNOWN[i]);
    return 0;
}

static void seat_free(seat *s)
{
    vm_free(s->vm);
    free(s->episode);
    *s = (seat){ 0 };
}

static int run_file(const lua_plugin *p, seat *s, error *err)
{
    s->vm = vm_new(VM_REWARD, &LIMITS, NULL, err);
    int rc = s->vm ? OK : ERR_MEMORY;
    if (rc == OK) rc = vm_run_text(s->vm, p->text, p->len, p->path, 1, err);
    if (rc != OK) return rc;
    s->functions = vm_keep(s->vm);
    rc = vm_protect(s->vm, check_functions, s, err);
    return rc != OK && err && !strstr(err->text, p->path) ? error_within(err, "%s", p->path) : rc;
}

/* With the file run and opened. tools (may be NULL): what open returned. */
static int seat_open(const lua_plugin *p, const char *episode, seat *s, json_t **tools, error *err)
{
    *s = (seat){ .episode = xstrdup(episode) };
    asking a = { .seat = s, .function = "open", .arguments = { p->config }, .take = tools ? take_tools : take_nothing };
    int rc = run_file(p, s, err);
    if (rc == OK) rc = ask(p, &a, err);
    if (rc == OK && tools) *tools = a.answer;
    if (rc != OK) seat_free(s);
    return rc;
}

static seat *seat_of(lua_plugin *p, const char *episode)
{
    for (size_t i = 0; i < p->seats.len; i++)
        if (strcmp(p->seats.data[i].episode, episode) == 0) return &p->seats.data[i];
    return NULL;
}

/* ---- as a plugin ---- */

static json_t *open_plugin(void *self, json_t *config, error *err)
{
    lua_plugin *p = self;
    seat s;
    json_t *tools = NULL;
    json_decref(p->config);
    p->config = config ? json_incref(config) : json_object();
    if (seat_open(p, "", &s, &tools, err) != OK) return NULL;
    seat_free(&s);
    return tools;
}

static void close_episode(void *self, const char *episode)
{
    lua_plugin *p = self;
    error err = { 0 };
    seat *s = seat_of(p, episode);
    if (!s) return;
    asking a = { .seat = s, .function = "close", .take = take_nothing };
    if (ask(p, &a, &err) != OK) fprintf(stderr, "%s\n", err.text);
    seat_free(s);
    *s = p->seats.data[--p->seats.len];
}

static json_t *reset(void *self, const char *episode, json_t *row, int64_t seed, error *err)
{
    lua_plugin *p = self;
    seat s;
    if (seat_open(p, episode, &s, NULL, err) != OK) return NULL;
    json_t *number = json_integer(seed), *name = json_string(episode);
    asking a = { .seat = &s, .function = "reset", .arguments = { row, number, name }, .take = take_opening };
    const int rc = ask(p, &a, err);
    json_decref(number);
    json_decref(name);
    if (rc == OK)
        vec_push(&p->seats, s);
    else
        seat_free(&s);
    return a.answer;
}

static json_t *step(void *self, const char *episode, json_t *told, error *err)
{
    lua_plugin *p = self;
    const seat *s = seat_of(p, episode);
    if (!s) {
        error_set(err, ERR_STATE, "%s: a step of an episode that was not reset", p->path);
        return NULL;
    }
    asking a = { .seat = s,
                 .function = "step",
                 .arguments = { json_object_get(told, "call"), json_object_get(told, "text"),
                                json_object_get(told, "turn") },
                 .take = take_step };
    ask(p, &a, err);
    return a.answer;
}

static void free_plugin(void *self)
{
    lua_plugin *p = self;
    while (p->seats.len > 0) close_episode(p, p->seats.data[0].episode);
    vec_free(&p->seats);
    json_decref(p->config);
    free(p->path);
    free(p->text);
    free(p);
}

int plugin_open_lua(const char *path, const plugin_limits *limits, plugin *out, error *err)
{
    lua_plugin *p = xcalloc(1, sizeof *p);
    p->path = xstrdup(path);
    p->text = file_read(path, MAX_FILE_BYTES, &p->len, err);
    if (p->text && plugin_lock(limits, NULL, err) == OK) {
        *out = (plugin){
            .self = p, .open = open_plugin, .reset = reset, .step = step, .close = close_episode, .free = free_plugin
        };
        return OK;
    }
    free_plugin(p);
    return err ? err->code : ERR_NOT_FOUND;
}
