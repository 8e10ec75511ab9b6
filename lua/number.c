/* SPDX-License-Identifier: MIT */
#include "lua/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- natural numbers ---- */

static void trim(natural *x)
{
    while (x->n > 0 && x->limb[x->n - 1] == 0) x->n--;
}

static void small(natural *x, uint32_t value) { *x = (natural){ .n = value != 0, .limb = { value } }; }

/* x = x * by + add */
static bool times_small(natural *x, uint32_t by, uint32_t add)
{
    uint64_t carry = add;
    for (int i = 0; i < x->n; i++) {
        carry += (uint64_t)x->limb[i] * by;
        x->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && x->n == NATURAL_LIMBS + 1) return false;
    if (carry) x->limb[x->n++] = (uint32_t)carry;
    return true;
}

static bool times(const natural *x, const natural *y, natural *out)
{
    if (x->n + y->n > NATURAL_LIMBS + 1) return false;

    uint32_t limb[NATURAL_LIMBS + 1] = { 0 };
    for (int i = 0; i < x->n; i++) {
        uint64_t carry = 0;
        for (int k = 0; k < y->n; k++) {
            carry += (uint64_t)x->limb[i] * y->limb[k] + limb[i + k];
            limb[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        limb[i + y->n] = (uint32_t)carry;
    }

    if (limb[NATURAL_LIMBS]) return false;
    out->n = x->n + y->n < NATURAL_LIMBS ? x->n + y->n : NATURAL_LIMBS;
    memcpy(out->limb, limb, (size_t)out->n * sizeof *limb);
    trim(out);
    return true;
}

static int compare(const natural *x, const natural *y)
{
    if (x->n != y->n) return x->n > y->n ? 1 : -1;
    for (int i = x->n - 1; i >= 0; i--)
        if (x->limb[i] != y->limb[i]) return x->limb[i] > y->limb[i] ? 1 : -1;
    return 0;
}

/* x -= y, which is not larger */
static void minus(natural *x, const natural *y)
{
    int64_t borrow = 0;
    for (int i = 0; i < x->n; i++) {
        const int64_t rest = (int64_t)x->limb[i] - (i < y->n ? y->limb[i] : 0) + borrow;
        x->limb[i] = (uint32_t)rest;
        borrow = rest < 0 ? -1 : 0;
    }
    trim(x);
}

static bool plus(const natural *x, const natural *y, natural *out)
{
    uint64_t carry = 0;
    natural sum;

    sum.n = x->n > y->n ? x->n : y->n;
    for (int i = 0; i < sum.n; i++) {
        carry += (uint64_t)(i < x->n ? x->limb[i] : 0) + (i < y->n ? y->limb[i] : 0);
        sum.limb[i] = (uint32_t)carry;
        carry >>= 32;
    }

    if (carry && sum.n == NATURAL_LIMBS) return false;
    if (carry) sum.limb[sum.n++] = (uint32_t)carry;
    *out = sum;
    return true;
}

static int bits(const natural *x) { return x->n ? 32 * x->n - __builtin_clz(x->limb[x->n - 1]) : 0; }

/* *x becomes the quotient, *rest what is left: bit by bit, which is quick enough for 2,304 of them. y is not 0. */
static void divide(natural *x, const natural *y, natural *rest)
{
    small(rest, 0);

    for (int i = bits(x) - 1; i >= 0; i--) {
        const uint32_t mask = 1u << (i % 32), bit = (x->limb[i / 32] & mask) != 0;
        if (rest->n == 0)
            small(rest, bit);
        else
            times_small(rest, 2, bit); /* below 2 y: the spare limb takes it */

        if (compare(rest, y) >= 0) {
            minus(rest, y);
            x->limb[i / 32] |= mask;
        } else {
            x->limb[i / 32] &= ~mask;
        }
    }
    trim(x);
}

static int trailing_zeros(const natural *x)
{
    int i = 0;
    while (x->limb[i] == 0) i++;
    return 32 * i + __builtin_ctz(x->limb[i]);
}

static void shift_right(natural *x, int by)
{
    const int limbs = by / 32, rest = by % 32;
    x->n -= limbs;
    for (int i = 0; i < x->n; i++) {
        const uint64_t high = i + 1 < x->n ? x->limb[i + limbs + 1] : 0;
        x->limb[i] = (uint32_t)((high << 32 | x->limb[i + limbs]) >> rest);
    }
    trim(x);
}

/* The greatest common divisor without its twos; neither is 0. */
static void common_odd_factor(natural a, natural b, natural *out)
{
    shift_right(&a, trailing_zeros(&a));
    shift_right(&b, trailing_zeros(&b));
    for (int order; (order = compare(&a, &b)) != 0;) {
        natural *larger = order > 0 ? &a : &b;
        minus(larger, order > 0 ? &b : &a);
        shift_right(larger, trailing_zeros(larger));
    }
    *out = a;
}

static uint64_t as_u64(const natural *x)
{
    return (x->n > 1 ? (uint64_t)x->limb[1] << 32 : 0) | (x->n > 0 ? x->limb[0] : 0);
}

static void from_u64(natural *x, uint64_t value)
{
    x->n = 2;
    x->limb[0] = (uint32_t)value;
    x->limb[1] = (uint32_t)(value >> 32);
    trim(x);
}

static bool is_one(const natural *x) { return x->n == 1 && x->limb[0] == 1; }

/* ---- rationals ---- */

static void lowest_terms_small(number *r)
{
    uint64_t a = as_u64(&r->above), b = as_u64(&r->below);
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    from_u64(&r->above, as_u64(&r->above) / a);
    from_u64(&r->below, as_u64(&r->below) / a);
}

static void lowest_terms(number *r)
{
    natural rest, factor;
    if (r->above.n == 0) { /* 0 is 0/1, without a sign */
        r->negative = false;
        small(&r->below, 1);
    }
    if (is_one(&r->below)) return;

    if (r->above.n <= 2 && r->below.n <= 2) {
        lowest_terms_small(r);
        return;
    }

    const int twos_above = trailing_zeros(&r->above), twos_below = trailing_zeros(&r->below);
    const int twos = twos_above < twos_below ? twos_above : twos_below;
    shift_right(&r->above, twos);
    shift_right(&r->below, twos);
    common_odd_factor(r->above, r->below, &factor);
    if (is_one(&factor)) return;
    divide(&r->above, &factor, &rest);
    divide(&r->below, &factor, &rest);
}

static bool times_ten(natural *x, long exponent)
{
    if (exponent > NATURAL_BITS) return x->n == 0;
    for (; exponent >= 9; exponent -= 9)
        if (!times_small(x, 1000000000, 0)) return false;
    for (; exponent > 0; exponent--)
        if (!times_small(x, 10, 0)) return false;
    return x->n <= NATURAL_LIMBS;
}

bool number_decimal(const char *digits, size_t n, long exponent, number *out)
{
    out->negative = false;
    small(&out->above, 0);
    small(&out->below, 1);

    for (size_t i = 0; i < n; i++) {
        const uint32_t digit = (uint32_t)(digits[i] - '0');
        if (out->above.n == 0)
            small(&out->above, digit);
        else if (!times_small(&out->above, 10, digit))
            return false;
    }
    if (out->above.n > NATURAL_LIMBS) return false;

    const bool small_one = exponent < 0;
    if (!times_ten(small_one ? &out->below : &out->above, small_one ? -exponent : exponent)) return false;
    lowest_terms(out);
    return true;
}

bool number_times(const number *x, const number *y, number *out)
{
    number r = { .negative = x->negative != y->negative };
    if (!times(&x->above, &y->above, &r.above) || !times(&x->below, &y->below, &r.below)) return false;
    lowest_terms(&r);
    *out = r;
    return true;
}

bool number_divided(const number *x, const number *y, number *out)
{
    if (number_is_zero(y)) return false;
    const number inverse = { .negative = y->negative, .above = y->below, .below = y->above };
    return number_times(x, &inverse, out);
}

bool number_plus(const number *x, const number *y, number *out)
{
    natural a, b;
    number r = { .negative = x->negative };
    /* a / (bd) and c / (bd) with x = a/b: on the common denominator, then by signs. */
    if (!times(&x->above, &y->below, &a) || !times(&y->above, &x->below, &b)) return false;
    if (!times(&x->below, &y->below, &r.below)) return false;

    if (x->negative == y->negative) {
        if (!plus(&a, &b, &r.above)) return false;
    } else if (compare(&a, &b) >= 0) {
        minus(&a, &b);
        r.above = a;
    } else {
        minus(&b, &a);
        r.above = b;
        r.negative = y->negative;
    }

    lowest_terms(&r);
    *out = r;
    return true;
}

void number_one(number *out)
{
    out->negative = false;
    small(&out->above, 1);
    small(&out->below, 1);
}

bool number_is_one(const number *x) { return is_one(&x->above) && is_one(&x->below) && !x->negative; }
void number_negate(number *x) { x->negative = !x->negative && !number_is_zero(x); }
bool number_is_zero(const number *x) { return x->above.n == 0; }

bool number_integer(const number *x, int64_t *whole)
{
    if (!is_one(&x->below) || bits(&x->above) > 63) return false;
    *whole = (int64_t)as_u64(&x->above);
    if (x->negative) *whole = -*whole;
    return true;
}

/* The highest 64 bits, and how many were left out. */
static double highest(const natural *x, int *exponent)
{
    const int shift = bits(x) > 64 ? bits(x) - 64 : 0;
    uint64_t value = 0;
    for (int i = 63; i >= 0; i--) {
        const int at = i + shift;
        value = value << 1 | (at / 32 < x->n ? x->limb[at / 32] >> (at % 32) & 1 : 0);
    }
    *exponent = shift;
    return (double)value;
}

double number_double(const number *x)
{
    int up, down;
    const double above = highest(&x->above, &up), below = highest(&x->below, &down);
    return (x->negative ? -1 : 1) * ldexp(above / below, up - down);
}

static size_t natural_text(const natural *x, char *out)
{
    size_t n = 0;
    for (int i = x->n - 1; i >= 0; i--)
        n += (size_t)snprintf(out + n, 9, i == x->n - 1 ? "%x" : "%08x", (unsigned)x->limb[i]);
    if (x->n == 0) out[n++] = '0';
    return n;
}

void number_text(const number *x, char out[NUMBER_TEXT])
{
    size_t n = 0;
    if (x->negative) out[n++] = '-';
    n += natural_text(&x->above, out + n);
    if (!is_one(&x->below)) {
        out[n++] = '/';
        n += natural_text(&x->below, out + n);
    }
    out[n] = 0;
}
