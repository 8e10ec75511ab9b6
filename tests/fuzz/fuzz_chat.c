/* SPDX-License-Identifier: MIT */
/* fuzz_chat - any text is a chat template, or one sentence says why not; and any JSON is a conversation that it
 * renders, or one sentence says why not: what it isn't, what the template refuses, or what the template does that
 * fails.
 *
 * Input: the conversation as JSON, a line "====", a chat template. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "lua/chat.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error of Lua's (ERR_SCRIPT) would be a fault of the interpreter, and say nothing to a user. */
static void check(int rc, const error *err)
{
    fuzz_failed(rc, err);
    if (rc != ERR_PARSE && rc != ERR_ARGUMENT && rc != ERR_UNSUPPORTED && rc != ERR_LIMIT && rc != ERR_TIMEOUT) {
        fprintf(stderr, "%s: %s\n", error_name(rc), err->text);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const str_view text = fuzz_part(&data, &size);
    error err = { 0 };
    str out = { 0 };
    chat_template *t = chat_template_new((const char *)data, size, "template", &err);
    if (!t) check(err.code, &err);

    json_t *conversation = t ? json_parse(text.data, text.len, "messages", NULL) : NULL;
    if (json_is_array(conversation) || json_is_object(conversation)) {
        const int rc = chat_render(t, conversation, &out, &err);
        if (rc != OK) check(rc, &err);
    }
    json_decref(conversation);
    chat_template_free(t);
    str_free(&out);
    return 0;
}
