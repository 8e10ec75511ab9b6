/* SPDX-License-Identifier: MIT */
#include "lua/grammar.h"

#include <string.h>

enum { MAX_POSTFIX = 8, MAX_TEN = 400 };

/* ---- factors ---- */

/* 5!, 5%, f', 90 degrees */
static void postfix(parser *p, term *out)
{
    static const char KINDS[] = "!'%";
    bool factorial = false;
    for (int n = 0; !p->failed; n++) {
        const bool degree = parser_at(p, SIGN_DEGREE);
        const bool known = degree || (p->token.kind == T_SIGN && p->token.sign < 128 && strchr(KINDS, p->token.sign));
        if (!known) return;

        number hundred;
        number_decimal("100", 3, 0, &hundred);
        if (n == MAX_POSTFIX || out->percent) {
            parser_fail(p);
        } else if (parser_at(p, '%')) {
            if (out->rest || !number_divided(&out->n, &hundred, &out->n)) parser_fail(p); /* x % y is a remainder */
            out->percent = true;
        } else {
            const bool again = parser_at(p, '!') && factorial; /* 5!! is not (5!)! */
            const char open[] = { degree ? 'o' : (char)p->token.sign, again ? '!' : '(', again ? '(' : 0, 0 };
            term_set(out, term_node(p, open, term_name(p, out), NULL));
        }

        factorial = parser_at(p, '!');
        parser_advance(p);
    }
}

/* a_{01} is no a_1, and 1_000 no number in base 0. */
static bool has_leading_zero(const parser *p)
{
    const char *from = p->text + p->at;
    from += strspn(from, " {+-");
    return from[0] == '0' && from[1] >= '0' && from[1] <= '9';
}

/* After ^ or _: {...}, -3, 12, x, (...); commas between digits separate here. n^13 is n^1 3 to TeX, so only what
 * stands at a number may have several digits without braces. */
static void script(parser *p, term *out, bool below, bool at_number)
{
    if (below && has_leading_zero(p)) parser_fail(p);
    if (grammar_braced(p, out)) {
        parser_advance(p);
        return;
    }

    p->brackets++;
    parser_advance(p);
    const bool negative = parser_at(p, '-'), sign = negative || parser_at(p, '+');
    if (sign) parser_advance(p);
    p->brackets--;

    const token_kind kind = p->token.kind;
    const bool long_number = kind == T_NUMBER && p->token.len > 1 && !at_number;
    const bool fits = kind == T_NUMBER || kind == T_COMMAND || (kind == T_NAME && (below || !p->token.word));
    if (!sign && parser_at(p, '(')) {
        grammar_bracket(p, out);
    } else if (long_number || (sign ? kind != T_NUMBER : !fits)) {
        parser_fail(p);
    } else if (kind == T_NAME) {
        term_set(out, arena_strndup(p->memory, p->token.begin, p->token.len));
        parser_advance(p);
    } else {
        grammar_primary(p, out);
    }

    if (kind == T_NAME && !p->failed)
        out->rest = items_join(p, "'", &(items){ (const char *[]){ out->rest }, 1, 1 }, "");
    if (negative) number_negate(&out->n);
}

static void raise(parser *p, term *base, const term *exponent)
{
    int64_t n = 0, ten = 0;
    number value;

    /* A power of ten is a number: 10^3, but not x^3 or 10^x. */
    const bool base_is_ten = !base->rest && !base->group && number_integer(&base->n, &ten) && ten == 10;
    const bool of_ten =
        base_is_ten && !exponent->rest && number_integer(&exponent->n, &n) && n <= MAX_TEN && n >= -MAX_TEN;
    if (of_ten && number_decimal("1", 1, (long)n, &value)) {
        *base = (term){ .n = value, .ten = true };
        return;
    }

    if (exponent->rest && strcmp(exponent->rest, "\\circ") == 0)
        term_set(base, term_node(p, "o(", term_name(p, base), NULL));
    else
        term_set(base, term_node(p, "^(", term_name(p, base), term_name(p, exponent)));
}

/* The indices and exponents after a term, each at most once. */
typedef struct marks {
    term below, above;
    bool has_below, has_above;
} marks;
static void one_mark(parser *p, marks *m, bool at_number)
{
    const bool index = parser_at(p, '_');

    if (index ? m->has_below : m->has_above) {
        parser_fail(p);
    } else if (p->token.kind == T_RAISED) {
        term_number(p, &m->above);
        if (p->token.negative) number_negate(&m->above.n);
        parser_advance(p);
        if (parser_at(p, SIGN_SQRT)) parser_fail(p); /* a cube, or the third root? */
    } else {
        script(p, index ? &m->below : &m->above, index, at_number);
    }

    if (index)
        m->has_below = true;
    else
        m->has_above = true;
}

/* A run of letters is a word to us and may be a product to its writer: xy^2 is x times y^2 and not (xy)^2, nor xy!
 * (xy)!. */
static void keep_word_apart(parser *p, term *out)
{
    const bool marked = parser_at(p, '^') || parser_at(p, '_') || parser_at(p, '!') || parser_at(p, '\'') ||
                        parser_at(p, SIGN_DEGREE) || p->token.kind == T_RAISED;
    if (out->group && out->words && marked) term_set(out, term_node(p, "(", term_name(p, out), NULL));
}

static void power(parser *p, term *out)
{
    marks m = { 0 };
    const bool literal = p->token.kind == T_NUMBER;
    grammar_primary(p, out);
    keep_word_apart(p, out);
    out->literal = literal;
    postfix(p, out);
    if (p->failed) return;

    /* What term_set forgets: whether it stands fast, and whether it applies to what is after it, as a function
     * does. */
    const bool fixed = out->fixed, percent = out->percent;
    const bool letter = out->rest && command_is_letter(out->rest, strlen(out->rest));
    const bool applies = (out->command && !letter) || out->words || (out->rest && strncmp(out->rest, "'(", 2) == 0);
    out->applies = applies;

    while (!p->failed && (parser_at(p, '_') || parser_at(p, '^') || p->token.kind == T_RAISED)) {
        if (percent)
            parser_fail(p);
        else
            one_mark(p, &m, !out->rest);
    }
    if (p->failed || (!m.has_below && !m.has_above)) return;

    if (m.has_below) term_set(out, term_node(p, "_(", term_name(p, out), term_name(p, &m.below)));
    if (m.has_above) raise(p, out, &m.above);
    out->fixed = fixed || m.below.fixed || m.above.fixed;
    out->applies = applies;
    if (p->token.kind == T_SIGN && p->token.sign < 128 && strchr("!%'", p->token.sign))
        parser_fail(p); /* x^2!: of what? */
}

/* ---- products ---- */

typedef struct factors {
    items names;
    term first, last; /* last: as it was added */
    number n;         /* the one that is a number alone */
    int n_numbers, number_at;
    bool explicit, star, fixed, plain; /* all by a sign; all by * or a dot; the others have no coefficients */
    bool divided;
    bool enclosed; /* the last one stands in brackets after what applies to it */
    bool bare;     /* what a function is of began without brackets: nothing says where it ends */
} factors;

static void add_factor(parser *p, factors *f, const term *t)
{
    if (f->names.n == 0) f->first = *t;
    if (f->names.n > 0 && t->quoted) parser_fail(p);

    if (!t->rest) {
        f->n_numbers++;
        f->n = t->n;
        f->number_at = f->names.n;
    }
    if (t->rest && (!number_is_one(&t->n) || name_is_loose(t->rest))) f->plain = false;

    f->enclosed = false;
    f->fixed = f->fixed || t->fixed;
    f->last = *t;
    items_add(p, &f->names, term_name(p, t));
}

static factors factors_of(parser *p, const term *t)
{
    factors f = { .explicit = true, .star = true, .plain = true };
    add_factor(p, &f, t);
    return f;
}

static bool at_function(const parser *p)
{
    return p->token.kind == T_COMMAND && command_is_function(p->token.begin, p->token.len);
}

/* Before the next factor: \sin(2)x is not \sin 2x. Another function ends the argument of the one before. */
static void keep_brackets(parser *p, factors *f)
{
    const char **last = &f->names.item[f->names.n - 1];
    if (at_function(p))
        f->bare = false;
    else if (f->enclosed)
        *last = term_node(p, "((", *last, NULL);
}

static void close_product(parser *p, factors *f, term *out)
{
    if (f->names.n == 1) {
        *out = f->first;
        return;
    }

    /* A number among names becomes the coefficient, if it may stand in front. */
    const bool one = f->fixed && number_is_one(&f->n); /* "1 apple" says more than "apple" */
    const bool leads = f->n_numbers == 1 && f->plain && !one && (f->number_at == 0 || f->explicit);
    if (leads) {
        f->names.n--;
        memmove(f->names.item + f->number_at, f->names.item + f->number_at + 1,
                (size_t)(f->names.n - f->number_at) * sizeof *f->names.item);
    }

    if (f->star && !f->fixed && f->n_numbers <= 1) items_sort(&f->names);

    *out = (term){ .fixed = f->fixed };
    term_set(out, f->names.n == 1 ? f->names.item[0] : items_join(p, "P(", &f->names, ")"));
    if (leads) out->n = f->n;
    out->fixed = f->fixed;
}

/* 3 1/2 and 3\frac{1}{2}: a proper fraction after a whole number. */
static void mixed(parser *p, term *whole)
{
    term part = { 0 };
    if (parser_at(p, SIGN_FRAC)) {
        grammar_fraction(p, &part);
    } else {
        term below;
        term_number(p, &part);
        if (!p->token.word) parser_fail(p);
        parser_advance(p);
        if (!parser_at(p, '/') || p->token.spaced) parser_fail(p);
        parser_advance(p);
        if (p->token.kind != T_NUMBER || !p->token.word || p->token.spaced) parser_fail(p);
        if (p->failed) return;
        term_number(p, &below);
        parser_advance(p);
        term_divide(p, &part, &below);
    }

    number rest; /* part - 1: below 0 for a proper fraction */
    number_one(&rest);
    number_negate(&rest);
    const bool positive = !p->failed && !part.rest && !part.n.negative && !number_is_zero(&part.n);
    const bool proper = positive && number_plus(&part.n, &rest, &rest) && rest.negative;
    if (!proper || !number_plus(&whole->n, &part.n, &whole->n)) parser_fail(p);
}

static bool starts_factor(const parser *p)
{
    if (p->token.kind != T_SIGN) return p->token.kind != T_END && p->token.kind != T_RAISED;
    return p->token.sign == '(' || (p->token.sign == '|' && !p->bars) || p->token.sign == SIGN_SQRT ||
           p->token.sign == SIGN_FRAC;
}

/* A sign of its own is allowed after * and /, not after another sign. */
static void signed_power(parser *p, term *out)
{
    const bool negative = parser_at(p, '-'), sign = negative || parser_at(p, '+');
    if (sign) parser_advance(p);
    power(p, out);
    if (sign && out->quoted) parser_fail(p);
    if (negative) number_negate(&out->n);
}

/* Where it makes a difference whether two factors have a sign between them: \ln 2\cdot x is not \ln 2x, and what a
 * command that is not known here does with its neighbours may not be a product at all. */
static bool sign_counts(const factors *f, const term *next)
{
    return f->bare || f->last.applies || any_is_loose(&f->names) || (next->rest && name_is_loose(next->rest));
}

/* 1/xy may be 1/x times y: what a run of letters divides is not what (xy) divides. Below words it is a unit: km/hr. */
static void keep_divisor_apart(parser *p, const factors *f, term *by)
{
    bool unit = false;
    for (int i = 0; i < f->names.n; i++) unit = unit || strchr(f->names.item[i], '"');
    const bool letters = by->rest && !by->group && strncmp(by->rest, "F(", 2) != 0 && strchr(by->rest, '"');
    if (letters && !unit) term_set(by, term_node(p, "/(", term_name(p, by), NULL));
}

static void explicit_factor(parser *p, factors *f)
{
    const bool over = parser_at(p, '/'), star = parser_at(p, '*');
    term t, so_far;
    parser_advance(p);
    const bool function = at_function(p);
    if (!over) keep_brackets(p, f);
    signed_power(p, &t);
    if (p->failed) return;

    if (over) {
        /* a/b/c, \ln x/2, a \bmod b/c */
        if (f->divided || f->bare || t.quoted || (f->names.n > 1 && any_is_loose(&f->names))) parser_fail(p);
        keep_divisor_apart(p, f, &t);
        close_product(p, f, &so_far);
        term_divide(p, &so_far, &t);
        *f = factors_of(p, &so_far);
        f->divided = true;
        return;
    }

    if (t.ten && f->names.n == 1 && !f->first.rest && !f->divided && number_times(&f->n, &t.n, &f->n)) {
        *f = factors_of(p, &(term){ .n = f->n });
        return;
    }

    const bool counts = !function && sign_counts(f, &t);
    f->star = f->star && star && !counts;
    if (counts) items_add(p, &f->names, "*");
    add_factor(p, f, &t);
}

/* 2x, 5 cm, x(y+1). After a division only a unit, apart: 1/2x may be one half of x or of 1/x. */
static bool at_percent(const parser *p)
{
    return p->token.kind == T_NAME && (token_is(&p->token, "percent") || token_is(&p->token, "pct"));
}
/* "5 percent": a hundredth of the only factor so far. */
static void percent_of(parser *p, factors *f)
{
    number hundred;
    number_decimal("100", 3, 0, &hundred);
    parser_advance(p);
    if (!number_divided(&f->n, &hundred, &f->n)) parser_fail(p);
    *f = factors_of(p, &(term){ .n = f->n, .percent = true });
}
static void implicit_factor(parser *p, factors *f)
{
    term t;
    const bool number_first = !f->first.rest;
    const bool unit = p->token.spaced && (p->token.kind == T_NAME || p->token.kind == T_TEXT) && number_first;
    const bool digits = p->token.kind == T_NUMBER || p->token.kind == T_RATIO;
    const bool doubtful = f->last.literal && parser_at(p, SIGN_FRAC); /* 2*3\frac12 */
    if ((f->divided && !unit) || (digits && !f->last.command) || f->last.percent || doubtful) {
        parser_fail(p);
        return;
    }
    if (at_percent(p) && f->names.n == 1 && number_first && !f->divided) {
        percent_of(p, f);
        return;
    }

    const bool opened = parser_at(p, '('), applied = f->last.applies;
    keep_brackets(p, f);
    power(p, &t);
    if (p->failed) return;

    if (applied && opened && !t.group) term_set(&t, term_node(p, "((", term_name(p, &t), NULL)); /* \sin(x)^2 */
    f->explicit = f->star = false;
    f->fixed = f->fixed || digits;
    add_factor(p, f, &t);
    f->bare = f->bare || (applied && !opened);
    f->enclosed = applied && opened;
}

static void product(parser *p, term *out)
{
    const bool whole = p->token.kind == T_NUMBER && p->token.word;
    power(p, out);
    if (p->failed) return;

    const bool behind = p->token.kind == T_NUMBER || parser_at(p, SIGN_FRAC);
    const bool slash = p->token.kind == T_NUMBER;
    const bool is_mixed = whole && behind && !out->rest && !out->ten && !out->percent;
    if (is_mixed) mixed(p, out);

    factors f = factors_of(p, out);
    f.divided = is_mixed && slash; /* 3 1/2x */
    while (!p->failed) {
        if (parser_at(p, '*') || parser_at(p, '/') || parser_at(p, SIGN_TIMES))
            explicit_factor(p, &f);
        else if (starts_factor(p))
            implicit_factor(p, &f);
        else
            break;
    }
    if (!p->failed) close_product(p, &f, out);
}

/* ---- sums, unions, relations ---- */

static bool at_plus(const parser *p)
{
    return parser_at(p, '+') || parser_at(p, '-') || parser_at(p, SIGN_PM) || parser_at(p, SIGN_MP);
}

/* One term with the sign before it. */
static void signed_product(parser *p, term *out)
{
    const bool signed_at_all = at_plus(p);
    const int sign = signed_at_all ? p->token.sign : '+';
    if (signed_at_all) parser_advance(p);
    if (at_plus(p)) parser_fail(p); /* --5 */
    product(p, out);
    if (p->failed) return;
    if (signed_at_all && out->quoted) parser_fail(p);

    const bool was_signed = sign != '+';
    if (was_signed && !out->group && out->rest && name_is_loose(out->rest)) /* -a \bmod b */
        term_set(out, term_node(p, "N(", term_name(p, out), NULL));
    if (sign == '-') number_negate(&out->n);
    if (sign == SIGN_PM || sign == SIGN_MP) {
        const bool fixed = out->fixed;
        term_set(out, term_node(p, sign == SIGN_PM ? "+-(" : "-+(", term_name(p, out), NULL));
        out->fixed = fixed;
    }
    if (was_signed) out->group = out->name = out->ten = false;
}

void grammar_sum(parser *p, term *out)
{
    items list = { 0 };
    bool fixed = false, numbers = true, path = true;
    signed_product(p, out);
    if (p->failed || !at_plus(p)) return;

    for (;;) {
        items_add(p, &list, term_name(p, out));
        fixed = fixed || out->words || (out->fixed && strchr(out->rest, '"'));
        numbers = numbers && !out->rest;
        path = path && out->fixed && out->rest[0] == '\'' && !parser_at(p, '+');
        if (p->failed || !at_plus(p)) break;
        signed_product(p, out);
        if (p->failed) return;
    }

    /* 2020-10-05 is a date and A-B-C a way: numbers alone, and capitals after hyphens, keep their order */
    if (!fixed && !numbers && !(path && list.n > 2)) items_sort(&list);
    term_set(out, items_join(p, "S(", &list, ")"));
    out->fixed = fixed;
}

/* Unions, intersections, and a : b. */
static void combination(parser *p, term *out)
{
    items list = { 0 };
    grammar_sum(p, out);
    const int sign = p->token.kind == T_SIGN ? p->token.sign : 0;
    if (sign != SIGN_CUP && sign != SIGN_CAP && sign != ':') return;

    items_add(p, &list, term_name(p, out));
    while (parser_at(p, sign) && !p->failed) {
        parser_advance(p);
        grammar_sum(p, out);
        if (!p->failed) items_add(p, &list, term_name(p, out));
    }
    if (p->failed) return;

    const char *open = ":(";
    if (sign == SIGN_CUP) open = "U(";
    if (sign == SIGN_CAP) open = "I(";
    if (sign != ':') items_sort(&list); /* the sides of a : b are not alike */
    term_set(out, items_join(p, open, &list, ")"));
}

static const char *relation_sign(const parser *p)
{
    if (p->token.kind != T_SIGN) return NULL;

    switch (p->token.sign) {
    case '=':
        return "=";
    case '<':
        return "<";
    case '>':
        return ">";
    case SIGN_LE:
        return "<=";
    case SIGN_GE:
        return ">=";
    case SIGN_NE:
        return "!=";
    case SIGN_ABOUT:
        return "~";
    default:
        return NULL;
    }
}

/* Sides and signs in turn. Written from the other end when every sign points left; sides of one = or != sorted. */
static void direct(items *list)
{
    bool apart = !any_is_loose(list); /* a > b and c > d: its sides are not what the signs hold */
    for (int i = 0; i < list->n; i++) apart = apart && !strchr(list->item[i], '"');

    bool left = apart;
    for (int i = 1; i < list->n; i += 2) left = left && list->item[i][0] == '>';
    const bool even = list->n == 3 && (list->item[1][0] == '=' || list->item[1][0] == '!');

    const bool swap = left || (even && apart && strcmp(list->item[0], list->item[2]) > 0);
    for (int i = 0; swap && i < list->n / 2; i++) {
        const char *other = list->item[list->n - 1 - i];
        list->item[list->n - 1 - i] = list->item[i];
        list->item[i] = other;
    }
    for (int i = 1; left && i < list->n; i += 2) list->item[i] = list->item[i][1] ? "<=" : "<";
}

void grammar_relation(parser *p, term *out)
{
    items list = { 0 };
    combination(p, out);
    if (p->failed || !relation_sign(p)) return;

    const bool named = out->name, equation = parser_at(p, '=');
    items_add(p, &list, term_name(p, out));
    for (const char *sign; !p->failed && (sign = relation_sign(p));) {
        items_add(p, &list, sign);
        parser_advance(p);
        combination(p, out);
        if (!p->failed) items_add(p, &list, term_name(p, out));
    }
    if (p->failed) return;

    const bool plain = !p->failed && !strpbrk(list.item[2], "'\""); /* no letters in it: y = 2x is a line, not 2x */
    const char *value = list.n == 3 && named && equation && plain ? list.item[2] : NULL;
    direct(&list);
    term_set(out, items_join(p, "=(", &list, ")"));
    out->value = value;
}

static bool separated(parser *p, char *separator)
{
    const bool comma = parser_at(p, ','), semicolon = parser_at(p, ';');
    if (!comma && !semicolon) return false;
    const char c = comma ? ',' : ';';
    if (*separator && *separator != c) parser_fail(p);
    *separator = c;
    parser_advance(p);
    return true;
}

/* Items up to what is no separator. */
void grammar_list(parser *p, items *list, term *last, char *separator)
{
    do {
        grammar_relation(p, last);
        items_add(p, list, term_name(p, last));
    } while (separated(p, separator) && !p->failed);
}
