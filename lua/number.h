/* SPDX-License-Identifier: MIT */
/* number - exact rationals for comparing answers: what 0.1, 1/3 and 1e-40 say, without a rounding.
 *
 * A number is in lowest terms, its denominator positive, zero never negative: two numbers are equal when their fields
 * are. Numerator and denominator have at most NATURAL_BITS bits (almost 700 decimal digits); what would be larger is
 * refused, never cut, so no text makes this slow. Plain values: nothing to free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NATURAL_LIMBS = 72, NATURAL_BITS = 32 * NATURAL_LIMBS, NUMBER_TEXT = 2 * NATURAL_LIMBS * 8 + 4 };

typedef struct natural {
    int n;                            /* limbs in use: the highest is not 0, so zero has none */
    uint32_t limb[NATURAL_LIMBS + 1]; /* lowest first, undefined from n on; the last is for results on the way */
} natural;

typedef struct number {
    bool negative;
    natural above, below;
} number;

/* `digits` (n of them, no sign) times 10^exponent. False: it has more digits than fit. */
bool number_decimal(const char *digits, size_t n, long exponent, number *out);
/* False: the result has more digits than fit, or y is zero. `out` may be x or y. */
bool number_times(const number *x, const number *y, number *out);
bool number_divided(const number *x, const number *y, number *out);
bool number_plus(const number *x, const number *y, number *out);
void number_one(number *out);
bool number_is_one(const number *x);
void number_negate(number *x);
bool number_is_zero(const number *x);
/* Rounded to a double, within a few units of its last place; infinite beyond. True and *whole when it is an integer
 * that fits. */
double number_double(const number *x);
bool number_integer(const number *x, int64_t *whole);
/* A name that is the same for equal numbers and only for those; at most NUMBER_TEXT bytes with the end. */
void number_text(const number *x, char out[NUMBER_TEXT]);
