/* SPDX-License-Identifier: MIT */
/* GPT-2's byte alphabet: the printable characters of Latin-1 stand for their own byte; the 68 other bytes, in order,
 * for U+0100 and on. They come in three runs, so both directions are arithmetic. */
#include "model/tokenizer/internal.h"

static int code_point_of(int byte)
{
    if (byte <= 32) return 256 + byte;                       /* 0..32 */
    if (byte >= 127 && byte <= 160) return 289 + byte - 127; /* 127..160 */
    return byte == 173 ? 323 : byte;                         /* the soft hyphen */
}

static int byte_of(int code_point)
{
    if (code_point >= 256 && code_point <= 288) return code_point - 256;
    if (code_point >= 289 && code_point <= 322) return code_point - 289 + 127;
    if (code_point == 323) return 173;
    return code_point < 256 && code_point_of(code_point) == code_point ? code_point : -1;
}

void byte_to_alphabet(unsigned char byte, str *out)
{
    const int c = code_point_of(byte);
    if (c < 128) {
        str_putc(out, (char)c);
        return;
    }
    str_putc(out, (char)(0xc0 | c >> 6));
    str_putc(out, (char)(0x80 | (c & 63)));
}

bool alphabet_to_bytes(const char *text, str *out)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        int c = *p;
        if (c >= 0xe0) return false; /* the alphabet ends at U+0143: two bytes */
        if (c >= 0xc0) c = (c & 31) << 6 | (*++p & 63);
        const int byte = byte_of(c);
        if (byte < 0) return false;
        str_putc(out, (char)byte);
    }
    return true;
}
