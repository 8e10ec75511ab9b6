/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

/* Room for `more` bytes and the terminator after what is there. */
static void str_reserve(str *s, size_t more)
{
    if (more > SIZE_MAX / 4 - s->len) more = SIZE_MAX / 2; /* let xrealloc say it */
    size_t need = s->len + more + 1;
    if (need <= s->capacity) return;

    size_t capacity = s->capacity ? s->capacity * 2 : 64;
    if (capacity < need) capacity = need;
    s->data = xrealloc(s->data, capacity);
    s->capacity = capacity;
}

void str_add(str *s, const char *data, size_t len)
{
    str_reserve(s, len);
    if (len) memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void str_puts(str *s, const char *terminated) { str_add(s, terminated, strlen(terminated)); }

void str_item(str *s, const char *between, const char *text)
{
    if (s->len > 0) str_puts(s, between);
    str_puts(s, text);
}

void str_putc(str *s, char c) { str_add(s, &c, 1); }

void str_vprintf(str *s, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    if (len >= 0) {
        str_reserve(s, (size_t)len);
        vsnprintf(s->data + s->len, (size_t)len + 1, fmt, again);
        s->len += (size_t)len;
    }
    va_end(again);
}

void str_printf(str *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    str_vprintf(s, fmt, args);
    va_end(args);
}

size_t utf8_mark(const char *text, size_t len) { return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; }

/* Bytes of the character that `lead` begins; 0: it begins none (0xc0 and 0xc1 only ever write ASCII too long). */
static size_t length_by_lead(unsigned char lead)
{
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0;
    if (lead < 0xe0) return 2;
    if (lead < 0xf0) return 3;
    return lead < 0xf5 ? 4 : 0;
}

size_t utf8_length(const char *p, const char *end)
{
    const unsigned char *s = (const unsigned char *)p;
    const size_t left = (size_t)(end - p), n = left > 0 ? length_by_lead(s[0]) : 0;
    if (n == 0 || n > left) return 0;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0; /* too long for it; a surrogate */
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0; /* the same; beyond U+10FFFF */
    return n;
}

size_t utf8_run(const char *p, const char *end)
{
    const char *begin = p;
    for (size_t n; (n = utf8_length(p, end)) > 0;) p += n;
    return (size_t)(p - begin);
}

static void json_escape(str *s, unsigned char c)
{
    switch (c) {
    case '"':
        str_puts(s, "\\\"");
        break;
    case '\\':
        str_puts(s, "\\\\");
        break;
    case '\n':
        str_puts(s, "\\n");
        break;
    case '\r':
        str_puts(s, "\\r");
        break;
    case '\t':
        str_puts(s, "\\t");
        break;
    default:
        str_printf(s, "\\u%04x", c);
    }
}

void str_json(str *s, const char *data, size_t len)
{
    const unsigned char *p = (const unsigned char *)data;

    str_putc(s, '"');
    for (size_t i = 0; i < len;) {
        if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == 0x7f) {
            json_escape(s, p[i++]);
            continue;
        }

        const size_t n = utf8_length(data + i, data + len); /* 0: not UTF-8 */
        if (n == 0)
            str_puts(s, "\xef\xbf\xbd");
        else
            str_add(s, data + i, n);
        i += n ? n : 1;
    }

    str_putc(s, '"');
}

void str_visible(str *s, const char *data, size_t len)
{
    const char *end = data + len;

    for (const char *p = data; p < end;) {
        const size_t n = utf8_length(p, end), bytes = n > 0 ? n : 1; /* 0: not UTF-8 */
        const unsigned char c = (unsigned char)*p;
        const bool control_1 = n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0; /* U+0080 to U+009F */
        const bool control = c < 0x20 || c == 0x7f || control_1;

        if (n > 0 && !control)
            str_add(s, p, n);
        else if (c == '\n')
            str_puts(s, "\\n");
        else if (c == '\t')
            str_puts(s, "\\t");
        else if (c == 0)
            str_puts(s, "\\0");
        else
            for (size_t i = 0; i < bytes; i++) str_printf(s, "\\x%02x", (unsigned)(unsigned char)p[i]);

        p += bytes;
    }
}

void str_cut(str *s, size_t len)
{
    if (len >= s->len) return;
    s->len = len;
    s->data[len] = '\0';
}

void str_clear(str *s) { str_cut(s, 0); }

void str_free(str *s)
{
    free(s->data);
    *s = (str){ 0 };
}

const char *str_text(const str *s) { return s->data ? s->data : ""; }

char *str_take(str *s)
{
    str_add(s, "", 0);
    char *data = s->data;
    *s = (str){ 0 };
    return data;
}

/* A large block would be granted and its first touch killed: it is asked for first. */
void *xmalloc(size_t bytes)
{
    if (!memory_fits(bytes, 0, NULL)) memory_exhausted(bytes);
    return xrealloc(NULL, bytes);
}

void *xcalloc(size_t n, size_t bytes)
{
    void *p = calloc(n ? n : 1, bytes ? bytes : 1);
    if (!p) memory_exhausted(bytes && n > SIZE_MAX / bytes ? SIZE_MAX : n * bytes);
    return p;
}

void *xrealloc(void *p, size_t bytes)
{
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q) memory_exhausted(bytes);
    return q;
}

char *xstrndup(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);
    if (len) memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *xstrdup(const char *s) { return s ? xstrndup(s, strlen(s)) : NULL; }

enum { WORD = 64 };

/* Levenshtein with swapped neighbours as one edit; words of WORD letters and more are never near anything. */
size_t str_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[3][WORD + 1];
    if (n > WORD || m > WORD) return SIZE_MAX;

    for (size_t j = 0; j <= m; j++) row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *above = row[(i - 1) % 3], *two_above = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < best)
                best = two_above[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *str_nearest(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    /* A third of its length, rounded up, three at most, and one letter stays: "fp8" is not near "f32". */
    const size_t len = strlen(word), third = (len + 2) / 3;
    size_t best = third > 3 ? 4 : third + 1;
    if (best > len) best = len;

    for (; *names; names++) {
        size_t distance = str_distance(word, *names);
        if (distance < best) {
            best = distance;
            nearest = *names;
        }
    }
    return nearest;
}

static size_t digits_at(const char *text, size_t len, size_t at)
{
    size_t n = 0;
    while (at + n < len && text[at + n] >= '0' && text[at + n] <= '9') n++;
    return n;
}

int str_number(const char *text, size_t len, double *out)
{
    size_t at = len > 0 && (text[0] == '-' || text[0] == '+');
    const size_t first = at, before = digits_at(text, len, at);
    at += before;
    const size_t after = at < len && text[at] == '.' ? digits_at(text, len, at + 1) : 0;
    if (at < len && text[at] == '.') at += 1 + after;
    const size_t mantissa = at;
    if (before + after == 0) return ERR_PARSE;
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < len && (text[at] == '-' || text[at] == '+')) at++;
        const size_t exponent = digits_at(text, len, at);
        if (exponent == 0) return ERR_PARSE;
        at += exponent;
    }
    if (at != len) return ERR_PARSE;

    char *copy = xstrndup(text, len);
    const double value = strtod(copy, NULL);
    free(copy);
    bool zero = true;
    for (size_t i = first; i < mantissa; i++) zero = zero && (text[i] == '0' || text[i] == '.');
    if (!isfinite(value) || (value == 0 && !zero)) return ERR_LIMIT;
    *out = value;
    return OK;
}
