/* SPDX-License-Identifier: MIT */
#include "lua/chat_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_TEMPLATE = 1 << 20, PATH = 1200 };

/* A JSON file of the model's; an empty object when it isn't there. */
static json_t *read_json(const char *dir, const char *name, error *err)
{
    char path[PATH];
    if (!file_exists(path_join(path, sizeof path, dir, name))) return json_object();
    return json_parse_file(path, err);
}

chat_template *chat_file_template(const char *path, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_TEMPLATE, &len, err);
    chat_template *t = text ? chat_template_new(text, len, path, err) : NULL;
    free(text);
    return t;
}

/* ---- which template ---- */

static chat_template *none_of_these(const char *where, error *err)
{
    error_set(err, ERR_NOT_FOUND, "%s has several chat templates and none is called \"default\"", where);
    return NULL;
}

/* One text, or a list of { name, template }. */
static chat_template *from_config(const char *dir, const json_t *config, bool with_tools, error *err)
{
    char where[PATH];
    size_t i;
    json_t *one;
    const json_t *chosen = NULL, *v = json_object_get(config, "chat_template");
    path_join(where, sizeof where, dir, "tokenizer_config.json");
    json_array_foreach(v, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const bool tools = with_tools && name && strcmp(name, "tool_use") == 0;
        if (tools || (!chosen && name && strcmp(name, "default") == 0)) chosen = json_object_get(one, "template");
        if (tools) break;
    }
    if (json_is_array(v) && !chosen) return none_of_these(where, err);

    if (!json_is_array(v)) chosen = v;
    if (json_is_string(chosen))
        return chat_template_new(json_string_value(chosen), json_string_length(chosen), where, err);
    error_set(err, ERR_PARSE, "%s: chat_template: expected text, or a list of objects with name and template", where);
    return NULL;
}

chat_template *chat_model_template(const char *dir, bool with_tools, error *err)
{
    char file[PATH], folder[PATH], tools[PATH];
    path_join(file, sizeof file, dir, "chat_template.jinja");
    path_join(folder, sizeof folder, dir, "additional_chat_templates");
    path_join(tools, sizeof tools, folder, "tool_use.jinja");
    if (with_tools && file_exists(tools)) return chat_file_template(tools, err);
    if (file_exists(file)) return chat_file_template(file, err);
    if (dir_exists(folder)) return none_of_these(dir, err);

    json_t *config = read_json(dir, "tokenizer_config.json", err);
    chat_template *t = NULL;
    const json_t *v = json_object_get(config, "chat_template");
    if (config && (!v || json_is_null(v)))
        error_set(err, ERR_NOT_FOUND, "%s has no chat template (chat_template.jinja, or in tokenizer_config.json)",
                  dir);
    else if (config)
        t = from_config(dir, config, with_tools, err);
    json_decref(config);
    return t;
}

/* ---- its tokens ---- */

/* A token is written as text, or as an object with its content. */
static const char *token_text(const json_t *v)
{
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static void take_tokens(json_t *conversation, const json_t *config)
{
    static const char *const TOKENS[] = { "bos_token", "eos_token", "pad_token", "unk_token",
                                          "sep_token", "cls_token", "mask_token" };
    for (size_t i = 0; i < sizeof TOKENS / sizeof *TOKENS; i++) {
        const char *text = token_text(json_object_get(config, TOKENS[i]));
        if (text && !json_object_get(conversation, TOKENS[i]))
            json_object_set_new(conversation, TOKENS[i], json_string(text));
    }
}

int chat_model_tokens(const char *dir, json_t *conversation, error *err)
{
    json_t *config = read_json(dir, "tokenizer_config.json", err);
    json_t *map = config ? read_json(dir, "special_tokens_map.json", err) : NULL;

    if (map) {
        if (!json_object_get(config, "added_tokens_decoder")) take_tokens(conversation, map);
        take_tokens(conversation, config);
    }

    const int rc = map ? OK : err->code;
    json_decref(map);
    json_decref(config);
    return rc;
}
