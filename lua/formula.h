/* SPDX-License-Identifier: MIT */
/* formula - what an answer says, apart from how it is spelled: the half of verify.math_equal that decides.
 *
 * A text is read as numbers and structure; its `name` is the same for two texts exactly when they say the same:
 *   - numbers by their exact value: 0.5, .5, 1/2, \frac{1}{2}, 50%, 5e-1, 5 \times 10^{-1}; 1,234.50; 3 1/2; $5
 *   - everything else node by node: sign, power, index, root, factorial, bar, bracket, relation, unit, order. Free are
 *     the order in a sum (of more than numbers), in an explicit product of lower-case letters, in a set and in a union,
 *     the direction in which a relation is written, and LaTeX's spellings of one and the same.
 *   - words by their letters; one capital at a word's beginning, or YES for yes, makes no difference.
 * What still has to be computed is not its value: 348*28 is not 9744, 2^3 is not 8, sqrt(4) is not 2, or a policy would
 * be paid for repeating the question. What can't be read (5-, 1.2.3, 12:30pm) is the same only as the same characters.
 * When in doubt, two texts differ. Texts above MAX_FORMULA bytes are never read, only compared as they stand.
 *
 * Time is linear in the text but for the depth of its brackets, which is bounded. */
#pragma once

#include "base/arena.h"
#include "lua/number.h"

enum { MAX_FORMULA = 8192, MAX_FORMULA_DEPTH = 48 };

typedef struct formula {
    arena *memory;
    const char *name; /* [name_len]; NULL: it says nothing (empty, space, punctuation alone) */
    size_t name_len;
    const char *value; /* of "x = 5": the name of 5; else NULL */
    bool is_number;    /* then `number` is its value */
    number number;
} formula;

void formula_read(formula *f, const char *text, size_t len);
void formula_free(formula *f);
/* Nothing is equal to nothing. "x = 5" is equal to "5", not to "y = 5". */
bool formula_equal(const formula *a, const formula *b);
