/* SPDX-License-Identifier: MIT */
/* troupe render: a conversation as a model's chat template prints it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/verbs.h"
#include "lua/chat.h"

enum { MAX_TEMPLATE = 1 << 20 };

typedef struct request {
    const char *model, *dialect, *file;
    bool json;
} request;

static void print_usage(FILE *to)
{
    fprintf(
        to,
        "usage: troupe render (--model DIR | --dialect NAME) [--json] MESSAGES.json\n\n"
        "Prints the text that a model sees of a conversation: what its chat template renders. MESSAGES.json is a list\n"
        "of messages, or an object: messages, tools, add_generation_prompt (true), enable_thinking, date_string,\n"
        "tools_in_user_message; bos_token and eos_token are the model's unless given.\n\n"
        "  --model DIR     the family is found from its chat template (tokenizer_config.json, chat_template.jinja)\n"
        "  --dialect NAME  one of %s\n"
        "  --json          {\"dialect\":\"\",\"text\":\"\"}\n\n"
        "example: troupe render --dialect qwen3 messages.json\n",
        CHAT_FAMILIES);
}

/* A token is written as text, or as an object with its content. */
static const char *token_text(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static void take_token(json_t *conversation, const json_t *config, const char *key)
{
    const char *text = token_text(config, key);
    if (text && json_is_object(conversation) && !json_object_get(conversation, key))
        json_object_set_new(conversation, key, json_string(text));
}

/* The template's text: chat_template.jinja, or in tokenizer_config.json, alone or the first of several. */
static char *template_of(const char *dir, const json_t *config)
{
    char path[1200];
    size_t len;
    char *text = file_exists(path_join(path, sizeof path, dir, "chat_template.jinja"))
                     ? file_read(path, MAX_TEMPLATE, &len, NULL)
                     : NULL;
    const json_t *v = json_object_get(config, "chat_template");
    if (json_is_array(v)) v = json_object_get(json_array_get(v, 0), "template");
    return text ? text : json_is_string(v) ? xstrdup(json_string_value(v)) : NULL;
}

/* The model's family, and its tokens for the conversation. */
static int read_model(const request *r, json_t *conversation, const char **family, error *err)
{
    char path[1200];
    json_t *config = json_parse_file(path_join(path, sizeof path, r->model, "tokenizer_config.json"), err);
    if (!config) return err->code;
    char *text = template_of(r->model, config);
    take_token(conversation, config, "bos_token");
    take_token(conversation, config, "eos_token");
    json_decref(config);
    if (!*family && text) *family = chat_family(text);
    int rc = OK;
    if (!*family)
        rc =
            error_set(err, ERR_UNSUPPORTED, "%s: %s; say --dialect NAME (%s)", r->model,
                      text ? "its chat template is none that is known here" : "it has no chat template", CHAT_FAMILIES);
    free(text);
    return rc;
}

static int run(const request *r, error *err)
{
    const char *family = r->dialect;
    str text = { 0 }, line = { 0 };
    json_t *c = json_parse_file(r->file, err);
    if (!c) return err->code;
    if (json_is_array(c)) c = json_pack("{s:o}", "messages", c);
    int rc = r->model ? read_model(r, c, &family, err) : OK;
    if (rc == OK && (rc = chat_render(family, c, &text, err)) != OK) error_within(err, "%s", r->file);
    if (rc == OK && r->json) {
        str_printf(&line, "{\"dialect\":\"%s\",\"text\":", family);
        str_json(&line, text.data ? text.data : "", text.len);
        puts((str_putc(&line, '}'), line.data));
    } else if (rc == OK) {
        fwrite(text.data ? text.data : "", 1, text.len, stdout);
    }
    str_free(&line);
    str_free(&text);
    json_decref(c);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request r = { 0 };
    const flag flags[] = { { .name = "--model", .text = &r.model },
                           { .name = "--dialect", .text = &r.dialect },
                           { .name = "--json", .present = &r.json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    r.file = c->arguments.positional[0];
    if (!r.model && !r.dialect) return call_wrong(c, err, "needs --model DIR or --dialect NAME (%s)", CHAT_FAMILIES);
    return run(&r, err);
}

const verb VERB_RENDER = { .name = "render",
                           .synopsis = "--model DIR MESSAGES.json",
                           .help = "a conversation as the model will see it",
                           .print_usage = print_usage,
                           .words = "MESSAGES.json",
                           .min_words = 1,
                           .max_words = 1,
                           .run = run_verb };
