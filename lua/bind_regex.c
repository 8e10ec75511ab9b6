/* SPDX-License-Identifier: MIT */
/* Regular expressions by PCRE2. A match has a limit on its steps: a catastrophic pattern is an error, not a hang. What
 * PCRE2 allocates counts in the VM's cap; compiled patterns are kept, the newest MAX_PATTERNS of them, so that a
 * pattern for each row fills nothing. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <lauxlib.h>

#include "base/str.h"
#include "lua/bind.h"

enum {
    MATCH_LIMIT = 200000,
    MATCH_LIMIT_PER_BYTE = 64, /* a long text takes more steps, and none is given up for being long */
    DEPTH_LIMIT = 10000000,    /* its memory is in the cap */
    MAX_GROUPS = 32,
    MAX_PATTERNS = 256,
};
static const char REGEX_TYPE[] = "troupe.regex", CACHE[] = "troupe.patterns", CACHED[] = "troupe.patterns.n";

typedef struct regex {
    pcre2_general_context *memory;
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
    pcre2_general_context_free(r->memory);
    *r = (regex){ 0 };
    return 0;
}

/* Pushes the cache, a new one when it is full: what it held goes with the next collection. */
static void push_cache(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, CACHED);
    const lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (n % MAX_PATTERNS == 0) {
        lua_newtable(L);
        lua_setfield(L, LUA_REGISTRYINDEX, CACHE);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, CACHE);
}

static regex *new_regex(lua_State *L)
{
    regex *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (regex){ 0 };
    if (luaL_newmetatable(L, REGEX_TYPE)) {
        lua_pushcfunction(L, regex_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return r;
}

/* False when memory is short. */
static bool open_regex(lua_State *L, regex *r, const char *pattern, size_t len)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *c = NULL;
    if (!r->memory) r->memory = pcre2_general_context_create(bind_outside, bind_outside_free, bind_owner(L));
    if (r->memory) c = pcre2_compile_context_create(r->memory);
    if (c) r->code = pcre2_compile((PCRE2_SPTR)pattern, len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, c);
    pcre2_compile_context_free(c);
    if (c && !r->code && code != PCRE2_ERROR_NOMEMORY && code != 121) { /* 121: the same, from compiling */
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof why);
        luaL_error(L, "regex: %s at character %d", (const char *)why, (int)at);
    }
    if (r->code) r->match = pcre2_match_data_create(MAX_GROUPS, r->memory);
    if (r->match) r->context = pcre2_match_context_create(r->memory);
    if (r->context) pcre2_set_depth_limit(r->context, DEPTH_LIMIT);
    return r->context != NULL;
}

/* The compiled pattern at `index`; leaves it on the stack. */
static regex *compile(lua_State *L, int index)
{
    size_t len;
    const char *pattern = luaL_checklstring(L, index, &len);
    lua_getfield(L, LUA_REGISTRYINDEX, CACHE);
    if (lua_istable(L, -1)) {
        lua_pushvalue(L, index);
        if (lua_rawget(L, -2) == LUA_TUSERDATA) return lua_touserdata(L, -1);
    }
    regex *r = new_regex(L);
    if (!open_regex(L, r, pattern, len)) {
        lua_gc(L, LUA_GCCOLLECT); /* patterns that nobody uses any more are outside of what Lua sees itself use */
        if (!open_regex(L, r, pattern, len)) luaL_error(L, "not enough memory for this regex");
    }
    push_cache(L);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_getfield(L, LUA_REGISTRYINDEX, CACHED);
    lua_pushinteger(L, lua_tointeger(L, -1) + 1);
    lua_setfield(L, LUA_REGISTRYINDEX, CACHED);
    lua_pop(L, 2);
    return r;
}

/* The text at `index` as UTF-8, checked once and not at each match: what is none becomes U+FFFD, in a copy. */
static const char *checked_text(lua_State *L, int index, size_t *len)
{
    const char *text = luaL_checklstring(L, index, len), *end = text + *len, *p = text;
    for (size_t n; p < end && (n = utf8_length(p, end)) > 0;) p += n;
    if (p == end) return text;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, text, (size_t)(p - text));
    while (p < end) {
        const size_t n = utf8_length(p, end);
        luaL_addlstring(&b, n > 0 ? p : "\xef\xbf\xbd", n > 0 ? n : 3);
        p += n > 0 ? n : 1;
    }
    luaL_pushresult(&b);
    lua_replace(L, index);
    return lua_tolstring(L, index, len);
}

/* The number of groups with the whole match, 0 for no match. */
static int run(lua_State *L, regex *r, const char *text, size_t len, size_t from)
{
    const uint64_t limit = MATCH_LIMIT + (uint64_t)MATCH_LIMIT_PER_BYTE * len;
    pcre2_set_match_limit(r->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    const int n = pcre2_match(r->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, r->match, r->context);
    if (n >= 0) return n == 0 ? MAX_GROUPS : n;
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    const bool memory = n == PCRE2_ERROR_NOMEMORY || n == PCRE2_ERROR_HEAPLIMIT;
    if (!memory && n != PCRE2_ERROR_MATCHLIMIT && n != PCRE2_ERROR_DEPTHLIMIT)
        return luaL_error(L, "regex failed (PCRE2 error %d)", n);
    return luaL_error(L, "regex gave up: %s on a text of %d bytes", memory ? "not enough memory" : "too many steps",
                      (int)len);
}

/* An episode without an answer has false for one, and a tag that is not there is nil: no text, in which nothing is
 * found. An error would make the score missing, and that is a policy's to choose. */
static bool is_absent(lua_State *L, int index)
{
    luaL_checkany(L, index);
    return lua_type(L, index) <= LUA_TBOOLEAN && !lua_toboolean(L, index);
}

/* regex.match(text, pattern) -> the groups (or the whole match when there are none), or nil */
static int regex_match(lua_State *L)
{
    size_t len;
    if (is_absent(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    const char *text = checked_text(L, 1, &len);
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
    if (is_absent(L, 1)) {
        lua_newtable(L);
        return 1;
    }
    const char *text = checked_text(L, 1, &len);
    regex *r = compile(L, 2);
    lua_newtable(L);
    for (lua_Integer i = 1; from <= len; i++) {
        const int n = run(L, r, text, len, from);
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
        if (n == 0) break;
        const int g = n > 1 && o[2] != PCRE2_UNSET ? 1 : 0;
        lua_pushlstring(L, text + o[2 * g], o[2 * g + 1] - o[2 * g]);
        lua_rawseti(L, -2, i);
        for (from = o[1]; o[1] == o[0];) /* empty: on behind the next character */
            if (++from >= len || ((unsigned char)text[from] & 0xc0) != 0x80) break;
    }
    return 1;
}

int bind_regex_open(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = { { "match", regex_match }, { "find_all", regex_find_all }, { 0 } };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}
