/* SPDX-License-Identifier: MIT */
/* grammar - how answers are read: a descent from lists over relations and sums to single letters, which builds names
 * (see formula.h) on the way up. Internal to the formula: terms.c has the values, primaries.c what stands by itself,
 * grammar.c what is put together by signs.
 *
 *     list         relation , relation , ...
 *     relation     combination < combination ...       = < > <= >= != and "about"
 *     combination  sum | sum cup sum | sum : sum
 *     sum          [+-] product +- product ...
 *     product      power * power | power / power | power power
 *     power        primary with !, %, ' and a degree after it, then _ and ^
 *     primary      a number, a name, (...), [...], {...}, |...|, a command of LaTeX
 *
 * Every function fills its term or calls parser_fail, after which the token is the end and stays it, so that loops end
 * by themselves. Names are in the parser's arena. */
#pragma once

#include "base/arena.h"
#include "lua/number.h"
#include "lua/tokens.h"

/* A part that was read: a coefficient times the rest. */
typedef struct term {
    number n;          /* the coefficient: 1 where there is none */
    const char *rest;  /* its name; NULL: a number alone */
    const char *value; /* of name = value */
    bool group;        /* in parentheses */
    bool ten;          /* a power of ten */
    bool percent;
    bool words;   /* the rest is words in quotes */
    bool fixed;   /* has words or capitals in it: the order means something */
    bool name;    /* one letter that may stand before = */
    bool command; /* \alpha: a number may stand after it */
    bool applies; /* \sin, f', words: what stands after it may be what it is of */
    bool literal; /* digits, without brackets: a fraction after them makes a mixed number, or is in doubt */
    bool quoted;  /* \text{...} of more than letters: it has no brackets and must stand by itself */
} term;

typedef struct parser {
    arena *memory;
    const char *text; /* terminated */
    size_t len, at;   /* after the token */
    token token;      /* the next one, not yet used */
    int depth, brackets;
    bool bars; /* within | |: the next | closes */
    bool failed;
} parser;

typedef struct items {
    const char **item; /* [n] */
    int n, room;
} items;

void parser_fail(parser *p);
void parser_advance(parser *p);
bool parser_at(const parser *p, int sign); /* whether the token is this sign */
bool token_is(const token *t, const char *text);

void items_add(parser *p, items *list, const char *item);
void items_sort(items *list); /* not where one is loose: see name_is_loose */
const char *items_join(parser *p, const char *open, const items *list, const char *close); /* with commas */

/* A command without arguments, from its backslash on. Letters stand for something; functions have it after them. */
bool command_is_letter(const char *text, size_t len);
bool command_is_function(const char *text, size_t len);
/* Whether another command is in it: what \lfloor, \equiv or \bmod hold together is not known here, so nothing near them
 * may change its place. */
bool name_is_loose(const char *name);
bool any_is_loose(const items *names);

void term_set(term *t, const char *rest); /* coefficient 1, flags cleared but `fixed` */
const char *term_node(parser *p, const char *open, const char *a, const char *b); /* open a,b ) ; b may be NULL */
const char *term_name(parser *p, const term *t);
void term_number(parser *p, term *out);              /* of the token, which is a number */
void term_divide(parser *p, term *a, const term *b); /* a becomes a / b */

void grammar_primary(parser *p, term *out);
void grammar_bracket(parser *p, term *out);  /* at ( or [ */
void grammar_fraction(parser *p, term *out); /* at \frac */
/* At a {...} that only groups, which begins at p->at: false when there is none. The token is stale afterwards. */
bool grammar_braced(parser *p, term *out);
void grammar_sum(parser *p, term *out);
void grammar_relation(parser *p, term *out);
/* Relations up to what separates no more; *separator: ',' or ';', 0 for a single one, which is then *last. */
void grammar_list(parser *p, items *list, term *last, char *separator);
