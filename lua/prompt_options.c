/* SPDX-License-Identifier: MIT */
#include "lua/prompt_options.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"

static int read_options(void *config, const json_t *value, option_reading *r)
{
    prompt_options *o = config;
    if (!json_is_object(value) && !json_is_array(value))
        return option_expected(r, "prompt.options", "a table: { option = value }");
    o->dialect_options = json_text(value, true);
    return OK;
}

/* A text, or { text = ..., complexity = number }. */
static int read_template(prompt_options *o, const json_t *value, option_reading *r)
{
    static const char *const FIELDS[] = { "text", "complexity", NULL };
    const json_t *complexity = json_object_get(value, "complexity");
    if (option_fields(r, "prompt.templates", value, FIELDS) != OK) return ERR_ARGUMENT;

    const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "text") : value);

    if (!text || !*text || (complexity && !json_is_number(complexity)))
        return option_expected(r, "prompt.templates", "texts, or { text = ..., complexity = number }");
    o->complexity[o->n_templates] = complexity ? json_number_value(complexity) : (double)NAN;
    o->templates[o->n_templates++] = xstrdup(text);
    return OK;
}

static int read_templates(void *config, const json_t *value, option_reading *r)
{
    const size_t n = json_array_size(value);
    int rc = OK;

    if (n < 1 || n > PROMPT_TEMPLATES)
        return option_expected(r, "prompt.templates", "a list of 1 to %d templates", PROMPT_TEMPLATES);
    for (size_t i = 0; i < n && rc == OK; i++) rc = read_template(config, json_array_get(value, i), r);
    return rc;
}

static const word_row CHAT_TEMPLATES[] = { PROMPT_CHAT_TEMPLATES(WORDS_ROW){ 0 } };

#define AT(member) OPTION_AT(prompt_options, member)

static const option ROWS[] = {
    { "prompt.dialect", OPTION_NAMED, AT(dialect), 0, 0, "xml",
      .help = "how tools, calls and answers are written: xml, qwen, llama3, react, or the path of a dialect file",
      .more = "Take the one that the model was trained with; base models learn `xml` from shots. "
              "[dialects.md](dialects.md) shows each, and how to write one; `troupe render` shows a prompt.",
      .elsewhere = "chat_template" },
    { "prompt.chat_template", OPTION_WORD, AT(chat_template), 0, 0, "dialect", .words = CHAT_TEMPLATES,
      .help = "who writes what stands around messages: the dialect, or the model's own chat template",
      .more = "\"model\" reads chat_template.jinja or tokenizer_config.json of `model`. `xml` puts calls and results "
              "into the assistant's text, which every template prints; `qwen` gives the template the tools, their "
              "calls and results." },
    { "prompt.options", OPTION_VALUE, 0, 0, 0, 0, "", .read = read_options, .help = "table of the dialect's options",
      .more = "Which ones there are is up to the dialect; an unknown one is refused." },
    { "prompt.instruction", OPTION_STRING, AT(instruction), 0, 0, "", .help = "text before every question",
      .more = "What the task is and how an answer should look. The system prompt where the dialect has one.",
      .elsewhere = "system_prompt" },
    { "prompt.templates", OPTION_VALUE, 0, 0, 0, 0, "", .read = read_templates,
      .help = "list of texts, or { text =, complexity = }, that say how to approach a question, put after the "
              "instruction",
      .more = "Up to 64. `rollout.templated` samples of a group see one: of the five whose complexity is nearest to "
              "the row's, the one with the highest upper confidence bound (TemplateRL, arXiv 2505.15692)." },
    { 0 },
};

const option_table PROMPT_OPTIONS = {
    .title = "Prompt",
    .about = "What a question becomes before the policy sees it.",
    .rows = ROWS,
};

void prompt_options_reset(prompt_options *o)
{
    free(o->dialect_options);
    free(o->instruction);
    for (int i = 0; i < o->n_templates; i++) free(o->templates[i]);
    *o = (prompt_options){ 0 };
}
