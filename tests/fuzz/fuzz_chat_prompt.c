/* SPDX-License-Identifier: MIT */
/* fuzz_chat_prompt - a model's folder with any chat template and any tokens: dialects speak through it, or one sentence
 * says why not. Where they do, a prompt holds the row's text as it is, and the words around n results are n + 1.
 *
 * Input: a byte that chooses the dialect; chat_template.jinja, a line "====", tokenizer_config.json, a line "====", the
 * row's text. */
#include "tests/fuzz/calls.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 8192, MAX_CALLS = 2 };

static const char SHOT[] = "{\"prompt\": \"p\", \"answer\": \"a\", \"steps\": [{\"tool\": \"python\", \"arguments\":"
                           " {\"code\": \"1\"}, \"result\": \"r\"}]}";

/* Only printed characters: what JSON does with others is fuzz_json's. */
static void take_text(str_view from, str *text)
{
    for (size_t i = 0; i < from.len; i++)
        str_putc(text, from.data[i] >= ' ' && from.data[i] <= '~' ? from.data[i] : '.');
}

static void prompt(dialect *d, const str *text)
{
    error err = { 0 };
    prompt_pieces pieces = { 0 };
    str row = { 0 }, all = { 0 };
    const char *const shots[] = { SHOT };
    str_puts(&row, "{\"prompt\":");
    str_json(&row, text->data, text->len);
    str_putc(&row, '}');

    const int rc = dialect_prompt(d, "Say it.", shots, (int)(text->len % 2), row.data, &pieces, &err);
    for (size_t i = 0; i < pieces.len; i++) str_add(&all, pieces.data[i].text, pieces.data[i].len);
    if (rc != OK) fuzz_failed(rc, &err);
    if (rc == OK && (!all.data || !memmem(all.data, all.len, text->data, text->len))) abort();

    prompt_pieces_free(&pieces);
    str_free(&row);
    str_free(&all);
}

static void observe(dialect *d, const str *text)
{
    static const char *const NAMES[MAX_CALLS] = { "python", "search" };
    static const bool WELL[MAX_CALLS] = { true, false };
    for (size_t n = 1; n <= MAX_CALLS; n++) {
        error err = { 0 };
        dialect_frame frame = { 0 };
        const int rc = dialect_observation(d, NAMES, WELL, n, text->data, &frame, &err);
        if (rc != OK) fuzz_failed(rc, &err);
        if (rc == OK && frame.n != n + 1) abort();
        dialect_frame_reset(&frame);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    str text = { 0 };
    if (size < 1 || size > LONGEST) return 0;
    const char *name = data[0] % 2 ? "qwen" : "xml";
    data++, size--;
    fuzz_put("chat_template.jinja", fuzz_part(&data, &size));
    fuzz_put("tokenizer_config.json", fuzz_part(&data, &size));
    str_puts(&text, "?");
    take_text((str_view){ (const char *)data, size }, &text);

    dialect *d = dialect_new(name, NULL, TOOLS, &err);
    if (!d) abort();
    const int rc = dialect_use_template(d, fuzz_folder(), &err);
    if (rc == OK) {
        prompt(d, &text);
        observe(d, &text);
    } else {
        fuzz_failed(rc, &err);
    }
    dialect_free(d);
    str_free(&text);
    return 0;
}
