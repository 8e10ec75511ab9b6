/* SPDX-License-Identifier: MIT */
#include "env/search/shown.h"

#include <string.h>

enum { SHOWN_BYTES = 2000 }; /* of a passage */

/* The beginning of a text, whole characters. */
static void add_beginning(const char *text, str *out)
{
    size_t len = strlen(text);
    if (len <= SHOWN_BYTES) {
        str_puts(out, text);
        return;
    }
    for (len = SHOWN_BYTES; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;) len--;
    str_add(out, text, len);
    str_puts(out, " [...]");
}

void passage_show(int number, const char *title, const char *text, str *out)
{
    str_printf(out, "%s[%d] ", number > 1 ? "\n\n" : "", number);
    if (title && *title) str_printf(out, "%s\n", title);
    add_beginning(text, out);
}
