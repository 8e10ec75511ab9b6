/* SPDX-License-Identifier: MIT */
#include "lua/linear_parse.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "lua/linear.h"

enum { MAX_DEPTH = 60, ARENA_CHUNK = 16 << 10 };

typedef struct reader {
    linear_tree *tree;
    const char *p, *end;
    int depth;
    bool caseless, many_lines, dot_all; /* i, m, s */
    bool failed;
} reader;

/* ---- sets ---- */

bool linear_set_has(const linear_set *s, uint32_t c)
{
    bool in = c < 128 ? s->ascii[c / 64] >> (c % 64) & 1 : s->others;
    for (int i = 0; c >= 128 && !in && i < s->n_ranges; i++) in = c >= s->range[i][0] && c <= s->range[i][1];
    return in != s->negated;
}

static void set_add(linear_set *s, uint32_t from, uint32_t to, reader *r)
{
    for (uint32_t c = from; c <= to && c < 128; c++) s->ascii[c / 64] |= 1ull << (c % 64);
    if (to < 128) return;
    if (s->n_ranges == MAX_LINEAR_RANGES) {
        r->failed = true;
        return;
    }
    s->range[s->n_ranges][0] = from < 128 ? 128 : from;
    s->range[s->n_ranges++][1] = to;
}

static bool is_of_kind(int c, char low)
{
    if (low == 'd') return isdigit(c);
    if (low == 'w') return isalnum(c) || c == '_';
    return isspace(c);
}
/* \d \w \s and their opposites, which are of ASCII. */
static bool set_add_kind(linear_set *s, char kind)
{
    const char low = (char)tolower((unsigned char)kind);
    if (!strchr("dws", low)) return false;
    for (int c = 0; c < 128; c++) {
        if (is_of_kind(c, low) == (kind == low)) s->ascii[c / 64] |= 1ull << (c % 64);
    }
    if (kind != low) s->others = true;
    return true;
}

/* Upper and lower case; two letters have a third form outside of ASCII. */
static void set_fold(linear_set *s, reader *r)
{
    for (uint32_t c = 'a'; c <= 'z'; c++) {
        const uint32_t upper = c - 32;
        const bool in = linear_set_has(s, c) || linear_set_has(s, upper);
        if (!in) continue;
        set_add(s, c, c, r);
        set_add(s, upper, upper, r);
        if (c == 'k') set_add(s, 0x212a, 0x212a, r);
        if (c == 's') set_add(s, 0x17f, 0x17f, r);
    }
}

/* ---- nodes ---- */

static linear_node *node_new(reader *r, linear_kind kind, uint32_t value)
{
    linear_node *n = arena_alloc(r->tree->memory, sizeof *n);
    *n = (linear_node){ .kind = kind, .value = value };
    return n;
}

static linear_node *set_node(reader *r, const linear_set *s)
{
    linear_tree *t = r->tree;
    int i = 0;
    while (i < t->n_sets && memcmp(&t->sets[i], s, sizeof *s) != 0) i++;
    if (i == MAX_LINEAR_SETS) {
        r->failed = true;
        return node_new(r, NODE_EMPTY, 0);
    }
    if (i == t->n_sets) t->sets[t->n_sets++] = *s;
    return node_new(r, NODE_SET, (uint32_t)i);
}

static linear_node *char_node(reader *r, uint32_t c)
{
    if (!r->caseless) return node_new(r, NODE_CHAR, c);
    linear_set s;
    memset(&s, 0, sizeof s);
    if (c >= 128) r->failed = true; /* its other case is not known here */
    set_add(&s, c, c, r);
    set_fold(&s, r);
    return set_node(r, &s);
}

static bool may_be_empty(const linear_node *n)
{
    switch (n->kind) {
    case NODE_CHAR:
    case NODE_SET:
        return false;
    case NODE_BOTH:
        return may_be_empty(n->a) && may_be_empty(n->b);
    case NODE_EITHER:
        return may_be_empty(n->a) || may_be_empty(n->b);
    case NODE_GROUP:
        return may_be_empty(n->a);
    case NODE_REPEAT:
        return n->min == 0 || may_be_empty(n->a);
    default:
        return true;
    }
}

/* ---- reading ---- */

static uint32_t next_character(reader *r)
{
    const size_t n = utf8_length(r->p, r->end);
    const unsigned char c = (unsigned char)*r->p;

    uint32_t point = c & 7; /* what the lead byte has of it */
    if (n == 1) point = c;
    if (n == 2) point = c & 0x1f;
    if (n == 3) point = c & 0xf;
    for (size_t i = 1; i < n; i++) point = point << 6 | ((unsigned char)r->p[i] & 0x3f);

    if (n == 0) r->failed = true;
    r->p += n ? n : 1;
    return point;
}

static bool take(reader *r, const char *text)
{
    const size_t n = strlen(text);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, text, n) != 0) return false;
    r->p += n;
    return true;
}

/* After a backslash: one character, or -1 with r->p as it was. */
static int64_t escaped_character(reader *r)
{
    static const char NAMES[] = "ntrfae", VALUES[] = "\n\t\r\f\a\033";
    const char c = *r->p;
    const char *known = c ? strchr(NAMES, c) : NULL;

    if (known) {
        r->p++;
        return VALUES[known - NAMES];
    }

    if ((c & 0x80) || isalnum((unsigned char)c) || c == 0) return -1;
    r->p++;
    return c;
}

/* One character of a class, or a kind such as \d, which is added at once: then -1. */
static int64_t class_item(reader *r, linear_set *s)
{
    if (*r->p == '[' && r->p + 1 < r->end && strchr(":.=", r->p[1])) r->failed = true;
    if (*r->p != '\\') return next_character(r);

    if (++r->p == r->end) {
        r->failed = true;
        return -1;
    }

    if (*r->p == 'b') {
        r->p++;
        return '\b';
    }
    if (*r->p && set_add_kind(s, *r->p)) {
        r->p++;
        if (r->p + 1 < r->end && *r->p == '-' && r->p[1] != ']') r->failed = true; /* [\d-x] */
        return -1;
    }

    const int64_t c = escaped_character(r);
    if (c < 0) r->failed = true;
    return c;
}

/* After [ */
static linear_node *class(reader *r)
{
    linear_set s, listed;    /* \w keeps its letters whatever the case */
    memset(&s, 0, sizeof s); /* sets are compared with their padding */
    memset(&listed, 0, sizeof listed);
    const bool negated = take(r, "^");

    for (bool first = true; !r->failed; first = false) {
        if (r->p == r->end) {
            r->failed = true;
            break;
        }
        if (*r->p == ']' && !first) break;
        const int64_t from = class_item(r, &s);
        if (from < 0) continue;

        int64_t to = from;
        if (r->end - r->p > 1 && *r->p == '-' && r->p[1] != ']') {
            r->p++;
            to = class_item(r, &s);
            if (to < from) r->failed = true;
        }
        if (r->caseless && to >= 128) r->failed = true;
        if (!r->failed) set_add(&listed, (uint32_t)from, (uint32_t)to, r);
    }

    if (!r->failed) r->p++; /* the ] */
    if (r->caseless) set_fold(&listed, r);
    s.ascii[0] |= listed.ascii[0];
    s.ascii[1] |= listed.ascii[1];
    memcpy(s.range, listed.range, sizeof s.range);
    s.n_ranges = listed.n_ranges;
    s.negated = negated;
    return set_node(r, &s);
}

static linear_node *escape(reader *r)
{
    static const char ASSERTIONS[] = "AzZbB";
    static const linear_assert MEAN[] = { AT_BEGIN, AT_END, AT_LAST_LINE_END, AT_WORD_BORDER, AT_NO_WORD_BORDER };
    linear_set s;
    memset(&s, 0, sizeof s);
    if (r->p == r->end || !*r->p) {
        r->failed = true;
        return node_new(r, NODE_EMPTY, 0);
    }

    if (set_add_kind(&s, *r->p)) {
        r->p++;
        return set_node(r, &s);
    }
    const char *assertion = strchr(ASSERTIONS, *r->p);
    if (assertion) {
        r->p++;
        return node_new(r, NODE_ASSERT, (uint32_t)MEAN[assertion - ASSERTIONS]);
    }
    const int64_t c = escaped_character(r);
    if (c < 0) r->failed = true;
    return char_node(r, (uint32_t)(c < 0 ? 0 : c));
}

static linear_node *dot(reader *r)
{
    linear_set s;
    memset(&s, 0, sizeof s);
    if (!r->dot_all) set_add(&s, '\n', '\n', r);
    s.negated = true;
    return set_node(r, &s);
}

static linear_node *alternatives(reader *r);

/* (?i) (?ms) (?i: ...: true when they end with a colon. */
static bool flags(reader *r)
{
    for (; r->p < r->end && *r->p != ')' && *r->p != ':'; r->p++) {
        if (*r->p == 'i')
            r->caseless = true;
        else if (*r->p == 'm')
            r->many_lines = true;
        else if (*r->p == 's')
            r->dot_all = true;
        else
            r->failed = true;
    }

    if (r->p == r->end) r->failed = true;
    return !r->failed && *r->p++ == ':';
}

static void skip_name(reader *r)
{
    while (r->p < r->end && *r->p != '>') r->p++;
    if (!take(r, ">")) r->failed = true;
}

/* After ( */
static linear_node *group(reader *r)
{
    const reader outside = *r;
    linear_node *n = NULL;
    bool captures = true;

    if (take(r, "*")) r->failed = true;
    if (take(r, "?P<") || (r->end - r->p > 2 && r->p[2] != '=' && r->p[2] != '!' && take(r, "?<"))) {
        skip_name(r);
    } else if (take(r, "?")) {
        captures = false;
        if (!flags(r)) return node_new(r, NODE_EMPTY, 0); /* they hold until the group around ends */
    }

    if (captures) {
        if (r->tree->n_groups == LINEAR_GROUPS) r->failed = true;
        n = node_new(r, NODE_GROUP, (uint32_t)r->tree->n_groups++);
    }

    if (++r->depth > MAX_DEPTH) r->failed = true;
    linear_node *inside = alternatives(r);
    if (!take(r, ")")) r->failed = true;
    r->depth--;

    r->caseless = outside.caseless;
    r->many_lines = outside.many_lines;
    r->dot_all = outside.dot_all;
    if (!n) return inside;
    n->a = inside;
    return n;
}

static linear_node *atom(reader *r)
{
    switch (*r->p) {
    case '(':
        r->p++;
        return group(r);
    case '[':
        r->p++;
        return class(r);
    case '\\':
        r->p++;
        return escape(r);
    case '.':
        r->p++;
        return dot(r);
    case '^':
        r->p++;
        return node_new(r, NODE_ASSERT, r->many_lines ? AT_LINE_BEGIN : AT_BEGIN);
    case '$':
        r->p++;
        return node_new(r, NODE_ASSERT, r->many_lines ? AT_LINE_END : AT_LAST_LINE_END);
    case '*':
    case '+':
    case '?':
        r->failed = true;
        return node_new(r, NODE_EMPTY, 0);
    default:
        return char_node(r, next_character(r));
    }
}

static int count(reader *r)
{
    int n = 0;
    while (r->p < r->end && isdigit((unsigned char)*r->p) && n <= MAX_LINEAR_REPEAT) n = 10 * n + (*r->p++ - '0');
    if (n > MAX_LINEAR_REPEAT) r->failed = true;
    return n;
}

/* * + ? {2} {2,} {2,5}: false when there is none here; a { that begins none is a character. */
static bool quantifier(reader *r, int *min, int *max)
{
    const char *from = r->p;
    *min = 0;
    *max = -1;
    if (take(r, "*")) return true;
    if (take(r, "+")) {
        *min = 1;
        return true;
    }
    if (take(r, "?")) {
        *max = 1;
        return true;
    }
    if (!take(r, "{")) return false;

    if (r->p < r->end && (*r->p == ',' || *r->p == ' ')) r->failed = true; /* {,5}: not the same in every PCRE2 */
    if (r->p < r->end && isdigit((unsigned char)*r->p)) {
        *max = *min = count(r);
        if (take(r, ",")) *max = r->p < r->end && *r->p != '}' ? count(r) : -1;
        if (take(r, "}")) return true;
        r->failed = true;
    }
    r->p = from;
    return false;
}

static linear_node *repeated(reader *r)
{
    int min, max;
    linear_node *n = atom(r);
    if (r->failed || r->p == r->end || !quantifier(r, &min, &max)) return n;
    const bool endless_nothing = max < 0 && may_be_empty(n);
    if (n->kind == NODE_ASSERT || n->kind == NODE_EMPTY || endless_nothing) r->failed = true;

    linear_node *out = node_new(r, NODE_REPEAT, 0);
    out->a = n;
    out->min = min;
    out->max = max;
    out->lazy = take(r, "?");
    if (r->p < r->end && strchr("+*?", *r->p)) r->failed = true; /* possessive */
    if (r->p < r->end && *r->p == '{' && r->end - r->p > 1 && isdigit((unsigned char)r->p[1])) r->failed = true;
    return out;
}

static linear_node *sequence(reader *r)
{
    linear_node *all = NULL;
    while (!r->failed && r->p < r->end && *r->p != '|' && *r->p != ')') {
        linear_node *n = repeated(r);
        if (!all) {
            all = n;
            continue;
        }

        linear_node *both = node_new(r, NODE_BOTH, 0);
        both->a = all;
        both->b = n;
        all = both;
    }
    return all ? all : node_new(r, NODE_EMPTY, 0);
}

/* Flags that are set in one alternative hold in those after it, as in PCRE2. */
static linear_node *alternatives(reader *r)
{
    linear_node *first = sequence(r);
    if (r->failed || !take(r, "|")) return first;
    if (++r->depth > MAX_DEPTH) r->failed = true;
    linear_node *n = node_new(r, NODE_EITHER, 0);
    n->a = first;
    n->b = alternatives(r);
    r->depth--;
    return n;
}

bool linear_parse(linear_tree *tree, const char *pattern, size_t len)
{
    memset(tree, 0, sizeof *tree);
    tree->memory = arena_new(ARENA_CHUNK);
    tree->n_groups = 1;
    reader r = { .tree = tree, .p = pattern, .end = pattern + len };
    if (len > 1000 || memchr(pattern, 0, len)) return false;
    linear_node *whole = node_new(&r, NODE_GROUP, 0);
    whole->a = alternatives(&r);
    tree->root = whole;
    return !r.failed && r.p == r.end;
}

void linear_tree_free(linear_tree *tree) { arena_free(tree->memory); }
