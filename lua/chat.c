/* SPDX-License-Identifier: MIT */
#include "lua/chat.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lua/bind.h"
#include "lua/told.h"
#include "lua/vm.h"

const char CHAT_FAMILIES[] = "chatml, qwen2.5, qwen3, hermes3, llama3, llama3.1, mistral, gemma, phi3";

static const vm_limits LIMITS = { .memory_bytes = (size_t)256 << 20, .instructions = 50000000, .cpu_ms = 5000 };

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

/* ---- handing it over ---- */

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
    told_push(L, r->conversation, texts);
    lua_pushvalue(L, texts);
    lua_remove(L, texts);
    lua_pushcfunction(L, bind_json_quote);
    lua_call(L, 4, 2);

    const char *text = lua_tolstring(L, -2, &len);
    r->refused = !text;
    if (text)
        str_add(r->out, text, len);
    else
        snprintf(r->why, sizeof r->why, "%s", lua_tostring(L, -1));
    return 0;
}

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
    static const char *const TEXTS[] = { "bos_token", "eos_token", "date_string" };
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

int chat_render(const char *family, const json_t *conversation, str *out, error *err)
{
    json_t *whole = json_is_array(conversation) ? json_pack("{s:O}", "messages", conversation)
                                                : json_incref((json_t *)(uintptr_t)conversation);
    rendering r = { .family = family, .conversation = whole, .out = out };
    int rc = check(whole, err);
    if (rc == OK) {
        vm *v = vm_new(VM_RECIPE, &LIMITS, NULL, err);
        rc = v ? vm_protect(v, render, &r, err) : err->code;
        vm_free(v);
    }
    json_decref(whole);
    if (rc == OK && r.refused) return error_set(err, ERR_ARGUMENT, "%s: %s", family, r.why);
    return rc;
}
