/* SPDX-License-Identifier: MIT */
/* fuzz_calculate - any text has a value of digits, or is refused with a sentence. */
#include <string.h>

#include "env/calculate.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    str out = { 0 };
    const int rc = calculate((const char *)data, size, &out, &err);
    if (rc != OK) {
        fuzz_failed(rc, &err);
        if (rc != ERR_ARGUMENT) abort();
    } else if (out.len == 0 || strspn(out.data, "0123456789.-+einf") != out.len) {
        abort();
    }
    str_free(&out);
    return 0;
}
