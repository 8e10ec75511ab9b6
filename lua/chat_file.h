/* SPDX-License-Identifier: MIT */
/* chat_file - a conversation that stands in a JSON file, as a model's chat template renders it: for `troupe render`. */
#pragma once

#include "base/error.h"
#include "base/str.h"

typedef struct chat_file {
    const char *conversation; /* the file: a list of messages, or an object (lua/chat.h) */
    const char *model;        /* a model folder, for its tokens and its template; NULL: no tokens */
    const char *template;     /* a file with a template; NULL: the model's, of which there must then be one */
} chat_file;

/* Appends what the template renders to `text`, and where the template stands (a file, or a key of one) to `where`.
 * Errors as chat_model_template, chat_model_tokens and chat_render have them, with the conversation's file. */
int chat_file_render(const chat_file *f, str *text, str *where, error *err);
