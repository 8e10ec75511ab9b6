/* SPDX-License-Identifier: MIT */
#include "lua/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

typedef enum place { BEGIN, BETWEEN, END, ALONE } place;

typedef struct writer {
    char *out, *to;
    char *word;                  /* where the last word begins; NULL: there is none */
    const char *thousands_until; /* commas before it separate thousands */
    bool minus;                  /* a lone one, waiting for its number */
} writer;

static bool is_space(char c) { return isspace((unsigned char)c) != 0; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_mark(char c) { return ispunct((unsigned char)c) != 0; }

/* What of a run of punctuation stays, by where it stands in its word and whether a digit is beside it. */
static bool stays(char c, place where, bool digit)
{
    static const char *const BESIDE_LETTERS[] = {
        [BEGIN] = "-<>=|", [BETWEEN] = "+<>=^/%|,;:", [END] = "+-#<>=^%|", [ALONE] = "<>=+^%/~|"
    };
    static const char *const BESIDE_DIGITS[] = { [BEGIN] = "-.<>=~^/!:%|", [END] = "+-<>=~^/!%|" };
    if (digit) return where == BETWEEN || strchr(BESIDE_DIGITS[where], c);
    return strchr(BESIDE_LETTERS[where], c) != NULL;
}

/* The end of the number at p when its commas are thousands separators, else p. */
static const char *thousands_end(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && is_digit(*q)) q++;
    if (q == p || q - p > 3 || *p == '0') return p;
    while (end - q >= 4 && *q == ',' && is_digit(q[1]) && is_digit(q[2]) && is_digit(q[3])) q += 4;
    const bool more = q < end && (is_digit(*q) || (*q == ',' && end - q > 1 && is_digit(q[1])));
    return more ? p : q;
}

static bool is_article(const char *word, const char *end)
{
    const size_t n = (size_t)(end - word);
    return (n == 1 && *word == 'a') || (n == 2 && memcmp(word, "an", 2) == 0) ||
           (n == 3 && memcmp(word, "the", 3) == 0);
}

/* The word at `word` is complete: what stands before it may go, or belong to it. False: there is none after all. */
static bool finish_word(writer *w, char *word)
{
    if (w->to == word) return false;
    if (w->to == word + 1 && *word == '-') {
        w->minus = true;
        return false;
    }

    /* A minus that stood alone belongs to the number after it. */
    if (w->minus && (is_digit(*word) || *word == '.')) {
        memmove(word + 1, word, (size_t)(w->to - word));
        *word = '-';
        w->to++;
    }
    w->minus = false;

    /* An article before a word goes: the word moves into its place. */
    const bool follows = w->word && !is_mark(*word);
    if (follows && is_article(w->word, word - 1)) {
        memmove(w->word, word, (size_t)(w->to - word));
        w->to -= word - w->word;
        word = w->word;
    }

    w->word = word;
    return true;
}

/* Where a run of punctuation stands, by the characters beside it; 0: none. */
static place place_of(char before, char after)
{
    if (before && after) return BETWEEN;
    if (before) return END;
    return after ? BEGIN : ALONE;
}
/* The run of punctuation at p, between `before` and `after` (0: the border of the word). */
static const char *add_marks(writer *w, const char *p, const char *begin, const char *end)
{
    const char *q = p;
    while (q < end && is_mark(*q)) q++;

    const char before = p > begin ? p[-1] : 0, after = q < end ? *q : 0;
    const bool digit = is_digit(before) || is_digit(after);
    const place where = place_of(before, after);
    const bool separator = where == BETWEEN && p < w->thousands_until;

    for (; p < q && !separator; p++) {
        const bool lone = where == ALONE && (*p == '-' || (*p == '*' && w->word)); /* at first * opens a list */
        if (lone || stays(*p, where, digit)) *w->to++ = *p;
    }
    return q;
}

static void add_word(writer *w, const char *begin, const char *end)
{
    char *word = w->to + (w->word != NULL);
    if (w->word) *w->to = ' ';
    char *const before = w->to;
    w->to = word;
    w->thousands_until = begin;

    for (const char *p = begin; p < end;) {
        if (is_mark(*p)) {
            p = add_marks(w, p, begin, end);
            continue;
        }
        const bool number = is_digit(*p) && (p == begin || (!is_digit(p[-1]) && p[-1] != ','));
        if (number) w->thousands_until = thousands_end(p, end);
        *w->to++ = (char)tolower((unsigned char)*p++);
    }
    if (!finish_word(w, word)) w->to = before;
}

size_t words_normalise(const char *text, size_t len, char *out)
{
    writer w = { .out = out, .to = out };
    const char *end = text + len;

    for (const char *p = text; p < end;) {
        if (is_space(*p)) {
            p++;
            continue;
        }

        const char *begin = p;
        while (p < end && !is_space(*p)) p++;
        add_word(&w, begin, p);
    }
    return (size_t)(w.to - out);
}
