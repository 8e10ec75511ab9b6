/* SPDX-License-Identifier: MIT */
#include "lua/chat.h"

#include <lauxlib.h>
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

static int check(const json_t *c, error *err)
{
    size_t i;
    json_t *m;
    const json_t *messages = json_object_get(c, "messages");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return error_set(err, ERR_PARSE, "messages: expected a list of messages, or an object with one");
    json_array_foreach(messages, i, m)
    {
        if (!json_is_string(json_object_get(m, "role")))
            return error_set(err, ERR_PARSE, "messages[%zu]: expected an object with a role", i);
    }
    return OK;
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
