/* SPDX-License-Identifier: MIT */
#include "lua/tokens.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

typedef struct spelling {
    const char *text;
    int sign; /* 0: space */
} spelling;

static const spelling COMMANDS[] = {
    { "times", SIGN_TIMES },
    { "cdot", '*' },
    { "ast", '*' },
    { "div", '/' },
    { "pm", SIGN_PM },
    { "mp", SIGN_MP },
    { "cup", SIGN_CUP },
    { "cap", SIGN_CAP },
    { "le", SIGN_LE },
    { "leq", SIGN_LE },
    { "leqslant", SIGN_LE },
    { "ge", SIGN_GE },
    { "geq", SIGN_GE },
    { "geqslant", SIGN_GE },
    { "ne", SIGN_NE },
    { "neq", SIGN_NE },
    { "lt", '<' },
    { "gt", '>' },
    { "approx", SIGN_ABOUT },
    { "sqrt", SIGN_SQRT },
    { "degree", SIGN_DEGREE },
    { "frac", SIGN_FRAC },
    { "dfrac", SIGN_FRAC },
    { "tfrac", SIGN_FRAC },
    { "cfrac", SIGN_FRAC },
    { "begin", SIGN_BEGIN },
    { "end", SIGN_END },
    { "lbrace", SIGN_SET },
    { "rbrace", SIGN_SET_END },
    { "vert", '|' },
    { "lvert", '|' },
    { "rvert", '|' },
    { "left", 0 },
    { "right", 0 },
    { "big", 0 },
    { "Big", 0 },
    { "bigl", 0 },
    { "bigr", 0 },
    { "Bigl", 0 },
    { "Bigr", 0 },
    { "bigg", 0 },
    { "Bigg", 0 },
    { "quad", 0 },
    { "qquad", 0 },
    { "displaystyle", 0 },
    { "textstyle", 0 },
    { NULL, 0 },
};

static const char *const TEXTS[] = { "text",   "textbf", "textit", "textrm",       "textsf", "texttt",
                                     "mathrm", "mbox",   "hbox",   "operatorname", NULL };

/* Signs outside of ASCII. A minus and a hyphen that look alike are one; a dash may be a range and is not. */
static const spelling CHARACTERS[] = {
    { "\u2212", '-' },
    { "\u00d7", SIGN_TIMES },
    { "\u00b7", '*' },
    { "\u22c5", '*' },
    { "\u00f7", '/' },
    { "\u00b1", SIGN_PM },
    { "\u2213", SIGN_MP },
    { "\u222a", SIGN_CUP },
    { "\u2229", SIGN_CAP },
    { "\u2264", SIGN_LE },
    { "\u2265", SIGN_GE },
    { "\u2260", SIGN_NE },
    { "\u2248", SIGN_ABOUT },
    { "\u221a", SIGN_SQRT },
    { "\u00b0", SIGN_DEGREE },
    { "\u00a0", 0 },
    { "\u2009", 0 },
    { "\u202f", 0 },
    { NULL, 0 },
};

static const char *const RAISED[] = { "\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                      "\u2075", "\u2076", "\u2077", "\u2078", "\u2079" };

static bool starts(const char *p, const char *end, const char *with)
{
    const size_t n = strlen(with);
    return (size_t)(end - p) >= n && memcmp(p, with, n) == 0;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static const spelling *special(const char *p, const char *end)
{
    for (const spelling *s = CHARACTERS; s->text; s++)
        if (starts(p, end, s->text)) return s;
    return NULL;
}

static int raised_digit(const char *p, const char *end)
{
    for (int i = 0; i < 10; i++)
        if (starts(p, end, RAISED[i])) return i;
    return -1;
}

/* A full-width digit, U+FF10 to U+FF19, or -1. */
static int wide_digit(const char *p, const char *end)
{
    const bool wide = starts(p, end, "\xef\xbc") && end - p >= 3 && (p[2] & 0xff) >= 0x90 && (p[2] & 0xff) <= 0x99;
    return wide ? (p[2] & 0xff) - 0x90 : -1;
}

/* ---- numbers ---- */

static size_t digit_run(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && is_digit(p[n])) n++;
    return n;
}

/* The separator of thousands at p, with exactly three digits after it: its length, or 0. */
static size_t separator(const char *p, const char *end, bool inside)
{
    static const char *const COMMAS[] = { ",\\! ", ",\\!", "{,}", "," };
    static const char *const SPACES[] = { "\\,", " ", "\u00a0", "\u2009", "\u202f" };
    size_t n = 0;

    for (size_t i = 0; !inside && n == 0 && i < 4; i++)
        if (starts(p, end, COMMAS[i])) n = strlen(COMMAS[i]);
    for (size_t i = 0; !inside && n == 0 && i < 5; i++)
        if (starts(p, end, SPACES[i])) n = strlen(SPACES[i]);
    return n > 0 && digit_run(p + n, end) == 3 ? n : 0;
}

/* Where the digits of a whole number end, thousands separators among them, and how many digits they are. A run like
 * 1,234,56 or 12,34 is a list of numbers, and 3 125/1000 is a mixed number: then its first digits alone. */
static const char *whole_end(const char *p, const char *end, bool inside)
{
    const size_t first = digit_run(p, end);
    const char *q = p + first;
    if (first == 0 || first > 3 || p[0] == '0') return q;
    const char kind = q < end ? *q : 0;
    size_t n;
    while (q < end && *q == kind && (n = separator(q, end, inside)) > 0) q += n + 3;

    /* What follows decides: a list's comma, or the slash of a mixed number. */
    const char *rest = q;
    while (rest < end && *rest == ' ') rest++;
    const bool list = rest < end && (*rest == '/' || (*q == ',' && q + 1 < end && is_digit(q[1])));
    return list ? p + first : q;
}

static bool add_digits(token *t, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (!is_digit(*p)) continue;
        if (t->n_digits == MAX_DIGITS) return false;
        t->digits[t->n_digits++] = *p;
    }
    return true;
}

/* e+12 after a number; p when there is none. NULL: more than any number here can have. */
static const char *exponent_end(const char *p, const char *end, long *exponent)
{
    if (p == end || (*p != 'e' && *p != 'E')) return p;
    const char *q = p + 1;
    const bool negative = q < end && *q == '-';
    if (q < end && (*q == '-' || *q == '+')) q++;
    const size_t n = digit_run(q, end);
    if (n == 0) return p;

    long value = 0;
    for (size_t i = 0; i < n; i++) value = value < 100000 ? 10 * value + (q[i] - '0') : value;
    *exponent += negative ? -value : value;
    return q + n;
}

/* 3:15 and 1:30:00 */
static const char *ratio_end(const char *p, const char *end)
{
    while (p + 1 < end && *p == ':' && is_digit(p[1])) p += 1 + digit_run(p + 1, end);
    return p;
}

static const char *number(const char *p, const char *end, bool inside, token *t)
{
    const char *q = whole_end(p, end, inside);
    const size_t whole = (size_t)(q - p);
    const bool plain = digit_run(p, end) == whole;
    t->kind = T_NUMBER;
    t->word = plain && whole > 0;

    if (plain && ratio_end(q, end) > q) {
        t->kind = T_RATIO;
        q = ratio_end(q, end);
        return q < end && (*q == '.' || is_letter(*q)) ? NULL : q;
    }

    if (!add_digits(t, p, q)) return NULL;
    if (q < end && *q == '.') {
        const size_t n = digit_run(q + 1, end);
        if (n == 0 || !add_digits(t, q + 1, q + 1 + n)) return NULL;
        t->exponent = -(long)n;
        t->word = false;
        q += 1 + n;
    }

    const bool european = whole <= 3 && t->exponent == -3 && q + 1 < end && *q == ',' && is_digit(q[1]);
    if (european && !inside) return NULL; /* 1.234,5: one number or two? */
    const char *behind = exponent_end(q, end, &t->exponent);
    if (behind > q) t->word = false;
    if (behind < end && (*behind == '.' || (behind > q && is_letter(*behind)))) return NULL; /* 1.2.3, 1e5x */
    return behind;
}

bool token_digit(const char *text, size_t len, size_t *at, token *out)
{
    size_t p = *at;
    while (p < len && text[p] == ' ') p++;
    if (p == len || !is_digit(text[p])) return false;
    *out = (token){ .kind = T_NUMBER, .word = true, .n_digits = 1, .begin = text + p, .len = 1 };
    out->digits[0] = text[p];
    *at = p + 1;
    return true;
}

static const char *raised(const char *p, const char *end, token *t)
{
    t->kind = T_RAISED;
    if (starts(p, end, "\u207b")) {
        t->negative = true;
        p += 3;
    }

    for (int digit; (digit = raised_digit(p, end)) >= 0; p += strlen(RAISED[digit])) {
        if (t->n_digits == MAX_DIGITS) return NULL;
        t->digits[t->n_digits++] = (char)('0' + digit);
    }
    return t->n_digits > 0 ? p : NULL;
}

static const char *wide(const char *p, const char *end, token *t)
{
    t->kind = T_NUMBER;
    for (int digit; (digit = wide_digit(p, end)) >= 0; p += 3) {
        if (t->n_digits == MAX_DIGITS) return NULL;
        t->digits[t->n_digits++] = (char)('0' + digit);
    }
    return p < end && (is_digit(*p) || *p == '.' || *p == ',') ? NULL : p;
}

/* ---- names, commands, signs ---- */

/* Latin with accents, Greek, Cyrillic. Other scripts and all signs are commands that nothing is known of: an arrow, a
 * floor, a half or the digits of another script are no letters, whose order in a product or a sum would be free. */
static bool is_foreign_letter(uint32_t c)
{
    static const uint32_t RANGES[][2] = { { 0xc0, 0xd6 },   { 0xd8, 0xf6 },   { 0xf8, 0x24f },
                                          { 0x300, 0x3bf }, { 0x3c1, 0x52f }, { 0x1e00, 0x1fff } }; /* 0x3c0 is pi */
    for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++)
        if (c >= RANGES[i][0] && c <= RANGES[i][1]) return true;
    return false;
}

/* The length of the letter at p, 0 when there is none. */
static size_t letter(const char *p, const char *end)
{
    if (p == end || !(*p & 0x80)) return p < end && is_letter(*p);
    const size_t n = utf8_length(p, end);
    uint32_t point = 0; /* of the ranges that have letters none is longer */
    if (n == 2) point = (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    if (n == 3) point = (uint32_t)(p[0] & 0xf) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    return is_foreign_letter(point) ? n : 0;
}

static const char *name(const char *p, const char *end, token *t)
{
    int letters = 0;
    for (size_t n; (n = letter(p, end)) > 0; p += n) letters++;
    t->kind = T_NAME;
    t->word = letters > 1;
    if (letters > 0) p += digit_run(p, end);
    return letters > 0 ? p : NULL;
}

/* The } that closes the { before p; NULL: none. */
static const char *closing(const char *p, const char *end)
{
    for (int depth = 1; p < end; p++) {
        if (*p == '\\' && p + 1 < end) {
            p++;
            continue;
        }
        if (*p == '{') depth++;
        if (*p == '}') depth--;
        if (depth == 0) return p;
    }
    return NULL;
}

static const char *sign_of(token *t, int sign, const char *behind)
{
    t->kind = T_SIGN;
    t->sign = sign;
    return behind;
}

/* \text{...}, of which `name` [n] is the word and q stands at its brace: the token, and what is after it. */
static const char *quoted(const char *q, const char *end, token *t)
{
    const char *close = closing(q + 1, end);
    if (!close) return NULL;
    t->kind = T_TEXT;
    t->begin = q + 1;
    t->len = (size_t)(close - q) - 1;
    return close + 1;
}

static bool is_word(const char *name, const char *begin, size_t n)
{
    return strlen(name) == n && memcmp(name, begin, n) == 0;
}

/* Reads the command that begins at a backslash; one that only makes space has been skipped already. */
static const char *command(const char *p, const char *end, token *t)
{
    const char *q = p + 1;
    if (q < end && *q == '\\') return sign_of(t, SIGN_ROW, q + 1);
    if (q < end && *q == '{') return sign_of(t, SIGN_SET, q + 1);
    if (q < end && *q == '}') return sign_of(t, SIGN_SET_END, q + 1);
    if (q < end && *q == '%') return sign_of(t, '%', q + 1);

    while (q < end && is_letter(*q)) q++;
    const size_t n = (size_t)(q - p) - 1;
    for (const spelling *s = COMMANDS; s->text; s++) {
        if (!is_word(s->text, p + 1, n)) continue;
        const bool point = s->sign == 0 && q < end && *q == '.'; /* \left. is no point */
        return point ? NULL : sign_of(t, s->sign, q);
    }
    for (const char *const *s = TEXTS; *s; s++)
        if (is_word(*s, p + 1, n) && q < end && *q == '{') return quoted(q, end, t);

    t->kind = T_COMMAND;
    return n > 0 ? q : NULL;
}

/* Space of all spellings; a dollar is a border in LaTeX and money before a number, and says nothing in both. */
static size_t space(const char *p, const char *end)
{
    if (p == end) return 0;
    if (strchr(" \t\r\n$", *p) && *p) return 1;
    if (*p == '\\' && p + 1 < end && p[1] && strchr(",;:! $", p[1])) return 2;
    const spelling *s = (*p & 0x80) ? special(p, end) : NULL;
    if (s && s->sign == 0) return strlen(s->text);

    token t;
    if (*p != '\\') return 0;
    const char *behind = command(p, end, &t);
    return behind && t.kind == T_SIGN && t.sign == 0 ? (size_t)(behind - p) : 0;
}

/* The ~ of LaTeX that keeps 5~cm in one line; before a number, or after a letter, it says "about". */
static bool joins(const char *text, const char *p, const char *end)
{
    return p > text && p < end && *p == '~' && (is_digit(p[-1]) || strchr("},;~", p[-1]));
}

static const char *plain_sign(const char *p, const char *end, token *t)
{
    static const char SIGNS[] = "+-*/^_()[]{},;:=<>!%'|&";
    const char next = p + 1 < end ? p[1] : 0;
    if (*p == '<' && next == '=') return sign_of(t, SIGN_LE, p + 2);
    if (*p == '>' && next == '=') return sign_of(t, SIGN_GE, p + 2);
    if (*p == '!' && next == '=') return t->spaced ? sign_of(t, SIGN_NE, p + 2) : NULL; /* 5!=120 may be 5! = 120 */

    /* Signs of programs, which say something else here or nothing: **, ==, =<, => */
    const bool power = *p == '*' && next == '*';
    const bool comparison = *p == '=' && (next == '=' || next == '<' || next == '>');
    if (power || comparison) return NULL;
    return *p && strchr(SIGNS, *p) ? sign_of(t, *p, p + 1) : NULL;
}

/* A character that stands for a command of LaTeX. */
static const char *constant(token *t, const char *name, const char *behind)
{
    t->kind = T_COMMAND;
    t->begin = name;
    t->len = strlen(name);
    return behind;
}
static const char *other(const char *p, const char *end, token *t)
{
    const spelling *s = special(p, end);
    if (s) return sign_of(t, s->sign, p + strlen(s->text));

    t->kind = T_COMMAND;
    if (starts(p, end, "\u03c0")) return constant(t, "\\pi", p + 2);
    if (starts(p, end, "\u221e")) return constant(t, "\\infty", p + 3);
    if (raised_digit(p, end) >= 0 || starts(p, end, "\u207b")) return raised(p, end, t);
    if (wide_digit(p, end) >= 0) return wide(p, end, t);
    if (letter(p, end) > 0) return name(p, end, t);

    const size_t n = utf8_length(p, end);
    return n > 0 ? p + n : NULL;
}

/* 05 right after something: 12,05 may be 12.05, and 1\u20ac05 is not 1\u20ac5. Dates and sums are used to it. */
static bool is_doubtful_zero(const char *text, const char *p, const char *end)
{
    static const char BEFORE[] = " \t\r\n$([{+-*/=<>";
    return *p == '0' && digit_run(p, end) > 1 && p > text && (!p[-1] || !strchr(BEFORE, p[-1]));
}

void token_next(const char *text, size_t len, size_t *at, bool inside, token *out)
{
    const char *end = text + len, *p = text + *at, *behind;
    out->kind = T_END;
    out->sign = 0;
    out->spaced = out->word = out->negative = false;
    out->n_digits = 0;
    out->exponent = 0;

    for (size_t n; (n = joins(text, p, end) ? 1 : space(p, end)) > 0; p += n) out->spaced = true;
    out->begin = p;
    out->len = 0;
    *at = (size_t)(p - text);
    if (p == end) return;

    if (is_digit(*p) || (*p == '.' && p + 1 < end && is_digit(p[1])))
        behind = is_doubtful_zero(text, p, end) ? NULL : number(p, end, inside, out);
    else if (is_letter(*p))
        behind = name(p, end, out);
    else if (*p == '\\')
        behind = command(p, end, out);
    else if (*p & 0x80)
        behind = other(p, end, out);
    else
        behind = plain_sign(p, end, out);

    if (!behind) {
        out->kind = T_BAD;
        return;
    }
    if (out->len == 0) out->len = (size_t)(behind - p);
    *at = (size_t)(behind - text);
}
