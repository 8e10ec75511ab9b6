/* SPDX-License-Identifier: MIT */
/* tokens - the words of an answer written by a person or a model: plain text, LaTeX, or a bit of both. Internal to
 * formula.c, which asks for one token at a time because some of them depend on where they stand: a comma between
 * digits is a thousands separator only outside of brackets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum token_kind {
    T_END,
    T_BAD,     /* a character or spelling that is not understood: the whole text is then compared as it stands */
    T_NUMBER,  /* digits, without their separators, in `digits`, with `exponent` */
    T_RATIO,   /* 3:15, digits and colons without a space: a time or a ratio, never evaluated */
    T_NAME,    /* letters, and digits right after them: x, cm, x1 */
    T_COMMAND, /* \alpha, with its backslash; a character outside of ASCII that is no letter, without one */
    T_TEXT,    /* \text{...}: what is inside */
    T_RAISED,  /* superscript digits: the plain ones are in `digits`, `negative` when a raised minus is before them */
    T_SIGN,    /* `sign`: an ASCII character or one of the signs below */
} token_kind;

enum {
    SIGN_LE = 128,
    SIGN_GE,
    SIGN_NE,
    SIGN_ABOUT,
    SIGN_PM,
    SIGN_MP,
    SIGN_CUP,
    SIGN_CAP,
    SIGN_TIMES,
    SIGN_SQRT,
    SIGN_DEGREE,
    SIGN_SET,     /* \{ */
    SIGN_SET_END, /* \} */
    SIGN_FRAC,
    SIGN_BEGIN,
    SIGN_END,
    SIGN_ROW, /* \\ */
};

enum { MAX_DIGITS = 700 };

typedef struct token {
    token_kind kind;
    int sign;
    const char *begin; /* in the text; [len] */
    size_t len;
    bool spaced;             /* there is space before it */
    bool word;               /* T_NAME: of two letters or more; T_NUMBER: it has no point, exponent or separator */
    bool negative;           /* T_RAISED */
    size_t n_digits;         /* [n_digits] in `digits` */
    long exponent;           /* of ten, after them */
    char digits[MAX_DIGITS]; /* not terminated */
} token;

/* The token at `text[*at]`, which is moved after it. `inside`: within brackets, where commas separate. */
void token_next(const char *text, size_t len, size_t *at, bool inside, token *out);
/* One digit at text[*at] after spaces, for \frac12; false when there is none. */
bool token_digit(const char *text, size_t len, size_t *at, token *out);
