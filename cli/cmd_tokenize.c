/* SPDX-License-Identifier: MIT */
/* troupe tokenize: text to ids and back, with a model's own tokenizer. */
#include <stdio.h>
#include <string.h>

#include "base/vec.h"
#include "cli/verbs.h"
#include "model/tokenizer/written.h"

typedef struct request {
    const char *model, *text;
    bool decode, plain, json;
} request;

static const char USAGE[] =
    "usage: troupe tokenize --model DIR [--plain] [--json] TEXT\n"
    "       troupe tokenize --model DIR --decode [--json] 'ID ID ...'\n\n"
    "Prints the ids of a text, or with --decode the text of ids (separated by spaces or commas).\n\n"
    "  --plain   added tokens written out in the text (<|end|>) are plain text, as in what a tool prints\n"
    "  --json    {\"ids\":[],\"tokens\":[]}, or {\"text\":\"\"} with --decode\n\n"
    "example: troupe tokenize --model models/stagehand 'Question: 12 * 3'\n";

static int encode(const tokenizer *t, const request *r, token_ids *ids, str *out, error *err)
{
    if (tokenizer_encode(t, r->text, strlen(r->text), !r->plain, ids, err) != OK) return err->code;
    if (r->json)
        written_tokens_json(t, ids, out);
    else
        written_ids(ids, " ", out);
    return OK;
}

static int decode(const tokenizer *t, const request *r, token_ids *ids, str *out, error *err)
{
    if (written_ids_read(t, r->text, ids, err) != OK) return err->code;
    if (!r->json) {
        tokenizer_decode(t, ids->data, ids->len, true, out);
        return OK;
    }

    str text = { 0 };
    tokenizer_decode(t, ids->data, ids->len, true, &text);
    str_puts(out, "{\"text\":");
    str_json(out, str_text(&text), text.len);
    str_putc(out, '}');
    str_free(&text);
    return OK;
}

static int run(const request *r, error *err)
{
    if (!r->model) return error_set(err, ERR_ARGUMENT, "no --model (a folder with a tokenizer.json)");
    tokenizer *t = tokenizer_open(r->model, err);
    if (!t) return err->code;

    token_ids ids = { 0 };
    str line = { 0 };
    const int rc = r->decode ? decode(t, r, &ids, &line, err) : encode(t, r, &ids, &line, err);
    str_putc(&line, '\n');
    /* not puts: decoded ids may hold a NUL */
    if (rc == OK) fwrite(line.data, 1, line.len, stdout);

    str_free(&line);
    vec_free(&ids);
    tokenizer_free(t);
    return rc;
}

static int run_verb(call *c, error *err)
{
    request r = { 0 };
    const flag flags[] = { { .name = "--model", .text = &r.model },
                           { .name = "--decode", .present = &r.decode },
                           { .name = "--plain", .present = &r.plain },
                           { .name = "--json", .present = &r.json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    r.text = c->arguments.positional[0];
    return call_checked(c, run(&r, err));
}

const verb VERB_TOKENIZE = { .name = "tokenize",
                             .synopsis = "--model DIR TEXT",
                             .help = "text to ids and back",
                             .usage = USAGE,
                             .words = "one TEXT (with spaces it needs quotes)",
                             .min_words = 1,
                             .max_words = 1,
                             .run = run_verb };
