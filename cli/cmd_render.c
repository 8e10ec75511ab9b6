/* SPDX-License-Identifier: MIT */
/* troupe render: a conversation as a model's chat template prints it. */
#include <stdio.h>

#include "cli/verbs.h"
#include "lua/chat_file.h"

static const char USAGE[] =
    "usage: troupe render (--model DIR | --template FILE) [--json] MESSAGES.json\n\n"
    "Prints the text that a model sees of a conversation: what its chat template (Jinja) renders. MESSAGES.json is\n"
    "a list of messages, or an object: messages, tools, documents, add_generation_prompt (true), enable_thinking,\n"
    "date (\"2026-11-26\", what the template takes for today) and whatever else the template reads.\n\n"
    "  --model DIR      its template and its tokens (bos_token, ...): chat_template.jinja or tokenizer_config.json\n"
    "  --template FILE  this template instead\n"
    "  --json           {\"template\":\"\",\"text\":\"\"}\n\n"
    "example: troupe render --model models/qwen3 messages.json\n";

static void print_json(const str *text, const str *where)
{
    str line = { 0 };
    str_puts(&line, "{\"template\":");
    str_json(&line, where->data, where->len);
    str_puts(&line, ",\"text\":");
    str_json(&line, str_text(text), text->len);
    str_putc(&line, '}');
    puts(line.data);
    str_free(&line);
}

static int render(const chat_file *f, bool json, error *err)
{
    str text = { 0 }, where = { 0 };
    const int rc = chat_file_render(f, &text, &where, err);
    if (rc == OK && json) print_json(&text, &where);
    /* as it is, no newline after it: the text is compared byte by byte with what transformers prints */
    if (rc == OK && !json && text.len > 0) fwrite(text.data, 1, text.len, stdout);
    str_free(&where);
    str_free(&text);
    return rc;
}

static int run_verb(call *c, error *err)
{
    chat_file f = { 0 };
    bool json = false;
    const flag flags[] = { { .name = "--model", .text = &f.model },
                           { .name = "--template", .text = &f.template },
                           { .name = "--json", .present = &json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    f.conversation = c->arguments.positional[0];

    if (!f.model && !f.template) return call_wrong(c, err, "needs --model DIR or --template FILE");
    const int rc = render(&f, json, err);
    if (rc == ERR_NOT_FOUND && !f.template)
        return error_set(err, rc, "%s (--template FILE reads a template from elsewhere)", err->text);
    return rc;
}

const verb VERB_RENDER = { .name = "render",
                           .synopsis = "--model DIR MESSAGES.json",
                           .help = "a conversation as the model will see it",
                           .usage = USAGE,
                           .words = "MESSAGES.json",
                           .min_words = 1,
                           .max_words = 1,
                           .run = run_verb };
