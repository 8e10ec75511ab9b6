/* SPDX-License-Identifier: MIT */
/* fuzz_tokenizer - any bytes are a tokenizer.json or an error with a sentence; a tokenizer that was accepted gives ids
 * of its vocabulary for any text. An input is a tokenizer.json, and after a line "====" a text to encode. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "model/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const tokenizer *t, const char *text, size_t len, bool specials)
{
    token_ids ids = { 0 };
    str back = { 0 };
    error err = { 0 };
    const int rc = tokenizer_encode(t, text, len, specials, &ids, &err);
    if (rc != OK && (err.code != rc || !*err.text || ids.len != 0)) abort();
    for (size_t i = 0; i < ids.len; i++)
        if (ids.data[i] < 0 || ids.data[i] >= tokenizer_vocab(t)) abort();
    tokenizer_decode(t, ids.data, ids.len, specials, &back);
    str_free(&back);
    vec_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separator[] = "\n====\n";
    const uint8_t *cut = memmem(data, size, separator, strlen(separator));
    const size_t len = cut ? (size_t)(cut - data) : size;
    const uint8_t *text = cut ? cut + strlen(separator) : data;
    error err = { 0 };
    tokenizer *t = tokenizer_parse((const char *)data, len, "input", &err);
    if (!t) {
        if (!err.code || !*err.text) abort();
        return 0;
    }
    encode(t, (const char *)text, size - (size_t)(text - data), true);
    encode(t, (const char *)text, size - (size_t)(text - data), false);
    tokenizer_free(t);
    return 0;
}
