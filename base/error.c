/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A sentence that was cut is cut between two characters: half of one can't be shown, nor written as JSON. */
static void whole_characters(char *text, size_t size, int wanted)
{
    if (wanted < (int)size) return;
    size_t n = size - 1, tail = 0;
    while (tail < 4 && tail < n && (text[n - 1 - tail] & 0xc0) == 0x80) tail++;
    const unsigned char lead = n > tail ? (unsigned char)text[n - 1 - tail] : 0;
    const size_t needs = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (needs > tail) text[n - 1 - tail] = 0;
}

int error_set(error *err, int code, const char *fmt, ...)
{
    if (!err) return code;
    char text[sizeof err->text]; /* an argument may be err->text itself */
    va_list args;
    va_start(args, fmt);
    whole_characters(text, sizeof text, vsnprintf(text, sizeof text, fmt, args));
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

int error_sys(error *err, int errno_value, const char *fmt, ...)
{
    if (!err) return ERR_IO;
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char reason[128];
    return error_set(err, ERR_IO, "%s: %s", text, strerror_r(errno_value, reason, sizeof reason));
}

int error_within(error *err, const char *fmt, ...)
{
    if (!err) return ERR_STATE; /* the code was lost with the sentence; it is still not OK */
    char where[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(where, sizeof where, fmt, args);
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
