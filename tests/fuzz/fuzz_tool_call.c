/* fuzz_tool_call - what a policy may write: the dialects' parsers find the same call or answer however the text is cut
 * into tokens, never fail, and give arguments that are one JSON object. The first byte chooses dialect and cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 4096 };

static const char TOOLS[] = "[{\"name\": \"python\", \"description\": \"\", \"parameters\": {\"type\": \"object\", "
                            "\"properties\": {\"code\": {\"type\": \"string\"}}}},"
                            " {\"name\": \"search\", \"description\": \"\", \"parameters\": {\"type\": \"object\", "
                            "\"properties\": {\"n\": {\"type\": \"integer\"}}}}]";

static dialect_result first_event(dialect *d, const char *text, size_t len, size_t cut)
{
    error err = { 0 };
    dialect_result r = { 0 };
    dialect_parser *p = dialect_parser_new(d, &err);
    if (!p) abort();
    for (size_t at = 0; at < len && r.event == DIALECT_MORE; at += cut) {
        dialect_result_reset(&r);
        if (dialect_feed(p, text + at, at + cut < len ? cut : len - at, &r, &err) != OK) abort();
    }
    dialect_parser_free(p);
    return r;
}

static void check_call(const dialect_result *r)
{
    json_t *arguments = json_parse(r->arguments, strlen(r->arguments), "arguments", NULL);
    if (!r->name || !json_is_object(arguments)) abort();
    json_decref(arguments);
}

static bool same(const char *a, const char *b) { return (!a && !b) || (a && b && strcmp(a, b) == 0); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    if (size < 2 || size > LONGEST) return 0;
    dialect *d = dialect_new(data[0] & 1 ? "qwen" : "xml", NULL, TOOLS, &err);
    if (!d) abort();
    const char *text = (const char *)data + 1;
    dialect_result whole = first_event(d, text, size - 1, size),
                   cut = first_event(d, text, size - 1, 1 + (data[0] >> 1) % 9);
    if (whole.event == DIALECT_CALL) check_call(&whole);
    if (whole.event == DIALECT_BAD && (!whole.text || !*whole.text)) abort();
    if (whole.event != cut.event || !same(whole.name, cut.name) || !same(whole.arguments, cut.arguments) ||
        !same(whole.text, cut.text))
        abort();
    dialect_result_reset(&whole);
    dialect_result_reset(&cut);
    dialect_free(d);
    return 0;
}
