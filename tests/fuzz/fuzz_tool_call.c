/* SPDX-License-Identifier: MIT */
/* fuzz_tool_call - what a policy may write: the dialects' parsers find the same call or answer however the text is cut
 * into tokens, never fail, and give arguments that are one JSON object. The first byte chooses dialect and cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 4096 };

static const char *const NAMES[] = { "xml", "qwen", "llama3", "react" };

/* The first event, and after how many bytes the turn is closed. */
static dialect_result first_event(dialect *d, const char *text, size_t len, size_t cut, size_t *closed)
{
    error err = { 0 };
    dialect_result r = { 0 };
    size_t fed = 0;
    dialect_parser *p = dialect_parser_new(d, &err);
    if (!p) abort();
    while (fed < len && r.event == DIALECT_MORE) {
        const size_t n = fed + cut < len ? cut : len - fed;
        if (dialect_feed(p, text + fed, n, &r, &err) != OK) abort();
        fed += n;
    }
    *closed = r.event == DIALECT_MORE ? 0 : fed - r.rest;
    if (r.event == DIALECT_MORE && dialect_finish(p, 0, &r, &err) != OK) abort();
    dialect_parser_free(p);
    return r;
}

static bool same(const char *a, const char *b) { return (!a && !b) || (a && b && strcmp(a, b) == 0); }

static void check_same(const dialect_result *a, const dialect_result *b)
{
    if (a->event != b->event || a->n_calls != b->n_calls || !same(a->answer, b->answer)) abort();
    for (size_t i = 0; i < a->n_calls; i++) {
        const dialect_call *x = &a->calls[i], *y = &b->calls[i];
        if (!same(x->name, y->name) || !same(x->arguments, y->arguments) || !same(x->bad, y->bad)) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    size_t closed, closed_cut;
    if (size < 2 || size > LONGEST) return 0;
    dialect *d = dialect_new(NAMES[data[0] % 4], NULL, TOOLS, &err);
    if (!d) abort();
    const char *text = (const char *)data + 1;
    dialect_result whole = first_event(d, text, size - 1, size, &closed),
                   cut = first_event(d, text, size - 1, 1 + (data[0] >> 2) % 9, &closed_cut);
    if (whole.answer && whole.n_calls > 0) abort();
    for (size_t i = 0; i < whole.n_calls; i++) check_call(&whole.calls[i]);
    check_same(&whole, &cut);
    if (closed != closed_cut) abort();
    dialect_result_reset(&whole);
    dialect_result_reset(&cut);
    dialect_free(d);
    return 0;
}
