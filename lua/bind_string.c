/* SPDX-License-Identifier: MIT */
/* string.find, match, gmatch, gsub on lua/pattern, whose time is linear in the text, and string.rep with a sentence for
 * what does not fit. They replace Lua's own under the same names, with the same results. */
#include <lauxlib.h>
#include <string.h>

#include "lua/bind.h"
#include "lua/pattern.h"

enum { MAX_REPEATED = 1 << 30 };

/* A place as string functions take it: from 1, or from the end when negative; as an offset from 0. */
static size_t offset_of(lua_Integer place, size_t len)
{
    if (place > 0) return (size_t)place - 1;
    if (place == 0 || place < -(lua_Integer)len) return 0;
    return len - (size_t)-place;
}

static void push_capture(matcher *m, int i, const char *begin, const char *end)
{
    if (i >= m->n_captures) {
        if (i != 0) luaL_error(m->L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(m->L, begin, (size_t)(end - begin));
        return;
    }

    const capture *c = &m->captures[i];
    if (c->len == CAPTURE_POSITION)
        lua_pushinteger(m->L, c->begin - m->text + 1);
    else
        lua_pushlstring(m->L, c->begin, (size_t)c->len);
}

/* All captures, or the whole match when there are none and `whole`. */
static int push_captures(matcher *m, const char *begin, const char *end, bool whole)
{
    const int n = m->n_captures == 0 && whole ? 1 : m->n_captures;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++) push_capture(m, i, begin, end);
    return n;
}

/* For the text and the pattern at 1 and 2; leaves the pattern and a place for what is remembered on the stack. */
static matcher matcher_of(lua_State *L, bool anchors, pattern_room *room)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &pattern_len);
    bind_worked(L, len);
    matcher m = { .L = L, .text = text, .len = len, .p = pattern_push(L, p, pattern_len, anchors, room) };
    lua_pushnil(L);
    m.memo = lua_gettop(L);
    return m;
}

static int find_plain(lua_State *L, size_t from)
{
    size_t len, n;
    const char *text = lua_tolstring(L, 1, &len), *what = lua_tolstring(L, 2, &n);
    bind_worked(L, len - from);
    const char *found = n == 0 ? text + from : memmem(text + from, len - from, what, n);
    if (!found) {
        luaL_pushfail(L);
        return 1;
    }

    lua_pushinteger(L, found - text + 1);
    lua_pushinteger(L, found - text + (lua_Integer)n);
    return 2;
}

static int find(lua_State *L, bool places)
{
    size_t len, n;
    luaL_checklstring(L, 1, &len);
    const char *p = luaL_checklstring(L, 2, &n);
    const size_t from = offset_of(luaL_optinteger(L, 3, 1), len);
    if (from > len) {
        luaL_pushfail(L);
        return 1;
    }
    const bool plain = places && (lua_toboolean(L, 4) || (strlen(p) == n && !strpbrk(p, "^$*+?.([%-")));
    if (plain) return find_plain(L, from);

    pattern_room room;
    matcher m = matcher_of(L, true, &room);
    const char *begin = m.text + from, *end = pattern_search(&m, &begin);
    if (!end) {
        luaL_pushfail(L);
        return 1;
    }
    if (!places) return push_captures(&m, begin, end, true);
    lua_pushinteger(L, begin - m.text + 1);
    lua_pushinteger(L, end - m.text);
    return 2 + push_captures(&m, begin, end, false);
}

static int string_find(lua_State *L) { return find(L, true); }
static int string_match(lua_State *L) { return find(L, false); }

/* ---- gmatch: upvalues are the text, the pattern, the memo, and this ---- */

typedef struct walk {
    matcher m;
    const char *from, *last; /* last: the end of the match before */
} walk;

static int next_match(lua_State *L)
{
    walk *w = lua_touserdata(L, lua_upvalueindex(4));
    w->m.L = L;
    lua_pushvalue(L, lua_upvalueindex(3));
    w->m.memo = lua_gettop(L);

    while (w->from <= w->m.text + w->m.len) {
        const char *begin = w->from, *end = pattern_search(&w->m, &begin);
        if (!end) break;
        if (end == w->last) { /* empty, right after the one before */
            w->from = begin + 1;
            continue;
        }
        w->from = w->last = end;
        return push_captures(&w->m, begin, end, true);
    }
    w->from = w->m.text + w->m.len + 1;
    return 0;
}

static int string_gmatch(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_checkstring(L, 2);
    const size_t from = offset_of(luaL_optinteger(L, 3, 1), len);

    lua_settop(L, 2);
    const matcher m = matcher_of(L, false, NULL);
    lua_newtable(L); /* at once: it must outlive a call that raises */
    lua_replace(L, m.memo);

    walk *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (walk){ .m = m, .from = m.text + (from > len ? len + 1 : from) };
    lua_pushvalue(L, 1);
    lua_replace(L, 2); /* the text; the pattern's text is not needed any more */
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

/* ---- gsub ---- */

static void add_template(matcher *m, luaL_Buffer *b, const char *begin, const char *end)
{
    size_t len;
    const char *p = lua_tolstring(m->L, 3, &len), *last = p + len;
    for (const char *mark; (mark = memchr(p, '%', (size_t)(last - p))); p = mark + 2) {
        luaL_addlstring(b, p, (size_t)(mark - p));

        const char c = mark + 1 < last ? mark[1] : 0;
        if (c == '%') {
            luaL_addchar(b, '%');
        } else if (c == '0') {
            luaL_addlstring(b, begin, (size_t)(end - begin));
        } else if (c >= '1' && c <= '9') {
            push_capture(m, c - '1', begin, end);
            luaL_tolstring(m->L, -1, NULL);
            lua_remove(m->L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(b, p, (size_t)(last - p));
}

/* Adds what replaces begin .. end; false when that is itself. */
static bool add_replacement(matcher *m, luaL_Buffer *b, const char *begin, const char *end)
{
    lua_State *L = m->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, begin, end, true), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, begin, end);
        lua_gettable(L, 3);
        break;
    default:
        add_template(m, b, begin, end);
        return true;
    }

    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, begin, (size_t)(end - begin));
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

static int string_gsub(lua_State *L)
{
    size_t len;
    luaL_Buffer b;
    luaL_checklstring(L, 1, &len);
    const int type = lua_type(L, 3);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    const lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)len + 1);

    pattern_room room;
    matcher m = matcher_of(L, true, &room);
    const char *from = m.text, *last = NULL, *done = m.text;
    lua_Integer n = 0;
    bool changed = false;

    luaL_buffinit(L, &b);
    while (n < max && from <= m.text + m.len) {
        const char *begin = from, *end = pattern_search(&m, &begin);
        if (!end) break;
        if (end == last) { /* empty, right after the one before */
            if (pattern_is_anchored(m.p)) break;
            from = begin + 1;
            continue;
        }

        n++;
        luaL_addlstring(&b, done, (size_t)(begin - done));
        changed = add_replacement(&m, &b, begin, end) || changed;
        done = from = last = end;
        if (pattern_is_anchored(m.p)) break;
    }

    if (changed) {
        luaL_addlstring(&b, done, (size_t)(m.text + m.len - done));
        luaL_pushresult(&b);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}

static int string_rep(lua_State *L)
{
    size_t len, between;
    const char *text = luaL_checklstring(L, 1, &len);
    const lua_Integer n = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &between);
    if (n <= 0 || len + between == 0) {
        lua_pushliteral(L, "");
        return 1;
    }

    if (len + between > MAX_REPEATED || (uint64_t)n > MAX_REPEATED / (len + between) ||
        !bind_fits(L, (size_t)n * (len + between)))
        return luaL_error(L, "not enough memory: %f bytes for string.rep", (double)n * (double)(len + between));

    luaL_Buffer b;
    const size_t total = (size_t)n * len + ((size_t)n - 1) * between;
    char *to = luaL_buffinitsize(L, &b, total);
    for (lua_Integer i = 0; i < n; i++) {
        memcpy(to, text, len);
        to += len;
        if (i + 1 < n && between) {
            memcpy(to, separator, between);
            to += between;
        }
    }

    luaL_pushresultsize(&b, total);
    return 1;
}

void bind_string_replace(lua_State *L)
{
    static const luaL_Reg FUNCTIONS[] = { { "find", string_find },     { "match", string_match },
                                          { "gmatch", string_gmatch }, { "gsub", string_gsub },
                                          { "rep", string_rep },       { 0 } };
    luaL_setfuncs(L, FUNCTIONS, 0);
}
