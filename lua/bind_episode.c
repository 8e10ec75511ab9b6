#include "lua/bind_episode.h"

#include <lauxlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "lua/bind.h"

void bind_push_task(lua_State *L, const task *t)
{
    error err = { 0 };
    json_t *row = json_parse(t->row, strlen(t->row), "task", &err);
    if (!row) luaL_error(L, "%s", err.text);
    bind_push_json(L, row);
    json_decref(row);
}

static int unknown_field(lua_State *L)
{
    return luaL_error(L,
                      "episode has no field '%s' (it has id, text, transcript, answer, turns, tool_calls, tokens, "
                      "stop_reason, wall_ms, n_shots, hint)",
                      luaL_tolstring(L, 2, NULL));
}

static void set_string(lua_State *L, const char *field, const char *value)
{
    lua_pushstring(L, value ? value : "");
    lua_setfield(L, -2, field);
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
    else
        lua_pushboolean(L, 0), lua_setfield(L, -2, "answer");
    set_string(L, "stop_reason", stop_reason_name(e->stop));
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
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, unknown_field);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}
