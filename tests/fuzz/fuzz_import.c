/* SPDX-License-Identifier: MIT */
/* fuzz_import - any bytes are a model of llama2.c and its tokenizer, and then a folder that can be opened; or an error
 * with a sentence, and then no folder.
 *
 * Input: a length (u16), so many bytes of tokenizer.bin, the rest is the model. */
#include "model/hf_folder.h"
#include "model/import_llama2c.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_open(const char *dir)
{
    error err = { 0 };
    hf_folder *f = hf_folder_check(dir, &err) == OK ? hf_folder_open_config(dir, NULL, &err) : NULL;
    tokenizer *t = tokenizer_open(dir, &err);
    if (!f || !t) fprintf(stderr, "%s\n", err.text), abort();
    tokenizer_free(t);
    hf_folder_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char model[256], vocab[256], out[256];
    error err = { 0 };
    if (size < 2) return 0;
    size_t len = (size_t)(data[0] | data[1] << 8);
    if (len > size - 2) len = size - 2;
    fuzz_put("tokenizer.bin", (str_view){ (const char *)data + 2, len });
    fuzz_put("model.bin", (str_view){ (const char *)data + 2 + len, size - 2 - len });
    fuzz_path(out, sizeof out, "out");
    const int rc = import_llama2c(fuzz_path(model, sizeof model, "model.bin"),
                                  fuzz_path(vocab, sizeof vocab, "tokenizer.bin"), out, &err);
    if (rc == OK)
        must_open(out);
    else
        fuzz_failed(rc, &err);
    if (rc != OK && dir_exists(out)) abort();
    if (rc == OK) dir_remove_all(out, NULL);
    return 0;
}
