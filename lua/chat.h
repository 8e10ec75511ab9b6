/* SPDX-License-Identifier: MIT */
/* chat - a conversation as a model family's chat template would render it, to the byte: lua/lib/render.lua has one
 * function a family; this file hands it the conversation and reads back the text.
 *
 * A conversation is a JSON list of messages, or an object: messages, tools, add_generation_prompt (true), bos_token,
 * eos_token, enable_thinking, date_string, tools_in_user_message, documents not at all. Objects keep the order of their
 * keys, as templates print them. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

/* "qwen2.5, qwen3, ...": what chat_render knows. */
extern const char CHAT_FAMILIES[];

/* The family that a chat template (its Jinja text) belongs to, by marks that only it has; NULL: none of ours. */
const char *chat_family(const char *template_text);

/* Appends the text. ERR_PARSE: no conversation; ERR_ARGUMENT: the family's template refuses it, with the template's own
 * words; ERR_NOT_FOUND: no such family. */
int chat_render(const char *family, const json_t *conversation, str *out, error *err);
