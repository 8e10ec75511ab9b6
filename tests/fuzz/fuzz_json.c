/* SPDX-License-Identifier: MIT */
/* fuzz_json - any bytes are a JSON value or an error with a sentence;
 * what was parsed can be written and parsed again. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const json_t *value)
{
    char *text = json_text(value, true);
    json_t *again = json_parse(text, strlen(text), "again", NULL);
    if (!again || !json_equal(again, (json_t *)(uintptr_t)value)) abort();
    json_decref(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    json_t *value = json_parse((const char *)data, size, "input", &err);
    if (!value) {
        if (err.code != ERR_PARSE || !*err.text) abort();
        return 0;
    }
    int64_t n;
    const char *s;
    if (json_need_int(value, "n", "input", &n, &err) == OK && json_need_string(value, "n", "input", &s, &err) == OK)
        abort();
    check_round_trip(value);
    json_decref(value);
    return 0;
}
