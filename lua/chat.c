/* SPDX-License-Identifier: MIT */
#include "lua/chat.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lua/bind.h"
#include "lua/vm.h"

static const vm_limits LIMITS = { .memory_bytes = (size_t)256 << 20, .instructions = 50000000, .cpu_ms = 5000 };

struct chat_template {
    vm *v;
    int compiled; /* vm_drop's: the template as the interpreter made it runnable */
    char *where;
};

const char *chat_template_where(const chat_template *t) { return t->where; }

/* ---- how the interpreter ends ---- */

typedef struct ending {
    char kind[12]; /* of troupe.jinja_value's fail; "": well, or by the VM */
    str why;       /* the caller releases it */
    int line;      /* 0: `why` says it, or there is none */
} ending;

/* Leaves the error table on top in `end`. */
static void read_ending(lua_State *L, ending *end)
{
    size_t len;
    lua_getfield(L, -1, "jinja");
    lua_getfield(L, -2, "message");
    const char *kind = lua_tostring(L, -2), *why = lua_tolstring(L, -1, &len);
    snprintf(end->kind, sizeof end->kind, "%s", kind ? kind : "fault");
    if (why) str_visible(&end->why, why, len);
    lua_pop(L, 2);
}

/* Calls the function below its arguments: one result, or false and how the interpreter ended. Errors that are not its
 * own (the VM's limits, a fault of ours) are raised further. `state`: the index of the interpreter's run, 0 for
 * none. */
static bool call_interpreter(lua_State *L, int n_args, int state, ending *end)
{
    if (lua_pcall(L, n_args, 1, 0) == LUA_OK) return true;
    if (state && lua_getfield(L, state, "line")) {
        end->line = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    if (!lua_istable(L, -1)) lua_error(L);
    read_ending(L, end);
    return false;
}

/* rc: vm_protect's, with its sentence in `err`. One sentence for the user from either kind of end. */
static int tell(const char *where, int rc, const ending *end, error *err)
{
    static const struct {
        const char *kind;
        int code;
    } KINDS[] = { { "syntax", ERR_PARSE },
                  { "fault", ERR_PARSE },
                  { "lacks", ERR_UNSUPPORTED },
                  { "limit", ERR_LIMIT },
                  { "refused", ERR_ARGUMENT } };

    char place[32] = "";
    if (end->line > 0) snprintf(place, sizeof place, "line %d: ", end->line);

    for (size_t i = 0; rc == OK && i < sizeof KINDS / sizeof *KINDS; i++) {
        if (strcmp(end->kind, KINDS[i].kind) != 0) continue;
        const bool own_words = KINDS[i].code == ERR_ARGUMENT;
        return error_set(err, KINDS[i].code, "%s: %s%s", where, own_words ? "" : place, str_text(&end->why));
    }

    if (rc == ERR_TIMEOUT)
        return error_set(err, rc, "%s: %sstopped: a template may run %d million instructions and %d s", where, place,
                         (int)(LIMITS.instructions / 1000000), (int)(LIMITS.cpu_ms / 1000));
    if (rc == ERR_LIMIT)
        return error_set(err, rc, "%s: %sstopped: a template may use %d MB of memory", where, place,
                         (int)(LIMITS.memory_bytes >> 20));
    if (rc == ERR_SCRIPT && err && strstr(err->text, "stack overflow"))
        return error_set(err, ERR_LIMIT, "%s: %snested too deep", where, place);
    return rc == OK ? OK : error_within(err, "%s: %s", where, place);
}

static void push_module(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* ---- a template ---- */

typedef struct compiling {
    const char *text;
    size_t len;
    int compiled;
    ending end;
} compiling;

static int compile(lua_State *L)
{
    compiling *c = lua_touserdata(L, 1);
    push_module(L, "troupe.jinja");
    lua_getfield(L, -1, "compile");
    lua_pushlstring(L, c->text, c->len);
    if (call_interpreter(L, 1, 0, &c->end)) c->compiled = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int check_text(const char *text, size_t len, const char *where, error *err)
{
    const size_t good = utf8_run(text, text + len);
    int line = 1;
    if (good == len) return OK;
    for (size_t i = 0; i < good; i++) line += text[i] == '\n';
    return error_set(err, ERR_PARSE, "%s: line %d: byte 0x%02x is not UTF-8", where, line, (unsigned char)text[good]);
}

chat_template *chat_template_new(const char *text, size_t len, const char *where, error *err)
{
    if (check_text(text, len, where, err) != OK) return NULL;
    const size_t mark = utf8_mark(text, len);
    compiling c = { .text = text + mark, .len = len - mark };
    error own = { 0 };
    chat_template *t = xcalloc(1, sizeof *t);
    t->where = xstrdup(where);
    t->v = vm_new(VM_RECIPE, &LIMITS, NULL, &own);
    int rc = t->v ? vm_protect(t->v, compile, &c, &own) : own.code;

    rc = tell(where, rc, &c.end, &own);
    t->compiled = c.compiled;
    str_free(&c.end.why);
    if (rc == OK) return t;
    chat_template_free(t);
    if (err) *err = own;
    return NULL;
}

void chat_template_free(chat_template *t)
{
    if (!t) return;
    vm_free(t->v); /* and what was compiled in it */
    free(t->where);
    free(t);
}

/* ---- today ---- */

/* The day's calendar fields, from year, month (1 to 12) and day. False: there is no such day. */
static bool set_day(struct tm *today, int year, int month, int day)
{
    struct tm wanted = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
    const time_t seconds = timegm(&wanted);
    return gmtime_r(&seconds, today) && today->tm_mday == day && today->tm_mon == month - 1;
}

static int month_of(const char *name)
{
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = strlen(name) == 3 ? strstr(MONTHS, name) : NULL;
    return at && (at - MONTHS) % 3 == 0 ? (int)(at - MONTHS) / 3 + 1 : 0;
}

/* What strftime_now calls today. A date_string that is none (a template may print any) leaves today's. */
static int find_today(const json_t *c, struct tm *today, error *err)
{
    const char *date = json_string_value(json_object_get(c, "date"));
    const char *words = json_string_value(json_object_get(c, "date_string"));
    char month[4] = "", rest;
    int year, number, day;
    const time_t now = time(NULL);

    if (date) {
        if (sscanf(date, "%4d-%2d-%2d%c", &year, &number, &day, &rest) == 3 && set_day(today, year, number, day))
            return OK;
        return error_set(err, ERR_PARSE, "date: expected a day as \"2026-11-26\", found \"%s\"", date);
    }
    const bool written = words && sscanf(words, "%2d %3s %4d%c", &day, month, &year, &rest) == 3 && month_of(month);
    if (written && set_day(today, year, month_of(month), day)) return OK;
    localtime_r(&now, today);
    return OK;
}

/* strftime(FORMAT) for the interpreter; upvalue 1: the struct tm. */
static int bind_strftime(lua_State *L)
{
    char text[512];
    const struct tm *today = lua_touserdata(L, lua_upvalueindex(1));
    const char *format = luaL_checkstring(L, 1);
    const size_t len = strftime(text, sizeof text, format, today); /* NOLINT: the template chooses the format */
    if (len == 0 && *format) return 0;
    lua_pushlstring(L, text, len);
    return 1;
}

/* ---- a conversation as the interpreter's values ---- */

static void push_value(lua_State *L, const json_t *v, int none);

/* { kind = "dict", keys = { in their order }, map = { key -> value } } */
static void push_dict(lua_State *L, const json_t *v, int none)
{
    const char *key;
    json_t *item;
    lua_Integer n = 0;
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "dict");
    lua_setfield(L, -2, "kind");
    lua_createtable(L, (int)json_object_size(v), 0);
    lua_createtable(L, 0, (int)json_object_size(v));

    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        push_value(L, item, none);
        lua_setfield(L, -2, key);
        lua_pushstring(L, key);
        lua_rawseti(L, -3, ++n);
    }
    lua_setfield(L, -3, "map");
    lua_setfield(L, -2, "keys");
}

/* { kind = "list", n =, [1..n] } */
static void push_list(lua_State *L, const json_t *v, int none)
{
    size_t i;
    json_t *item;

    lua_createtable(L, (int)json_array_size(v), 2);
    lua_pushliteral(L, "list");
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, (lua_Integer)json_array_size(v));
    lua_setfield(L, -2, "n");

    json_array_foreach(v, i, item)
    {
        push_value(L, item, none);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_value(lua_State *L, const json_t *v, int none)
{
    luaL_checkstack(L, 8, "a conversation nested too deep");
    if (!v || json_is_null(v))
        lua_pushvalue(L, none);
    else if (json_is_object(v))
        push_dict(L, v, none);
    else if (json_is_array(v))
        push_list(L, v, none);
    else
        bind_push_json(L, v);
}

/* Variable name -> value, with what transformers always give a template. */
static void push_variables(lua_State *L, const json_t *conversation)
{
    const char *key;
    json_t *item;
    push_module(L, "troupe.jinja_value");
    lua_getfield(L, -1, "NONE");
    const int none = lua_gettop(L);

    lua_createtable(L, 0, 16);
    lua_pushvalue(L, none);
    lua_setfield(L, -2, "tools");
    lua_pushvalue(L, none);
    lua_setfield(L, -2, "documents");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "add_generation_prompt");
    json_object_foreach((json_t *)(uintptr_t)conversation, key, item)
    {
        push_value(L, item, none);
        lua_setfield(L, -2, key);
    }
    lua_replace(L, none - 1);
    lua_pop(L, 1);
}

/* ---- what is a conversation ---- */

static bool absent(const json_t *v) { return !v || json_is_null(v); }

/* An object, and what stands in it under "function" is one, too: so are a call and a tool written. */
static const json_t *function_in(const json_t *v)
{
    const json_t *inside = json_object_get(v, "function");
    const json_t *found = absent(inside) ? v : inside;
    return json_is_object(found) ? found : NULL;
}

static int check_content(const json_t *content, size_t at, error *err)
{
    size_t i;
    json_t *part;

    if (json_is_object(content))
        return error_set(err, ERR_PARSE, "messages[%zu].content: expected text or a list of parts", at);

    json_array_foreach((json_t *)(uintptr_t)content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (!json_is_object(part) || !(absent(text) || json_is_string(text)))
            return error_set(err, ERR_PARSE, "messages[%zu].content[%zu]: expected an object with a \"text\"", at, i);
    }
    return OK;
}

static int check_calls(const json_t *calls, size_t at, error *err)
{
    size_t i;
    json_t *one;

    if (!absent(calls) && !json_is_array(calls))
        return error_set(err, ERR_PARSE, "messages[%zu].tool_calls: expected a list", at);

    json_array_foreach((json_t *)(uintptr_t)calls, i, one)
    {
        if (!json_is_string(json_object_get(function_in(one), "name")))
            return error_set(err, ERR_PARSE,
                             "messages[%zu].tool_calls[%zu]: expected an object with the \"name\" of a function", at,
                             i);
    }
    return OK;
}

static int check_words(const json_t *c, error *err)
{
    static const char *const TEXTS[] = { "bos_token", "eos_token", "date_string", "date" };
    size_t i;
    json_t *tool;

    for (i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        const json_t *text = json_object_get(c, TEXTS[i]);
        if (!absent(text) && !json_is_string(text)) return error_set(err, ERR_PARSE, "%s: expected text", TEXTS[i]);
    }

    json_array_foreach(json_object_get(c, "tools"), i, tool)
    {
        if (!function_in(tool))
            return error_set(err, ERR_PARSE, "tools[%zu]: expected an object that describes a function", i);
    }
    return OK;
}

static int check(const json_t *c, error *err)
{
    size_t i;
    json_t *m;
    const json_t *messages = json_object_get(c, "messages");

    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return error_set(err, ERR_PARSE, "messages: expected a list of messages, or an object with one");

    int rc = check_words(c, err);
    json_array_foreach(messages, i, m)
    {
        if (!json_is_string(json_object_get(m, "role")))
            return error_set(err, ERR_PARSE, "messages[%zu]: expected an object with a role", i);
        if (rc == OK) rc = check_content(json_object_get(m, "content"), i, err);
        if (rc == OK) rc = check_calls(json_object_get(m, "tool_calls"), i, err);
    }
    return rc;
}

/* ---- rendering ---- */

typedef struct rendering {
    const chat_template *t;
    const json_t *conversation;
    struct tm today;
    str *out;
    ending end;
} rendering;

static int render(lua_State *L)
{
    rendering *r = lua_touserdata(L, 1);
    size_t len;
    lua_newtable(L);
    const int state = lua_gettop(L);
    push_module(L, "troupe.jinja");
    lua_getfield(L, -1, "render");
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->t->compiled);
    push_variables(L, r->conversation);
    lua_pushvalue(L, state);
    lua_pushlightuserdata(L, &r->today);
    lua_pushcclosure(L, bind_strftime, 1);

    if (!call_interpreter(L, 4, state, &r->end)) return 0;
    const char *text = lua_tolstring(L, -1, &len);
    str_add(r->out, text, len);
    return 0;
}

int chat_render(chat_template *t, const json_t *conversation, str *out, error *err)
{
    json_t *whole = json_is_array(conversation) ? json_pack("{s:O}", "messages", conversation)
                                                : json_incref((json_t *)(uintptr_t)conversation);
    rendering r = { .t = t, .conversation = whole, .out = out };
    error own = { 0 };

    int rc = check(whole, &own);
    if (rc == OK) rc = find_today(whole, &r.today, &own);
    if (rc == OK) {
        rc = vm_protect(t->v, render, &r, &own);
        rc = tell(t->where, rc, &r.end, &own);
    }

    str_free(&r.end.why);
    json_decref(whole);
    if (rc != OK && err) *err = own;
    return rc;
}
