/* SPDX-License-Identifier: MIT */
/* fuzz_formula - any two texts are the same or not, whoever is asked first, and each is itself; what are numbers are
 * the same exactly when their values are. The first 0 byte parts the input in two. */
#include <stdlib.h>
#include <string.h>

#include "lua/formula.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numbers(const formula *a, const formula *b, bool same)
{
    char x[NUMBER_TEXT], y[NUMBER_TEXT];
    number_text(&a->number, x);
    number_text(&b->number, y);
    if (same != (strcmp(x, y) == 0)) abort();
    if (number_is_zero(&a->number) && a->number.negative) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *part = size ? memchr(data, 0, size) : NULL;
    const size_t first = part ? (size_t)(part - data) : size;
    formula a, b;
    formula_read(&a, (const char *)data, first);
    formula_read(&b, part ? (const char *)part + 1 : "", part ? size - first - 1 : 0);
    const bool same = formula_equal(&a, &b);
    if (formula_equal(&b, &a) != same) abort();
    if (formula_equal(&a, &a) != (a.name != NULL)) abort();
    if (a.name && b.name && a.is_number && b.is_number) check_numbers(&a, &b, same);
    formula_free(&a);
    formula_free(&b);
    return 0;
}
