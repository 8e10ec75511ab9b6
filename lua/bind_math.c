/* Exact numbers behind verify.math_equal: decimals, fractions and percentages as rationals, never as floats.
 * "35862", "35,862", "35862.0", "$3", "50%", "1/2", "\frac{1}{2}", "-0.5", "1e3". */
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lua/bind.h"

typedef struct rational {
    __int128 n, d; /* d > 0, no common factor */
} rational;

static const __int128 LIMIT = (__int128)1 << 100;

static bool reduce(rational *r)
{
    __int128 a = r->n < 0 ? -r->n : r->n, b = r->d;
    if (a > LIMIT || b > LIMIT || b == 0) return false;
    while (b != 0) {
        const __int128 rest = a % b;
        a = b, b = rest;
    }
    r->n /= a, r->d /= a;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool times(__int128 *x, __int128 by)
{
    if (*x > LIMIT / by) return false;
    *x *= by;
    return true;
}

/* Digits with thousands separators where they belong: 1,234,567. */
static const char *whole_part(const char *p, const char *end, __int128 *n, int *digits)
{
    int since = -1; /* digits since the last separator; -1: none yet */
    for (; p < end; p++) {
        if (*p == ',' && *digits > 0 && end - p > 3 && is_digit(p[1]) && is_digit(p[2]) && is_digit(p[3]) &&
            (since == 3 || (since < 0 && *digits <= 3))) {
            since = 0;
            continue;
        }
        if (!is_digit(*p)) break;
        if (!times(n, 10)) return NULL;
        *n += *p - '0';
        (*digits)++;
        if (since >= 0) since++;
    }
    return since > 0 && since != 3 ? NULL : p;
}

static const char *exponent_part(const char *p, const char *end, rational *r)
{
    if (p + 1 >= end || (*p != 'e' && *p != 'E')) return p;
    const char *q = p + 1;
    const bool negative = *q == '-';
    int e = 0;
    q += *q == '-' || *q == '+';
    if (q == end || !is_digit(*q)) return p;
    while (q < end && is_digit(*q) && e < 100) e = 10 * e + (*q++ - '0');
    while (e-- > 0)
        if (!times(negative ? &r->d : &r->n, 10)) return NULL;
    return q;
}

/* An unsigned decimal; returns what is behind it, or NULL. */
static const char *decimal(const char *p, const char *end, rational *r)
{
    int digits = 0;
    *r = (rational){ 0, 1 };
    p = whole_part(p, end, &r->n, &digits);
    if (p && p < end && *p == '.') {
        for (p++; p < end && is_digit(*p); p++, digits++) {
            if (!times(&r->n, 10) || !times(&r->d, 10)) return NULL;
            r->n += *p - '0';
        }
    }
    return p && digits > 0 ? exponent_part(p, end, r) : NULL;
}

static const char *fraction_braces(const char *p, const char *end, rational *r)
{
    rational a, b;
    if (end - p < 6 || strncmp(p, "\\frac{", 6) != 0) return NULL;
    p = decimal(p + 6, end, &a);
    if (!p || end - p < 2 || p[0] != '}' || p[1] != '{') return NULL;
    p = decimal(p + 2, end, &b);
    if (!p || p == end || *p != '}' || b.n == 0 || !times(&a.n, b.d) || !times(&a.d, b.n)) return NULL;
    *r = a;
    return p + 1;
}

/* The whole text as one number. */
static bool parse(const char *p, size_t len, rational *r)
{
    const char *end = p + len, *begin;
    rational b;
    while (p < end && strchr(" \t\r\n$", *p)) p++;
    while (end > p && strchr(" \t\r\n$.", end[-1]) && !(end[-1] == '.' && end - p == 1)) end--;
    const bool negative = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    while (p < end && *p == '$') p++;
    begin = p;
    p = fraction_braces(begin, end, r);
    if (!p) p = decimal(begin, end, r);
    if (!p) return false;
    if (p < end && *p == '/') {
        p = decimal(p + 1, end, &b);
        if (!p || b.n == 0 || !times(&r->n, b.d) || !times(&r->d, b.n)) return false;
    }
    if (p < end && (*p == '%' || (*p == '\\' && p + 1 < end && p[1] == '%'))) {
        p += *p == '\\' ? 2 : 1;
        if (!times(&r->d, 100)) return false;
    }
    if (negative) r->n = -r->n;
    return p == end && reduce(r);
}

/* math.equal(a, b): true, false; false when either is no number */
static int math_equal(lua_State *L)
{
    size_t na, nb;
    const char *a = luaL_checklstring(L, 1, &na), *b = luaL_checklstring(L, 2, &nb);
    rational x, y;
    lua_pushboolean(L, parse(a, na, &x) && parse(b, nb, &y) && x.n == y.n && x.d == y.d);
    return 1;
}

/* math.number(text): a Lua number, or nil */
static int math_number(lua_State *L)
{
    size_t len;
    rational r;
    const char *s = luaL_checklstring(L, 1, &len);
    if (!parse(s, len, &r))
        lua_pushnil(L);
    else if (r.d == 1 && r.n < INT64_MAX && r.n > INT64_MIN)
        lua_pushinteger(L, (lua_Integer)r.n);
    else
        lua_pushnumber(L, (double)r.n / (double)r.d);
    return 1;
}

int bind_math_open(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = { { "equal", math_equal }, { "number", math_number }, { 0 } };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}
