/* SPDX-License-Identifier: MIT */
#include "lua/told.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/bind.h"

enum { MAX_DEPTH = 64 };

static void dump(const json_t *v, int indent, int depth, str *out);

static void new_line(int indent, int depth, str *out)
{
    if (indent == 0) return;
    str_putc(out, '\n');
    for (int i = 0; i < indent * depth; i++) str_putc(out, ' ');
}

static void separator(bool first, int indent, str *out)
{
    if (!first) str_puts(out, indent > 0 ? "," : ", ");
}

void told_double(double x, str *out)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    str_puts(out, text);
    if (!strpbrk(text, ".eni")) str_puts(out, ".0");
}

static void dump_object(const json_t *v, int indent, int depth, str *out)
{
    const char *key;
    json_t *item;
    bool first = true;

    str_putc(out, '{');
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        separator(first, indent, out);
        new_line(indent, depth + 1, out);
        str_json(out, key, strlen(key));
        str_puts(out, ": ");
        dump(item, indent, depth + 1, out);
        first = false;
    }

    if (!first) new_line(indent, depth, out);
    str_putc(out, '}');
}

static void dump_array(const json_t *v, int indent, int depth, str *out)
{
    size_t i;
    json_t *item;

    str_putc(out, '[');
    json_array_foreach(v, i, item)
    {
        separator(i == 0, indent, out);
        new_line(indent, depth + 1, out);
        dump(item, indent, depth + 1, out);
    }

    if (json_array_size(v) > 0) new_line(indent, depth, out);
    str_putc(out, ']');
}

static void dump(const json_t *v, int indent, int depth, str *out)
{
    if (depth > MAX_DEPTH) return; /* the parser's own limit is lower */

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        dump_object(v, indent, depth, out);
        return;
    case JSON_ARRAY:
        dump_array(v, indent, depth, out);
        return;
    case JSON_STRING:
        str_json(out, json_string_value(v), json_string_length(v));
        return;
    case JSON_INTEGER:
        str_printf(out, "%lld", (long long)json_integer_value(v));
        return;
    case JSON_REAL:
        told_double(json_real_value(v), out);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        str_puts(out, json_is_true(v) ? "true" : "false");
        return;
    case JSON_NULL:
        str_puts(out, "null");
        return;
    }
}

void told_text(const json_t *v, str *out) { dump(v, 0, 0, out); }

static void push_dump(lua_State *L, const json_t *v, int indent)
{
    str text = { 0 };
    dump(v, indent, 0, &text);
    lua_pushlstring(L, text.data, text.len);
    str_free(&text);
}

static void push_keys(lua_State *L, const json_t *v)
{
    const char *key;
    json_t *item;
    lua_Integer n = 0;
    lua_newtable(L);
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        lua_pushstring(L, key);
        lua_rawseti(L, -2, ++n);
    }
}

void told_push(lua_State *L, const json_t *v, int texts)
{
    const char *key;
    json_t *item;
    size_t i;
    luaL_checkstack(L, 8, "a conversation nested too deep");
    if (!json_is_object(v) && !json_is_array(v)) {
        bind_push_json(L, v);
        return;
    }

    lua_newtable(L);
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        told_push(L, item, texts);
        lua_setfield(L, -2, key);
    }
    json_array_foreach(v, i, item)
    {
        told_push(L, item, texts);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }

    /* What told_text and a template's tojson write for it, and its keys in their order. */
    lua_pushvalue(L, -1);
    lua_newtable(L);
    push_dump(L, v, 0);
    lua_rawseti(L, -2, 1);
    push_dump(L, v, 4);
    lua_rawseti(L, -2, 2);
    push_keys(L, v);
    lua_rawseti(L, -2, 3);
    lua_rawset(L, texts);
}
