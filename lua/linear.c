/* SPDX-License-Identifier: MIT */
#include "lua/linear.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "lua/linear_parse.h"

enum { MAX_PROGRAM = 3000 };

typedef enum operation { CHAR, SET, SPLIT, JUMP, SAVE, ASSERT, MATCH } operation;

typedef struct instruction {
    operation op;
    uint32_t x,
        y; /* CHAR: the character; SET: its number; SPLIT: first x, then y; JUMP: x; SAVE: place x; ASSERT: which */
} instruction;

struct linear {
    instruction *code; /* [n] */
    linear_set *sets;
    int n, n_sets, n_groups;
    int first; /* the byte that every match begins with; -1: there is none */
};

/* ---- compiling ---- */

static void emit(linear *r, operation op, uint32_t x, uint32_t y)
{
    if (r->n < MAX_PROGRAM) r->code[r->n] = (instruction){ op, x, y };
    r->n++;
}

static void compile(linear *r, const linear_node *node);

/* The place of a SPLIT is known before its targets. */
static void split_at(linear *r, int at, int first, int second, bool lazy)
{
    if (at >= MAX_PROGRAM) return;
    r->code[at].x = (uint32_t)(lazy ? second : first);
    r->code[at].y = (uint32_t)(lazy ? first : second);
}

static void compile_repeat(linear *r, const linear_node *node)
{
    int optional[MAX_LINEAR_REPEAT], n = 0;
    for (int i = 0; i < node->min && r->n < MAX_PROGRAM; i++) compile(r, node->a);

    if (node->max < 0) {
        const int at = r->n;
        emit(r, SPLIT, 0, 0);
        compile(r, node->a);
        emit(r, JUMP, (uint32_t)at, 0);
        split_at(r, at, at + 1, r->n, node->lazy);
        return;
    }

    for (int i = node->min; i < node->max && r->n < MAX_PROGRAM; i++) {
        optional[n++] = r->n;
        emit(r, SPLIT, 0, 0);
        compile(r, node->a);
    }
    for (int i = 0; i < n; i++) split_at(r, optional[i], optional[i] + 1, r->n, node->lazy);
}

static void compile_either(linear *r, const linear_node *node)
{
    const int at = r->n;
    emit(r, SPLIT, 0, 0);
    compile(r, node->a);
    const int jump = r->n;
    emit(r, JUMP, 0, 0);
    split_at(r, at, at + 1, r->n, false);
    compile(r, node->b);
    if (jump < MAX_PROGRAM) r->code[jump].x = (uint32_t)r->n;
}

static void compile(linear *r, const linear_node *node)
{
    switch (node->kind) {
    case NODE_EMPTY:
        return;
    case NODE_CHAR:
        emit(r, CHAR, node->value, 0);
        return;
    case NODE_SET:
        emit(r, SET, node->value, 0);
        return;
    case NODE_ASSERT:
        emit(r, ASSERT, node->value, 0);
        return;
    case NODE_BOTH:
        compile(r, node->a);
        compile(r, node->b);
        return;
    case NODE_EITHER:
        compile_either(r, node);
        return;
    case NODE_GROUP:
        emit(r, SAVE, 2 * node->value, 0);
        compile(r, node->a);
        emit(r, SAVE, 2 * node->value + 1, 0);
        return;
    case NODE_REPEAT:
        compile_repeat(r, node);
        return;
    }
}

static int first_byte(const linear *r)
{
    int at = 0;
    while (at < r->n && r->code[at].op == SAVE) at++;
    return r->code[at].op == CHAR && r->code[at].x < 0x80 ? (int)r->code[at].x : -1;
}

linear *linear_new(const char *pattern, size_t len)
{
    linear_tree tree;
    linear *r = NULL;
    if (linear_parse(&tree, pattern, len)) {
        r = xcalloc(1, sizeof *r);
        r->n_groups = tree.n_groups;
        r->n_sets = tree.n_sets;
        r->code = xmalloc(MAX_PROGRAM * sizeof *r->code);
        r->sets = xcalloc((size_t)tree.n_sets + 1, sizeof *r->sets);
        if (tree.n_sets) memcpy(r->sets, tree.sets, (size_t)tree.n_sets * sizeof *r->sets);
        compile(r, tree.root);
        emit(r, MATCH, 0, 0);
    }
    linear_tree_free(&tree);

    if (r && r->n > MAX_PROGRAM) {
        linear_free(r);
        return NULL;
    }
    if (!r) return NULL;
    r->code = xrealloc(r->code, (size_t)r->n * sizeof *r->code);
    r->first = first_byte(r);
    return r;
}

void linear_free(linear *r)
{
    if (!r) return;
    free(r->code);
    free(r->sets);
    free(r);
}

/* ---- running ---- */

/* The threads at one place in the text, the preferred one first: where each stands in the program, and its captures. */
typedef struct threads {
    int n;
    int *at;        /* [program] */
    int32_t *spans; /* [program, 2 groups] */
} threads;

typedef struct machine {
    const linear *r;
    const char *text;
    size_t len;
    int width;      /* 2 groups */
    uint32_t *seen; /* [program]: the round in which an instruction was reached */
    uint32_t round;
    int32_t *spans; /* [width] of the thread being added */
    int64_t *steps;
} machine;

static size_t per_instruction(const linear *r) { return 2 * (sizeof(int) + 2 * (size_t)r->n_groups * sizeof(int32_t)); }

size_t linear_scratch(const linear *r)
{
    return (size_t)r->n * (per_instruction(r) + sizeof(uint32_t)) + 2 * (size_t)r->n_groups * sizeof(int32_t);
}

static bool is_word(const machine *m, size_t at)
{
    const unsigned char c = at < m->len ? (unsigned char)m->text[at] : 0;
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool holds(const machine *m, linear_assert what, size_t at)
{
    const bool last = at + 1 == m->len && m->text[at] == '\n';

    switch (what) {
    case AT_BEGIN:
        return at == 0;
    case AT_LINE_BEGIN:
        return at == 0 || (at < m->len && m->text[at - 1] == '\n');
    case AT_END:
        return at == m->len;
    case AT_LAST_LINE_END:
        return at == m->len || last;
    case AT_LINE_END:
        return at == m->len || m->text[at] == '\n';
    default: {
        const bool before = at > 0 && is_word(m, at - 1), border = is_word(m, at) != before;
        return border == (what == AT_WORD_BORDER);
    }
    }
}

/* Adds the thread at `pc`, and those that it leads to without a character. Depth: the program's length. */
static void add_thread(machine *m, threads *list, int pc, size_t at)
{
    if (m->seen[pc] == m->round) return;
    m->seen[pc] = m->round;
    --*m->steps;

    const instruction *i = &m->r->code[pc];
    int32_t before;

    switch (i->op) {
    case JUMP:
        add_thread(m, list, (int)i->x, at);
        return;
    case SPLIT:
        add_thread(m, list, (int)i->x, at);
        add_thread(m, list, (int)i->y, at);
        return;
    case SAVE:
        before = m->spans[i->x];
        m->spans[i->x] = (int32_t)at;
        add_thread(m, list, pc + 1, at);
        m->spans[i->x] = before;
        return;
    case ASSERT:
        if (holds(m, (linear_assert)i->x, at)) add_thread(m, list, pc + 1, at);
        return;
    default:
        memcpy(list->spans + list->n * m->width, m->spans, (size_t)m->width * sizeof *m->spans);
        list->at[list->n++] = pc;
    }
}

static uint32_t character(const char *p, const char *end, size_t *len)
{
    const unsigned char c = (unsigned char)*p;
    *len = 1;
    if (c < 0x80) return c;
    *len = utf8_length(p, end);
    if (*len == 0) *len = 1;

    uint32_t point = c & 7; /* what the lead byte has of it */
    if (*len == 2) point = c & 0x1f;
    if (*len == 3) point = c & 0xf;
    for (size_t i = 1; i < *len; i++) point = point << 6 | ((unsigned char)p[i] & 0x3f);
    return point;
}

static bool takes(const linear *r, const instruction *i, uint32_t c)
{
    return i->op == CHAR ? i->x == c : linear_set_has(&r->sets[i->x], c);
}

/* One round: every thread takes the character at `at`. True when one has ended; those after it are then dropped. */
static bool advance(machine *m, const threads *now, threads *next, size_t at, int32_t *spans)
{
    size_t n = 0;
    const uint32_t c = at < m->len ? character(m->text + at, m->text + m->len, &n) : 0;
    next->n = 0;
    m->round++;

    for (int t = 0; t < now->n; t++) {
        const instruction *i = &m->r->code[now->at[t]];
        const int32_t *of = now->spans + t * m->width;
        --*m->steps;
        if (i->op == MATCH) {
            memcpy(spans, of, (size_t)m->width * sizeof *spans);
            return true;
        }
        if (at == m->len || !takes(m->r, i, c)) continue;
        memcpy(m->spans, of, (size_t)m->width * sizeof *m->spans);
        add_thread(m, next, now->at[t] + 1, at + n);
    }
    return false;
}

/* Where no thread is alive, the next place at which one can begin; len + 1: nowhere. */
static size_t next_begin(const machine *m, size_t at)
{
    if (m->r->first < 0 || at > m->len) return at;
    const char *p = memchr(m->text + at, m->r->first, m->len - at);
    return p ? (size_t)(p - m->text) : m->len + 1;
}

static void begin_thread(machine *m, threads *now, size_t at)
{
    for (int i = 0; i < m->width; i++) m->spans[i] = LINEAR_NONE;
    add_thread(m, now, 0, at);
}

static int groups_in(const int32_t *spans, int width)
{
    int n = width / 2;
    while (n > 1 && spans[2 * n - 1] == LINEAR_NONE) n--;
    return n;
}

/* The scratch holds, one after the other: where the threads of both rounds stand, what has been seen, the spans of the
 * thread being added, and those of both rounds: see linear_scratch. */
linear_end linear_search(const linear *r, const char *text, size_t len, size_t from, void *scratch, int64_t *steps,
                         int32_t spans[2 * LINEAR_GROUPS], int *n_groups)
{
    machine m = { .r = r, .text = text, .len = len, .width = 2 * r->n_groups, .round = 1, .steps = steps };
    threads now = { .at = scratch }, next = { .at = now.at + r->n };
    bool matched = false;

    m.seen = (uint32_t *)(next.at + r->n);
    m.spans = (int32_t *)(m.seen + r->n);
    now.spans = m.spans + m.width;
    next.spans = now.spans + r->n * m.width;
    memset(m.seen, 0, (size_t)r->n * sizeof *m.seen);

    for (size_t at = from;;) {
        if (now.n == 0 && (matched || (at = next_begin(&m, at)) > len)) break;
        if (now.n == 0) m.round++;
        if (!matched) begin_thread(&m, &now, at);
        if (*steps <= 0) return LINEAR_TOO_LONG;
        matched = advance(&m, &now, &next, at, spans) || matched;
        if (at == len) break;

        size_t n;
        character(text + at, text + len, &n);
        at += n;
        const threads other = now;
        now = next;
        next = other;
    }

    if (!matched) return LINEAR_NO_MATCH;
    *n_groups = groups_in(spans, m.width);
    return LINEAR_MATCH;
}
