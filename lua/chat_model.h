/* SPDX-License-Identifier: MIT */
/* chat_model - the chat template of a model's folder and the tokens that it prints, found where transformers find them.
 *
 *     chat_template.jinja, additional_chat_templates/NAME.jinja     if either is there, these alone; else
 *     tokenizer_config.json: "chat_template"                        one text, or a list of { name, template }
 *
 * Of several, "tool_use" is taken when the conversation has tools, else "default". */
#pragma once

#include "lua/chat.h"

/* ERR_NOT_FOUND: the model has no template, or several and none of these names. Others as chat_template_new. */
chat_template *chat_model_template(const char *dir, bool with_tools, error *err);
chat_template *chat_file_template(const char *path, error *err);

/* Adds the model's special tokens (bos_token, eos_token, pad_token, ...) to a conversation that doesn't have them, as
 * texts. From tokenizer_config.json; special_tokens_map.json overrides it where it lists no added tokens. */
int chat_model_tokens(const char *dir, json_t *conversation, error *err);
