/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { WHOLE = 4096, HEAD = 150, MARK = 3 }; /* bytes: of a sentence before it is fitted; of its begin; of "..." */

static bool continues(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* How much of text[len], which may be cut, ends with a whole character: half of one can't be shown, nor written as
 * JSON. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t tail = 0;
    while (tail < 4 && tail < len && continues(text[len - 1 - tail])) tail++;
    const unsigned char lead = len > tail ? (unsigned char)text[len - 1 - tail] : 0;
    size_t needs = 0; /* bytes after the lead byte */
    if (lead >= 0xf0)
        needs = 3;
    else if (lead >= 0xe0)
        needs = 2;
    else if (lead >= 0xc0)
        needs = 1;
    return needs > tail ? len - 1 - tail : len;
}

/* A terminal obeys these. Line ends and tabs are a sentence's own. */
static bool is_control(const char *p, size_t n)
{
    const unsigned char c = (unsigned char)*p;
    if (n == 2) return c == 0xc2 && (unsigned char)p[1] < 0xa0; /* U+0080 to U+009F */
    return n == 1 && ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f);
}

/* Bytes of what is no UTF-8 at p: half of a character, which "%.80s" has cut, or a single byte. */
static size_t foreign_bytes(const char *p, const char *end)
{
    size_t n = 1;
    while (n < 4 && p + n < end && continues(p[n])) n++;
    return n;
}

/* Whatever a sentence quotes (a flag, a file's name, a peer's words), it can be printed and written as JSON: a control
 * character is shown by its number, \x1b, and what is no UTF-8 as '?'. Returns the new length. */
static size_t make_showable(char text[WHOLE], size_t len)
{
    enum { LONGEST = 8 }; /* bytes of a control character that is shown, U+0080 as \xc2\x80 */
    char raw[WHOLE];
    memcpy(raw, text, len);
    const char *end = raw + len;
    size_t to = 0;

    for (const char *p = raw; p < end && to + LONGEST < WHOLE;) {
        const size_t n = utf8_length(p, end); /* 0: not UTF-8 */
        const bool control = is_control(p, n);

        if (control) {
            for (size_t i = 0; i < n; i++) to += (size_t)snprintf(text + to, 5, "\\x%02x", (unsigned char)p[i]);
        } else if (n == 0) {
            text[to++] = '?';
        } else {
            memcpy(text + to, p, n);
            to += n;
        }

        p += n > 0 ? n : foreign_bytes(p, end);
    }

    text[to] = 0;
    return to;
}

/* Of a sentence that is too long the middle goes, where a long path or a value is: what went wrong stands at its end.
 * wanted: what printf says of its length. */
static void fit(error *err, char whole[WHOLE], int wanted)
{
    const size_t size = sizeof err->text;
    size_t len = wanted < 0 ? 0 : (size_t)wanted;
    if (len >= WHOLE) len = whole_characters(whole, WHOLE - 1); /* printf has cut it, too */
    len = make_showable(whole, len);
    if (len < size) {
        memcpy(err->text, whole, len + 1);
        return;
    }

    size_t head = HEAD, tail = len - (size - 1 - HEAD - MARK);
    while (head > 0 && continues(whole[head])) head--;
    while (tail < len && continues(whole[tail])) tail++;
    snprintf(err->text, size, "%.*s...%.*s", (int)head, whole, (int)(len - tail), whole + tail);
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
    fit(err, whole, wanted);
    return code;
}

/* What raises a limit of this process that the system has told of. A thread, or a process, for which there is no room
 * is refused with EAGAIN, whether they are too many or their memory is short. */
static const char *remedy(int errno_value)
{
    if (errno_value == EMFILE) return " (raise ulimit -n)";
    if (errno_value == EFBIG) return " (raise ulimit -f)";
    return errno_value == EAGAIN ? " (raise ulimit -u or -v)" : "";
}

static int code_of(int errno_value)
{
    return errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG ? ERR_SPACE : ERR_IO;
}

int error_sys(error *err, int errno_value, const char *fmt, ...)
{
    if (!err) return code_of(errno_value);
    char text[WHOLE - 200], reason[128];
    va_list args;
    va_start(args, fmt);
    print_part(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(err, code_of(errno_value), "%s: %s%s", text, strerror_r(errno_value, reason, sizeof reason),
                     remedy(errno_value));
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
        [ERR_SPACE] = "space",
    };

    const int n = (int)(sizeof names / sizeof *names);
    return code >= 0 && code < n ? names[code] : "unknown";
}
