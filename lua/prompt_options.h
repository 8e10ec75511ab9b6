/* SPDX-License-Identifier: MIT */
/* prompt_options - the keys of prompt.*: what a question becomes before the policy sees it. */
#pragma once

#include "base/option.h"

enum { PROMPT_TEMPLATES = 64 };

#define PROMPT_CHAT_TEMPLATES(X)                                                                                       \
    X(TEMPLATE_OF_DIALECT, "dialect", "the dialect's own text")                                                        \
    X(TEMPLATE_OF_MODEL, "model", "the chat template of the model's folder")

typedef enum prompt_template { PROMPT_CHAT_TEMPLATES(WORDS_MEMBER) } prompt_template;

typedef struct prompt_options {
    char dialect[OPTION_PATH_BYTES]; /* a name, or the path of a file */
    prompt_template chat_template;
    char *dialect_options; /* JSON text; NULL: none */
    char *instruction;
    char *templates[PROMPT_TEMPLATES];
    double complexity[PROMPT_TEMPLATES]; /* NaN: any */
    int n_templates;
} prompt_options;

extern const option_table PROMPT_OPTIONS;

void prompt_options_reset(prompt_options *o); /* frees what it holds */
