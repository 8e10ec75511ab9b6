/* SPDX-License-Identifier: MIT */
/* fuzz_retrieved - what a retrieval server may answer: any bytes are a text of bounded length, or an error with a
 * sentence. */
#include <stdint.h>
#include <stdlib.h>

#include "env/search/retrieved.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { K = 3, A_PASSAGE = 2100 };
    error err = { 0 };
    str out = { 0 };
    const int rc = retrieved_show((const char *)data, size, K, &out, &err);
    if (rc == OK ? out.len == 0 : !*err.text) abort();
    if (utf8_run(out.data, out.data + out.len) != out.len) abort();
    str_free(&out);
    return 0;
}
