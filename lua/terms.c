/* SPDX-License-Identifier: MIT */
/* What the parser of formulas is made of (grammar.h): its place in the text, lists of items, and terms as canonical
 * text.
 *
 * Two formulas are equal where their terms have the same text, so everything without an order is sorted here. All
 * memory is the parser's arena, and goes with it. */
#include "lua/grammar.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 1024 };

void parser_fail(parser *p)
{
    p->failed = true;
    p->token.kind = T_END;
    p->token.sign = 0;
}

void parser_advance(parser *p)
{
    if (p->failed) return;
    token_next(p->text, p->len, &p->at, p->brackets > 0, &p->token);
    if (p->token.kind == T_BAD) parser_fail(p);
}

bool parser_at(const parser *p, int sign) { return p->token.kind == T_SIGN && p->token.sign == sign; }

void items_add(parser *p, items *list, const char *item)
{
    if (list->n == MAX_ITEMS) {
        parser_fail(p);
        return;
    }
    if (list->n == list->room) {
        const int room = list->room ? 4 * list->room : 8;
        const char **larger = arena_array(p->memory, const char *, room);
        if (list->n) memcpy(larger, list->item, (size_t)list->n * sizeof *larger);
        list->item = larger;
        list->room = room;
    }

    list->item[list->n++] = item;
}

/* ---- commands ---- */

static const char *const LETTERS[] = { "alpha", "beta",   "gamma",    "delta", "epsilon", "varepsilon", "zeta",
                                       "eta",   "theta",  "vartheta", "iota",  "kappa",   "lambda",     "mu",
                                       "nu",    "xi",     "pi",       "rho",   "sigma",   "tau",        "upsilon",
                                       "phi",   "varphi", "chi",      "psi",   "omega",   "Gamma",      "Delta",
                                       "Theta", "Lambda", "Xi",       "Pi",    "Sigma",   "Upsilon",    "Phi",
                                       "Psi",   "Omega",  "infty",    "ell",   "hbar",    "emptyset",   "varnothing",
                                       "circ",  "prime",  NULL };

static const char *const FUNCTIONS[] = { "sin",    "cos",  "tan",  "cot",  "sec",  "csc", "arcsin", "arccos",
                                         "arctan", "sinh", "cosh", "tanh", "coth", "ln",  "log",    "lg",
                                         "exp",    "det",  "dim",  "ker",  "deg",  "arg", NULL };

static bool among(const char *const *list, const char *text, size_t len)
{
    for (; *list; list++)
        if (strlen(*list) == len && memcmp(*list, text, len) == 0) return true;
    return false;
}

bool command_is_letter(const char *text, size_t len) { return len > 1 && among(LETTERS, text + 1, len - 1); }
bool command_is_function(const char *text, size_t len) { return len > 1 && among(FUNCTIONS, text + 1, len - 1); }

bool name_is_loose(const char *name)
{
    static const char WITH_ARGUMENTS[] = "F(";

    for (const char *p = name; (p = strchr(p, '\\'));) {
        const bool complete = p - name >= 2 && memcmp(p - 2, WITH_ARGUMENTS, 2) == 0;
        const char *end = p + 1;
        while ((*end >= 'a' && *end <= 'z') || (*end >= 'A' && *end <= 'Z')) end++;
        const size_t len = (size_t)(end - p);
        if (!complete && !command_is_letter(p, len) && !command_is_function(p, len)) return true;
        p = end;
    }
    return false;
}

bool any_is_loose(const items *names)
{
    for (int i = 0; i < names->n; i++)
        if (name_is_loose(names->item[i])) return true;
    return false;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

void items_sort(items *list)
{
    if (any_is_loose(list)) return;
    if (list->n > 1) qsort(list->item, (size_t)list->n, sizeof *list->item, by_text);
}

/* open item , item close */
const char *items_join(parser *p, const char *open, const items *list, const char *close)
{
    size_t len = strlen(open) + strlen(close) + 1;
    for (int i = 0; i < list->n; i++) len += strlen(list->item[i]) + 1;

    char *text = arena_alloc(p->memory, len), *to = stpcpy(text, open);
    for (int i = 0; i < list->n; i++) {
        if (i > 0) *to++ = ',';
        to = stpcpy(to, list->item[i]);
    }
    stpcpy(to, close);
    return text;
}

const char *term_node(parser *p, const char *open, const char *a, const char *b)
{
    const items list = { (const char *[]){ a, b }, b ? 2 : 1, 2 };
    return items_join(p, open, &list, ")");
}

/* ---- terms ---- */

void term_set(term *t, const char *rest)
{
    const bool fixed = t->fixed;
    *t = (term){ .rest = rest, .fixed = fixed };
    number_one(&t->n);
}

static const char *number_name(parser *p, const number *n)
{
    char text[NUMBER_TEXT + 1] = "#";
    number_text(n, text + 1);
    return arena_strdup(p->memory, text);
}

const char *term_name(parser *p, const term *t)
{
    if (t->rest && number_is_one(&t->n)) return t->rest;
    const char *n = number_name(p, &t->n);
    return t->rest ? term_node(p, "C(", n, t->rest) : n;
}

void term_number(parser *p, term *out)
{
    const token *k = &p->token;
    *out = (term){ 0 };
    if (number_decimal(k->digits, k->n_digits, k->exponent, &out->n)) return;
    /* More digits than a number here can have: its text stands for it. */
    const char *digits = arena_strndup(p->memory, k->begin, k->len);
    term_set(out, items_join(p, "H(", &(items){ &digits, 1, 1 }, ")"));
}

void term_divide(parser *p, term *a, const term *b)
{
    number n;
    if (b->percent) parser_fail(p); /* 1/2%: of what? */
    if (!a->rest && !b->rest && number_divided(&a->n, &b->n, &n)) {
        *a = (term){ .n = n };
        return;
    }

    /* A fraction keeps its sign in the coefficient: -a/b and a/-b are one. */
    term above = *a, below = *b;
    const bool negative = above.n.negative != below.n.negative, fixed = a->fixed || b->fixed;
    above.n.negative = below.n.negative = false;
    term_set(a, term_node(p, "D(", term_name(p, &above), term_name(p, &below)));
    a->n.negative = negative;
    a->fixed = fixed;
}
