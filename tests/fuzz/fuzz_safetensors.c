/* SPDX-License-Identifier: MIT */
/* fuzz_safetensors - any bytes are a file of tensors that lie within it, or an error with a sentence. Every number is
 * read, so that one byte too far is found by the sanitizer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_numbers(const tensor_view *v)
{
    float *out = xmalloc(sizeof(float) * (size_t)v->count + 1);
    error err = { 0 };
    const int rc = safetensors_to_f32(v, out, &err);
    if (rc != OK && rc != ERR_UNSUPPORTED) abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    safetensors *st = safetensors_from_bytes(data, size, "input", &err);
    if (!st) {
        if (err.code != ERR_PARSE || !*err.text) abort();
        return 0;
    }
    const uint8_t *end = data;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const tensor_view *v = safetensors_at(st, i);
        const uint8_t *begin = v->data;
        if (begin < data || begin + v->bytes > data + size || (i > 0 && begin != end)) abort();
        if (safetensors_find(st, v->name) != v) abort();
        end = begin + v->bytes;
        read_numbers(v);
    }
    if (safetensors_count(st) > 0 && end != data + size) abort();
    safetensors_metadata(st, "format");
    safetensors_close(st);
    return 0;
}
