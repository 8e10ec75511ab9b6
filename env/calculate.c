/* SPDX-License-Identifier: MIT */
#include "env/calculate.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/number.h"

enum { MAX_DEPTH = 100, DIGITS = 15, MAX_DECIMALS = 15, MAX_EXPONENT = 2400, NAME_BYTES = 8 };

typedef struct reading {
    const char *p, *end;
    int depth;
    error *err;
} reading;

/* ---- what is wrong ---- */

static bool wrong(const reading *r, const char *expected)
{
    if (r->p >= r->end)
        error_set(r->err, ERR_ARGUMENT, "%s is expected where the expression ends", expected);
    else
        error_set(r->err, ERR_ARGUMENT, "%s is expected at '%.*s'", expected,
                  (int)(r->end - r->p < 20 ? r->end - r->p : 20), r->p);
    return false;
}

static bool refuse(const reading *r, const char *sentence)
{
    error_set(r->err, ERR_ARGUMENT, "%s", sentence);
    return false;
}

static bool held(const reading *r, bool fits) { return fits || refuse(r, "the number is too large"); }

/* ---- whole numbers ---- */

static number whole(long n)
{
    char digits[24];
    number out;
    snprintf(digits, sizeof digits, "%ld", labs(n));
    number_decimal(digits, strlen(digits), 0, &out);
    if (n < 0) number_negate(&out);
    return out;
}

static bool is_whole(const number *x) { return x->below.n == 1 && x->below.limb[0] == 1; }

static bool minus(const number *x, const number *y, number *out)
{
    number less = *y;
    if (!number_is_zero(&less)) number_negate(&less);
    return number_plus(x, &less, out);
}

/* Negative, 0 or positive as x - y. */
static int order(const number *x, const number *y)
{
    number d;
    if (!minus(x, y, &d)) return number_double(x) < number_double(y) ? -1 : 1;
    if (number_is_zero(&d)) return 0;
    return d.negative ? -1 : 1;
}

/* The whole number below x: guessed from a double, and proven. */
static bool round_down(const reading *r, const number *x, number *out)
{
    static const double EXACT = 9007199254740992; /* 2^53 */
    const double guess = floor(number_double(x));
    const number one = whole(1);
    if (is_whole(x)) {
        *out = *x;
        return true;
    }
    if (!(fabs(guess) < EXACT)) return held(r, false);
    number low = whole((long)guess), next;
    if (order(&low, x) > 0) minus(&low, &one, &low);
    if (number_plus(&low, &one, &next) && order(&next, x) <= 0) low = next;
    *out = low;
    return true;
}

/* ---- functions ---- */

static bool nearest(const reading *r, const number *x, number *out)
{
    const number half = { .above = whole(1).above, .below = whole(2).above };
    number up, size = *x;
    size.negative = false;
    if (!held(r, number_plus(&size, &half, &up)) || !round_down(r, &up, out)) return false;
    if (x->negative && !number_is_zero(out)) number_negate(out); /* halves go away from zero */
    return true;
}

static bool up_to_whole(const reading *r, const number *x, number *out)
{
    number opposite = *x;
    if (!number_is_zero(x)) number_negate(&opposite);
    if (!round_down(r, &opposite, out)) return false;
    if (!number_is_zero(out)) number_negate(out);
    return true;
}

/* Exact where it can be: of 9/4, not of 2. */
static bool root(const reading *r, const number *x, number *out)
{
    char digits[40];
    if (x->negative) return refuse(r, "the square root of a negative number is none");
    const double value = sqrt(number_double(x));
    if (!isfinite(value)) return held(r, false);
    const int before = value >= 1 ? (int)log10(value) + 1 : 0, behind = before < DIGITS ? DIGITS - before : 0;
    for (int i = 0; i < 2; i++) { /* a whole root, or one with an end; the last is what there is of one without */
        number square;
        const int places = i == 0 ? 0 : behind;
        snprintf(digits, sizeof digits, "%.*f", places, value);
        char *point = strchr(digits, '.');
        if (point) memmove(point, point + 1, strlen(point));
        if (strlen(digits) > 30 || !number_decimal(digits, strlen(digits), -places, out)) return held(r, false);
        if (number_times(out, out, &square) && order(&square, x) == 0) return true;
    }
    return true;
}

static bool apply(const reading *r, const char *name, const number *x, number *out)
{
    *out = *x;
    if (strcmp(name, "abs") == 0) out->negative = false;
    if (strcmp(name, "sqrt") == 0) return root(r, x, out);
    if (strcmp(name, "floor") == 0) return round_down(r, x, out);
    if (strcmp(name, "ceil") == 0) return up_to_whole(r, x, out);
    return strcmp(name, "round") != 0 || nearest(r, x, out);
}

/* ---- operators ---- */

static bool divide(const reading *r, const number *x, const number *y, number *out)
{
    if (number_is_zero(y)) return refuse(r, "division by zero");
    return held(r, number_divided(x, y, out));
}

/* x // y, and x % y = x - y (x // y). */
static bool divide_down(const reading *r, const number *x, const number *y, bool rest, number *out)
{
    number ratio, times, product;
    if (!divide(r, x, y, &ratio) || !round_down(r, &ratio, &times)) return false;
    *out = times;
    return !rest || held(r, number_times(&times, y, &product) && minus(x, &product, out));
}

static bool raise_to(const reading *r, const number *x, const number *y, number *out)
{
    int64_t n;
    number base = *x;
    if (!number_integer(y, &n)) return refuse(r, "an exponent should be a whole number");
    if (number_is_zero(x) && n < 0) return refuse(r, "division by zero");
    number_one(out);
    if (number_is_zero(x) || (is_whole(x) && number_is_one(x))) {
        if (n != 0) *out = *x;
        return true;
    }
    if (n > MAX_EXPONENT || n < -MAX_EXPONENT) return held(r, false);
    for (int64_t left = n < 0 ? -n : n; left > 0; left >>= 1) { /* by squares */
        if (left & 1 && !held(r, number_times(out, &base, out))) return false;
        if (left > 1 && !held(r, number_times(&base, &base, &base))) return false;
    }
    const number one = whole(1);
    return n >= 0 || held(r, number_divided(&one, out, out));
}

/* ---- reading: expr = term {+ term}, term = factor {* factor}, factor = - factor | power, power = atom [^ factor] */

static bool read_expression(reading *r, number *out);
static bool read_factor(reading *r, number *out);

static void skip_blanks(reading *r)
{
    while (r->p < r->end && isspace((unsigned char)*r->p)) r->p++;
}

/* Takes `word` if it comes next. */
static bool take(reading *r, const char *word)
{
    skip_blanks(r);
    const size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) return false;
    r->p += n;
    return true;
}

/* What follows "1.5e": added to *exponent. */
static bool read_exponent(reading *r, long *exponent)
{
    char part[8] = { 0 }, *after;
    const size_t left = (size_t)(r->end - r->p - 1), n = left < sizeof part - 1 ? left : sizeof part - 1;
    memcpy(part, r->p + 1, n);
    const long given = strtol(part, &after, 10);
    if (isspace((unsigned char)part[0]) || after == part) return wrong(r, "an operator");
    *exponent += given;
    r->p += 1 + (after - part);
    return true;
}

static bool read_number(reading *r, number *out)
{
    char digits[NUMBER_TEXT];
    size_t n = 0;
    long exponent = 0;
    bool point = false;
    for (; r->p < r->end && (isdigit((unsigned char)*r->p) || (*r->p == '.' && !point)); r->p++) {
        if (*r->p == '.') {
            point = true;
            continue;
        }
        if (n == sizeof digits) return held(r, false);
        digits[n++] = *r->p;
        exponent -= point;
    }
    if (n == 0) return wrong(r, "a number");
    const bool has_exponent = r->p + 1 < r->end && (*r->p == 'e' || *r->p == 'E');
    if (has_exponent && !read_exponent(r, &exponent)) return false;
    return held(r, labs(exponent) <= MAX_EXPONENT && number_decimal(digits, n, exponent, out));
}

static bool read_arguments(reading *r, const char *name, number *out)
{
    const bool least = strcmp(name, "min") == 0, most = strcmp(name, "max") == 0;
    number x;
    if (!take(r, "(")) return wrong(r, "(");
    if (!read_expression(r, &x)) return false;
    while ((least || most) && take(r, ",")) {
        number y;
        if (!read_expression(r, &y)) return false;
        if (order(&y, &x) * (least ? 1 : -1) < 0) x = y;
    }
    if (!take(r, ")")) return wrong(r, ")");
    *out = x;
    return least || most || apply(r, name, &x, out);
}

static bool read_call(reading *r, number *out)
{
    static const char *const NAMES[] = { "abs", "min", "max", "sqrt", "floor", "ceil", "round", NULL };
    char name[NAME_BYTES];
    const char *began = r->p;
    size_t n = 0;
    while (r->p < r->end && isalpha((unsigned char)*r->p) && n < sizeof name - 1) name[n++] = *r->p++;
    name[n] = 0;
    for (const char *const *known = NAMES; *known; known++)
        if (strcmp(name, *known) == 0) return read_arguments(r, name, out);
    r->p = began;
    return wrong(r, "a number or one of abs, min, max, sqrt, floor, ceil, round");
}

static bool read_atom(reading *r, number *out)
{
    skip_blanks(r);
    if (r->p < r->end && isalpha((unsigned char)*r->p)) return read_call(r, out);
    if (!take(r, "(")) return read_number(r, out);
    return read_expression(r, out) && (take(r, ")") || wrong(r, ")"));
}

static bool read_power(reading *r, number *out)
{
    number base, exponent;
    if (!read_atom(r, &base)) return false;
    *out = base;
    if (!take(r, "^") && !take(r, "**")) return true;
    return read_factor(r, &exponent) && raise_to(r, &base, &exponent, out);
}

static bool read_factor(reading *r, number *out)
{
    if (++r->depth > MAX_DEPTH) return refuse(r, "the expression is nested too deeply");
    bool fine;
    if (take(r, "-")) {
        fine = read_factor(r, out);
        if (fine && !number_is_zero(out)) number_negate(out);
    } else {
        fine = take(r, "+") ? read_factor(r, out) : read_power(r, out);
    }
    r->depth--;
    return fine;
}

static bool read_term(reading *r, number *out)
{
    number x, y;
    if (!read_factor(r, &x)) return false;
    for (;;) {
        const bool down = take(r, "//"), over = !down && take(r, "/"), rest = !down && !over && take(r, "%");
        const bool times = !down && !over && !rest && (take(r, "*") || take(r, "\xc3\x97")); /* the sign, too */
        *out = x;
        if (!down && !over && !rest && !times) return true;
        if (!read_factor(r, &y)) return false;
        if (times && !held(r, number_times(&x, &y, out))) return false;
        if (over && !divide(r, &x, &y, out)) return false;
        if ((down || rest) && !divide_down(r, &x, &y, rest, out)) return false;
        x = *out;
    }
}

static bool read_expression(reading *r, number *out)
{
    number x, y;
    if (!read_term(r, &x)) return false;
    for (;;) {
        const bool add = take(r, "+"), subtract = !add && take(r, "-");
        *out = x;
        if (!add && !subtract) return true;
        if (!read_term(r, &y)) return false;
        if (!held(r, add ? number_plus(&x, &y, out) : minus(&x, &y, out))) return false;
        x = *out;
    }
}

/* ---- writing ---- */

/* The decimal digits of a natural, by divisions by 10^9. */
static void write_natural(const natural *n, str *out)
{
    enum { PARTS = NATURAL_LIMBS * 32 / 29 + 2 };
    static const uint32_t BILLION = 1000000000;
    uint32_t parts[PARTS];
    int n_parts = 0;
    natural left = *n;
    while (left.n > 0) {
        uint64_t rest = 0;
        for (int i = left.n - 1; i >= 0; i--) {
            rest = rest << 32 | left.limb[i];
            left.limb[i] = (uint32_t)(rest / BILLION);
            rest %= BILLION;
        }
        parts[n_parts++] = (uint32_t)rest;
        while (left.n > 0 && left.limb[left.n - 1] == 0) left.n--;
    }
    str_printf(out, "%u", n_parts > 0 ? parts[n_parts - 1] : 0);
    for (int i = n_parts - 2; i >= 0; i--) str_printf(out, "%09u", parts[i]);
}

/* Its digits with a point before the last `places` of them. */
static void write_decimal(const number *scaled, int places, str *out)
{
    str digits = { 0 };
    write_natural(&scaled->above, &digits);
    const int before = (int)digits.len - places;
    if (places == 0)
        str_puts(out, digits.data);
    else if (before > 0)
        str_printf(out, "%.*s.%s", before, digits.data, digits.data + before);
    else {
        str_puts(out, "0.");
        for (int i = before; i < 0; i++) str_putc(out, '0');
        str_puts(out, digits.data);
    }
    str_free(&digits);
}

static void write_value(const number *x, str *out)
{
    number scaled = *x;
    const number ten = whole(10);
    int places = 0;
    while (!is_whole(&scaled) && places < MAX_DECIMALS && number_times(&scaled, &ten, &scaled)) places++;
    if (!is_whole(&scaled)) {
        str_printf(out, "%.15g", number_double(x));
        return;
    }
    if (x->negative) str_putc(out, '-');
    write_decimal(&scaled, places, out);
}

int calculate(const char *text, size_t len, str *out, error *err)
{
    error why = { 0 };
    number value;
    reading r = { .p = text, .end = text + len, .err = &why };
    bool fine = read_expression(&r, &value);
    if (fine) take(&r, "="); /* as on a pocket calculator */
    skip_blanks(&r);
    if (fine && r.p < r.end) fine = wrong(&r, "an operator");
    if (!fine) return error_set(err, ERR_ARGUMENT, "%s", why.text);
    write_value(&value, out);
    return OK;
}
