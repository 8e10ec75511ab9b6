/* SPDX-License-Identifier: MIT */
#include "lua/bind_episode.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "lua/bind.h"

/* A field that the row lacks is nil, as optional fields are; one that is spelled almost like a field of the row is a
 * mistake, which would be a silent 0 for every row. What only has more at its end (answers,
 * answer2) is another field. */
static int missing_field(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    const char *word = lua_tostring(L, 2);
    bind_push_keys(L, 1);
    for (lua_Integer i = 1; lua_rawgeti(L, 3, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        if (lua_type(L, -1) != LUA_TSTRING) continue;
        const char *name = lua_tostring(L, -1);

        size_t same = 0;
        while (word[same] && word[same] == name[same]) same++;
        const bool longer = !word[same] || !name[same] || strspn(word + same, "0123456789_") == strlen(word + same);
        if (longer || !str_nearest(word, (const char *const[]){ name, NULL })) continue;
        return luaL_error(L, "task has no field '%s': did you mean '%s'? (rawget(task, '%s') asks without this error)",
                          word, name, word);
    }
    return 0;
}

/* One metatable for all, which no script can reach. */
static void guard(lua_State *L, const char *name, lua_CFunction index)
{
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, index);
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

static void release_json(void *p) { json_decref(p); }

void bind_push_task(lua_State *L, const task *t)
{
    error err = { 0 };
    const char *key;
    json_t *item;
    void *next;
    json_t **row = bind_hold(L, release_json);
    const int holder = lua_gettop(L);
    *row = json_parse(t->row, strlen(t->row), "task", &err);
    if (!*row) luaL_error(L, "%s", err.text);

    json_object_foreach_safe(*row, next, key, item) /* of a row's own fields, null says that there is none */
        if (json_is_null(item)) json_object_del(*row, key);

    bind_push_json_whole(L, *row);
    bind_let_go(L, holder);
    lua_remove(L, holder);
    if (lua_istable(L, -1)) guard(L, "troupe.task", missing_field);
}

/* What is known of an episode that was played, and not of a response in a file: a 0 in its place would be scored. */
static bool is_of_play(const char *word)
{
    static const char *const NAMES[] = { "turns",   "tool_calls", "tokens",  "wall_ms",
                                         "n_shots", "hint",       "opening", "env_rewards" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(word, NAMES[i]) == 0) return true;
    return false;
}

static int unknown_field(lua_State *L)
{
    static const char *const NAMES[] = { "id",         "text",    "transcript",  "answer",  "turns",
                                         "tool_calls", "tokens",  "stop_reason", "wall_ms", "n_shots",
                                         "hint",       "opening", "env_rewards", NULL };
    const char *word = bind_tolstring(L, 2, NULL), *near = str_nearest(word, NAMES);
    if (is_of_play(word))
        return luaL_error(L,
                          "a response from a file has no '%s': it was not played here (it has id, text, transcript, "
                          "answer, stop_reason; rawget(episode, '%s') asks without this error)",
                          word, word);
    return luaL_error(
        L,
        "episode has no field '%s'%s%s%s (it has id, text, transcript, answer, turns, tool_calls, tokens, "
        "stop_reason, wall_ms, n_shots, hint, opening, env_rewards)",
        word, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void set_string(lua_State *L, const char *field, const char *value)
{
    lua_pushstring(L, value ? value : "");
    lua_setfield(L, -2, field);
}

/* The JSON text's value; false: there is none. */
static void push_json_text(lua_State *L, const char *text)
{
    json_t **value = bind_hold(L, release_json);
    const int holder = lua_gettop(L);
    *value = text ? json_parse(text, strlen(text), "text", NULL) : NULL;
    if (*value)
        bind_push_json(L, *value);
    else
        lua_pushboolean(L, 0);
    bind_let_go(L, holder);
    lua_remove(L, holder);
}

/* What an environment said of a step, beside its words, as fields of the call. */
static void set_outcome(lua_State *L, const char *outcome)
{
    static const char *const NAMES[] = { "done", "rewards", "info" };
    push_json_text(L, outcome);
    for (int i = 0; i < 3 && lua_istable(L, -1); i++) {
        lua_getfield(L, -1, NAMES[i]);
        lua_setfield(L, -3, NAMES[i]);
    }
    lua_pop(L, 1);
}

/* What each step of the environment was worth to it, { name = number }, in their order. */
static void push_env_rewards(lua_State *L, const episode *e)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (uint32_t i = 0; i < e->n_calls; i++) {
        if (!e->calls[i].outcome) continue;
        push_json_text(L, e->calls[i].outcome);
        const int outcome = lua_gettop(L);
        if (!lua_istable(L, outcome) || lua_getfield(L, outcome, "rewards") != LUA_TTABLE) lua_newtable(L);
        lua_rawseti(L, outcome - 1, ++n);
        lua_settop(L, outcome - 1);
    }
}

static void push_calls(lua_State *L, const episode *e)
{
    lua_createtable(L, (int)e->n_calls, 0);
    for (uint32_t i = 0; i < e->n_calls; i++) {
        const tool_call *c = &e->calls[i];

        lua_createtable(L, 0, 5);
        set_string(L, "name", c->name);
        set_string(L, "arguments", c->arguments);
        set_string(L, "observation", c->observation);
        lua_pushboolean(L, c->ok);
        lua_setfield(L, -2, "ok");
        lua_pushnumber(L, c->ms);
        lua_setfield(L, -2, "ms");
        set_outcome(L, c->outcome);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* A turn's "stop" is where it ends in episode.text. */
static void push_turns(lua_State *L, const episode *e)
{
    size_t stop = 0;
    lua_createtable(L, (int)e->n_turns, 0);

    for (uint32_t i = 0; i < e->n_turns; i++) {
        const int32_t call = e->turns[i].call;

        lua_createtable(L, 0, 3);
        set_string(L, "text", e->turns[i].text);
        if (e->turns[i].residue) set_string(L, "residue", e->turns[i].residue);

        stop += e->turns[i].text ? strlen(e->turns[i].text) : 0;
        lua_pushinteger(L, (lua_Integer)stop);
        lua_setfield(L, -2, "stop");

        if (call >= 0 && (uint32_t)call < e->n_calls) set_string(L, "observation", e->calls[call].observation);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_play(lua_State *L, const episode *e)
{
    lua_pushinteger(L, trajectory_sampled(&e->tokens));
    lua_setfield(L, -2, "tokens");
    lua_pushinteger(L, e->n_shots);
    lua_setfield(L, -2, "n_shots");
    lua_pushinteger(L, e->hint_len);
    lua_setfield(L, -2, "hint");
    lua_pushnumber(L, e->wall_ms);
    lua_setfield(L, -2, "wall_ms");

    push_calls(L, e);
    lua_setfield(L, -2, "tool_calls");
    push_turns(L, e);
    lua_setfield(L, -2, "turns");
    push_json_text(L, e->opening);
    lua_setfield(L, -2, "opening");
    push_env_rewards(L, e);
    lua_setfield(L, -2, "env_rewards");
}

void bind_push_episode(lua_State *L, const episode *e)
{
    luaL_checkstack(L, 8, "episode");
    lua_createtable(L, 0, 12);

    char id[17];
    hash_hex(e->id, id);
    set_string(L, "id", id);
    set_string(L, "text", e->text);
    set_string(L, "transcript", e->transcript);
    if (e->answer)
        set_string(L, "answer", e->answer);
    else {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "answer");
    }
    set_string(L, "stop_reason", stop_reason_name(e->stop));

    const bool played = e->tokens.n > 0 || e->n_turns > 0 || e->n_calls > 0; /* nothing that was played has no token */
    if (played) push_play(L, e);
    guard(L, "troupe.episode", unknown_field);
}
