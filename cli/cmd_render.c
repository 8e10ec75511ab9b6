/* SPDX-License-Identifier: MIT */
/* troupe render: a conversation as a model's chat template prints it. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/verbs.h"
#include "lua/chat_model.h"

typedef struct request {
    const char *model, *template, *file;
    bool json;
} request;

static void print_usage(FILE *to)
{
    fprintf(
        to,
        "usage: troupe render (--model DIR | --template FILE) [--json] MESSAGES.json\n\n"
        "Prints the text that a model sees of a conversation: what its chat template (Jinja) renders. MESSAGES.json "
        "is\n"
        "a list of messages, or an object: messages, tools, documents, add_generation_prompt (true), enable_thinking,\n"
        "date (\"2026-11-26\", what the template takes for today) and whatever else the template reads.\n\n"
        "  --model DIR      its template and its tokens (bos_token, ...): chat_template.jinja or "
        "tokenizer_config.json\n"
        "  --template FILE  this template instead\n"
        "  --json           {\"template\":\"\",\"text\":\"\"}\n\n"
        "example: troupe render --model models/qwen3 messages.json\n");
}

static bool has_tools(const json_t *conversation)
{
    const json_t *tools = json_object_get(conversation, "tools");
    return tools && !json_is_null(tools);
}

static void print(const request *r, const chat_template *t, const str *text)
{
    str line = { 0 };
    const char *where = chat_template_where(t);
    if (!r->json) {
        fwrite(text->data ? text->data : "", 1, text->len, stdout);
        return;
    }
    str_puts(&line, "{\"template\":");
    str_json(&line, where, strlen(where));
    str_puts(&line, ",\"text\":");
    str_json(&line, text->data ? text->data : "", text->len);
    str_putc(&line, '}');
    puts(line.data);
    str_free(&line);
}

static int run(const request *r, error *err)
{
    str text = { 0 };
    json_t *c = json_parse_file(r->file, err);
    if (!c) return err->code;
    if (json_is_array(c)) c = json_pack("{s:o}", "messages", c);

    int rc = r->model ? chat_model_tokens(r->model, c, err) : OK;
    chat_template *t = NULL;
    if (rc == OK)
        t = r->template ? chat_file_template(r->template, err) : chat_model_template(r->model, has_tools(c), err);
    if (rc == OK && !t) rc = err->code;
    if (rc == OK && (rc = chat_render(t, c, &text, err)) != OK) error_within(err, "%s", r->file);
    if (rc == OK) print(r, t, &text);

    chat_template_free(t);
    str_free(&text);
    json_decref(c);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request r = { 0 };
    const flag flags[] = { { .name = "--model", .text = &r.model },
                           { .name = "--template", .text = &r.template },
                           { .name = "--json", .present = &r.json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    r.file = c->arguments.positional[0];
    if (!r.model && !r.template) return call_wrong(c, err, "needs --model DIR or --template FILE");
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
