/* SPDX-License-Identifier: MIT */
/* Regular expressions as PCRE2 reads them, in time linear in the text: see lua/linear. What only PCRE2 knows (back
 * references, what looks ahead) has its steps counted. What PCRE2 allocates counts in the VM's cap; compiled patterns
 * are kept, the newest MAX_PATTERNS of them, so that a pattern for each row fills nothing. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <lauxlib.h>

#include "base/str.h"
#include "lua/bind.h"
#include "lua/linear.h"

enum {
    SHORT_TEXT = 8192,      /* bytes: up to here even a quadratic match is quick */
    SHORT_LIMIT = 20000,    /* PCRE2's own steps on one, each of which may run through it */
    STEPS = 5000000,        /* of one call of match or find_all beyond that, */
    STEPS_PER_BYTE = 32,    /* and for each byte of its text */
    DEPTH_LIMIT = 10000000, /* its memory is in the cap */
    MAX_GROUPS = LINEAR_GROUPS,
    MAX_PATTERNS = 256,
};
static const char REGEX_TYPE[] = "troupe.regex", CACHE[] = "troupe.patterns", CACHED[] = "troupe.patterns.n";

typedef struct regex {
    pcre2_general_context *memory;
    pcre2_code *code, *counted; /* the second one counts its steps; made when it is needed */
    pcre2_match_data *match;
    pcre2_match_context *context;
    linear *linear; /* NULL: not tried yet, or a pattern for PCRE2 alone */
    bool is_tried;
} regex;

static int regex_gc(lua_State *L)
{
    regex *r = luaL_checkudata(L, 1, REGEX_TYPE);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    pcre2_code_free(r->code);
    pcre2_code_free(r->counted);
    linear_free(r->linear);
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
        bind_collect(L); /* Lua's own count doesn't include the memory of unused patterns */
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
    const char *text = luaL_checklstring(L, index, len), *end = text + *len, *p = text + utf8_run(text, end);
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

/* ---- matching ---- */

typedef struct found {
    int32_t spans[2 * MAX_GROUPS]; /* offsets; -1 for a group without a part */
    int64_t steps;                 /* left for this call */
    bool is_renewed;               /* they have been used up once */
    int64_t at;                    /* where the last step was, for counting the next */
} found;

/* The groups with the whole match, 0 for no match, or PCRE2's error. */
static int by_pcre2(regex *r, const pcre2_code *code, const char *text, size_t len, size_t from, found *f)
{
    int n = pcre2_match(code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, r->match, r->context);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
    if (n == 0) n = MAX_GROUPS;
    for (int i = 0; i < 2 * n; i++) f->spans[i] = o[i] == PCRE2_UNSET ? -1 : (int32_t)o[i];
    return n == PCRE2_ERROR_NOMATCH ? 0 : n;
}

/* Before each item of the pattern: how far the one before has run is what it cost. */
static int count_steps(pcre2_callout_block *block, void *data)
{
    found *f = data;
    const int64_t at = (int64_t)block->current_position;
    f->steps -= 1 + (at > f->at ? at - f->at : f->at - at);
    f->at = at;
    return f->steps > 0 ? 0 : PCRE2_ERROR_CALLOUT;
}

/* A pattern that only PCRE2 knows, with its steps counted. */
static int by_counted_pcre2(lua_State *L, regex *r, const char *text, size_t len, size_t from, found *f)
{
    size_t n;
    int code = 0;
    PCRE2_SIZE at = 0;
    const char *pattern = lua_tolstring(L, 2, &n);
    if (!r->counted) {
        pcre2_compile_context *c = pcre2_compile_context_create(r->memory);
        const uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
        if (c) r->counted = pcre2_compile((PCRE2_SPTR)pattern, n, options, &code, &at, c);
        pcre2_compile_context_free(c);
        if (!r->counted) luaL_error(L, "not enough memory for this regex");
    }

    f->at = (int64_t)from;
    pcre2_set_callout(r->context, count_steps, f);
    pcre2_set_match_limit(r->context, UINT32_MAX);
    const int groups = by_pcre2(r, r->counted, text, len, from, f);
    pcre2_set_callout(r->context, NULL, NULL);
    return groups;
}

/* A text on which the steps are used up has no match, and it is said: an error would make the score missing, which a
 * policy could choose. */
static int gave_up(lua_State *L, size_t len)
{
    lua_pushfstring(L, "the regex '%s' takes too many steps on a text of %d bytes: no match", lua_tostring(L, 2),
                    (int)len);
    lua_warning(L, lua_tostring(L, -1), 0);
    lua_pop(L, 1);
    return 0;
}

static found found_in(size_t len) { return (found){ .steps = STEPS + STEPS_PER_BYTE * (int64_t)len }; }

/* An episode without an answer has false for one, and a tag that is not there is nil: no text, in which nothing is
 * found. An error would make the score missing, and that is a policy's to choose. */
static bool is_absent(lua_State *L, int index)
{
    luaL_checkany(L, index);
    return lua_type(L, index) <= LUA_TBOOLEAN && !lua_toboolean(L, index);
}

/* The number of groups with the whole match, 0 for no match. Short texts are PCRE2's, which is quicker; what it does
 * not finish in a few steps, and any long text, is matched in linear time where the pattern allows it. */
static int run(lua_State *L, regex *r, const char *text, size_t len, size_t from, found *f)
{
    int n = 0;
    if (len <= SHORT_TEXT) {
        pcre2_set_match_limit(r->context, SHORT_LIMIT);
        n = by_pcre2(r, r->code, text, len, from, f);
        if (n >= 0) return n;
    }

    if (!r->is_tried) {
        size_t pattern_len;
        const char *pattern = lua_tolstring(L, 2, &pattern_len);
        r->linear = linear_new(pattern, pattern_len);
        r->is_tried = true;
    }

    if (r->linear) {
        void *scratch = lua_newuserdatauv(L, linear_scratch(r->linear), 0);
        const linear_end end = linear_search(r->linear, text, len, from, scratch, &f->steps, f->spans, &n);
        lua_pop(L, 1);
        if (end != LINEAR_TOO_LONG) return end == LINEAR_MATCH ? n : 0;
        if (f->is_renewed) return gave_up(L, len);
        f->is_renewed = true; /* .{0,1000} is many threads there and little to PCRE2: it may try, once in a call */
        f->steps = found_in(len).steps;
    }

    n = by_counted_pcre2(L, r, text, len, from, f);
    return n < 0 ? gave_up(L, len) : n;
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
    found f = found_in(len);
    const int n = run(L, r, text, len, 0, &f);
    if (n == 0) {
        lua_pushnil(L);
        return 1;
    }

    luaL_checkstack(L, n, "regex groups");
    for (int g = n > 1 ? 1 : 0; g < n; g++) {
        if (f.spans[2 * g] < 0)
            lua_pushnil(L);
        else
            lua_pushlstring(L, text + f.spans[2 * g], (size_t)(f.spans[2 * g + 1] - f.spans[2 * g]));
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
    found f = found_in(len);
    lua_newtable(L);

    for (lua_Integer i = 1; from <= len; i++) {
        const int n = run(L, r, text, len, from, &f);
        if (n == 0) break;
        const int32_t *span = f.spans + (n > 1 && f.spans[2] >= 0 ? 2 : 0), whole = f.spans[1] - f.spans[0];

        lua_pushlstring(L, text + span[0], (size_t)(span[1] - span[0]));
        lua_rawseti(L, -2, i);
        for (from = (size_t)f.spans[1]; whole == 0;) /* empty: on after the next character */
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
