/* SPDX-License-Identifier: MIT */
#include "env/search/retrieved.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "env/search/shown.h"

static const char WHERE[] = "its answer";

char *retrieved_question(const char *query, int k)
{
    json_t *question =
        json_pack("{s:[s], s:s, s:i, s:b}", "queries", query, "query", query, "topk", k, "return_scores", 1);
    char *text = json_text(question, false);
    json_decref(question);
    return text;
}

static const char *text_of(const json_t *document)
{
    static const char *const KEYS[] = { "contents", "text", "content", "passage" };
    const char *text = json_string_value(document);
    for (size_t i = 0; !text && i < sizeof KEYS / sizeof *KEYS; i++)
        text = json_string_value(json_object_get(document, KEYS[i]));
    return text;
}

/* Of "\"Lungs\"\nLungs take in oxygen." the first line, without its quotes. */
static void show_titled(int number, const char *text, const char *line_end, str *out)
{
    size_t len = (size_t)(line_end - text);
    const bool quoted = len >= 2 && text[0] == '"' && text[len - 1] == '"';
    char *title = xstrndup(text + quoted, len - (quoted ? 2 : 0));
    passage_show(number, title, line_end + 1, out);
    free(title);
}

static int show(const json_t *entry, int number, str *out, error *err)
{
    const json_t *inner = json_object_get(entry, "document");
    const json_t *document = inner ? inner : entry;
    const char *text = text_of(document), *title = json_string_value(json_object_get(document, "title"));
    const char *line_end = text && !title ? strchr(text, '\n') : NULL;
    if (!text) return error_set(err, ERR_PARSE, "%s: document %d has no \"contents\" and no \"text\"", WHERE, number);
    if (line_end)
        show_titled(number, text, line_end, out);
    else
        passage_show(number, title, text, out);
    return OK;
}

static int show_all(const json_t *answer, int k, str *out, error *err)
{
    const json_t *result = json_object_get(answer, "result"), *first = json_array_get(result, 0), *entry;
    int rc = OK;
    if (!json_is_array(result) || (first && !json_is_array(first)))
        return error_set(err, ERR_PARSE, "%s: expected {\"result\": [[documents]]}", WHERE);
    for (int i = 0; rc == OK && i < k && (entry = json_array_get(first, (size_t)i)); i++)
        rc = show(entry, i + 1, out, err);
    if (rc == OK && out->len == 0) str_puts(out, "No passage was found.");
    return rc;
}

int retrieved_show(const char *answer, size_t len, int k, str *out, error *err)
{
    json_t *j = json_parse(answer, len, WHERE, err);
    const int rc = j ? show_all(j, k, out, err) : ERR_PARSE;
    json_decref(j);
    return rc;
}
