/* SPDX-License-Identifier: MIT */
/* What stands by itself: numbers, names, brackets, LaTeX commands with their arguments. See grammar.h. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "lua/formula.h"
#include "lua/grammar.h"

static bool enter(parser *p, bool *bars)
{
    *bars = p->bars;
    p->bars = false;
    p->brackets++;
    if (++p->depth > MAX_FORMULA_DEPTH) parser_fail(p);
    parser_advance(p);
    return !p->failed;
}

/* The token that closes is not yet passed. */
static void leave(parser *p, bool bars)
{
    p->bars = bars;
    p->brackets--;
    p->depth--;
}

/* Reads what begins with the ( or [ under way: a group, a tuple or an interval. */
void grammar_bracket(parser *p, term *out)
{
    const char open = (char)p->token.sign;
    char separator = 0;
    items list = { 0 };
    bool bars;

    if (!enter(p, &bars)) return;
    if (!parser_at(p, ')') && !parser_at(p, ']')) grammar_list(p, &list, out, &separator);
    if (!parser_at(p, ')') && !parser_at(p, ']')) parser_fail(p);
    const char close = (char)p->token.sign;

    leave(p, bars);
    if (list.n == 0 || ((open == '(') != (close == ')') && list.n != 2)) parser_fail(p); /* () says nothing */
    parser_advance(p);
    if (p->failed) return;

    if (list.n == 1 && open == '(') {
        out->group = true;
        return;
    }
    const char before[] = { separator ? separator : ',', open, 0 }, behind[] = { close, 0 };
    term_set(out, items_join(p, before, &list, behind));
}

/* Reads the set that begins with the { or \{ under way. */
static void set(parser *p, term *out)
{
    const int close = p->token.sign == '{' ? '}' : SIGN_SET_END;
    char separator = 0;
    items list = { 0 };
    bool bars;
    if (!enter(p, &bars)) return;
    if (!parser_at(p, close)) grammar_list(p, &list, out, &separator);
    if (!parser_at(p, close)) parser_fail(p);
    leave(p, bars);

    parser_advance(p);
    items_sort(&list);
    term_set(out, items_join(p, "{", &list, "}"));
}

/* At a {...} that LaTeX only groups with, which begins at p->at; leaves p->at after it, the token is stale. */
bool grammar_braced(parser *p, term *out)
{
    bool bars;
    while (p->at < p->len && p->text[p->at] == ' ') p->at++;
    if (p->failed || p->at == p->len || p->text[p->at] != '{') return false;
    p->at++;

    if (!enter(p, &bars)) return false;
    grammar_relation(p, out);
    if (!parser_at(p, '}')) parser_fail(p);
    leave(p, bars);
    out->group = false;
    return !p->failed;
}

/* ---- what LaTeX writes with arguments ---- */

static void argument(parser *p, term *out)
{
    if (token_digit(p->text, p->len, &p->at, &p->token))
        term_number(p, out);
    else if (!grammar_braced(p, out))
        parser_fail(p);
}

/* \frac{1}{2}, \frac12 */
void grammar_fraction(parser *p, term *out)
{
    term below = { 0 };
    argument(p, out);
    if (!p->failed) argument(p, &below);
    if (!p->failed && p->at < p->len && isdigit((unsigned char)p->text[p->at])) parser_fail(p); /* \frac123 */
    if (!p->failed) term_divide(p, out, &below);
    parser_advance(p);
}

/* What a root is of, without braces. \sqrt12 is a root of 1, as LaTeX sets it; with the sign it is a root of 12. */
static void bare_radicand(parser *p, bool latex, term *out)
{
    p->brackets++;
    parser_advance(p);
    p->brackets--;

    const bool fits = p->token.kind == T_NUMBER && p->token.word && (!latex || p->token.len == 1);

    if (parser_at(p, '(')) {
        grammar_bracket(p, out);
    } else if (fits) {
        term_number(p, out);
        parser_advance(p);
    } else {
        parser_fail(p);
    }
}
/* \sqrt{2}, \sqrt2, \sqrt[3]{2}; the sign of a root before a number or parentheses. */
static void root(parser *p, term *out)
{
    term degree = { 0 };
    const bool latex = p->token.begin[0] == '\\';
    number_decimal("2", 1, 0, &degree.n);

    /* The degree in brackets. */
    while (p->at < p->len && p->text[p->at] == ' ') p->at++;
    if (p->at < p->len && p->text[p->at] == '[') {
        bool bars;
        p->at++;
        if (!enter(p, &bars)) return;
        grammar_sum(p, &degree);
        if (!parser_at(p, ']')) parser_fail(p);
        leave(p, bars);
    }

    if (p->failed || grammar_braced(p, out))
        parser_advance(p);
    else
        bare_radicand(p, latex, out);
    if (!p->failed) term_set(out, term_node(p, "R(", term_name(p, &degree), term_name(p, out)));
}

/* The cells of a matrix up to its \end, row by row. */
static items matrix_rows(parser *p)
{
    items rows = { 0 }, cells = { 0 };
    while (!p->failed) {
        term cell = { 0 };
        grammar_relation(p, &cell);
        items_add(p, &cells, term_name(p, &cell));

        const bool row_ends = parser_at(p, SIGN_ROW) || parser_at(p, SIGN_END);
        if (!row_ends && !parser_at(p, '&')) parser_fail(p);
        if (row_ends) {
            items_add(p, &rows, items_join(p, "", &cells, ";"));
            cells.n = 0;
        }
        if (parser_at(p, SIGN_END)) break;
        parser_advance(p);
        if (parser_at(p, SIGN_END)) break; /* after the last row's \\ */
    }
    return rows;
}

/* \begin{pmatrix} a & b \\ c & d \end{pmatrix}: brackets round or square are one matrix, bars are its determinant. */
static void matrix(parser *p, term *out)
{
    static const char *const KINDS[] = { "{pmatrix}", "{bmatrix}", "{matrix}", "{vmatrix}", NULL };
    const char *const *kind = KINDS;
    while (*kind && strncmp(p->text + p->at, *kind, strlen(*kind)) != 0) kind++;
    if (!*kind) {
        parser_fail(p);
        return;
    }

    bool bars;
    p->at += strlen(*kind);
    if (!enter(p, &bars)) return;
    const items rows = matrix_rows(p);

    if (p->failed || strncmp(p->text + p->at, *kind, strlen(*kind)) != 0) {
        parser_fail(p);
        return;
    }
    p->at += strlen(*kind);
    leave(p, bars);
    parser_advance(p);
    out->fixed = (*kind)[1] != 'v'; /* matrices don't commute */
    term_set(out, items_join(p, out->fixed ? "M[" : "V[", &rows, "]"));
}
/* ---- names ---- */

static bool has_capital(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z') return true;
    return false;
}

bool token_is(const token *t, const char *text)
{
    return t->len == strlen(text) && memcmp(t->begin, text, t->len) == 0;
}

/* Words one after the other are one thing, in their order: "square metres". The last one stands alone where an index or
 * a power follows: that is its own. */
static void words(parser *p, term *out)
{
    str text = { 0 };
    str_putc(&text, '"');
    for (bool first = true; p->token.kind == T_NAME && !p->failed; first = false) {
        const token word = p->token;
        const size_t at = p->at;
        parser_advance(p);
        const bool holds = parser_at(p, '^') || parser_at(p, '_') || p->token.kind == T_RAISED ||
                           (parser_at(p, '(') && !p->token.spaced);
        if (holds && !first) { /* go back before it */
            p->at = at;
            p->token = word;
            break;
        }

        if (!first) str_putc(&text, ' ');
        str_add(&text, word.begin, word.len);
    }

    str_putc(&text, '"');
    term_set(out, arena_strdup(p->memory, text.data));
    str_free(&text);
    out->words = out->fixed = true;
}

/* f(x), sqrt(2) */
static void call(parser *p, const char *name, term *out)
{
    term argument = { 0 };
    grammar_bracket(p, &argument);

    if (strcmp(name, "\"sqrt\"") == 0 && argument.group) {
        term_set(out, term_node(p, "R(", "#2", term_name(p, &argument)));
        return;
    }
    const char *of = term_name(p, &argument);
    if (argument.group) of = term_node(p, "(", of, NULL);
    term_set(out, term_node(p, "F(", name, of));
}

static void one_name(parser *p, term *out)
{
    const token first = p->token;
    parser_advance(p);
    char *text = arena_strndup(p->memory, first.begin, first.len);
    const items quoted = { (const char *[]){ text }, 1, 1 };

    if (strcmp(text, "pi") == 0)
        term_set(out, "\\pi");
    else if (first.word)
        term_set(out, items_join(p, "\"", &quoted, "\""));
    else
        term_set(out, items_join(p, "'", &quoted, ""));

    out->name = !first.word && strcmp(text, "e") != 0 && strcmp(text, "i") != 0;
    out->fixed = has_capital(text, first.len);
}

static void name(parser *p, term *out)
{
    const token first = p->token;

    if (first.word && !token_is(&first, "pi") && !token_is(&first, "sqrt"))
        words(p, out);
    else
        one_name(p, out);
    if (parser_at(p, '(') && !p->token.spaced && !p->failed) call(p, out->rest, out);
}

/* The command's name, with a backslash for one that is a character. */
static const char *command_name(parser *p)
{
    const char *name = arena_strndup(p->memory, p->token.begin, p->token.len);
    return *name == '\\' ? name : items_join(p, "\\", &(items){ &name, 1, 1 }, "");
}

/* \alpha, \overline{z}, \binom{n}{k} */
static void command(parser *p, term *out)
{
    items parts = { 0 };
    items_add(p, &parts, command_name(p));
    term part;

    while (p->at < p->len && p->text[p->at] == '{' && grammar_braced(p, &part))
        items_add(p, &parts, term_name(p, &part));
    parser_advance(p);

    const bool of = parts.n == 2 && command_is_function(parts.item[0], strlen(parts.item[0]));
    if (of && (parser_at(p, '^') || p->token.kind == T_RAISED || parser_at(p, '!'))) parser_fail(p); /* \sin{x}^2 */

    term_set(out, parts.n > 1 ? items_join(p, of ? "P(" : "F(", &parts, ")") : parts.item[0]);
    out->command = parts.n == 1;
}

/* Letters and powers of them: no brackets are needed around that. */
static bool is_units(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        const bool power = isdigit((unsigned char)c) && i > 0 && text[i - 1] == '^';
        if (!isalpha((unsigned char)c) && !(c & 0x80) && c != ' ' && c != '^' && !power) return false;
    }
    return true;
}

/* Whether nothing is done to what stands before this token. */
static bool at_border(const parser *p)
{
    static const char BORDERS[] = ")]},;&=<>|";
    const int sign = p->token.sign;
    if (p->token.kind != T_SIGN) return p->token.kind == T_END;
    return (sign < 128 && strchr(BORDERS, sign)) || (sign >= SIGN_LE && sign <= SIGN_ABOUT) || sign == SIGN_ROW ||
           sign == SIGN_END || sign == SIGN_SET_END;
}

/* \text{...}: as if it stood there alone. 2\text{x+1} shows no brackets, so it is not 2(x+1). */
static void text(parser *p, term *out)
{
    const bool units = is_units(p->token.begin, p->token.len);
    parser inner = { .memory = p->memory,
                     .text = p->token.begin,
                     .len = p->token.len,
                     .depth = p->depth + 1,
                     .brackets = p->brackets + 1 };
    if (inner.depth > MAX_FORMULA_DEPTH) inner.failed = true;
    parser_advance(&inner);
    grammar_relation(&inner, out);
    if (inner.failed || inner.token.kind != T_END) parser_fail(p);

    parser_advance(p);
    if (!units && !at_border(p)) parser_fail(p);
    out->quoted = !units;
}

/* ---- the rest ---- */

static void bars(parser *p, term *out)
{
    p->brackets++;
    p->bars = true;
    if (++p->depth > MAX_FORMULA_DEPTH) parser_fail(p);
    parser_advance(p);
    grammar_sum(p, out);
    if (!parser_at(p, '|')) parser_fail(p);

    p->depth--;
    p->brackets--;
    p->bars = false;
    parser_advance(p);
    term_set(out, term_node(p, "|(", term_name(p, out), NULL));
}

static void ratio(parser *p, term *out)
{
    const char *digits = arena_strndup(p->memory, p->token.begin, p->token.len);
    term_set(out, items_join(p, ":(", &(items){ &digits, 1, 1 }, ")"));
    parser_advance(p);
}

static void primary_of_sign(parser *p, term *out);

void grammar_primary(parser *p, term *out)
{
    *out = (term){ 0 };

    switch (p->token.kind) {
    case T_NUMBER:
        term_number(p, out);
        parser_advance(p);
        return;
    case T_RATIO:
        ratio(p, out);
        return;
    case T_NAME:
        name(p, out);
        return;
    case T_COMMAND:
        command(p, out);
        return;
    case T_TEXT:
        text(p, out);
        return;
    case T_SIGN:
        primary_of_sign(p, out);
        return;
    default:
        parser_fail(p);
    }
}

static void primary_of_sign(parser *p, term *out)
{
    switch (p->token.sign) {
    case '(':
    case '[':
        grammar_bracket(p, out);
        return;
    case '{':
    case SIGN_SET:
        set(p, out);
        return;
    case '|':
        if (p->bars)
            parser_fail(p);
        else
            bars(p, out);
        return;
    case SIGN_FRAC:
        grammar_fraction(p, out);
        return;
    case SIGN_SQRT:
        root(p, out);
        return;
    case SIGN_BEGIN:
        matrix(p, out);
        return;
    default:
        parser_fail(p);
    }
}
