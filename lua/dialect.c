#include "lua/dialect.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/vec.h"
#include "lua/bind.h"
#include "lua/embedded.h"

/* A dialect is its recipe author's, or ours; the caps only keep a mistake from hanging an actor. */
static const vm_limits LIMITS = { .memory_bytes = (size_t)256 << 20, .instructions = 50000000, .wall_ms = 2000 };

struct dialect {
    vm *vm;
    int table, options, tools; /* references */
    char name[64];
};

struct dialect_parser {
    dialect *d; /* borrowed */
    int function;
};

/* ---- opening ---- */

typedef struct opening {
    dialect *d;
    const char *options_json, *tools_json;
} opening;

static void push_json_text(lua_State *L, const char *text)
{
    error err = { 0 };
    json_t *v = text ? json_parse(text, strlen(text), "json", &err) : json_object();
    if (!v) luaL_error(L, "%s", err.text);
    bind_push_json(L, v);
    json_decref(v);
}

/* Stack: the dialect's table. Keeps it, its options (defaults overridden) and the tools. */
static int keep_parts(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    if (!lua_istable(L, -1)) return luaL_error(L, "the file returns no table");
    const char *const needed[] = { "prompt", "observation", "parser" };
    for (int i = 0; i < 3; i++) {
        if (lua_getfield(L, -1, needed[i]) != LUA_TFUNCTION) return luaL_error(L, "it has no function '%s'", needed[i]);
        lua_pop(L, 1);
    }
    lua_newtable(L); /* options */
    if (lua_getfield(L, -2, "defaults") == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -6);
        }
    lua_pop(L, 1);
    push_json_text(L, o->options_json);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, -5) == LUA_TNIL) return luaL_error(L, "it has no option '%s'", lua_tostring(L, -3));
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -6);
    }
    lua_pop(L, 1);
    o->d->options = luaL_ref(L, LUA_REGISTRYINDEX);
    push_json_text(L, o->tools_json);
    o->d->tools = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int run_file(dialect *d, const char *name, error *err)
{
    char file[128];
    snprintf(file, sizeof file, "dialects/%.100s.lua", name);
    for (const struct embedded_file *f = EMBEDDED; f->name; f++)
        if (strcmp(f->name, file) == 0) return vm_run_text(d->vm, (const char *)f->data, f->len, file, 1, err);
    if (!strchr(name, '.') && !strchr(name, '/'))
        return error_set(err, ERR_NOT_FOUND,
                         "no dialect '%s' (there are xml, qwen, llama3 and react, or the path of a .lua file)", name);
    return vm_run_file(d->vm, name, 1, err);
}

dialect *dialect_new(const char *name, const char *options_json, const char *tools_json, error *err)
{
    dialect *d = xcalloc(1, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->vm = vm_new(VM_RECIPE, &LIMITS, NULL, err);
    if (d->vm && run_file(d, name, err) == OK) {
        d->table = vm_keep(d->vm);
        opening o = { .d = d, .options_json = options_json, .tools_json = tools_json };
        if (vm_protect(d->vm, keep_parts, &o, err) == OK) return d;
    }
    error_within(err, "dialect %s", name);
    dialect_free(d);
    return NULL;
}

void dialect_free(dialect *d)
{
    if (!d) return;
    vm_free(d->vm);
    free(d);
}

/* ---- prompt ---- */

typedef struct prompting {
    dialect *d;
    const char *instruction, *const *shots, *row_json;
    int n_shots;
    prompt_pieces *out;
} prompting;

static token_role role_of(lua_State *L, const char *name)
{
    if (strcmp(name, "instruction") == 0) return ROLE_INSTRUCTION;
    if (strcmp(name, "shot") == 0) return ROLE_SHOT;
    if (strcmp(name, "question") == 0) return ROLE_QUESTION;
    luaL_error(L, "prompt: no role '%s' (instruction, shot, question)", name);
    return ROLE_QUESTION;
}

static void take_pieces(lua_State *L, prompt_pieces *out)
{
    luaL_checktype(L, -1, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        const token_role role = role_of(L, luaL_checkstring(L, -2));
        const char *text = luaL_checklstring(L, -1, &len);
        vec_push(out, (prompt_piece){ .role = role, .text = xstrndup(text, len), .len = len });
        lua_pop(L, 3);
    }
}

static int make_prompt(lua_State *L)
{
    prompting *p = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->table);
    lua_getfield(L, -1, "prompt");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->options);
    lua_newtable(L); /* spec */
    lua_pushstring(L, p->instruction ? p->instruction : "");
    lua_setfield(L, -2, "instruction");
    push_json_text(L, p->row_json);
    lua_setfield(L, -2, "row");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->tools);
    lua_setfield(L, -2, "tools");
    lua_newtable(L);
    for (int i = 0; i < p->n_shots; i++) {
        push_json_text(L, p->shots[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "shots");
    lua_call(L, 2, 1);
    take_pieces(L, p->out);
    return 0;
}

int dialect_prompt(dialect *d, const char *instruction, const char *const *shots, int n_shots, const char *row_json,
                   prompt_pieces *out, error *err)
{
    prompting p = { d, instruction, shots, row_json, n_shots, out };
    return vm_protect(d->vm, make_prompt, &p, err) == OK ? OK : error_within(err, "dialect %s", d->name);
}

void prompt_pieces_free(prompt_pieces *p)
{
    for (size_t i = 0; i < p->len; i++) free(p->data[i].text);
    vec_free(p);
}

/* ---- observation ---- */

typedef struct observing {
    dialect *d;
    const char *tool, *text;
    size_t len;
    bool ok;
    str *out;
} observing;

static int make_observation(lua_State *L)
{
    observing *o = lua_touserdata(L, 1);
    size_t len;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    lua_getfield(L, -1, "observation");
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->options);
    lua_pushstring(L, o->tool);
    lua_pushlstring(L, o->text, o->len);
    lua_pushboolean(L, o->ok);
    lua_call(L, 4, 1);
    const char *text = luaL_checklstring(L, -1, &len);
    str_add(o->out, text, len);
    return 0;
}

int dialect_observation(dialect *d, const char *tool, const char *text, size_t len, bool ok, str *out, error *err)
{
    observing o = { d, tool, text, len, ok, out };
    return vm_protect(d->vm, make_observation, &o, err) == OK ? OK : error_within(err, "dialect %s", d->name);
}

/* ---- parser ---- */

static int make_parser(lua_State *L)
{
    dialect_parser *p = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->table);
    lua_getfield(L, -1, "parser");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->options);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->tools);
    lua_call(L, 2, 1);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    p->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

dialect_parser *dialect_parser_new(dialect *d, error *err)
{
    dialect_parser *p = xcalloc(1, sizeof *p);
    *p = (dialect_parser){ .d = d, .function = LUA_NOREF };
    if (vm_protect(d->vm, make_parser, p, err) == OK) return p;
    error_within(err, "dialect %s", d->name);
    free(p);
    return NULL;
}

void dialect_parser_free(dialect_parser *p)
{
    if (!p) return;
    vm_drop(p->d->vm, p->function);
    free(p);
}

typedef struct feeding {
    dialect_parser *p;
    const char *chunk;
    size_t len;
    dialect_result *out;
} feeding;

/* Arguments on top of the stack as JSON text; what can't be written so (bytes that are no text) is the policy's doing.
 */
static int arguments_text(lua_State *L)
{
    json_t *arguments = bind_to_json(L, -1);
    char *text = json_text(arguments, true);
    json_decref(arguments);
    lua_pushlightuserdata(L, text);
    return 1;
}

static void call_event(lua_State *L, dialect_result *out, const char *name)
{
    lua_pushcfunction(L, arguments_text);
    lua_pushvalue(L, -2);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        out->event = DIALECT_BAD;
        out->text = xstrdup("error: the arguments of the call are no valid text");
        return;
    }
    char *text = lua_touserdata(L, -1);
    const bool list = strcmp(text, "[]") == 0; /* an empty table is no list here */
    out->event = DIALECT_CALL;
    out->name = xstrdup(name);
    out->arguments = list ? xstrdup("{}") : text;
    if (list) free(text);
}

static int feed(lua_State *L)
{
    feeding *f = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->p->function);
    lua_pushlstring(L, f->chunk, f->len);
    lua_call(L, 1, 3);
    f->out->event = DIALECT_MORE;
    if (lua_isnil(L, -3)) return 0;
    const char *event = luaL_checkstring(L, -3), *first = luaL_checkstring(L, -2);
    if (strcmp(event, "call") == 0) {
        call_event(L, f->out, first);
    } else if (strcmp(event, "answer") == 0 || strcmp(event, "bad") == 0) {
        f->out->event = event[0] == 'a' ? DIALECT_ANSWER : DIALECT_BAD;
        f->out->text = xstrdup(first);
    } else {
        return luaL_error(L, "the parser answers '%s' (call, answer, bad or nil)", event);
    }
    return 0;
}

int dialect_feed(dialect_parser *p, const char *chunk, size_t len, dialect_result *out, error *err)
{
    feeding f = { p, chunk, len, out };
    *out = (dialect_result){ 0 };
    return vm_protect(p->d->vm, feed, &f, err) == OK ? OK : error_within(err, "dialect %s", p->d->name);
}

void dialect_result_reset(dialect_result *r)
{
    free(r->name);
    free(r->arguments);
    free(r->text);
    *r = (dialect_result){ 0 };
}
