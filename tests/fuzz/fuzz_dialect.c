/* SPDX-License-Identifier: MIT */
/* fuzz_dialect - a dialect that a user wrote, and what a policy writes to it: any Lua is a dialect or an error with a
 * sentence, and whatever its parser gives for any text becomes calls, an answer, or an error.
 *
 * Input: the file, a line "====", the text. */
#include "tests/fuzz/calls.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 8192 };

static void check_result(dialect_result *r, size_t fed)
{
    if (r->rest > fed || (r->event == DIALECT_CALLS) != (r->n_calls > 0)) abort();
    if ((r->event == DIALECT_ANSWER) != (r->answer != NULL)) abort();
    for (size_t i = 0; i < r->n_calls; i++) check_call(&r->calls[i]);
    dialect_result_reset(r);
}

static void read_turn(dialect *d, str_view text, size_t cut)
{
    error err = { 0 };
    dialect_result r = { 0 };
    size_t fed = 0;
    dialect_parser *p = dialect_parser_new(d, &err);
    int rc = p ? OK : err.code;
    while (rc == OK && fed < text.len && r.event == DIALECT_MORE) {
        const size_t n = text.len - fed < cut ? text.len - fed : cut;
        rc = dialect_feed(p, text.data + fed, n, &r, &err);
        fed += n;
    }
    if (rc == OK && r.event == DIALECT_MORE) rc = dialect_finish(p, 1, &r, &err);
    if (rc == OK && r.event == DIALECT_MORE) rc = dialect_cut(p, &r, &err);
    if (rc != OK) fuzz_failed(rc, &err);
    check_result(&r, fed);
    dialect_parser_free(p);
}

static void prompt(dialect *d, str_view text)
{
    error err = { 0 };
    prompt_pieces pieces = { 0 };
    str row = { 0 }, shown = { 0 };
    str_puts(&row, "{\"prompt\":");
    str_json(&row, text.data, text.len);
    str_putc(&row, '}');
    int rc = dialect_prompt(d, "Say it.", NULL, 0, row.data, &pieces, &err);
    if (rc == OK) rc = dialect_payload(d, text.data, text.len, &shown, &err);
    if (rc != OK) fuzz_failed(rc, &err);
    prompt_pieces_free(&pieces);
    str_free(&shown);
    str_free(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[256];
    error err = { 0 };
    if (size > LONGEST) return 0;
    const str_view file = fuzz_part(&data, &size), text = { (const char *)data, size };
    fuzz_put("mine.lua", file);
    dialect *d = dialect_new(fuzz_path(path, sizeof path, "mine.lua"), NULL, TOOLS, &err);
    if (!d) {
        fuzz_failed(err.code, &err);
        return 0;
    }
    prompt(d, text);
    read_turn(d, text, 1 + text.len % 9);
    read_turn(d, text, LONGEST);
    dialect_free(d);
    return 0;
}
