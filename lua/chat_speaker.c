/* SPDX-License-Identifier: MIT */
#include "lua/chat_speaker.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/str.h"
#include "lua/chat_model.h"

struct chat_speaker {
    chat_template *template;
    json_t *tokens; /* name -> text */
};

chat_speaker *chat_speaker_new(const char *dir, bool with_tools, error *err)
{
    chat_speaker *s = xcalloc(1, sizeof *s);
    s->tokens = json_object();
    s->template = chat_model_template(dir, with_tools, err);
    if (s->template && chat_model_tokens(dir, s->tokens, err) == OK) return s;
    chat_speaker_free(s);
    return NULL;
}

void chat_speaker_free(chat_speaker *s)
{
    if (!s) return;
    chat_template_free(s->template);
    json_decref(s->tokens);
    free(s);
}

static int render_text(const chat_speaker *s, const char *text, size_t len, str *out, error *err)
{
    json_t *conversation = json_parse(text, len, "conversation", err);
    if (!conversation) return err->code;
    json_object_update_missing(conversation, s->tokens);
    const int rc = chat_render(s->template, conversation, out, err);
    json_decref(conversation);
    return rc;
}

static int render(lua_State *L)
{
    const chat_speaker *s = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    error err = { 0 };
    str out = { 0 };
    const int rc = render_text(s, text, len, &out, &err);

    /* Nothing may be raised before the text is released. */
    if (rc == OK)
        lua_pushlstring(L, str_text(&out), out.len);
    else
        lua_pushnil(L);
    str_free(&out);
    if (rc == OK) return 1;

    lua_pushstring(L, err.text);
    return rc == ERR_ARGUMENT ? 2 : lua_error(L);
}

void chat_speaker_push(lua_State *L, chat_speaker *s)
{
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, render, 1);
}
