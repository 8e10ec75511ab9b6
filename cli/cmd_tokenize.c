/* SPDX-License-Identifier: MIT */
/* troupe tokenize: text to ids and back, with a model's own tokenizer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "cli/verbs.h"
#include "model/tokenizer/tokenizer.h"

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

/* ---- text to ids ---- */

static void print_ids(const token_ids *ids)
{
    for (size_t i = 0; i < ids->len; i++) printf("%s%" PRId32, i ? " " : "", ids->data[i]);
    putchar('\n');
}

static void print_tokens(const tokenizer *t, const token_ids *ids)
{
    str s = { 0 }, token = { 0 };
    str_puts(&s, "{\"ids\":[");
    for (size_t i = 0; i < ids->len; i++) str_printf(&s, "%s%" PRId32, i ? "," : "", ids->data[i]);
    str_puts(&s, "],\"tokens\":[");
    for (size_t i = 0; i < ids->len; i++) {
        if (i) str_putc(&s, ',');
        str_clear(&token);
        tokenizer_decode_one(t, ids->data[i], true, &token);
        str_json(&s, token.data ? token.data : "", token.len);
    }
    str_puts(&s, "]}");
    puts(s.data);
    str_free(&token);
    str_free(&s);
}

static int encode(const tokenizer *t, const request *r, error *err)
{
    token_ids ids = { 0 };
    const int rc = tokenizer_encode(t, r->text, strlen(r->text), !r->plain, &ids, err);
    if (rc == OK && r->json) print_tokens(t, &ids);
    if (rc == OK && !r->json) print_ids(&ids);
    vec_free(&ids);
    return rc;
}

/* ---- ids to text ---- */

static int read_ids(const tokenizer *t, const char *text, token_ids *out, error *err)
{
    char *end;
    for (const char *p = text + strspn(text, " ,\n\t"); *p; p = end + strspn(end, " ,\n\t")) {
        errno = 0;
        const long id = strtol(p, &end, 10);
        if (end == p || errno == ERANGE)
            return error_set(err, ERR_ARGUMENT, "no id at '%.20s' (ids are written as '1 2 3')", p);
        if (id < 0 || id >= tokenizer_vocab(t))
            return error_set(err, ERR_ARGUMENT, "id %ld: the vocabulary ends at %d", id, tokenizer_vocab(t) - 1);
        vec_push(out, (int32_t)id);
    }
    return OK;
}

static int decode(const tokenizer *t, const request *r, error *err)
{
    token_ids ids = { 0 };
    str text = { 0 }, s = { 0 };
    const int rc = read_ids(t, r->text, &ids, err);
    if (rc == OK) {
        tokenizer_decode(t, ids.data, ids.len, true, &text);
        if (r->json) {
            str_puts(&s, "{\"text\":");
            str_json(&s, text.data ? text.data : "", text.len);
            str_putc(&s, '}');
        } else {
            str_add(&s, text.data ? text.data : "", text.len);
        }
        str_putc(&s, '\n');
        fwrite(s.data, 1, s.len, stdout);
    }
    str_free(&s);
    str_free(&text);
    vec_free(&ids);
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
    const int asked = r.model ? OK : error_set(err, ERR_ARGUMENT, "no --model (a folder with a tokenizer.json)");
    tokenizer *t = asked == OK ? tokenizer_open(r.model, err) : NULL;
    int rc = t ? OK : err->code;
    if (rc == OK) rc = r.decode ? decode(t, &r, err) : encode(t, &r, err);
    tokenizer_free(t);
    return call_checked(c, rc);
}

const verb VERB_TOKENIZE = { .name = "tokenize",
                             .synopsis = "--model DIR TEXT",
                             .help = "text to ids and back",
                             .usage = USAGE,
                             .words = "one TEXT (with spaces it wants quotes)",
                             .min_words = 1,
                             .max_words = 1,
                             .run = run_verb };
