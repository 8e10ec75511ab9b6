/* SPDX-License-Identifier: MIT */
/* fuzz_gguf - any bytes are a model of llama.cpp whose keys and tensors lie within it, or an error with a sentence.
 * Every tensor is converted, and its tokenizer's lists read. What is imported can be opened; what isn't leaves no
 * folder. */
#include "model/gguf.h"
#include "model/gguf_quants.h"
#include "model/hf_folder.h"
#include "model/import_gguf.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(const gguf_tensor *t, const uint8_t *data, size_t size)
{
    const gguf_quant *quant = gguf_quant_of(t->type);
    if (!quant) return;
    if (t->data < data || t->data + t->bytes > data + size) abort();
    float *out = xmalloc(sizeof(float) * (size_t)t->count);
    gguf_to_f32(quant, t->data, out, t->count);
    free(out);
}

static void read_lists(gguf *g)
{
    static const char *const KEYS[] = { "tokenizer.ggml.tokens", "tokenizer.ggml.merges" };
    error err = { 0 };
    for (int k = 0; k < 2; k++) {
        const gguf_text *texts;
        size_t n, bytes = 0;
        if (gguf_strings(g, KEYS[k], &texts, &n, &err) != OK) continue;
        for (size_t i = 0; i < n; i++)
            for (size_t b = 0; b < texts[i].len; b++) bytes += (unsigned char)texts[i].data[b];
        if (n == 0 && bytes) abort();
    }
    double *numbers;
    size_t n;
    if (gguf_reals(g, "tokenizer.ggml.scores", &numbers, &n, &err) == OK) free(numbers);
}

static void import(const uint8_t *data, size_t size)
{
    char model[256], out[256];
    error err = { 0 };
    fuzz_put("model.gguf", (str_view){ (const char *)data, size });
    const int rc = import_gguf(fuzz_path(model, sizeof model, "model.gguf"), fuzz_path(out, sizeof out, "out"), &err);
    if (rc != OK) fuzz_failed(rc, &err);
    if (rc != OK && dir_exists(out)) abort();
    if (rc != OK) return;

    hf_folder *f = hf_folder_check(out, &err) == OK ? hf_folder_open_config(out, NULL, &err) : NULL;
    tokenizer *t = tokenizer_open(out, &err);
    if (!f || !t) fprintf(stderr, "%s\n", err.text), abort();
    tokenizer_free(t);
    hf_folder_close(f);
    dir_remove_all(out, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    gguf *g = gguf_from_bytes(data, size, "input", &err);
    if (!g) {
        if ((err.code != ERR_PARSE && err.code != ERR_UNSUPPORTED) || !*err.text) abort();
        return 0;
    }
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        if (gguf_find(g, t->name) != t) abort();
        convert(t, data, size);
    }
    read_lists(g);
    gguf_close(g);
    import(data, size);
    return 0;
}
