/* SPDX-License-Identifier: MIT */
/* What the tests of imported tokenizers share. */
#pragma once

#include <string.h>

#include "base/vec.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/support.h"

/* `text` has the ids want [n]. */
static inline void check_ids(const tokenizer *t, const char *text, const int32_t *want, size_t n)
{
    error err = { 0 };
    token_ids got = { 0 };
    test_ok(tokenizer_encode(t, text, strlen(text), true, &got, &err), &err);
    for (size_t i = 0; i < got.len && i < n; i++)
        if (got.data[i] != want[i]) fail_msg("'%s': id %zu is %d, expected %d", text, i, got.data[i], want[i]);
    assert_int_equal(got.len, n);
    vec_free(&got);
}
