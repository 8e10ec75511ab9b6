/* SPDX-License-Identifier: MIT */
/* fuzz_vocab - a tokenizer of several files (vocab.json, merges.txt, tokenizer_config.json): any bytes in them are one
 * that encodes text with ids of its vocabulary, or an error with a sentence.
 *
 * Input: the three, with lines "====" between them. */
#include "base/vec.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char TEXT[] = "So 12 + 30 = 42,\n it's <s>done</s> \xc3\xa9\xff";
    error err = { 0 };
    token_ids ids = { 0 };
    fuzz_put("vocab.json", fuzz_part(&data, &size));
    fuzz_put("merges.txt", fuzz_part(&data, &size));
    fuzz_put("tokenizer_config.json", fuzz_part(&data, &size));
    tokenizer *t = tokenizer_open(fuzz_folder(), &err);
    if (!t) {
        fuzz_failed(err.code, &err);
        return 0;
    }
    const int rc = tokenizer_encode(t, TEXT, sizeof TEXT - 1, true, &ids, &err);
    if (rc != OK) fuzz_failed(rc, &err);
    for (size_t i = 0; i < ids.len; i++)
        if (ids.data[i] < 0 || ids.data[i] >= tokenizer_vocab(t)) abort();
    vec_free(&ids);
    tokenizer_free(t);
    return 0;
}
