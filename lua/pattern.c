/* SPDX-License-Identifier: MIT */
#include "lua/pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 200,
    STEPS_BEFORE_MEMO = 4096,       /* and four for each byte: most matches never remember anything */
    MAX_REFERENCE_STEPS = 10000000, /* of a pattern with a back reference */
};

typedef enum node_kind {
    ONE,
    OPTIONAL,
    STAR,
    PLUS,
    SHORTEST,
    OPEN,
    POSITION,
    CLOSE,
    REFERENCE,
    BALANCE,
    FRONTIER,
    FINISH,
    DONE
} node_kind;

typedef struct node {
    node_kind kind;
    int quantifier;     /* OPTIONAL to SHORTEST: its number; REFERENCE: the capture */
    bool literal;       /* the one character `x` */
    unsigned char x, y; /* BALANCE */
    uint64_t set[4];
} node;

struct pattern {
    bool anchored, references;
    int n_quantifiers, n;
    node nodes[];
};

/* ---- compiling ---- */

typedef struct compiler {
    lua_State *L;
    const char *p, *end;
    int open[PATTERN_CAPTURES], n_open, n_captures;
    bool closed[PATTERN_CAPTURES];
} compiler;

static void put(uint64_t set[4], int c) { set[c / 64] |= 1ull << (c % 64); }
static bool has(const uint64_t set[4], int c) { return set[c / 64] >> (c % 64) & 1; }

/* The classes in ASCII, a bit for each character; nothing above it is in one. */
static const struct class
{
    char name;
    uint64_t set[2];
} CLASSES[] = {
    { 'a', { 0x0000000000000000u, 0x07fffffe07fffffeu } },
    { 'c', { 0x00000000ffffffffu, 0x8000000000000000u } },
    { 'd', { 0x03ff000000000000u, 0x0000000000000000u } },
    { 'g', { 0xfffffffe00000000u, 0x7fffffffffffffffu } },
    { 'l', { 0x0000000000000000u, 0x07fffffe00000000u } },
    { 'p', { 0xfc00fffe00000000u, 0x78000001f8000001u } },
    { 's', { 0x0000000100003e00u, 0x0000000000000000u } },
    { 'u', { 0x0000000000000000u, 0x0000000007fffffeu } },
    { 'w', { 0x03ff000000000000u, 0x07fffffe07fffffeu } },
    { 'x', { 0x03ff000000000000u, 0x0000007e0000007eu } },
    { 'z', { 0x0000000000000001u, 0x0000000000000000u } }, /* from before patterns could hold a NUL */
    { 0, { 0, 0 } },
};

/* Adds to the set what %NAME stands for: a class (%a), what is not in one (%A), or the character itself. True: it was a
 * single character. */
static bool escaped(uint64_t set[4], unsigned char name)
{
    const struct class *c = CLASSES;
    while (c->name && c->name != (name | 0x20)) c++;
    if (!c->name || !isalpha(name)) {
        put(set, name);
        return true;
    }

    const uint64_t flip = isupper(name) ? ~0ull : 0;
    for (int i = 0; i < 4; i++) set[i] |= (i < 2 ? c->set[i] : 0) ^ flip;
    return false;
}

static void bracketed(compiler *c, uint64_t set[4])
{
    const bool complement = c->p < c->end && *c->p == '^';
    uint64_t in[4] = { 0 };
    if (complement) c->p++;
    for (bool first = true;; first = false) {
        if (c->p == c->end) luaL_error(c->L, "malformed pattern (missing ']')");
        const unsigned char one = (unsigned char)*c->p++;
        if (one == ']' && !first) break;
        if (one == '%') {
            if (c->p == c->end) luaL_error(c->L, "malformed pattern (ends with '%%')");
            escaped(in, (unsigned char)*c->p++);
        } else if (c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] != ']') {
            for (int x = one; x <= (unsigned char)c->p[1]; x++) put(in, x);
            c->p += 2;
        } else {
            put(in, one);
        }
    }

    for (int i = 0; i < 4; i++) set[i] = complement ? ~in[i] : in[i];
}

/* Compiles what matches one character of the text: a literal, ., %a or [...]. */
static void single(compiler *c, node *n)
{
    const unsigned char one = (unsigned char)*c->p++;
    n->kind = ONE;
    n->x = one;

    if (one == '.') {
        memset(n->set, 0xff, sizeof n->set);
    } else if (one == '[') {
        bracketed(c, n->set);
    } else if (one == '%') {
        if (c->p == c->end) luaL_error(c->L, "malformed pattern (ends with '%%')");
        n->x = (unsigned char)*c->p++;
        n->literal = escaped(n->set, n->x);
    } else {
        put(n->set, one);
        n->literal = true;
    }
}

static void repeated(compiler *c, node *n, pattern *out)
{
    static const char SIGNS[] = "?*+-";
    const char *sign = c->p < c->end && *c->p ? strchr(SIGNS, *c->p) : NULL;
    if (!sign) return;
    n->kind = OPTIONAL + (node_kind)(sign - SIGNS);
    n->quantifier = out->n_quantifiers++;
    c->p++;
}

static void opened(compiler *c, node *n)
{
    if (c->n_captures == PATTERN_CAPTURES) luaL_error(c->L, "too many captures");

    n->kind = OPEN;
    c->p++;
    if (c->p < c->end && *c->p == ')') {
        n->kind = POSITION;
        c->closed[c->n_captures] = true;
        c->p++;
    } else {
        c->open[c->n_open++] = c->n_captures;
    }
    c->n_captures++;
}

static void closed(compiler *c, node *n)
{
    if (c->n_open == 0) luaL_error(c->L, "invalid pattern capture");
    n->kind = CLOSE;
    n->quantifier = c->open[--c->n_open];
    c->closed[n->quantifier] = true;
    c->p++;
}

/* %b, %f, %1: true when it was one of them. */
static bool special(compiler *c, node *n, pattern *out)
{
    if (*c->p != '%' || c->p + 1 == c->end) return false;
    const char kind = c->p[1];

    if (kind == 'b') {
        if (c->end - c->p < 4) luaL_error(c->L, "malformed pattern (missing arguments to '%%b')");
        *n = (node){ .kind = BALANCE, .x = (unsigned char)c->p[2], .y = (unsigned char)c->p[3] };
        c->p += 4;
    } else if (kind == 'f') {
        c->p += 2;
        if (c->p == c->end || *c->p != '[') luaL_error(c->L, "missing '[' after '%%f' in pattern");
        single(c, n);
        n->kind = FRONTIER;
    } else if (kind >= '0' && kind <= '9') {
        const int at = kind - '1';
        if (at < 0 || at >= c->n_captures || !c->closed[at])
            luaL_error(c->L, "invalid capture index %%%d in pattern", at + 1);
        *n = (node){ .kind = REFERENCE, .quantifier = at };
        out->references = true;
        c->p += 2;
    } else {
        return false;
    }
    return true;
}

pattern *pattern_push(lua_State *L, const char *text, size_t len, bool anchors, pattern_room *room)
{
    const size_t bytes = sizeof(pattern) + (len + 1) * sizeof(node);
    pattern *out = room && bytes <= sizeof *room ? (pattern *)room : NULL;
    if (out)
        lua_pushnil(L);
    else
        out = lua_newuserdatauv(L, bytes, 0);

    compiler c = { .L = L, .p = text, .end = text + len };
    *out = (pattern){ .anchored = anchors && len > 0 && *text == '^' };
    if (out->anchored) c.p++;
    while (c.p < c.end) {
        node *n = &out->nodes[out->n++];
        *n = (node){ .kind = DONE };
        if (*c.p == '(') {
            opened(&c, n);
        } else if (*c.p == ')') {
            closed(&c, n);
        } else if (*c.p == '$' && c.p + 1 == c.end) {
            n->kind = FINISH;
            c.p++;
        } else if (!special(&c, n, out)) {
            single(&c, n);
            repeated(&c, n, out);
        }
    }

    if (c.n_open > 0) luaL_error(L, "unfinished capture");
    out->nodes[out->n].kind = DONE;
    return out;
}

bool pattern_is_anchored(const pattern *p) { return p->anchored; }

/* ---- what is remembered ---- */

static size_t bit_of(const matcher *m, const node *n, const char *at)
{
    return (size_t)n->quantifier * (m->len + 1) + (size_t)(at - m->text);
}

static bool has_failed(const matcher *m, const node *n, const char *at)
{
    if (!m->failed) return false;
    const size_t bit = bit_of(m, n, at);
    return m->failed[bit / 8] >> (bit % 8) & 1;
}

/* Notes that the node has failed at every place from `from` to `to`, that one included. */
static void remember(matcher *m, const node *n, const char *from, const char *to)
{
    if (!m->failed) return;
    for (size_t bit = bit_of(m, n, from), last = bit_of(m, n, to); bit <= last; bit++)
        m->failed[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

/* The value on top, in the table at m->memo, which is made when it is first needed. */
static void keep_alive(matcher *m, int place)
{
    if (lua_isnil(m->L, m->memo)) {
        lua_newtable(m->L);
        lua_replace(m->L, m->memo);
    }
    lua_rawseti(m->L, m->memo, place);
}

static void give_up(matcher *m)
{
    m->gave_up = true;
    lua_pushfstring(m->L, "a pattern with %%1 takes too many steps on a text of %d bytes: no match", (int)m->len);
    lua_warning(m->L, lua_tostring(m->L, -1), 0);
    lua_pop(m->L, 1);
}

static void count(matcher *m, size_t steps)
{
    m->steps += steps;
    if (m->failed || m->steps <= STEPS_BEFORE_MEMO + 4 * (uint64_t)m->len) return;
    if (m->p->references) {
        if (m->steps > MAX_REFERENCE_STEPS && !m->gave_up) give_up(m);
        return;
    }

    const size_t bits = (size_t)m->p->n_quantifiers * (m->len + 1), bytes = bits / 64 * 8 + 8;
    uint8_t *memory = lua_newuserdatauv(m->L, bytes, 0);
    memset(memory, 0, bytes);
    keep_alive(m, 1);
    m->failed = memory;
}

/* ---- matching ---- */

static bool fits(const matcher *m, const node *n, const char *at)
{
    if (at == m->text + m->len) return false;
    return n->literal ? (unsigned char)*at == n->x : has(n->set, (unsigned char)*at);
}

static const char *go(matcher *m, const node *n, const char *at);

static const char *longest(matcher *m, const node *n, const char *from)
{
    const char *at = from, *end;
    if (has_failed(m, n, from)) return NULL;
    while (fits(m, n, at) && !has_failed(m, n, at + 1)) at++;

    count(m, (size_t)(at - from) + 1);
    for (const char *last = at;; at--) {
        if ((end = go(m, n + 1, at))) {
            if (at < last) remember(m, n, at + 1, last);
            return end;
        }
        if (at == from) {
            remember(m, n, from, last);
            return NULL;
        }
    }
}

static const char *shortest(matcher *m, const node *n, const char *from)
{
    for (const char *at = from, *end;; at++) {
        count(m, 1);
        if (has_failed(m, n, at)) {
            if (at > from) remember(m, n, from, at - 1);
            return NULL;
        }

        end = go(m, n + 1, at);
        if (end) return end;
        if (!fits(m, n, at)) {
            remember(m, n, from, at);
            return NULL;
        }
    }
}

static const char *optional(matcher *m, const node *n, const char *at)
{
    const char *end = NULL;
    count(m, 1);
    if (has_failed(m, n, at)) return NULL;
    if (fits(m, n, at)) end = go(m, n + 1, at + 1);
    if (!end) end = go(m, n + 1, at);
    if (!end) remember(m, n, at, at);
    return end;
}

static const char *captured(matcher *m, const node *n, const char *at)
{
    capture *c = &m->captures[m->n_captures++];
    *c = (capture){ at, n->kind == POSITION ? CAPTURE_POSITION : CAPTURE_OPEN };
    const char *end = go(m, n + 1, at);
    if (!end) m->n_captures--;
    return end;
}

static const char *capture_closed(matcher *m, const node *n, const char *at)
{
    capture *c = &m->captures[n->quantifier];
    c->len = at - c->begin;
    const char *end = go(m, n + 1, at);
    if (!end) c->len = CAPTURE_OPEN;
    return end;
}

static const uint32_t UNMATCHED = 1u << 31;

/* For every x its y, in one pass: an x that is open holds the one before it, with UNMATCHED. */
static void find_balances(matcher *m, const node *n)
{
    uint32_t *table = lua_newuserdatauv(m->L, (m->len + 1) * sizeof *table, 0), top = 0; /* places from 1 */
    for (uint32_t i = 1; i <= m->len; i++) {
        const unsigned char c = (unsigned char)m->text[i - 1];
        if (c == n->y && top) {
            const uint32_t before = table[top] & ~UNMATCHED;
            table[top] = i;
            top = before;
        } else if (c == n->x) {
            table[i] = top | UNMATCHED;
            top = i;
        }
    }

    keep_alive(m, 2);
    m->balance = table;
    m->balance_of = n;
}

/* After the y that closes the x at `at`. */
static const char *balanced(matcher *m, const node *n, const char *at)
{
    const char *end = m->text + m->len;
    if (at == end || (unsigned char)*at != n->x) return NULL;

    if (n->x != n->y && m->balance && m->balance_of == n) {
        const uint32_t close = m->balance[at - m->text + 1];
        return close & UNMATCHED ? NULL : m->text + close;
    }
    if (n->x == n->y) {
        if (m->no_pair && at >= m->no_pair && m->balance_of == n) return NULL;
        const char *close = memchr(at + 1, n->y, (size_t)(end - at) - 1);
        if (close) return close + 1;
        m->no_pair = at;
        m->balance_of = n;
        return NULL;
    }

    /* Counting alone, until that would be the square of the text; then all pairs at once. */
    size_t depth = 1;
    const char *p = at + 1;
    for (; p < end && depth > 0; p++) {
        if ((unsigned char)*p == n->y)
            depth--;
        else if ((unsigned char)*p == n->x)
            depth++;
    }
    m->scanned += (size_t)(p - at);
    if (m->scanned > STEPS_BEFORE_MEMO + 4 * m->len && !m->balance) find_balances(m, n);
    return depth == 0 ? p : NULL;
}

static const char *repeated_capture(matcher *m, const node *n, const char *at)
{
    const capture *c = &m->captures[n->quantifier];
    if (c->len < 0) return NULL; /* a place, not a text */
    const size_t len = (size_t)c->len;
    count(m, len / 8 + 1);
    const bool same = (size_t)(m->text + m->len - at) >= len && memcmp(c->begin, at, len) == 0;
    return same ? at + len : NULL;
}

static bool at_frontier(const matcher *m, const node *n, const char *at)
{
    const int before = at == m->text ? 0 : (unsigned char)at[-1];
    const int here = at == m->text + m->len ? 0 : (unsigned char)*at;
    return !has(n->set, before) && has(n->set, here);
}

/* What does not branch: the next place, or NULL. */
static const char *step(matcher *m, const node *n, const char *at)
{
    switch (n->kind) {
    case ONE:
        return fits(m, n, at) ? at + 1 : NULL;
    case FINISH:
        return at == m->text + m->len ? at : NULL;
    case FRONTIER:
        return at_frontier(m, n, at) ? at : NULL;
    case BALANCE:
        return balanced(m, n, at);
    default:
        return repeated_capture(m, n, at);
    }
}

static const char *branch(matcher *m, const node *n, const char *at)
{
    switch (n->kind) {
    case OPTIONAL:
        return optional(m, n, at);
    case PLUS:
        return fits(m, n, at) ? longest(m, n, at + 1) : NULL;
    case STAR:
        return longest(m, n, at);
    case SHORTEST:
        return shortest(m, n, at);
    case CLOSE:
        return capture_closed(m, n, at);
    default:
        return captured(m, n, at);
    }
}

/* The end of the whole match when the rest of the pattern, from n, fits at `at`. */
static const char *go(matcher *m, const node *n, const char *at)
{
    while (at && (n->kind == ONE || n->kind >= REFERENCE)) {
        if (n->kind == DONE) return at;
        at = step(m, n++, at);
    }
    if (!at || m->gave_up) return NULL;
    if (++m->depth > MAX_DEPTH) luaL_error(m->L, "pattern too complex");
    at = branch(m, n, at);
    m->depth--;
    return at;
}

const char *pattern_match(matcher *m, const char *from)
{
    m->n_captures = 0;
    m->depth = 0;
    count(m, 1);
    return go(m, m->p->nodes, from);
}

const char *pattern_search(matcher *m, const char **from)
{
    const node *first = m->p->nodes;
    const bool skips = !m->p->anchored && first->kind == ONE && first->literal;
    const char *last = m->text + m->len;
    for (const char *at = *from; at <= last; at++) {
        if (skips) at = memchr(at, first->x, (size_t)(last - at));
        if (!at) return NULL;

        const char *end = pattern_match(m, at);
        if (end) {
            *from = at;
            return end;
        }

        if (m->p->anchored || m->gave_up) return NULL;
    }
    return NULL;
}
