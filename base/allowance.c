/* SPDX-License-Identifier: MIT */
#include "base/allowance.h"

#include <assert.h>

bool allowance_has(allowance *a, int64_t now_ms, int max, int64_t every_ms)
{
    if (!a->begun) *a = (allowance){ now_ms, max, true };
    const int64_t fresh = (now_ms - a->last_ms) / every_ms;
    if (fresh > 0) {
        a->last_ms += fresh * every_ms;
        a->left = fresh < max - a->left ? a->left + (int)fresh : max;
    }
    return a->left > 0;
}

void allowance_take(allowance *a)
{
    assert(a->left > 0);
    a->left--;
}
