/* SPDX-License-Identifier: MIT */
/* fuzz_chat - any JSON is a conversation that a family renders, or one sentence says why not: what it isn't, or what
 * the family's template refuses. And any text is a chat template of a family, or of none.
 *
 * Input: one byte that chooses the family, the conversation as JSON, a line "====", a chat template. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/chat.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const FAMILIES[] = { "chatml",   "qwen2.5", "qwen3", "hermes3", "llama3",
                                        "llama3.1", "mistral", "gemma", "phi3" };
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

static void find_family(const char *text, size_t len)
{
    char *template_text = xstrndup(text, len);
    const char *found = chat_family(template_text);
    int i = 0;
    while (found && i < N_FAMILIES && strcmp(found, FAMILIES[i]) != 0) i++;
    if (i == N_FAMILIES) abort();
    free(template_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const char *family = FAMILIES[*data++ % N_FAMILIES];
    size--;
    const str_view text = fuzz_part(&data, &size);
    find_family((const char *)data, size);
    json_t *conversation = json_parse(text.data, text.len, "messages", NULL);
    if (!json_is_array(conversation) && !json_is_object(conversation)) {
        json_decref(conversation);
        return 0;
    }
    error err = { 0 };
    str out = { 0 };
    const int rc = chat_render(family, conversation, &out, &err);
    if (rc != OK) fuzz_failed(rc, &err);
    if (rc != OK && rc != ERR_PARSE && rc != ERR_ARGUMENT) abort(); /* no error of Lua's: that says nothing to a user */
    str_free(&out);
    json_decref(conversation);
    return 0;
}
