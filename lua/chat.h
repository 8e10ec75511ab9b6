/* SPDX-License-Identifier: MIT */
/* chat - a conversation as a model will see it: what the model's own chat template renders, to the byte as Hugging
 * Face's transformers do. Templates are read by an interpreter of Jinja (lua/lib/jinja.lua) in a VM of limited memory
 * (256 MB), instructions (50 million) and CPU time (5 s), from which nothing but values can be reached.
 *
 *     FILE or model folder  -- chat_template_open / _new -->  template  -- chat_render, any number of times -->  text
 *
 * A conversation is a JSON list of messages, or an object: messages, and whatever else its template reads (tools,
 * documents, enable_thinking, ...). Every key becomes a variable; tools and documents are none and
 * add_generation_prompt is true unless given. Objects keep the order of their keys, as templates print them. `date`
 * ("2026-11-26") or `date_string` ("26 Nov 2026") is what strftime_now takes for today; without them it is today.
 *
 * One thread uses a template. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

typedef struct chat_template chat_template;

/* The template whose Jinja text is `text` [len]; `where` (copied) names it in errors. NULL:
 * ERR_PARSE: no template, with the line. ERR_UNSUPPORTED: a construct that is not supported, by name and line.
 * ERR_LIMIT, ERR_TIMEOUT: beyond the limits above. */
chat_template *chat_template_new(const char *text, size_t len, const char *where, error *err);
void chat_template_free(chat_template *t);               /* NULL is allowed */
const char *chat_template_where(const chat_template *t); /* the template's own */

/* Appends the text.
 * ERR_PARSE: no conversation, or one that the template fails on (the sentence has the template's line).
 * ERR_ARGUMENT: the template refuses it (raise_exception), with the template's own words.
 * ERR_UNSUPPORTED, ERR_LIMIT, ERR_TIMEOUT: as above. */
int chat_render(chat_template *t, const json_t *conversation, str *out, error *err);
