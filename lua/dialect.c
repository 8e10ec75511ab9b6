/* SPDX-License-Identifier: MIT */
#include "lua/dialect_inner.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/vec.h"
#include "lua/bind.h"
#include "lua/embedded.h"
#include "lua/told.h"

/* A dialect is its recipe author's, or ours; the caps only keep a mistake from hanging an actor. */
enum { MEMORY_PER_BYTE = 32, INSTRUCTIONS_PER_BYTE = 100, BYTES_PER_MS = 1024 }; /* of a turn, beyond these */
static const vm_limits LIMITS = { .memory_bytes = (size_t)256 << 20, .instructions = 50000000, .cpu_ms = 2000 };

struct dialect_parser {
    dialect *d; /* borrowed */
    int feed, finish, cut;
    size_t fed; /* bytes */
};

/* ---- opening ---- */

typedef struct opening {
    dialect *d;
    const char *options_json, *tools_json;
    bool templates, has_tools;
} opening;

/* The value, which remembers its text. */
static void push_json_text(lua_State *L, const dialect *d, const char *text)
{
    error err = { 0 };
    json_t *v = text ? json_parse(text, strlen(text), "json", &err) : json_object();
    if (!v) luaL_error(L, "%s", err.text);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->told);
    told_push(L, v, lua_gettop(L));
    lua_remove(L, -2);
    json_decref(v);
}

static int new_told(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    o->d->told = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void check_functions(lua_State *L)
{
    static const char *const NEEDED[] = { "prompt", "observation", "parser" };
    for (int i = 0; i < 3; i++) {
        if (lua_getfield(L, -1, NEEDED[i]) != LUA_TFUNCTION) luaL_error(L, "it has no function '%s'", NEEDED[i]);
        lua_pop(L, 1);
    }
}

/* With the dialect's table on top of the stack: pushes its options, the recipe's where it gives some, else the
 * defaults. */
static void push_options(lua_State *L, const opening *o)
{
    lua_newtable(L);
    if (lua_getfield(L, -2, "defaults") == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) { /* options, defaults, key, value */
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -6);
        }
    lua_pop(L, 1);

    push_json_text(L, o->d, o->options_json);
    if (!lua_istable(L, -1)) luaL_error(L, "its options are not an object");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) { /* options, given, key, value */
        lua_pushvalue(L, -2);
        if (lua_rawget(L, -5) == LUA_TNIL) luaL_error(L, "it has no option '%s'", lua_tostring(L, -3));
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -6);
    }
    lua_pop(L, 1);
}

/* Checks what the file has returned, keeps its options and the tools in the registry, and lets the dialect's own
 * `check` look at them. */
static int keep_parts(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    if (!lua_istable(L, -1)) return luaL_error(L, "the file does not return a table");
    check_functions(L);

    push_options(L, o);
    o->d->options = luaL_ref(L, LUA_REGISTRYINDEX);
    push_json_text(L, o->d, o->tools_json);
    o->d->tools = luaL_ref(L, LUA_REGISTRYINDEX);

    if (lua_getfield(L, -1, "check") == LUA_TNIL) return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->options);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->tools);
    lua_call(L, 2, 0);
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

/* What can be known before the first turn is said before it: that the parser is one, and the frame of a result. */
static int rehearse(dialect *d, error *err)
{
    dialect_frame frame = { 0 };
    dialect_parser *p = dialect_parser_new(d, err);
    if (!p) return err ? err->code : ERR_SCRIPT;
    dialect_parser_free(p);

    const int rc = dialect_observation(d, &(const char *){ "tool" }, &(const bool){ true }, 1, "", &frame, err);
    dialect_frame_reset(&frame);
    return rc;
}

dialect *dialect_new(const char *name, const char *options_json, const char *tools_json, error *err)
{
    dialect *d = xcalloc(1, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->begun = LUA_REFNIL;
    d->vm = vm_new(VM_RECIPE, &LIMITS, NULL, err);
    if (d->vm && run_file(d, name, err) == OK) {
        d->table = vm_keep(d->vm);
        opening o = { .d = d, .options_json = options_json, .tools_json = tools_json };
        if (vm_protect(d->vm, new_told, &o, err) == OK && vm_protect(d->vm, keep_parts, &o, err) == OK &&
            rehearse(d, err) == OK)
            return d;
    }

    if (err && strncmp(err->text, "dialect ", 8) != 0) error_within(err, "dialect %s", name);
    dialect_free(d);
    return NULL;
}

/* Whether the dialect's table says that it speaks through templates. */
static int says_templates(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->table);
    lua_getfield(L, -1, "templates");
    o->templates = lua_toboolean(L, -1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->d->tools);
    o->has_tools = luaL_len(L, -1) > 0;
    return 0;
}

/* troupe.chat_template's reply(render). */
static int keep_reply(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "troupe.env");
    lua_getfield(L, -1, "require");
    lua_pushliteral(L, "troupe.chat_template");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "reply");
    chat_speaker_push(L, o->d->speaker);
    lua_call(L, 1, 1);
    o->d->begun = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int dialect_use_template(dialect *d, const char *dir, error *err)
{
    opening o = { .d = d };
    int rc = vm_protect(d->vm, says_templates, &o, err);
    if (rc == OK && !o.templates)
        rc = error_set(err, ERR_UNSUPPORTED,
                       "it cannot use a model's chat template (xml, qwen and llama3 can): it has no messages that one "
                       "could write");
    if (rc == OK && !(d->speaker = chat_speaker_new(dir, o.has_tools, err))) rc = err->code;
    if (rc == OK) rc = vm_protect(d->vm, keep_reply, &o, err);
    if (rc == OK) rc = rehearse(d, err);
    return rc == OK ? OK : error_within(err, "chat template: dialect %s", d->name);
}

void dialect_free(dialect *d)
{
    if (!d) return;
    vm_free(d->vm);
    chat_speaker_free(d->speaker);
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
    if (strcmp(name, "instruction") == 0) return TOKEN_INSTRUCTION;
    if (strcmp(name, "shot") == 0) return TOKEN_SHOT;
    if (strcmp(name, "question") == 0) return TOKEN_QUESTION;
    luaL_error(L, "prompt: no role '%s' (instruction, shot, question)", name);
    return TOKEN_QUESTION;
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
        const bool plain = lua_getfield(L, -3, "plain") != LUA_TNIL && lua_toboolean(L, -1);
        const bool written = lua_getfield(L, -4, "written") != LUA_TNIL && lua_toboolean(L, -1);
        vec_push(out, (prompt_piece){
                          .role = role, .text = xstrndup(text, len), .len = len, .plain = plain, .written = written });
        lua_pop(L, 5);
    }
}

/* spec.tojson(value): as a chat template's tojson writes it; a value that was read from JSON keeps the order of its
 * keys. */
static int tojson(lua_State *L)
{
    str text = { 0 };
    luaL_checkany(L, 1);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1);
        return 1;
    }

    json_t *v = bind_to_json(L, 1);
    told_text(v, &text);
    json_decref(v);
    lua_pushlstring(L, text.data, text.len);
    str_free(&text);
    return 1;
}

void dialect_push_spec(lua_State *L, const dialect *d)
{
    lua_createtable(L, 0, 8);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->told);
    lua_pushcclosure(L, tojson, 1);
    lua_setfield(L, -2, "tojson");
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->tools);
    lua_setfield(L, -2, "tools");
    if (!d->speaker) return;
    chat_speaker_push(L, d->speaker);
    lua_setfield(L, -2, "render");
}

/* spec with instruction, row and shots, given to prompt(options, spec). */
static int make_prompt(lua_State *L)
{
    prompting *p = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->table);
    lua_getfield(L, -1, "prompt");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->options);

    dialect_push_spec(L, p->d);
    lua_pushstring(L, p->instruction ? p->instruction : "");
    lua_setfield(L, -2, "instruction");
    push_json_text(L, p->d, p->row_json);
    lua_setfield(L, -2, "row");

    lua_newtable(L);
    for (int i = 0; i < p->n_shots; i++) {
        push_json_text(L, p->d, p->shots[i]);
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

/* ---- parser ---- */

static int make_parser(lua_State *L)
{
    dialect_parser *p = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->table);
    lua_getfield(L, -1, "parser");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->options);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->tools);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->d->begun);
    lua_call(L, 3, 3);

    for (int i = -3; i < 0; i++)
        if (!lua_isfunction(L, i) && (i == -3 || !lua_isnil(L, i)))
            luaL_error(L, "parser returned a %s (expected one to three functions)", luaL_typename(L, i));
    p->cut = luaL_ref(L, LUA_REGISTRYINDEX);
    p->finish = luaL_ref(L, LUA_REGISTRYINDEX);
    p->feed = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

dialect_parser *dialect_parser_new(dialect *d, error *err)
{
    dialect_parser *p = xcalloc(1, sizeof *p);
    *p = (dialect_parser){ .d = d, .feed = LUA_NOREF, .finish = LUA_NOREF, .cut = LUA_NOREF };
    if (vm_protect(d->vm, make_parser, p, err) == OK) return p;
    error_within(err, "dialect %s", d->name);
    dialect_parser_free(p);
    return NULL;
}

void dialect_parser_free(dialect_parser *p)
{
    if (!p) return;
    vm_drop(p->d->vm, p->feed);
    vm_drop(p->d->vm, p->finish);
    vm_drop(p->d->vm, p->cut);
    free(p);
}

typedef struct feeding {
    dialect_parser *p;
    int function;
    const char *chunk; /* its argument; or NULL, then it is the number below */
    size_t len;        /* of the chunk, or of the token by which the policy stopped */
    dialect_result *out;
} feeding;

/* The value on top of the stack as JSON text, a light userdata. */
static int json_of(lua_State *L)
{
    json_t *v = bind_to_json(L, -1);
    char *text = json_text(v, true);
    json_decref(v);
    lua_pushlightuserdata(L, text);
    return 1;
}

/* A table of arguments, or their JSON text: an object either way. NULL: bytes that are no text, or no object. */
static char *arguments_of(lua_State *L)
{
    size_t len;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *given = lua_tolstring(L, -1, &len);
        json_t *v = json_parse(given, len, "arguments", NULL);
        char *text = json_is_object(v) ? json_text(v, true) : NULL;
        json_decref(v);
        return text;
    }

    lua_pushcfunction(L, json_of);
    lua_pushvalue(L, -2);
    char *text = lua_pcall(L, 1, 1, 0) == LUA_OK ? lua_touserdata(L, -1) : NULL;
    lua_pop(L, 1);

    if (text && strcmp(text, "[]") == 0) strcpy(text, "{}"); /* an empty table is no list here */
    if (!text || text[0] == '{') return text;
    free(text);
    return NULL;
}

static char *as_json_string(lua_State *L, int index)
{
    size_t len;
    const char *bytes = lua_tolstring(L, index, &len);
    str text = { 0 };
    str_json(&text, bytes ? bytes : "", bytes ? len : 0);
    return str_take(&text);
}

/* The call on top of the stack. */
static dialect_call call_of(lua_State *L)
{
    dialect_call call = { 0 };
    size_t len = 0;
    if (!lua_istable(L, -1))
        luaL_error(L, "the parser returned a %s as a call (expected a table)", luaL_typename(L, -1));
    lua_getfield(L, -1, "name");
    lua_getfield(L, -2, "bad");
    lua_getfield(L, -3, "arguments");

    const char *name = lua_tolstring(L, -3, &len), *bad = lua_tostring(L, -2);
    if (!bad && !name) luaL_error(L, "the parser returned a call without a name");
    call.arguments = bad ? NULL : arguments_of(L);
    if (!bad && !call.arguments) bad = "error: the arguments of the call are not valid text";
    if (!bad && strlen(name) != len) bad = "error: the name of a tool holds no control characters";

    lua_pop(L, 3);
    call.name = xstrdup(name ? name : "");
    if (!bad) return call;

    /* A call that can't be made: what the policy wrote takes the place of its arguments. */
    call.bad = xstrdup(bad);
    free(call.arguments);
    lua_getfield(L, -1, "raw");
    call.arguments = as_json_string(L, -1);
    lua_pop(L, 1);
    return call;
}

static void take_calls(lua_State *L, dialect_result *out)
{
    const size_t n = lua_rawlen(L, -1);
    if (n < 1) luaL_error(L, "the parser returned an empty list of calls");

    out->calls = xcalloc(n, sizeof *out->calls);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        out->calls[out->n_calls] = call_of(L);
        out->n_calls++;
        lua_pop(L, 1);
    }
    out->event = DIALECT_CALLS;
}

static void take_result(lua_State *L, const dialect_parser *p, dialect_result *out)
{
    size_t len;
    int whole = 1;
    if (!lua_istable(L, -1))
        luaL_error(L, "the parser returned a %s (expected nil, or a table with calls or answer)", luaL_typename(L, -1));

    if (lua_getfield(L, -1, "rest") != LUA_TNIL) lua_tointegerx(L, -1, &whole);
    if (!whole) luaL_error(L, "the parser returned a rest that is not a whole number");
    const lua_Integer rest = lua_tointeger(L, -1);
    if (rest < 0 || (size_t)rest > p->fed)
        luaL_error(L, "the parser returned a rest of %I bytes, but was fed only %I", rest, (lua_Integer)p->fed);
    lua_pop(L, 1);

    if (lua_getfield(L, -1, "calls") == LUA_TTABLE) {
        take_calls(L, out);
    } else if (lua_getfield(L, -2, "answer") == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &len);
        out->answer = xstrndup(text, len);
        for (size_t i = 0; i < len; i++)
            if (!out->answer[i]) out->answer[i] = NUL_WRITTEN; /* "42" and a NUL and more is not 42 */
        out->event = DIALECT_ANSWER;
    } else {
        luaL_error(L, "the parser returned a table without calls or answer");
    }

    out->rest = (size_t)rest;
}

static int feed(lua_State *L)
{
    feeding *f = lua_touserdata(L, 1);
    if (f->function == LUA_REFNIL || f->function == LUA_NOREF) return 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, f->function);
    if (f->chunk)
        lua_pushlstring(L, f->chunk, f->len);
    else
        lua_pushinteger(L, (lua_Integer)f->len);
    lua_call(L, 1, 1);

    if (!lua_isnil(L, -1)) take_result(L, f->p, f->out);
    return 0;
}

/* The caps grow with the turn, or a policy would end its episode in an error by writing a long one. */
static vm_limits limits_for(const dialect_parser *p)
{
    vm_limits limits = LIMITS;
    limits.memory_bytes += MEMORY_PER_BYTE * p->fed;
    limits.instructions += (int64_t)(INSTRUCTIONS_PER_BYTE * p->fed);
    limits.cpu_ms += (int64_t)(p->fed / BYTES_PER_MS);
    return limits;
}

static int ask_parser(const feeding *f, error *err)
{
    const vm_limits limits = limits_for(f->p);
    *f->out = (dialect_result){ 0 };
    vm_set_limits(f->p->d->vm, &limits);
    const int rc = vm_protect(f->p->d->vm, feed, (void *)(uintptr_t)f, err);
    vm_set_limits(f->p->d->vm, &LIMITS);

    if (rc == OK) return OK;
    dialect_result_reset(f->out);
    return error_within(err, "dialect %s", f->p->d->name);
}

int dialect_feed(dialect_parser *p, const char *chunk, size_t len, dialect_result *out, error *err)
{
    p->fed += len;
    return ask_parser(&(feeding){ p, p->feed, chunk ? chunk : "", len, out }, err);
}

int dialect_finish(dialect_parser *p, size_t stop_bytes, dialect_result *out, error *err)
{
    return ask_parser(&(feeding){ p, p->finish, NULL, stop_bytes, out }, err);
}

int dialect_cut(dialect_parser *p, dialect_result *out, error *err)
{
    return ask_parser(&(feeding){ p, p->cut, NULL, 0, out }, err);
}

void dialect_result_reset(dialect_result *r)
{
    for (size_t i = 0; i < r->n_calls; i++) {
        free(r->calls[i].name);
        free(r->calls[i].arguments);
        free(r->calls[i].bad);
    }
    free(r->calls);
    free(r->answer);
    *r = (dialect_result){ 0 };
}

/* Reads one turn of a response, which ends after *used bytes of it. */
static int read_turn(dialect *d, const char *text, size_t len, size_t *used, dialect_result *r, error *err)
{
    dialect_parser *p = dialect_parser_new(d, err);
    int rc = p ? dialect_feed(p, text, len, r, err) : ERR_SCRIPT;
    if (rc == OK && r->event == DIALECT_MORE) rc = dialect_finish(p, 0, r, err);
    *used = len - (rc == OK ? r->rest : 0);
    dialect_parser_free(p);
    return rc;
}

int dialect_answer(dialect *d, const char *response, size_t len, char **answer, error *err)
{
    dialect_result r = { 0 };
    size_t used;
    *answer = NULL;

    do {
        dialect_result_reset(&r);
        if (read_turn(d, response, len, &used, &r, err) != OK) return err->code;
        response += used;
        len -= used;
    } while (r.event == DIALECT_CALLS && len > 0 && used > 0);

    if (r.event == DIALECT_ANSWER) *answer = xstrdup(r.answer);
    dialect_result_reset(&r);
    return OK;
}
