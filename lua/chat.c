#include "lua/chat.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua/bind.h"
#include "lua/vm.h"

enum { MAX_DEPTH = 64 };

const char CHAT_FAMILIES[] = "chatml, qwen2.5, qwen3, hermes3, llama3, llama3.1, mistral, gemma, phi3";

static const vm_limits LIMITS = { .memory_bytes = (size_t)256 << 20, .instructions = 50000000, .wall_ms = 5000 };

/* ---- which family ---- */

const char *chat_family(const char *text)
{
    static const struct {
        const char *family, *mark, *too; /* both must be there; NULL: no second one */
    } MARKS[] = {
        { "hermes3", "json_to_python_type", "<tool_call>" },
        { "qwen3", "<|im_start|>", "reasoning_content" },
        { "qwen2.5", "<|im_start|>", "<tool_response>" },
        { "llama3.1", "<|start_header_id|>", "Cutting Knowledge Date" },
        { "llama3", "<|start_header_id|>", "<|eot_id|>" },
        { "mistral", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]" },
        { "gemma", "<start_of_turn>", "<end_of_turn>" },
        { "phi3", "<|user|>", "<|end|>" },
        { "chatml", "<|im_start|>", "<|im_end|>" },
    };
    for (size_t i = 0; i < sizeof MARKS / sizeof *MARKS; i++)
        if (strstr(text, MARKS[i].mark) && strstr(text, MARKS[i].too)) return MARKS[i].family;
    return NULL;
}

/* ---- JSON as Python's json.dumps writes it, which is what a template's tojson is ---- */

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

static void dump_number(double x, str *out)
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
        dump_number(json_real_value(v), out);
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

/* ---- handing it over ---- */

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

/* Like bind_push_json; besides, texts[table] = { text, indented text, keys in order }. */
static void push_told(lua_State *L, const json_t *v, int texts)
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
        push_told(L, item, texts);
        lua_setfield(L, -2, key);
    }
    json_array_foreach(v, i, item)
    {
        push_told(L, item, texts);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
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

static int quote(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    str out = { 0 };
    str_json(&out, text, len);
    lua_pushlstring(L, out.data, out.len);
    str_free(&out);
    return 1;
}

typedef struct rendering {
    const char *family;
    const json_t *conversation;
    str *out;
    bool refused; /* the template's raise_exception */
    char why[200];
} rendering;

/* Calls render(family, chat, texts, quote): text, or nil and why. */
static int render(lua_State *L)
{
    rendering *r = lua_touserdata(L, 1);
    size_t len;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "troupe.render");
    lua_call(L, 1, 1);
    lua_pushstring(L, r->family);
    lua_newtable(L);
    const int texts = lua_gettop(L);
    push_told(L, r->conversation, texts);
    lua_pushvalue(L, texts);
    lua_remove(L, texts);
    lua_pushcfunction(L, quote);
    lua_call(L, 4, 2);
    const char *text = lua_tolstring(L, -2, &len);
    r->refused = !text;
    if (text)
        str_add(r->out, text, len);
    else
        snprintf(r->why, sizeof r->why, "%s", lua_tostring(L, -1));
    return 0;
}

static int check(const json_t *c, error *err)
{
    size_t i;
    json_t *m;
    const json_t *messages = json_object_get(c, "messages");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return error_set(err, ERR_PARSE, "messages: expected a list of messages, or an object with one");
    json_array_foreach(messages, i, m) if (!json_is_string(json_object_get(m, "role"))) return error_set(
        err, ERR_PARSE, "messages[%zu]: expected an object with a role", i);
    return OK;
}

int chat_render(const char *family, const json_t *conversation, str *out, error *err)
{
    json_t *whole = json_is_array(conversation) ? json_pack("{s:O}", "messages", conversation)
                                                : json_incref((json_t *)(uintptr_t)conversation);
    rendering r = { .family = family, .conversation = whole, .out = out };
    int rc = check(whole, err);
    vm *v = rc == OK ? vm_new(VM_RECIPE, &LIMITS, NULL, err) : NULL;
    if (rc == OK) rc = v ? vm_protect(v, render, &r, err) : err->code;
    vm_free(v);
    json_decref(whole);
    if (rc == OK && r.refused) return error_set(err, ERR_ARGUMENT, "%s: %s", family, r.why);
    return rc;
}
