/* SPDX-License-Identifier: MIT */
/* str - string views and a growing string builder. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct str_view {
    const char *data; /* not terminated */
    size_t len;
} str_view;

/* Zero-initialise; `data` is always terminated once anything was added; release with str_free. */
typedef struct str {
    char *data;
    size_t len, capacity;
} str;

void str_add(str *s, const char *data, size_t len);
void str_puts(str *s, const char *terminated);
/* One more of a list: `between` in front of it, unless it is the first, and `text`. */
void str_item(str *s, const char *between, const char *text);
void str_putc(str *s, char c);
void str_printf(str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(str *s, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
void str_json(str *s, const char *data, size_t len); /* appends a quoted JSON string; bad UTF-8 becomes U+FFFD */
/* Text fit for a terminal and a sentence: control characters and what is not UTF-8 as \n, \t, \0, \x1b. */
void str_visible(str *s, const char *data, size_t len);
void str_cut(str *s, size_t len); /* keeps the first `len` bytes, if there are more */
void str_clear(str *s);           /* length 0, memory kept */
void str_free(str *s);
const char *str_text(const str *s); /* what was added, terminated; "" where nothing was */
/* Length of the well-formed UTF-8 character at p (RFC 3629: no surrogates, nothing overlong), or 0. */
size_t utf8_length(const char *p, const char *end);
/* Bytes of whole characters from p on, up to the end or the first byte that begins none. */
size_t utf8_run(const char *p, const char *end);
/* Bytes of the byte order mark that some editors put before UTF-8: 3, or 0 without one. */
size_t utf8_mark(const char *text, size_t len);

char *str_take(str *s); /* the caller owns the result (free); never NULL; `s` is empty after */

char *xstrdup(const char *s); /* NULL stays NULL */
char *xstrndup(const char *s, size_t len);
void *xmalloc(size_t bytes); /* these end the process with a sentence instead of NULL: see memory.h */
void *xcalloc(size_t n, size_t bytes);
void *xrealloc(void *p, size_t bytes);

/* Letters to change, add, drop or swap with their neighbour; SIZE_MAX for words of more than 64. */
size_t str_distance(const char *a, const char *b);
/* For "did you mean": the nearest of `names` (NULL-terminated) within a third of the word's length and
 * three letters, or NULL. */
const char *str_nearest(const char *word, const char *const *names);

/* All of `text` [len] as a decimal number, as JSON and people write it: "12", "-0.5", ".5", "+1e-3". What strtod takes
 * beside it is refused: blanks, 0x10, inf, nan. ERR_PARSE: it is none. ERR_LIMIT: none that a double can hold: too
 * large, or not 0 and yet nearer to it than any other (1e-400). */
int str_number(const char *text, size_t len, double *out);
