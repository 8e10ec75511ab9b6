/* SPDX-License-Identifier: MIT */
#include "show/shell_word.h"

#include <string.h>

static bool needs_quotes(const char *text)
{
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-:@%,=";
    return !*text || text[strspn(text, PLAIN)] != 0;
}

/* Between quotes a shell reads all as it is but the quote itself, which has to stand outside: 'it'\''s'. */
static void quote(str *out, const char *text)
{
    str_putc(out, '\'');
    for (const char *c = text; *c; c++)
        if (*c == '\'')
            str_puts(out, "'\\''");
        else
            str_putc(out, *c);
    str_putc(out, '\'');
}

void shell_word(str *out, const char *text)
{
    if (needs_quotes(text))
        quote(out, text);
    else
        str_puts(out, text);
}
