/* SPDX-License-Identifier: MIT */
/* troupe.math: the C half of verify.math_equal, verify.number, verify.normalise. */
#include <lauxlib.h>
#include <math.h>

#include "base/str.h"
#include "lua/bind.h"
#include "lua/formula.h"
#include "lua/told.h"
#include "lua/words.h"

/* The text of the value at `index`; NULL for what is equal to nothing: nil, a boolean, a table, NaN. A number with a
 * point has all of its digits: Lua writes 14, and 0.30000000000000004 is not 0.3. */
static const char *answer(lua_State *L, int index, size_t *len)
{
    const int type = lua_type(L, index);
    if (type == LUA_TNUMBER && !lua_isinteger(L, index)) {
        const double x = lua_tonumber(L, index);
        char text[48];
        str digits = { 0 };
        if (isnan(x)) return NULL;

        told_double(x, &digits);
        snprintf(text, sizeof text, "%s", digits.data);
        str_free(&digits);
        lua_pushstring(L, text);
        lua_replace(L, index);
    }

    return type == LUA_TNUMBER || type == LUA_TSTRING ? lua_tolstring(L, index, len) : NULL;
}

/* math.equal(a, b): whether both say the same, see formula.h */
static int math_equal(lua_State *L)
{
    size_t na, nb;
    formula x, y;

    lua_settop(L, 2);
    const char *a = answer(L, 1, &na), *b = answer(L, 2, &nb);
    bool equal = false;

    if (a && b) { /* nothing in between raises */
        formula_read(&x, a, na);
        formula_read(&y, b, nb);
        equal = formula_equal(&x, &y);
        formula_free(&x);
        formula_free(&y);
    }

    lua_pushboolean(L, equal);
    return 1;
}

/* math.number(text) returns a Lua number. It is nil for what is no number, or too large or too small for one: an
 * infinity would make a score missing that should be low, and 1e-400 is not 0. */
static int math_number(lua_State *L)
{
    size_t len;
    formula f;
    int64_t whole;
    lua_settop(L, 1);
    const char *text = answer(L, 1, &len);
    if (!text) return 0;

    formula_read(&f, text, len);
    const double value = f.is_number ? number_double(&f.number) : 0;
    const bool fits = f.is_number && isfinite(value) && (value != 0 || number_is_zero(&f.number));
    const bool integer = fits && number_integer(&f.number, &whole);
    formula_free(&f);
    if (!fits) return 0;
    if (integer)
        lua_pushinteger(L, (lua_Integer)whole);
    else
        lua_pushnumber(L, value);
    return 1;
}

/* math.words(value) returns its words (words.h); "" for what is equal to nothing. */
static int math_words(lua_State *L)
{
    size_t len = 0;
    luaL_Buffer b;
    lua_settop(L, 1);
    const char *text = answer(L, 1, &len);
    char *out = luaL_buffinitsize(L, &b, len + 1);
    luaL_pushresultsize(&b, text ? words_normalise(text, len, out) : 0);
    return 1;
}

int bind_math_open(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = {
        { "equal", math_equal }, { "number", math_number }, { "words", math_words }, { 0 }
    };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}
