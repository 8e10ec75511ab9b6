/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WHOLE = 4096, HEAD = 150, MARK = 3 }; /* bytes: of a sentence before it is fitted; of its begin; of "..." */

static bool continues(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* Line ends and tabs are a sentence's own. */
static bool is_control(char c) { return ((unsigned char)c < ' ' && c != '\n' && c != '\t') || c == 0x7f; }

static bool has_control(const char *text)
{
    while (*text && !is_control(*text)) text++;
    return *text != 0;
}

/* How much of text[len], which may be cut, ends with a whole character: half of one can't be shown, nor written as
 * JSON. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t tail = 0;
    while (tail < 4 && tail < len && continues(text[len - 1 - tail])) tail++;
    const unsigned char lead = len > tail ? (unsigned char)text[len - 1 - tail] : 0;
    size_t needs = 0; /* bytes behind the lead byte */
    if (lead >= 0xf0)
        needs = 3;
    else if (lead >= 0xe0)
        needs = 2;
    else if (lead >= 0xc0)
        needs = 1;
    return needs > tail ? len - 1 - tail : len;
}

/* Of a sentence that is too long the middle goes, where a long path or a value is: what went wrong stands at its end.
 * wanted: what printf says of its length. */
static void fit(error *err, const char whole[WHOLE], int wanted)
{
    const size_t size = sizeof err->text;
    size_t len = wanted < 0 ? 0 : (size_t)wanted;
    if (len >= WHOLE) len = whole_characters(whole, WHOLE - 1); /* printf has cut it, too */
    if (len < size) {
        memcpy(err->text, whole, len);
        err->text[len] = 0;
        return;
    }

    size_t head = HEAD, tail = len - (size - 1 - HEAD - MARK);
    while (head > 0 && continues(whole[head])) head--;
    while (tail < len && continues(whole[tail])) tail++;
    snprintf(err->text, size, "%.*s...%.*s", (int)head, whole, (int)(len - tail), whole + tail);
}

/* What would move a terminal's cursor or change its colours is shown by its number: \x1b. */
static void show_controls(char text[WHOLE])
{
    char raw[WHOLE];
    size_t to = 0;
    memcpy(raw, text, WHOLE);
    for (const char *c = raw; *c && to + 5 < WHOLE; c++) {
        if (is_control(*c))
            to += (size_t)snprintf(text + to, 5, "\\x%02x", (unsigned char)*c);
        else
            text[to++] = *c;
    }
    text[to] = 0;
}

/* A part of a sentence, cut where it is too long. */
__attribute__((format(printf, 3, 0))) static void print_part(char *text, size_t size, const char *fmt, va_list args)
{
    if (vsnprintf(text, size, fmt, args) >= (int)size) text[whole_characters(text, size - 1)] = 0;
}

int error_set(error *err, int code, const char *fmt, ...)
{
    if (!err) return code;
    char whole[WHOLE]; /* an argument may be err->text itself */
    va_list args;
    va_start(args, fmt);
    const int wanted = vsnprintf(whole, sizeof whole, fmt, args);
    va_end(args);

    err->code = code;
    const bool shown = wanted >= 0 && has_control(whole);
    if (shown) show_controls(whole);
    fit(err, whole, shown ? (int)strlen(whole) : wanted);
    return code;
}

int error_sys(error *err, int errno_value, const char *fmt, ...)
{
    if (!err) return ERR_IO;
    char text[WHOLE - 200], reason[128];
    va_list args;
    va_start(args, fmt);
    print_part(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(err, ERR_IO, "%s: %s", text, strerror_r(errno_value, reason, sizeof reason));
}

int error_within(error *err, const char *fmt, ...)
{
    if (!err) return ERR_STATE; /* the code was lost with the sentence; it is still not OK */
    char where[WHOLE - 600];
    va_list args;
    va_start(args, fmt);
    print_part(where, sizeof where, fmt, args);
    va_end(args);
    return error_set(err, err->code, "%s: %s", where, err->text);
}

const char *error_name(int code)
{
    static const char *const names[] = {
        [OK] = "ok",
        [ERR_MEMORY] = "memory",
        [ERR_IO] = "io",
        [ERR_PARSE] = "parse",
        [ERR_ARGUMENT] = "argument",
        [ERR_STATE] = "state",
        [ERR_FULL] = "full",
        [ERR_TIMEOUT] = "timeout",
        [ERR_LIMIT] = "limit",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_PEER] = "peer",
        [ERR_SCRIPT] = "script",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_INTERRUPTED] = "interrupted",
        [ERR_DEVICE] = "device",
    };

    const int n = (int)(sizeof names / sizeof *names);
    return code >= 0 && code < n ? names[code] : "unknown";
}
