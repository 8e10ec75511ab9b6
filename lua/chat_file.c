/* SPDX-License-Identifier: MIT */
#include "lua/chat_file.h"

#include "base/json.h"
#include "lua/chat_model.h"

static bool has_tools(const json_t *conversation)
{
    const json_t *tools = json_object_get(conversation, "tools");
    return tools && !json_is_null(tools);
}

static chat_template *open_template(const chat_file *f, const json_t *conversation, error *err)
{
    if (f->template) return chat_file_template(f->template, err);
    return chat_model_template(f->model, has_tools(conversation), err);
}

static int render(const chat_file *f, json_t *conversation, str *text, str *where, error *err)
{
    if (f->model && chat_model_tokens(f->model, conversation, err) != OK) return err->code;
    chat_template *t = open_template(f, conversation, err);
    if (!t) return err->code;

    const int rc = chat_render(t, conversation, text, err);
    if (rc != OK) error_within(err, "%s", f->conversation);
    str_puts(where, chat_template_where(t));
    chat_template_free(t);
    return rc;
}

int chat_file_render(const chat_file *f, str *text, str *where, error *err)
{
    json_t *conversation = json_parse_file(f->conversation, err);
    if (!conversation) return err->code;
    if (json_is_array(conversation)) conversation = json_pack("{s:o}", "messages", conversation);

    const int rc = render(f, conversation, text, where, err);
    json_decref(conversation);
    return rc;
}
