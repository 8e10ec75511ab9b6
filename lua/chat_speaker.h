/* SPDX-License-Identifier: MIT */
/* chat_speaker - a model's own chat template, as a dialect is given it: prompt.chat_template = "model".
 *
 * A dialect calls render(TEXT): a conversation as JSON text (chat.h says what it may hold; objects keep the order of
 * their keys) becomes the text that the model was taught to read. The model's tokens (bos_token, ...) are put into it.
 * lua/lib/chat_template.lua makes a prompt's pieces of it. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "base/error.h"

typedef struct chat_speaker chat_speaker;

/* Of the model in folder `dir`; with_tools: the template for conversations with tools, where it has several.
 * Errors as chat_model_template's. */
chat_speaker *chat_speaker_new(const char *dir, bool with_tools, error *err);
void chat_speaker_free(chat_speaker *s); /* NULL is allowed */

/* Pushes the function render(TEXT) -> text, or nil and the sentence of a template that refuses the conversation
 * (raise_exception); any other failure is raised. `s` must outlive it. */
void chat_speaker_push(lua_State *L, chat_speaker *s);
