/* Regular expressions by PCRE2, with a limit on the steps of a match: a catastrophic pattern is an error, not a hang.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <lauxlib.h>

#include "lua/bind.h"

enum { MATCH_LIMIT = 200000, DEPTH_LIMIT = 1000, MAX_GROUPS = 32 };
static const char REGEX_TYPE[] = "troupe.regex";

typedef struct regex {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
} regex;

static int regex_gc(lua_State *L)
{
    regex *r = luaL_checkudata(L, 1, REGEX_TYPE);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    pcre2_code_free(r->code);
    *r = (regex){ 0 };
    return 0;
}

/* The compiled pattern at `index`, from a cache of this VM. */
static regex *compile(lua_State *L, int index)
{
    int code;
    PCRE2_SIZE at, len;
    const char *pattern = luaL_checklstring(L, index, &len);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "troupe.patterns");
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TUSERDATA) return lua_touserdata(L, -1);
    lua_pop(L, 1);
    regex *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (regex){ 0 };
    if (luaL_newmetatable(L, REGEX_TYPE)) {
        lua_pushcfunction(L, regex_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    r->code = pcre2_compile((PCRE2_SPTR)pattern, len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    if (!r->code) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof why);
        luaL_error(L, "regex: %s at character %d", (const char *)why, (int)at);
    }
    r->match = pcre2_match_data_create(MAX_GROUPS, NULL);
    r->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    return r;
}

static int run(lua_State *L, regex *r, const char *text, size_t len, size_t from)
{
    const int n = pcre2_match(r->code, (PCRE2_SPTR)text, len, from, 0, r->match, r->context);
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    if (n == PCRE2_ERROR_MATCHLIMIT || n == PCRE2_ERROR_DEPTHLIMIT || n == PCRE2_ERROR_HEAPLIMIT)
        return luaL_error(L, "regex gave up: too many steps on a text of %d bytes", (int)len);
    return n < 0 ? luaL_error(L, "regex failed (PCRE2 error %d)", n) : n == 0 ? MAX_GROUPS : n;
}

/* regex.match(text, pattern) -> the groups (or the whole match when there are none), or nil */
static int regex_match(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    regex *r = compile(L, 2);
    const int n = run(L, r, text, len, 0);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
    if (n == 0) return lua_pushnil(L), 1;
    luaL_checkstack(L, n, "regex groups");
    for (int g = n > 1 ? 1 : 0; g < n; g++) {
        if (o[2 * g] == PCRE2_UNSET)
            lua_pushnil(L);
        else
            lua_pushlstring(L, text + o[2 * g], o[2 * g + 1] - o[2 * g]);
    }
    return n > 1 ? n - 1 : 1;
}

/* regex.find_all(text, pattern) -> list of the first group (or the whole match) of every match */
static int regex_find_all(lua_State *L)
{
    size_t len, from = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    regex *r = compile(L, 2);
    lua_newtable(L);
    for (lua_Integer i = 1; from <= len; i++) {
        const int n = run(L, r, text, len, from);
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
        if (n == 0) break;
        const int g = n > 1 && o[2] != PCRE2_UNSET ? 1 : 0;
        lua_pushlstring(L, text + o[2 * g], o[2 * g + 1] - o[2 * g]);
        lua_rawseti(L, -2, i);
        from = o[1] > o[0] ? o[1] : o[1] + 1;
    }
    return 1;
}

int bind_regex_open(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = { { "match", regex_match }, { "find_all", regex_find_all }, { 0 } };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}
